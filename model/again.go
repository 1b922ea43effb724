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
	kept []*repeated // the one used last comes last
}

// mostRepeated is how many passes are kept: one that some sequence is late for, now and then, and the one of the others.
const mostRepeated = 2

// repeated is a pass of the same sequences each time.
type repeated struct {
	of       *Model
	answers  []any
	caches   []*nn.Cache
	flags    [2]bool // Exact and RowWise of the tape
	passes   int     // so far
	never    bool    // the device compiles nothing, or not this
	compiled *compiled
}

// uncompiled is how many passes alike are run as they are before one is compiled: others may come or go soon.
const uncompiled = 1

// StepRows is Model.StepRows. answers names what each row belongs to: while rows belong to the same, nothing of the model has
// changed but the content of tensors.
func (a *Again) StepRows(t *tensor.Tape, m *Model, rows []Row, answers []any) *tensor.Tensor {
	r := a.find(t, m, rows, answers)
	return r.step(t, rows, func() *tensor.Tensor { return m.StepRows(t, rows) }, func() *compiled { return m.compile(t, r.caches) })
}

// StepMixed is StepRows for rows of several models: see Mix.StepRows.
func (a *Again) StepMixed(t *tensor.Tape, x *Mix, rows []MixedRow, answers []any) *tensor.Tensor {
	plain, alone := plainRows(rows)
	if alone {
		return a.StepRows(t, rows[0].Model, plain, answers)
	}
	r := a.find(t, x.base, plain, answers)
	return r.step(t, plain, func() *tensor.Tensor { return x.StepRows(t, rows) }, func() *compiled { return x.compile(t, rows, r.caches) })
}

// find is the pass of these sequences.
func (a *Again) find(t *tensor.Tape, m *Model, rows []Row, answers []any) *repeated {
	now := &repeated{of: m, answers: slices.Clone(answers), flags: [2]bool{t.Exact, t.RowWise}}
	single := true
	for _, r := range rows {
		now.caches = append(now.caches, r.Cache)
		single = single && len(r.Tokens) == 1 && r.Last == 1
	}
	now.never = !single
	i := slices.IndexFunc(a.kept, now.alike)
	switch {
	case !single:
		return now
	case i >= 0:
		now = a.kept[i]
		a.kept = slices.Delete(a.kept, i, i+1)
	case len(a.kept) == mostRepeated:
		a.kept[0].free()
		a.kept = slices.Delete(a.kept, 0, 1)
	}
	a.kept = append(a.kept, now)
	return now
}

// Free gives back what the device holds for the passes to come.
func (a *Again) Free() {
	for _, r := range a.kept {
		r.free()
	}
	a.kept = nil
}

// alike reports whether a pass is of the same sequences.
func (r *repeated) alike(o *repeated) bool {
	return r.of == o.of && r.flags == o.flags && slices.Equal(r.answers, o.answers) && slices.Equal(r.caches, o.caches)
}

// step runs the pass once, or compiles it.
func (r *repeated) step(t *tensor.Tape, rows []Row, once func() *tensor.Tensor, compile func() *compiled) *tensor.Tensor {
	grows := !r.never && slices.ContainsFunc(r.caches, (*nn.Cache).Full)
	if grows || r.compiled != nil && !r.compiled.caches.Fit() {
		r.free()
	}
	if r.passes++; r.passes <= uncompiled || r.never || grows {
		return once()
	}
	if r.compiled == nil && t.Err() == nil {
		r.compiled = compile()
	}
	if r.compiled == nil {
		r.never = true
		return once()
	}
	return r.compiled.step(t, r.of, rows)
}

func (r *repeated) free() {
	if r.compiled != nil {
		r.compiled.free()
		r.compiled = nil
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
