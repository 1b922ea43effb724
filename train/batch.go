package train

import (
	"fmt"
	"iter"
	"slices"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
)

// packed is a batch as the model takes it: rows behind each other, no padding,
// and the positions where loss counts.
type packed struct {
	model.Batch
	index   []int     // of each sequence: its row's number in the split
	rows    []int32   // index into Tokens whose output predicts ...
	targets []int32   // ... this token
	weights []float32 // 1/len(rows) each: the loss is their mean
}

// length is the number of tokens of sequence i.
func (p *packed) length(i int) int { return int(p.Bounds[i+1] - p.Bounds[i]) }

// pack puts rows together, each cut to maxLen tokens. With padTarget it adds
// mlx-lm's pad target: a row shorter than the padded width also learns to
// predict token 0 after its end.
func pack(rows []Example, maxLen int, padTarget bool) packed {
	var p packed
	p.Bounds = []int32{0}
	longest := 0
	for _, r := range rows {
		longest = max(longest, len(r.IDs))
	}
	width := min(1+32*((longest+31)/32), maxLen)
	for i, r := range rows {
		n := min(len(r.IDs), maxLen)
		start := len(p.Tokens)
		// The last token of a row predicts nothing, but for the pad target.
		inputs := n - 1
		if padTarget && n < width {
			inputs = n
		}
		inputs = max(inputs, 0)
		p.Tokens = append(p.Tokens, r.IDs[:inputs]...)
		for at := range inputs {
			p.Positions = append(p.Positions, int32(at))
		}
		for _, span := range r.Loss {
			for s := max(span[0], 1); s < min(span[1], n); s++ {
				p.rows = append(p.rows, int32(start+s-1))
				p.targets = append(p.targets, r.IDs[s])
			}
		}
		if padTarget && 0 < n && n < width && len(r.Loss) > 0 {
			p.rows = append(p.rows, int32(start+n-1))
			p.targets = append(p.targets, 0)
		}
		if inputs > 0 {
			p.Bounds = append(p.Bounds, int32(len(p.Tokens)))
			p.index = append(p.index, i)
		}
	}
	p.weights = make([]float32, len(p.rows))
	for i := range p.weights {
		p.weights[i] = 1 / float32(len(p.rows))
	}
	return p
}

// batches lists the rows of each batch of one pass, in order. mlx takes
// consecutive rows, drops a last partial batch and shuffles the batches;
// otherwise the rows are shuffled and every row comes once.
func batches(n, size int, mlx bool, rng *numpyRandom) [][]int {
	var out [][]int
	if mlx {
		for _, b := range rng.permutation(n / size) {
			rows := make([]int, size)
			for i := range rows {
				rows[i] = b*size + i
			}
			out = append(out, rows)
		}
		return out
	}
	for rows := range slices.Chunk(rng.permutation(n), size) {
		out = append(out, rows)
	}
	return out
}

// epochs repeats batches forever.
func epochs(n, size int, mlx bool, rng *numpyRandom) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		for {
			for _, b := range batches(n, size, mlx, rng) {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// example fetches example i and checks that a model of vocab tokens can take it.
func example(rows Examples, i, vocab int) (Example, error) {
	r, err := rows.Example(i)
	if err != nil {
		return r, err
	}
	for k, id := range r.IDs {
		if id < 0 || int(id) >= vocab {
			where := fmt.Sprintf("row %d", i)
			if w, ok := rows.(interface{ Where(i int) string }); ok {
				where = w.Where(i)
			}
			return r, fmt.Errorf("%s: token %d is %d, but the model's vocabulary has %d: tokenizer and model do not belong together", where, k, id, vocab)
		}
	}
	return r, nil
}

// load fetches and packs the rows of one batch.
func load(rows Examples, index []int, vocab, maxLen int, padTarget bool) (packed, error) {
	list := make([]Example, len(index))
	for i, k := range index {
		var err error
		if list[i], err = example(rows, k, vocab); err != nil {
			return packed{}, err
		}
	}
	p := pack(list, maxLen, padTarget)
	for i, k := range p.index {
		p.index[i] = index[k]
	}
	return p, nil
}

// enough checks a split against the batch size, as mlx-lm does.
func enough(rows Examples, split string, size int, mlx bool) error {
	switch n := rows.Len(); {
	case size < 1:
		return fault.Value("batch_size", size, "1 or more")
	case n == 0:
		return fmt.Errorf("%s set: it has no rows with a token to learn", split)
	case mlx && n < size:
		return fault.At("batch_size", "%s set: must have at least batch_size=%d examples but only has %d", split, size, n).Try("Add rows or give a smaller one.")
	}
	return nil
}
