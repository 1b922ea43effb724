package cpu

import (
	"slices"

	"github.com/lentil-lm/lentil/compute"
)

// RowWise asks for rows that do not depend, to the bit, on how many go together.
// Tokens to be checked in speculative decoding need that: what they are compared with
// is what the model says when it goes token by token. The kernels for few rows keep
// to it by treating each row for itself, or by adding up for each as for one (see
// rowwise_tile.go); panels do not, since they sum up in another order than those kernels
// do. So RowWise takes the former for any number of rows, and rows one by one where even
// a single row goes through panels.

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
