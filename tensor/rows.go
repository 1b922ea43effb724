package tensor

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// Stack is the first lengths[i] rows of each part [., D], one part behind the other:
// [Σ lengths, D], of the first part's type. It has no gradient.
func (t *Tape) Stack(parts []*Tensor, lengths []int) *Tensor {
	total := 0
	for _, n := range lengths {
		total += n
	}
	d, dtype := parts[0].Cols(), parts[0].spec.DType
	y := t.alloc(compute.Spec{Shape: compute.Shape{total, d}, DType: dtype})
	op := compute.StoreRows{Format: quant.Format{Kind: quant.Dense, DType: dtype}, Cols: d, Rows: []int{total}}
	at := 0
	for i, p := range parts {
		t.StoreRows([]*Tensor{y}, p, t.Spans([]compute.Span{{To: lengths[i], At: at, Keys: lengths[i]}}), op)
		at += lengths[i]
	}
	return y
}

// Unstack copies rows of x [T, D] into tensors of New [n, D]: each gets n rows, from the
// row of x on that from has for it.
func (t *Tape) Unstack(dst []*Tensor, x *Tensor, from []int) {
	op := compute.StoreRows{Format: quant.Format{Kind: quant.Dense, DType: x.spec.DType}, Cols: x.Cols()}
	spans := make([]compute.Span, len(dst))
	for i, y := range dst {
		n := y.Rows()
		op.Rows = append(op.Rows, n)
		spans[i] = compute.Span{From: from[i], To: from[i] + n, Keys: n}
	}
	t.StoreRows(dst, x, t.Spans(spans), op)
}
