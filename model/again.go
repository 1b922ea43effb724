package model

import (
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// Again is StepRows for sequences that go on together, a token at a time. All that a pass is made of but the tokens and their places
// stays as it is, until a sequence comes, ends or needs more room: a device that compiles gets the pass once, and is told to run
// it again. The zero value is ready for use, by one goroutine at a time.
type Again struct {
	of       *Model
	answers  []any
	caches   []*nn.Cache
	flags    [2]bool // Exact and RowWise of the tape
	passes   int     // alike so far
	never    bool    // the device compiles nothing, or not these
	compiled *compiled
}

// uncompiled is how many passes alike are run as they are before one is compiled: others may come or go soon.
const uncompiled = 1

// StepRows is Model.StepRows. answers names what each row belongs to: while rows belong to the same, nothing of the model has
// changed but the content of tensors.
func (a *Again) StepRows(t *tensor.Tape, m *Model, rows []Row, answers []any) *tensor.Tensor {
	return a.step(t, m, rows, answers, func() *tensor.Tensor { return m.StepRows(t, rows) }, func() *compiled { return m.compile(t, a.caches) })
}

// StepMixed is StepRows for rows of several models: see Mix.StepRows.
func (a *Again) StepMixed(t *tensor.Tape, x *Mix, rows []MixedRow, answers []any) *tensor.Tensor {
	plain, alone := plainRows(rows)
	if alone {
		return a.StepRows(t, rows[0].Model, plain, answers)
	}
	return a.step(t, x.base, plain, answers, func() *tensor.Tensor { return x.StepRows(t, rows) }, func() *compiled { return x.compile(t, rows, a.caches) })
}

// step runs a pass once, or compiles it.
func (a *Again) step(t *tensor.Tape, m *Model, rows []Row, answers []any, once func() *tensor.Tensor, compile func() *compiled) *tensor.Tensor {
	if !a.alike(t, m, rows, answers) {
		a.Free()
		*a = Again{of: m, answers: slices.Clone(answers), flags: [2]bool{t.Exact, t.RowWise}}
		for _, r := range rows {
			a.caches = append(a.caches, r.Cache)
		}
	}
	if a.compiled != nil && !a.compiled.caches.Fit() {
		a.Free()
		a.passes = 0
	}
	if a.passes++; a.passes <= uncompiled || a.never {
		return once()
	}
	if a.compiled == nil && t.Err() == nil {
		a.compiled = compile()
	}
	if a.compiled == nil {
		a.never = true
		return once()
	}
	return a.compiled.step(t, m, rows)
}

// alike reports whether a pass is as the last one, with other numbers.
func (a *Again) alike(t *tensor.Tape, m *Model, rows []Row, answers []any) bool {
	if a.of != m || !slices.Equal(a.answers, answers) || a.flags != [2]bool{t.Exact, t.RowWise} {
		return false
	}
	for i, r := range rows {
		if len(r.Tokens) != 1 || r.Last != 1 || r.Cache != a.caches[i] {
			return false
		}
	}
	return true
}

// Free gives back what the device holds for the passes to come.
func (a *Again) Free() {
	if a.compiled != nil {
		a.compiled.free()
		a.compiled = nil
	}
}

// compiled is a pass over one token of each of n sequences.
type compiled struct {
	caches    *nn.CachesAgain
	positions *tensor.Tensor   // I32 [n]
	x         *tensor.Tensor   // embeddings of the tokens [n, hidden]
	bounds    []*tensor.Tensor // of the rows of adapters: see Mix
	program   *tensor.Program
}

// compile makes a pass, or returns nil where that cannot be.
func (m *Model) compile(t *tensor.Tape, caches []*nn.Cache) *compiled {
	told, err := nn.NewCachesAgain(m.dev, caches)
	if told == nil || err != nil {
		return nil
	}
	c := &compiled{caches: told}
	if c.positions, err = tensor.New(m.dev, compute.Shape{len(caches)}, compute.I32, nil); err == nil {
		c.x, err = tensor.New(m.dev, compute.Shape{len(caches), m.Config.HiddenSize}, t.Activation(), nil)
	}
	if err == nil {
		c.program, err = t.Compile(func() *tensor.Tensor {
			pass := nn.Pass{Caches: told.Caches, Rotation: t.RopeTable(c.positions, m.frequencies, m.arch.RopeScale)}
			return m.Logits(t, m.Final(t, m.Layers(t, c.x, pass, 0, len(m.Blocks), false)))
		})
	}
	if err != nil {
		c.free()
		return nil
	}
	return c
}

// compile makes a pass over rows of several models.
func (x *Mix) compile(t *tensor.Tape, rows []MixedRow, caches []*nn.Cache) *compiled {
	var bounds []*tensor.Tensor
	var failed error
	x.attach(rows, func(v []int32) *tensor.Tensor {
		b, err := tensor.New(x.base.dev, compute.Shape{len(v) / 2, 2}, compute.I32, compute.IntBytes(v))
		if err != nil {
			failed = err
			return &tensor.Tensor{}
		}
		bounds = append(bounds, b)
		return b
	})
	defer x.base.Detach()
	if failed == nil {
		if c := x.base.compile(t, caches); c != nil {
			c.bounds = bounds
			return c
		}
	}
	for _, b := range bounds {
		b.Free()
	}
	return nil
}

// step runs the pass.
func (c *compiled) step(t *tensor.Tape, m *Model, rows []Row) *tensor.Tensor {
	tokens, positions := make([]int32, len(rows)), make([]int32, len(rows))
	for i, r := range rows {
		tokens[i], positions[i] = r.Tokens[0], int32(r.Cache.Len())
	}
	m.embedInto(t, c.x, rows, tokens)
	t.Tell(c.positions, compute.IntBytes(positions))
	c.caches.Tell(t)
	if t.Do(c.program); t.Err() == nil {
		c.caches.Advance()
	}
	return c.program.Result
}

func (c *compiled) free() {
	if c.program != nil {
		c.program.Free()
	}
	for _, b := range c.bounds {
		b.Free()
	}
	c.caches.Free()
	c.positions.Free()
	c.x.Free()
}
