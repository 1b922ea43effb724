package cpu

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
)

// lowRankRows is compute.LowRankRows. The products of all adapters are small, so all of
// one kind are a region together.
func (d *Device) lowRankRows(o compute.LowRankRows, out, in []compute.Array) error {
	var down, up []smallProduct
	for i, scale := range o.Scales {
		from, to := o.Rows(in, i)
		if from < 0 || to < from || to > in[0].Shape[0] {
			return fmt.Errorf("update %d is for rows %d to %d of %d", i, from, to, in[0].Shape[0])
		}
		a, b := in[2+2*i], in[3+2*i]
		z := compute.Array{Spec: compute.Spec{Shape: compute.Shape{to - from, a.Shape[1]}, DType: compute.F32}}
		memory, err := d.scratch.floats(z.Shape.Elems())
		if err != nil {
			return err
		}
		z.Data = compute.FloatBytes(memory[:z.Shape.Elems()])
		down = append(down, smallProduct{compute.MatMul{Alpha: 1, RowWise: o.RowWise}, z, cutRows(in[0], from, to), a})
		up = append(up, smallProduct{compute.MatMul{Alpha: scale, Accumulate: true, RowWise: o.RowWise}, cutRows(out[0], from, to), z, b})
	}
	if err := d.smallProducts(down); err != nil {
		return err
	}
	return d.smallProducts(up)
}

// smallProduct is c (+)= a b.
type smallProduct struct {
	op      compute.MatMul
	c, a, b compute.Array
}

// smallProducts computes each as matMul does, and those with a short side together.
func (d *Device) smallProducts(list []smallProduct) error {
	var narrow []narrowProduct
	for _, p := range list {
		if p.a.Shape[0] == 0 {
			continue
		}
		if n, ok := narrowOf(p.op, p.c, p.a, p.b); ok {
			narrow = append(narrow, n)
			continue
		}
		if err := d.matMul(p.op, []compute.Array{p.c}, []compute.Array{p.a, p.b}); err != nil {
			return err
		}
	}
	if len(narrow) == 0 {
		return nil
	}
	return d.narrow(narrow...)
}
