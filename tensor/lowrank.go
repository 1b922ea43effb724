package tensor

import (
	"errors"

	"github.com/lentil-lm/lentil/compute"
)

// A Projection is a Linear, x Wᵀ + bias, with the update of LoRA (Hu et al., 2021) where it has A [in, r] and B [r, out]:
// Scale · (dropout(x) A) B. A nil bias is none.
type Projection struct {
	Weight         *Weight
	Bias           *Tensor
	A, B           *Tensor // nil for no update
	Scale, Dropout float32
}

// Linear is x Wᵀ + bias: [T, in] -> [T, out]. A nil bias is none.
func (t *Tape) Linear(x *Tensor, w *Weight, bias *Tensor) *Tensor {
	return t.Project(x, Projection{Weight: w, Bias: bias})[0]
}

// Project makes several projections of one input. It gives what each alone gives, with ops of one kind one after another,
// forward and back: devices make one piece of work of them.
func (t *Tape) Project(x *Tensor, list ...Projection) []*Tensor {
	ys, work := make([]*Tensor, len(list)), make([]*projection, len(list))
	for i, p := range list {
		work[i] = &projection{Projection: p, x: x}
		if p.A != nil && !work[i].trained() {
			work[i].update = t.newLowRank(x, p.A, p.B, p.Scale, p.Dropout)
		}
	}
	var outs, saved []*Tensor
	var recorded []*projection
	for i, p := range work {
		p.forward(t)
		ys[i] = p.y
		if t.record && p.flows() {
			recorded, outs, saved = append(recorded, p), append(outs, p.y), append(saved, p.saved()...)
		}
	}
	if len(recorded) > 0 {
		t.pushAll(outs, func() { t.projectBack(recorded) }, saved...)
	}
	for i, p := range work {
		if p.A != nil && p.update == nil {
			t.LowRank(ys[i], x, p.A, p.B, p.Scale, p.Dropout)
		}
	}
	return ys
}

// projection is a Projection of a step.
type projection struct {
	Projection
	x, y   *Tensor
	update *lowRank // as a part of the product; nil for none
	dz     *Tensor  // the gradient of update.z
}

func (p *projection) trainsWeight() bool { return p.Weight.Param != nil && p.Weight.Param.needsGrad }
func (p *projection) trainsBias() bool   { return p.Bias != nil && p.Bias.needsGrad }
func (p *projection) trained() bool      { return p.trainsWeight() || p.trainsBias() }

// flows reports whether something that the projection is made of needs a gradient.
func (p *projection) flows() bool {
	return p.x.needsGrad || p.trained() || p.update != nil && (p.update.a.needsGrad || p.update.b.needsGrad)
}

func (p *projection) saved() []*Tensor {
	if p.update != nil {
		return p.update.mask.saved(p.x, p.update.z)
	}
	if p.trainsWeight() {
		return []*Tensor{p.x}
	}
	return nil
}

func (p *projection) forward(t *Tape) {
	op := compute.Linear{Weight: p.Weight.Weight, Bias: p.Bias != nil, Exact: t.Exact || t.record, RowWise: t.rowWise(), To: t.act}
	in := bufs(p.x.buf, p.Weight.buf)
	if p.Bias != nil {
		in = append(in, p.Bias.buf)
	}
	if u := p.update; u != nil {
		op.Rank, op.Scale, in = u.a.Cols(), u.scale, append(in, u.z.buf, u.b.buf)
	}
	p.y = t.apply(op, in...)[0]
}

// projectBack adds to all gradients: those of x last, from the last projection to the first. What is made of the gradients of
// results comes first, then what is made of x: a device may read each once.
func (t *Tape) projectBack(list []*projection) {
	each := func(f func(p *projection)) {
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].y.gradSet && t.err == nil {
				f(list[i])
			}
		}
	}
	each(func(p *projection) {
		if p.update != nil {
			p.dz = p.update.inner(t, p.y)
		}
	})
	each(func(p *projection) {
		if p.update != nil {
			p.update.giveB(t, p.y)
		}
	})
	each(func(p *projection) {
		if p.update != nil {
			p.update.giveA(t, p.dz)
		}
	})
	each(func(p *projection) { p.giveWeights(t) })
	each(func(p *projection) { p.giveInput(t) })
}

// giveWeights adds to the gradients of a trained weight and bias.
func (p *projection) giveWeights(t *Tape) {
	if p.trainsWeight() {
		dw, acc := t.target(p.Weight.Param)
		t.run(compute.MatMul{TransA: true, Alpha: 1, Accumulate: acc}, bufs(dw), bufs(p.y.grad, p.x.buf))
	}
	if p.trainsBias() {
		db, acc := t.target(p.Bias)
		t.run(compute.SumRows{Accumulate: acc}, bufs(db), bufs(p.y.grad))
	}
}

// giveInput adds to the gradient of x.
func (p *projection) giveInput(t *Tape) {
	if !p.x.needsGrad {
		return
	}
	op, in := compute.LinearGradInput{Weight: p.Weight.Weight, To: p.x.spec.DType}, bufs(p.y.grad, p.Weight.buf)
	if u := p.update; u != nil && u.mask.Rate == 0 {
		op.Rank, in = u.a.Cols(), append(in, p.dz.buf, u.a.buf)
	} else if u != nil {
		u.giveInput(t, p.dz)
	}
	var dx compute.Buffer
	dx, op.Accumulate = t.target(p.x)
	t.run(op, bufs(dx), in)
}

// LowRank adds the update of a Projection to y in place. y is the result of a Linear
// just made.
func (t *Tape) LowRank(y, x, a, b *Tensor, scale, dropout float32) {
	l := t.newLowRank(x, a, b, scale, dropout)
	t.run(compute.MatMul{Alpha: scale, Accumulate: true, RowWise: t.rowWise(), To: y.spec.DType}, bufs(y.buf), bufs(l.z.buf, b.buf))
	if !l.recorded(t) {
		return
	}
	t.push(y, func() {
		dz := l.inner(t, y)
		l.giveB(t, y)
		l.giveA(t, dz)
		if x.needsGrad {
			l.giveInput(t, dz)
		}
	}, l.mask.saved(x, l.z)...)
}

// LowRankRows adds the updates of several adapters to y in place, each to rows of its own:
// rows I32 [n, 2] says which. updates are A and B of each. It has no gradient.
func (t *Tape) LowRankRows(y, x, rows *Tensor, updates []*Tensor, scales []float32) {
	if t.record {
		t.fail(errors.New("updates of several adapters have no gradient"))
	}
	op := compute.LowRankRows{Scales: scales, RowWise: t.rowWise(), To: y.spec.DType}
	t.run(op, bufs(y.buf), append(bufs(x.buf, rows.buf), buffers(updates)...))
}

// lowRank is one low-rank update of a step.
type lowRank struct {
	x, a, b, z *Tensor // z = x A, F32 [T, r]
	scale      float32
	mask       mask
}

func (t *Tape) newLowRank(x, a, b *Tensor, scale, dropout float32) *lowRank {
	l := &lowRank{x: x, a: a, b: b, scale: scale, mask: t.newMask(dropout)}
	masked := l.masked(t)
	l.z = t.apply(compute.MatMul{Alpha: 1, RowWise: t.rowWise()}, masked.buf, a.buf)[0]
	l.unmask(t, masked)
	return l
}

func (l *lowRank) recorded(t *Tape) bool {
	return t.record && (l.a.needsGrad || l.b.needsGrad || l.x.needsGrad)
}

// masked is x with dropout. It is not kept: the key gives the same mask again.
func (l *lowRank) masked(t *Tape) *Tensor {
	if l.mask.Rate == 0 {
		return l.x
	}
	return t.apply(l.mask.Dropout, l.x.buf, l.mask.keys.buf)[0]
}

// unmask gives back what masked made.
func (l *lowRank) unmask(t *Tape, masked *Tensor) {
	if masked != l.x {
		t.Done(masked)
	}
}

// inner is the gradient of z, nil where nothing needs it; y has its own.
func (l *lowRank) inner(t *Tape, y *Tensor) *Tensor {
	if !l.a.needsGrad && !l.x.needsGrad {
		return nil
	}
	return t.apply(compute.MatMul{TransB: true, Alpha: l.scale}, y.grad, l.b.buf)[0] // [T, r]
}

// giveB adds to the gradient of B.
func (l *lowRank) giveB(t *Tape, y *Tensor) {
	if l.b.needsGrad {
		db, acc := t.target(l.b)
		t.run(compute.MatMul{TransA: true, Alpha: l.scale, Accumulate: acc}, bufs(db), bufs(l.z.buf, y.grad))
	}
}

// giveA adds to the gradient of A; dz is that of z.
func (l *lowRank) giveA(t *Tape, dz *Tensor) {
	if !l.a.needsGrad {
		return
	}
	x := l.masked(t)
	da, acc := t.target(l.a)
	t.run(compute.MatMul{TransA: true, Alpha: 1, Accumulate: acc}, bufs(da), bufs(x.buf, dz.buf))
	l.unmask(t, x)
}

// giveInput adds to the gradient of x; dz is that of z.
func (l *lowRank) giveInput(t *Tape, dz *Tensor) {
	if l.mask.Rate == 0 {
		dx, acc := t.target(l.x)
		t.run(compute.MatMul{TransB: true, Alpha: 1, Accumulate: acc, To: l.x.spec.DType}, bufs(dx), bufs(dz.buf, l.a.buf))
		return
	}
	g := t.apply(compute.MatMul{TransB: true, Alpha: 1, To: l.x.spec.DType}, dz.buf, l.a.buf)[0]
	l.mask.cover(t, g)
	t.give(l.x, g)
}
