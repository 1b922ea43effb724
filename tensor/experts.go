package tensor

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// Route picks k experts for each row of logits [T, E]: ids and scores, both [T, k].
// See compute.Route.
func (t *Tape) Route(logits *Tensor, k int, normalize bool) (ids, scores *Tensor) {
	out := t.apply(compute.Route{K: k, Normalize: normalize}, logits.buf)
	ids, scores = out[0], out[1]
	if t.record && logits.needsGrad {
		t.push(scores, func() {
			g := t.apply(compute.RouteGrad{Normalize: normalize}, logits.buf, ids.buf, scores.grad)[0]
			t.give(logits, g)
		}, logits, ids)
	}
	return ids, scores
}

// ExpertLinear is x W_eᵀ for the experts e that ids [T, K] pick for each token: [T·K, out].
// w is the stack of all W_e. x is [T, in], or [T·K, in] where each pair of token and
// expert has a row of its own.
func (t *Tape) ExpertLinear(x *Tensor, w *Weight, ids *Tensor, experts int) *Tensor {
	l := expertLinear{w: w, ids: ids, experts: experts}
	y := l.apply(t, x, t.act)
	trainW := w.Param != nil && w.Param.needsGrad
	if !t.record || !(x.needsGrad || trainW) {
		return y
	}
	saved := []*Tensor{ids}
	if trainW {
		saved = append(saved, x)
	}
	t.push(y, func() {
		if x.needsGrad {
			l.giveInput(t, x, y.grad)
		}
		if trainW {
			l.giveWeight(t, w.Param, x, y.grad, 1)
		}
	}, saved...)
	return y
}

// ExpertLinearLowRank is ExpertLinear plus scale · (x A_eᵀ) B_eᵀ, with dropout of x in
// the second term. a is the stack of all A_e [r, in], [E·r, in], and b that of all
// B_e [out, r], [E·out, r].
func (t *Tape) ExpertLinearLowRank(x *Tensor, w *Weight, ids *Tensor, experts int, a, b *Tensor, scale, dropout float32) *Tensor {
	y := t.ExpertLinear(x, w, ids, experts)
	l := &lowRank{x: x, a: a, b: b, scale: scale, mask: t.newMask(dropout)}
	down := expertLinear{w: denseWeight(a), ids: ids, experts: experts}
	up := expertLinear{w: denseWeight(b), ids: ids, experts: experts}
	t.Scope(func() *Tensor {
		l.z = down.apply(t, l.masked(t), compute.F32) // [T·K, r]
		return l.z
	})
	t.Scope(func() *Tensor {
		t.run(compute.Add{Alpha: scale}, bufs(y.buf), bufs(y.buf, up.apply(t, l.z, y.spec.DType).buf))
		return nil
	})
	if !l.recorded(t) {
		return y
	}
	t.push(y, func() {
		if b.needsGrad {
			up.giveWeight(t, b, l.z, y.grad, scale)
		}
		if !a.needsGrad && !x.needsGrad {
			return
		}
		dz := t.alloc(l.z.spec)
		t.run(up.gradInput(dz, true, false), bufs(dz.buf), bufs(y.grad, ids.buf, b.buf))
		t.run(compute.Scale{Alpha: scale}, bufs(dz.buf), bufs(dz.buf))
		if a.needsGrad {
			down.giveWeight(t, a, l.masked(t), dz.buf, 1)
		}
		if !x.needsGrad {
			return
		}
		if l.mask.Rate == 0 {
			down.giveInput(t, x, dz.buf)
			return
		}
		g := t.alloc(x.spec)
		t.run(down.gradInput(g, down.own(x), false), bufs(g.buf), bufs(dz.buf, ids.buf, a.buf))
		l.mask.cover(t, g)
		t.give(x, g)
	}, l.mask.saved(x, ids, l.z)...)
	return y
}

// Combine is Σ scores[t, k] · y[t·K+k] over k: [T, D].
func (t *Tape) Combine(y, scores *Tensor) *Tensor {
	sum := t.apply(compute.Combine{}, y.buf, scores.buf)[0]
	if t.record && (y.needsGrad || scores.needsGrad) {
		t.push(sum, func() {
			dy, dscores := t.alloc(y.spec), t.alloc(scores.spec)
			t.run(compute.CombineGrad{}, bufs(dy.buf, dscores.buf), bufs(sum.grad, y.buf, scores.buf))
			t.give(y, dy)
			t.give(scores, dscores)
		}, y, scores)
	}
	return sum
}

// expertLinear is a product with the matrices that ids pick.
type expertLinear struct {
	w       *Weight
	ids     *Tensor
	experts int
}

// denseWeight views a tensor as a weight.
func denseWeight(x *Tensor) *Weight {
	f := quant.Format{Kind: quant.Dense, DType: x.spec.DType}
	return &Weight{Weight: compute.Weight{Format: f, Rows: x.Rows(), Cols: x.Cols()}, buf: x.buf}
}

// own reports whether x has a row for each pair of token and expert.
func (l expertLinear) own(x *Tensor) bool {
	return x.Rows() == l.ids.Rows()*l.ids.Cols()
}

func (l expertLinear) apply(t *Tape, x *Tensor, to compute.DType) *Tensor {
	op := compute.ExpertLinear{Weight: l.w.Weight, Experts: l.experts, Own: t.err == nil && l.own(x), Exact: t.Exact || t.record, RowWise: t.rowWise(), To: to}
	return t.apply(op, x.buf, l.ids.buf, l.w.buf)[0]
}

// gradInput is the op for the gradient of x, of x's type.
func (l expertLinear) gradInput(x *Tensor, own, accumulate bool) compute.ExpertGradInput {
	return compute.ExpertGradInput{Weight: l.w.Weight, Experts: l.experts, Own: own, Accumulate: accumulate, To: x.spec.DType}
}

// giveInput adds to the gradient of x; dy is that of y.
func (l expertLinear) giveInput(t *Tape, x *Tensor, dy compute.Buffer) {
	dx, acc := t.target(x)
	t.run(l.gradInput(x, l.own(x), acc), bufs(dx), bufs(dy, l.ids.buf, l.w.buf))
}

// giveWeight adds alpha times the gradient of the weight to that of param, for inputs x
// and the gradient dy of the outputs.
func (l expertLinear) giveWeight(t *Tape, param, x *Tensor, dy compute.Buffer, alpha float32) {
	dw, acc := t.target(param)
	op := compute.ExpertGradWeight{Experts: l.experts, Alpha: alpha, Own: l.own(x), Accumulate: acc}
	t.run(op, bufs(dw), bufs(dy, x.buf, l.ids.buf))
}
