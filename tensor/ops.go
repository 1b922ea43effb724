package tensor

import (
	"slices"

	"github.com/lentil-lm/lentil/compute"
)

// Embed looks up ids [T] in w [V, D]: [T, D].
func (t *Tape) Embed(ids *Tensor, w *Weight) *Tensor {
	y := t.apply(compute.Embed{Weight: w.Weight, To: t.act}, ids.buf, w.buf)[0]
	if t.record && w.Param != nil && w.Param.needsGrad {
		t.push(y, func() {
			t.run(compute.EmbedGrad{Rows: w.Rows}, bufs(t.sum(w.Param)), bufs(y.grad, ids.buf))
		}, ids)
	}
	return y
}

// EmbedInto looks up ids [T] in w into x [T, D].
func (t *Tape) EmbedInto(x, ids *Tensor, w *Weight) {
	t.run(compute.Embed{Weight: w.Weight, To: x.spec.DType}, bufs(x.buf), bufs(ids.buf, w.buf))
}

// Add is a + b, of one shape.
func (t *Tape) Add(a, b *Tensor) *Tensor {
	y := t.apply(compute.Add{Alpha: 1}, a.buf, b.buf)[0]
	if t.record && (a.needsGrad || b.needsGrad) {
		t.push(y, func() {
			switch {
			case !b.needsGrad:
				t.pass(a, y)
			case !a.needsGrad:
				t.pass(b, y)
			default:
				t.passBoth(a, b, y)
			}
		})
	}
	return y
}

// RMSNorm normalizes runs of len(w) values: see compute.RMSNorm.
func (t *Tape) RMSNorm(x, w *Tensor, eps float32) *Tensor {
	y := t.apply(compute.RMSNorm{Eps: eps}, x.buf, w.buf)[0]
	if t.record && (x.needsGrad || w.needsGrad) {
		t.push(y, func() {
			op := compute.RMSNormGrad{Eps: eps, Weight: w.needsGrad}
			var out []compute.Buffer
			if x.needsGrad {
				dx, acc := t.target(x)
				out, op.Accumulate = bufs(dx), acc
			} else {
				unused := t.alloc(x.spec)
				out = bufs(unused.buf)
			}
			if w.needsGrad {
				out = append(out, t.sum(w))
			}
			t.run(op, out, bufs(x.buf, w.buf, y.grad))
		}, x)
		t.repeatable(y, compute.RMSNorm{Eps: eps}, x, w)
	}
	return y
}

// Rotation holds the angles of the tokens of a pass, made once for all layers.
type Rotation struct{ cos, sin *Tensor }

// Tensors are the parts of the rotation, for Checkpoint's uses.
func (r Rotation) Tensors() []*Tensor { return []*Tensor{r.cos, r.sin} }

// RopeTable makes the Rotation of positions [T] for frequencies [R/2].
func (t *Tape) RopeTable(positions, frequencies *Tensor, scale float32) Rotation {
	cs := t.apply(compute.RopeTable{Scale: scale}, positions.buf, frequencies.buf)
	return Rotation{cs[0], cs[1]}
}

// RoPE rotates x in place: x is the result of a Linear or RMSNorm just made.
func (t *Tape) RoPE(x *Tensor, r Rotation, headDim int, traditional bool) {
	x.again = nil
	op := compute.RoPE{HeadDim: headDim, Traditional: traditional}
	t.run(op, bufs(x.buf), bufs(x.buf, r.cos.buf, r.sin.buf))
	if t.record && x.needsGrad {
		op.Inverse = true
		t.push(x, func() {
			t.ownGrad(x)
			t.run(op, bufs(x.grad), bufs(x.grad, r.cos.buf, r.sin.buf))
		}, r.cos, r.sin)
	}
}

// Attention attends from q to k and v within bounds: see compute.Attention.
func (t *Tape) Attention(q, k, v, bounds *Tensor, op compute.Attention) *Tensor {
	op.RowWise = t.rowWise()
	out := t.apply(op, q.buf, k.buf, v.buf, bounds.buf)
	y, lse := out[0], out[1]
	if t.record && (q.needsGrad || k.needsGrad || v.needsGrad) {
		t.push(y, func() {
			dq, dk, dv := t.alloc(q.spec), t.alloc(k.spec), t.alloc(v.spec)
			t.run(compute.AttentionGrad{Attention: op}, bufs(dq.buf, dk.buf, dv.buf), bufs(q.buf, k.buf, v.buf, bounds.buf, y.buf, lse.buf, y.grad))
			t.give(q, dq)
			t.give(k, dk)
			t.give(v, dv)
		}, q, k, v, bounds, y, lse)
	}
	return y
}

// SwiGLU is silu(gate) · up.
func (t *Tape) SwiGLU(gate, up *Tensor) *Tensor {
	y := t.apply(compute.SwiGLU{}, gate.buf, up.buf)[0]
	if t.record && (gate.needsGrad || up.needsGrad) {
		t.push(y, func() {
			dgate, dup := t.alloc(gate.spec), t.alloc(up.spec)
			t.run(compute.SwiGLUGrad{}, bufs(dgate.buf, dup.buf), bufs(gate.buf, up.buf, y.grad))
			t.give(gate, dgate)
			t.give(up, dup)
		}, gate, up)
		t.repeatable(y, compute.SwiGLU{}, gate, up)
	}
	return y
}

// CopyRows writes x [T, D] into the first T rows of dst, rounding to its type.
func (t *Tape) CopyRows(dst, x *Tensor) {
	t.run(compute.CopyRows{Rows: dst.Rows(), To: dst.spec.DType}, bufs(dst.buf), bufs(x.buf))
}

// GatherRows picks rows of x [T, D] by index [R]: [R, D].
func (t *Tape) GatherRows(x, rows *Tensor) *Tensor {
	y := t.apply(compute.GatherRows{}, x.buf, rows.buf)[0]
	if t.record && x.needsGrad {
		t.push(y, func() {
			g := t.alloc(x.spec)
			t.run(compute.ScatterRows{Rows: x.Rows()}, bufs(g.buf), bufs(y.grad, rows.buf))
			t.give(x, g)
		}, rows)
	}
	return y
}

// Choose writes into dst I32 [R], a tensor of New, the token that follows each row of
// logits [R, V]: chosen by the settings in how, of each row or of all, with the keys of
// each (see compute.Sample). The greedy take no keys.
func (t *Tape) Choose(dst, logits *Tensor, how []compute.Sampling, keys []compute.Key) {
	if !slices.ContainsFunc(how, func(s compute.Sampling) bool { return s.Temp != 0 }) {
		t.run(compute.ArgMax{}, bufs(dst.buf), bufs(logits.buf))
		return
	}
	t.run(compute.Sample{Rows: how}, bufs(dst.buf), bufs(logits.buf, t.keys(keys).buf))
}

// CrossEntropy is the loss [R] of predicting targets [R] from h [R, D] through
// the head w [V, D]. When recording, the backward pass starts here, with the gradient
// of Σ rowWeight·loss. A trainable head gets its gradient at once, so that the logits
// are computed once.
func (t *Tape) CrossEntropy(h, targets, rowWeight *Tensor, w *Weight) *Tensor {
	trainW := w.Param != nil && w.Param.needsGrad
	op := compute.CrossEntropy{Weight: w.Weight, Grad: t.record && (h.needsGrad || trainW)}
	in := bufs(h.buf, targets.buf, rowWeight.buf, w.buf)
	if !op.Grad {
		return t.apply(op, in...)[0]
	}
	op.GradWeight = trainW
	loss, dh := t.alloc(rowWeight.spec), t.alloc(h.spec)
	out := bufs(loss.buf, dh.buf)
	if trainW {
		out = append(out, t.sum(w.Param))
	}
	t.run(op, out, in)
	t.push(nil, func() { t.give(h, dh) }, dh)
	return loss
}

// CrossEntropyLogits is CrossEntropy over given logits [R, V].
func (t *Tape) CrossEntropyLogits(logits, targets, rowWeight *Tensor) *Tensor {
	loss, g := t.alloc(rowWeight.spec), t.alloc(logits.spec)
	t.run(compute.CrossEntropyLogits{}, bufs(loss.buf, g.buf), bufs(logits.buf, targets.buf, rowWeight.buf))
	if t.record && logits.needsGrad {
		t.push(nil, func() { t.give(logits, g) }, g)
	}
	return loss
}
