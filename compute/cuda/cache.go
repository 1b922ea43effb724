package cuda

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
	"github.com/lentil-lm/lentil/quant"
)

// affine adds the parts of a cache of integers.
func (c *call) affine(parts []*buffer) *call {
	return c.arrays(parts[0].array, parts[1].array, parts[2].array)
}

// affineFormat adds how its numbers are stored.
func (c *call) affineFormat(f quant.Format) *call { return c.int(code(f.DType), f.Bits, f.Group) }

func (d *Device) quantizeRows(o compute.QuantizeRows, out, in []*buffer) {
	x := in[0].array
	groups := x.Shape.Elems() / o.Weight.Format.Group
	d.kernel("quantize_rows_" + letter(x.DType)).affine(out).arrays(x).long(int64(groups)).affineFormat(o.Weight.Format).each(groups)
}

// storeIntegers is storeRows for caches of integers.
func (d *Device) storeIntegers(o compute.StoreRows, out, in []*buffer) {
	x, spans := in[0].array, in[1].array
	for i, room := range o.Rows {
		d.kernel("quantize_span_"+letter(x.DType)).status().affine(out[3*i:]).arrays(x).ptr(spans.ptr+driver.Ptr(16*i)).int(o.Cols, room).affineFormat(o.Format).
			launch(driver.Grid{X: x.Shape[0], Threads: min(256, max(32, (o.Cols/o.Format.Group+31)&^31))})
	}
}

// widened is a cache of integers as floats, as far as it is in use.
func (d *Device) widened(o compute.CacheAttention, parts []*buffer, span driver.Ptr, t compute.DType) array {
	room, cols := parts[0].array.Shape[0], o.KVHeads*o.HeadDim
	y := d.scratch(t, room, cols)
	d.kernel("widen_span_" + letter(t)).arrays(y).affine(parts).ptr(span).affineFormat(o.Format).int(cols).
		launch(driver.Grid{X: room, Threads: min(256, max(32, (cols+31)&^31))})
	return y
}
