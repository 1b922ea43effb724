package cpu

import (
	"slices"

	"github.com/lentil-lm/lentil/compute"
)

// RowWise asks for rows that do not depend, to the bit, on how many go together.
// Speculative decoding needs that to check tokens: it compares them with what the model
// says when it goes token by token.
//
// The kernels of gemv.go keep to it: they treat each row by itself, or add up for each
// as for one (see rowwise_tile.go). Panels do not: they sum up in another order. So
// RowWise takes gemv's kernels for any number of rows. Where even a single row goes
// through panels, it takes the rows one by one.

// rowOf is row i of a.
func rowOf(a compute.Array, i int) compute.Array {
	n := a.Shape[1] * a.DType.Size()
	return compute.Array{Spec: compute.Spec{Shape: compute.Shape{1, a.Shape[1]}, DType: a.DType}, Data: a.Data[i*n : (i+1)*n]}
}

// linearRows runs a Linear once for each row of x.
func (d *Device) linearRows(o compute.Linear, y compute.Array, in []compute.Array) error {
	one := slices.Clone(in)
	for i := range y.Shape[0] {
		one[0] = rowOf(in[0], i)
		if o.Rank > 0 {
			one[len(in)-2] = rowOf(in[len(in)-2], i)
		}
		if err := d.linear(o, []compute.Array{rowOf(y, i)}, one); err != nil {
			return err
		}
	}
	return nil
}

// matMulRows runs a MatMul once for each row of a.
func (d *Device) matMulRows(o compute.MatMul, c compute.Array, in []compute.Array) error {
	for i := range c.Shape[0] {
		if err := d.matMul(o, []compute.Array{rowOf(c, i)}, []compute.Array{rowOf(in[0], i), in[1]}); err != nil {
			return err
		}
	}
	return nil
}
