package tensor

import (
	"errors"

	"github.com/lentil-lm/lentil/compute"
)

// QuantizeRows rounds x [T, Cols] into rows [at, at+T) of an affine matrix; dst are its
// buffers (see compute.Weight).
func (t *Tape) QuantizeRows(dst []*Tensor, w compute.Weight, x *Tensor, at int) {
	t.run(compute.QuantizeRows{At: at, Weight: w}, buffers(dst), bufs(x.buf))
}

// QuantizedAttention is Attention over keys and values that are stored as affine
// integers, three buffers each. It has no gradient.
func (t *Tape) QuantizedAttention(q *Tensor, k, v []*Tensor, bounds *Tensor, op compute.QuantizedAttention) *Tensor {
	if t.record && q.needsGrad {
		t.Fail(errors.New("quantized attention has no gradient"))
	}
	op.RowWise = t.rowWise()
	in := append(bufs(q.buf), buffers(k)...)
	in = append(in, buffers(v)...)
	return t.apply(op, append(in, bounds.buf)...)[0]
}

func buffers(list []*Tensor) []compute.Buffer {
	out := make([]compute.Buffer, len(list))
	for i, x := range list {
		out[i] = x.buf
	}
	return out
}
