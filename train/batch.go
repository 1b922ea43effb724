package train

import (
	"fmt"

	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tensor"
)

// packed is a batch as the model takes it: examples one behind the other without
// padding, and the positions where loss counts.
type packed struct {
	model.Batch
	index   []int   // of each sequence that has tokens: its number in the split
	rows    []int32 // index into Tokens whose output predicts ...
	targets []int32 // ... this token
	// Those whose prediction is held, and what follows there.
	held, heldTargets []int32
	// Of all sequences, also those without tokens:
	segments []int32 // bounds of their rows, [S+1]
	answers  []int32 // first row of each that is of the answer, [S]
}

// length is the number of tokens of sequence i.
func (p *packed) length(i int) int { return int(p.Bounds[i+1] - p.Bounds[i]) }

// padUnit: mlx-lm pads a batch to one more than a multiple of it.
const padUnit = 32

// pack puts examples together, each cut to maxLen tokens. With padTarget it adds
// mlx-lm's pad target: an example shorter than the padded width also learns to
// predict token 0 after its end.
func pack(list []Example, maxLen int, padTarget bool) packed {
	var p packed
	p.Bounds, p.segments = []int32{0}, []int32{0}
	longest := 0
	for _, e := range list {
		longest = max(longest, len(e.IDs))
	}
	width := min(1+padUnit*((longest+padUnit-1)/padUnit), maxLen)
	for _, e := range list {
		for _, s := range append([]Example{e}, e.Others...) {
			n := min(len(s.IDs), maxLen)
			p.add(len(p.answers), s, n, padTarget && 0 < n && n < width)
		}
	}
	return p
}

// add puts the first n tokens of an example behind the others. The last of them
// predicts nothing, except where a pad target follows.
func (p *packed) add(index int, e Example, n int, padTarget bool) {
	start, inputs := len(p.Tokens), max(n-1, 0)
	if padTarget {
		inputs = n
	}
	p.Tokens = append(p.Tokens, e.IDs[:inputs]...)
	for at := range inputs {
		p.Positions = append(p.Positions, int32(at))
	}
	answer := len(p.rows)
	for _, span := range e.Loss {
		for s := max(span[0], 1); s < min(span[1], n); s++ {
			if s < e.Offset {
				answer++
			}
			p.rows = append(p.rows, int32(start+s-1))
			p.targets = append(p.targets, e.IDs[s])
		}
	}
	for _, span := range e.Hold {
		for s := max(span[0], 1); s < min(span[1], n); s++ {
			p.held = append(p.held, int32(start+s-1))
			p.heldTargets = append(p.heldTargets, e.IDs[s])
		}
	}
	if padTarget && len(e.Loss) > 0 {
		p.rows = append(p.rows, int32(start+n-1))
		p.targets = append(p.targets, 0)
	}
	p.answers, p.segments = append(p.answers, int32(answer)), append(p.segments, int32(len(p.rows)))
	if inputs > 0 {
		p.Bounds = append(p.Bounds, int32(len(p.Tokens)))
		p.index = append(p.index, index)
	}
}

// Losses returns the cross-entropy of each token that the examples predict, in order,
// without keeping gradients. The tape decides the precision (Tape.Exact).
func Losses(t *tensor.Tape, m *model.Model, list []Example) ([]float32, error) {
	longest := 0
	for i, e := range list {
		if err := m.CheckTokens(e.IDs); err != nil {
			return nil, fmt.Errorf("example %d: %w", i, err)
		}
		longest = max(longest, len(e.IDs))
	}
	p := pack(list, longest, false)
	if len(p.rows) == 0 {
		return nil, t.Err()
	}
	var losses []float32
	t.Scope(func() *tensor.Tensor {
		losses = t.Read(CrossEntropy{}.loss(&pass{tape: t, model: m}, &p, 1/float32(len(p.rows))))
		return nil
	})
	return losses, t.Err()
}

// example fetches example i and checks that the model and the objective can take it, cut to
// maxLen tokens.
func example(m *model.Model, o Objective, from Examples, i, maxLen int) (Example, error) {
	e, err := from.Example(i)
	if err != nil {
		return e, err
	}
	err = m.CheckTokens(e.IDs)
	for _, s := range e.Others {
		if err == nil {
			err = m.CheckTokens(s.IDs)
		}
	}
	if err == nil {
		err = checkSequences(o, e, maxLen)
	}
	if err != nil {
		where := fmt.Sprintf("row %d", i)
		if w, ok := from.(interface{ Where(i int) string }); ok {
			where = w.Where(i)
		}
		return e, fmt.Errorf("%s: %w", where, err)
	}
	return e, nil
}

// load fetches and packs the examples of one batch.
func load(m *model.Model, o Objective, from Examples, index []int, maxLen int, padTarget bool) (packed, error) {
	list := make([]Example, len(index))
	for i, k := range index {
		var err error
		if list[i], err = example(m, o, from, k, maxLen); err != nil {
			return packed{}, err
		}
	}
	p := pack(list, maxLen, padTarget)
	n := o.sequences()
	for i, k := range p.index {
		p.index[i] = index[k/n]*n + k%n
	}
	return p, nil
}
