package tensor

import (
	"errors"

	"github.com/lentil-lm/lentil/compute"
)

// Spans copies spans to the device, I32 [n, 4].
func (t *Tape) Spans(spans []compute.Span) *Tensor {
	v := compute.SpanInts(spans...)
	return t.IntRows(v, len(v)/len(spans))
}

// QuantizeRows rounds x [Rows, Cols] to an affine matrix; dst are its buffers (see
// compute.Weight).
func (t *Tape) QuantizeRows(dst []*Tensor, w compute.Weight, x *Tensor) {
	t.run(compute.QuantizeRows{Weight: w}, buffers(dst), bufs(x.buf))
}

// StoreRows writes rows of x [T, Cols] into several KV caches, a span for each; dst are
// the buffers of all.
func (t *Tape) StoreRows(dst []*Tensor, x, spans *Tensor, op compute.StoreRows) {
	t.run(op, buffers(dst), bufs(x.buf, spans.buf))
}

// CacheAttention attends from q [T, D] to KV caches, a span for each; kv are the buffers
// of the keys and values of all. A nil y is made, others are filled where spans say. It
// has no gradient.
func (t *Tape) CacheAttention(y, q, spans *Tensor, kv []*Tensor, op compute.CacheAttention) *Tensor {
	if t.record && q.needsGrad {
		t.Fail(errors.New("attention to a cache has no gradient"))
	}
	op.RowWise = t.rowWise()
	if y == nil {
		y = t.alloc(q.spec)
	}
	t.run(op, bufs(y.buf), append(bufs(q.buf, spans.buf), buffers(kv)...))
	return y
}

func buffers(list []*Tensor) []compute.Buffer {
	out := make([]compute.Buffer, len(list))
	for i, x := range list {
		out[i] = x.buf
	}
	return out
}
