package nn

import "github.com/lentil-lm/lentil/tensor"

// ByRow is what adapters of several models add to one Linear in a pass over rows of all of
// them. The models share their weights, so that the base product runs once for all rows.
// It has no gradient, and owns nothing.
type ByRow struct {
	Rows    *tensor.Tensor // I32 [n, 2]: the rows [from, to) of each update; others have none
	Updates []*LoRA        // no DoRA, none of experts
}

// Forward is base(x), with the update of its adapter for each row.
func (b *ByRow) Forward(t *tensor.Tape, base *Linear, x, _ *tensor.Tensor) *tensor.Tensor {
	y := t.Linear(x, base.Weight, base.Bias)
	var matrices []*tensor.Tensor
	var scales []float32
	for _, u := range b.Updates {
		matrices, scales = append(matrices, u.A, u.B), append(scales, u.Scale)
	}
	t.LowRankRows(y, x, b.Rows, matrices, scales)
	return y
}

// Params are none: they belong to the models whose adapters they are.
func (b *ByRow) Params() []Param { return nil }

// Free leaves all to the owners.
func (b *ByRow) Free() {}
