package cuda

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// buffers adds the addresses of outputs and inputs.
func (c *call) buffers(lists ...[]*buffer) *call {
	for _, l := range lists {
		for _, b := range l {
			c.ptr(b.ptr)
		}
	}
	return c
}

func (d *Device) clipFactor(o compute.ClipFactor, out, in []*buffer) {
	d.kernel("clip_factor").arrays(out[0].array, in[0].array).float(o.Max).launch(driver.Grid{X: 1, Threads: 1})
}

func (d *Device) sgd(o compute.SGD, out, in []*buffer) {
	n := in[0].array.Shape.Elems()
	d.kernel("sgd").buffers(out, in).long(int64(n)).float(o.Momentum).float(o.Dampening).float(o.WeightDecay).flag(o.Nesterov).each(n)
}

func (d *Device) momentum(o compute.Momentum, out, in []*buffer) {
	n := in[0].array.Shape.Elems()
	d.kernel("momentum").buffers(out, in).long(int64(n)).float(float32(o.Beta)).float(float32(1 - o.Beta)).float(o.WeightDecay).flag(o.Nesterov).each(n)
}

func (d *Device) descend(o compute.Descend, out, in []*buffer) {
	n := in[0].array.Shape.Elems()
	d.kernel("descend").buffers(out, in).long(int64(n)).float(o.Factor).each(n)
}

func (d *Device) unitNorm(o compute.UnitNorm, out, in []*buffer) {
	x := in[0].array
	squares := d.scratch(compute.F32, 1)
	d.squares(squares, []array{x}, false)
	n := x.Shape.Elems()
	d.kernel("unit_norm").arrays(out[0].array, x, squares).long(int64(n)).float(o.Eps).each(n)
}

func (d *Device) reshape(out, in []*buffer) {
	n := in[0].array.Shape.Elems()
	d.kernel("cast_ff").arrays(out[0].array, in[0].array).long(int64(n)).each(n)
}

// adafactorWords is the struct Adafactor of optimizer.cuh.
func adafactorWords(o compute.Adafactor, rows, cols int, vector bool) []uint64 {
	ints := func(a, b int) uint64 { return uint64(uint32(a)) | uint64(uint32(b))<<32 }
	floats := func(a, b float32) uint64 { return uint64(math.Float32bits(a)) | uint64(math.Float32bits(b))<<32 }
	return []uint64{
		ints(rows, cols), ints(o.Stack, btoi(o.RelativeStep)), ints(btoi(o.WarmupInit), btoi(o.Scaled)), ints(btoi(o.Momentum), btoi(vector)),
		floats(o.MinScale, o.Eps), floats(o.Clip, o.WeightDecay), floats(float32(o.Beta1), float32(1-o.Beta1)), math.Float64bits(o.DecayRate),
	}
}

func (d *Device) adafactor(o compute.Adafactor, out, in []*buffer) {
	p, g, rate := in[0].array, in[1].array, in[len(in)-1].array
	vector, total, cols := len(p.Shape) == 1, p.Shape.Rows(), p.Shape.Cols()
	if p.Shape.Elems() == 0 {
		return
	}
	settings := adafactorWords(o, total/o.Stack, cols, vector)
	byRow, byCol, parts := d.scratch(compute.F32, total), d.scratch(compute.F32, o.Stack*cols), d.scratch(compute.U8, 2*8*sumParts)
	col, moments := 1, byRow // the place of the columns' moments among outputs
	if !vector {
		col, moments = 2, out[1].array
		d.kernel("adafactor_rows").arrays(moments, in[2].array, g, rate).words(settings...).blocks(total)
	}
	d.kernel("adafactor_cols").arrays(out[col].array, byCol, in[1+col].array, g, rate).words(settings...).
		launch(driver.Grid{X: (cols + 31) / 32, Y: o.Stack, Threads: 256})
	d.kernel("adafactor_factors").arrays(byRow, moments).words(settings...).blocks(o.Stack)
	d.kernel("adafactor_squares").arrays(parts, p, g, byRow, byCol).words(settings...).blocks(sumParts)
	var m2, m array
	if o.Momentum {
		m2, m = out[len(out)-1].array, in[len(in)-2].array
	}
	d.kernel("adafactor_update").arrays(out[0].array, m2, p, g, m, byRow, byCol, parts, rate).words(settings...).each(p.Shape.Elems())
}

func (d *Device) guard(out, in []*buffer) {
	x := in[0].array
	d.kernel("guard").arrays(out[0].array, in[1].array, x).long(int64(x.Shape.Elems())).blocks(1)
}
