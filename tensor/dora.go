package tensor

import "github.com/lentil-lm/lentil/compute"

// RowSquares writes ‖W‖² of every row into squares [out].
func (t *Tape) RowSquares(squares *Tensor, w *Weight) {
	t.run(compute.RowSquares{Weight: w.Weight}, bufs(squares.buf), bufs(w.buf))
}

// UpdatedNorm writes the length of every row of W + scale·(A B)ᵀ into norm [out].
// squares are those of RowSquares. It has no gradient. The work is that of a forward
// pass of r tokens: see compute.UpdatedNorm.
func (t *Tape) UpdatedNorm(norm *Tensor, w *Weight, squares, a, b *Tensor, scale float32) {
	t.Scope(func() *Tensor {
		rank := a.Cols()
		one := make([]float32, rank*rank)
		for i := range rank {
			one[i*rank+i] = 1
		}
		at := t.apply(compute.MatMul{TransB: true, Alpha: 1}, t.Floats(one, rank, rank).buf, a.buf)[0] // Aᵀ [r, in]
		c := t.apply(compute.Linear{Weight: w.Weight, Exact: true}, at.buf, w.buf)[0]                  // AᵀWᵀ [r, out]
		gram := t.apply(compute.MatMul{TransA: true, Alpha: 1}, a.buf, a.buf)[0]                       // AᵀA [r, r]
		t.run(compute.MatMul{Alpha: scale / 2, Accumulate: true}, bufs(c.buf), bufs(gram.buf, b.buf))  // + scale/2 · AᵀA B
		t.run(compute.UpdatedNorm{Scale: scale}, bufs(norm.buf), bufs(squares.buf, b.buf, c.buf))
		return nil
	})
}

// Magnitude is x · m/norm + bias, by column: [T, out]. The backward pass takes norm for
// a constant, as DoRA does. x is the result of a Linear just made, and of no use
// afterwards. A nil bias is none.
func (t *Tape) Magnitude(x, m, norm, bias *Tensor) *Tensor {
	op, in := compute.Magnitude{Bias: bias != nil}, bufs(x.buf, m.buf, norm.buf)
	if bias != nil {
		in = append(in, bias.buf)
	}
	trainB := bias != nil && bias.needsGrad
	if !t.record || !(x.needsGrad || m.needsGrad || trainB) {
		t.run(op, bufs(x.buf), in)
		return x
	}
	y := t.apply(op, in...)[0]
	t.push(y, func() {
		if trainB {
			db, acc := t.target(bias)
			t.run(compute.SumRows{Accumulate: acc}, bufs(db), bufs(y.grad))
		}
		t.ownGrad(y)
		t.run(compute.MagnitudeGrad{}, bufs(y.grad, t.sum(m)), bufs(x.buf, m.buf, norm.buf, y.grad))
		if x.needsGrad {
			t.pass(x, y)
		}
	}, x)
	return y
}
