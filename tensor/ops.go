package tensor

import (
	"errors"
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

// Linear is x Wᵀ + bias: [T, in] -> [T, out]. A nil bias is none.
func (t *Tape) Linear(x *Tensor, w *Weight, bias *Tensor) *Tensor {
	op := compute.Linear{Weight: w.Weight, Bias: bias != nil, Exact: t.Exact || t.record, RowWise: t.rowWise(), To: t.act}
	in := bufs(x.buf, w.buf)
	if bias != nil {
		in = append(in, bias.buf)
	}
	y := t.apply(op, in...)[0]
	trainW := w.Param != nil && w.Param.needsGrad
	trainB := bias != nil && bias.needsGrad
	if !t.record || !(x.needsGrad || trainW || trainB) {
		return y
	}
	var saved []*Tensor
	if trainW {
		saved = append(saved, x)
	}
	t.push(y, func() {
		if x.needsGrad {
			dx, acc := t.target(x)
			t.run(compute.LinearGradInput{Weight: w.Weight, Accumulate: acc, To: x.spec.DType}, bufs(dx), bufs(y.grad, w.buf))
		}
		if trainW {
			dw, acc := t.target(w.Param)
			t.run(compute.MatMul{TransA: true, Alpha: 1, Accumulate: acc}, bufs(dw), bufs(y.grad, x.buf))
		}
		if trainB {
			db, acc := t.target(bias)
			t.run(compute.SumRows{Accumulate: acc}, bufs(db), bufs(y.grad))
		}
	}, saved...)
	return y
}

// LinearLowRank is Linear plus the update of LoRA (Hu et al., 2021),
// scale · (dropout(x) A) B with A [in, r] and B [r, out].
func (t *Tape) LinearLowRank(x *Tensor, w *Weight, bias, a, b *Tensor, scale, dropout float32) *Tensor {
	if w.Param != nil && w.Param.needsGrad || bias != nil && bias.needsGrad {
		y := t.Linear(x, w, bias)
		t.LowRank(y, x, a, b, scale, dropout)
		return y
	}
	l := t.newLowRank(x, a, b, scale, dropout)
	op := compute.Linear{Weight: w.Weight, Bias: bias != nil, Exact: t.Exact || t.record, RowWise: t.rowWise(), Rank: a.Cols(), Scale: scale, To: t.act}
	in := bufs(x.buf, w.buf)
	if bias != nil {
		in = append(in, bias.buf)
	}
	y := t.apply(op, append(in, l.z.buf, b.buf)...)[0]
	if !l.recorded(t) {
		return y
	}
	t.push(y, func() {
		dz := l.gradients(t, y)
		if !x.needsGrad {
			return
		}
		op, in := compute.LinearGradInput{Weight: w.Weight, To: x.spec.DType}, bufs(y.grad, w.buf)
		if l.mask.Rate == 0 {
			op.Rank, in = a.Cols(), append(in, dz.buf, a.buf)
		} else {
			l.giveInput(t, dz)
		}
		var dx compute.Buffer
		dx, op.Accumulate = t.target(x)
		t.run(op, bufs(dx), in)
	}, l.mask.saved(x, l.z)...)
	return y
}

// LowRank adds the update of LinearLowRank to y in place. y is the result of a Linear
// just made.
func (t *Tape) LowRank(y, x, a, b *Tensor, scale, dropout float32) {
	l := t.newLowRank(x, a, b, scale, dropout)
	t.run(compute.MatMul{Alpha: scale, Accumulate: true, RowWise: t.rowWise(), To: y.spec.DType}, bufs(y.buf), bufs(l.z.buf, b.buf))
	if !l.recorded(t) {
		return
	}
	t.push(y, func() {
		dz := l.gradients(t, y)
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
	l.z = t.apply(compute.MatMul{Alpha: 1, RowWise: t.rowWise()}, l.masked(t).buf, a.buf)[0]
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

// gradients adds to the gradients of A and B, and returns that of z. y has its own.
func (l *lowRank) gradients(t *Tape, y *Tensor) *Tensor {
	if l.b.needsGrad {
		db, acc := t.target(l.b)
		t.run(compute.MatMul{TransA: true, Alpha: l.scale, Accumulate: acc}, bufs(db), bufs(l.z.buf, y.grad))
	}
	dz := t.apply(compute.MatMul{TransB: true, Alpha: l.scale}, y.grad, l.b.buf)[0] // [T, r]
	if l.a.needsGrad {
		x := l.masked(t)
		da, acc := t.target(l.a)
		t.run(compute.MatMul{TransA: true, Alpha: 1, Accumulate: acc}, bufs(da), bufs(x.buf, dz.buf))
	}
	return dz
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

// Add is a + b, of one shape.
func (t *Tape) Add(a, b *Tensor) *Tensor {
	y := t.apply(compute.Add{Alpha: 1}, a.buf, b.buf)[0]
	if t.record && (a.needsGrad || b.needsGrad) {
		t.push(y, func() {
			if !a.needsGrad || !b.needsGrad {
				if a.needsGrad {
					t.pass(a, y)
				} else {
					t.pass(b, y)
				}
				return
			}
			g, acc := t.target(a)
			if acc {
				t.run(compute.Add{Alpha: 1}, bufs(g), bufs(g, y.grad))
			} else {
				t.run(compute.Scale{Alpha: 1}, bufs(g), bufs(y.grad))
			}
			t.pass(b, y)
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
