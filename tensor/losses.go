package tensor

import "github.com/lentil-lm/lentil/compute"

// TokenLosses is the cross-entropy [R] of CrossEntropy for losses that are made of it: how
// much each counts follows from the losses themselves. The product with the head is not
// computed again for that, unless the head is trained.
func (t *Tape) TokenLosses(h, targets *Tensor, w *Weight) *Tensor {
	if w.Param != nil && w.Param.needsGrad && t.record {
		return t.TokenLossesLogits(t.Linear(h, w, nil), targets)
	}
	op := compute.CrossEntropy{Weight: w.Weight, Grad: t.record && h.needsGrad}
	out := t.apply(op, h.buf, targets.buf, t.ones(targets).buf, w.buf)
	if op.Grad {
		t.weighted(out[0], h, out[1])
	}
	return out[0]
}

// TokenLossesLogits is TokenLosses over given logits [R, V].
func (t *Tape) TokenLossesLogits(logits, targets *Tensor) *Tensor {
	out := t.apply(compute.CrossEntropyLogits{}, logits.buf, targets.buf, t.ones(targets).buf)
	if t.record && logits.needsGrad {
		t.weighted(out[0], logits, out[1])
	}
	return out[0]
}

// ones is a 1 for each of x [R].
func (t *Tape) ones(x *Tensor) *Tensor {
	return t.apply(compute.Fill{Value: 1, Shape: x.spec.Shape})[0]
}

// weighted records that the gradient of x is dx, with each row times the gradient of its loss.
func (t *Tape) weighted(loss, x, dx *Tensor) {
	t.push(loss, func() {
		t.run(compute.ScaleRows{}, bufs(dx.buf), bufs(dx.buf, loss.grad))
		t.give(x, dx)
	}, dx)
}

// ScaleBy is x times the number by [1]. It has no gradient.
func (t *Tape) ScaleBy(x, by *Tensor) *Tensor {
	return t.apply(compute.ScaleBy{}, x.buf, by.buf)[0]
}

// SegmentSums adds up x [R] over its segments, bounds [S+1]: [S]. It has no gradient.
func (t *Tape) SegmentSums(x, bounds *Tensor) *Tensor {
	return t.apply(compute.SegmentSums{}, x.buf, bounds.buf)[0]
}

// Preference is a loss over pairs of segments of token losses [R]: compute.DPO or ORPO, which
// tell of other and of what it returns, [P, 5]. When recording, the backward pass starts
// here, with the gradient of Σ weight·loss, weight [P].
func (t *Tape) Preference(op compute.Op, losses, bounds, other, weight *Tensor) *Tensor {
	out := t.apply(op, losses.buf, bounds.buf, other.buf, weight.buf)
	if t.record && losses.needsGrad {
		t.push(nil, func() { t.give(losses, out[1]) }, out[1])
	}
	return out[0]
}

// Constant runs f in a scope without recording: no gradient flows into its result. Products
// are as precise as recorded ones.
func (t *Tape) Constant(f func() *Tensor) *Tensor {
	record, exact := t.record, t.Exact
	t.record, t.Exact = false, exact || record
	defer func() { t.record, t.Exact = record, exact }()
	return t.Scope(f)
}

// Near has the backward pass start with the gradient of Σ weight·KL(q ‖ p): p is what h [R, D] predicts through the head w
// [V, D], q what other [R, D] predicts, which stays as it is. The gradient of each logit is p - q, that of the
// cross-entropy of h less that of other, whatever the targets [R] are: no logits have to exist. It returns
// log q(target) - log p(target) [R].
func (t *Tape) Near(h, other, targets *Tensor, weight []float32, w *Weight) *Tensor {
	op := compute.CrossEntropy{Weight: w.Weight, Grad: t.record && h.needsGrad}
	a := t.apply(op, h.buf, targets.buf, t.Floats(weight).buf, w.buf)
	b := t.apply(op, other.buf, targets.buf, t.Floats(negated(weight)).buf, w.buf)
	return t.near(h, a, b)
}

// NearLogits is Near over given logits [R, V].
func (t *Tape) NearLogits(logits, other, targets *Tensor, weight []float32) *Tensor {
	a := t.apply(compute.CrossEntropyLogits{}, logits.buf, targets.buf, t.Floats(weight).buf)
	b := t.apply(compute.CrossEntropyLogits{}, other.buf, targets.buf, t.Floats(negated(weight)).buf)
	return t.near(logits, a, b)
}

// near adds the gradients of both sides, a and b: the loss, and the gradient of x.
func (t *Tape) near(x *Tensor, a, b []*Tensor) *Tensor {
	if t.record && x.needsGrad {
		t.run(compute.Add{Alpha: 1}, bufs(a[1].buf), bufs(a[1].buf, b[1].buf))
		t.push(nil, func() { t.give(x, a[1]) }, a[1])
	}
	return t.apply(compute.Add{Alpha: -1}, a[0].buf, b[0].buf)[0]
}

func negated(x []float32) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = -v
	}
	return out
}
