package cuda

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// each32 queues a kernel of one warp for each of n segments or pairs.
func (c *call) each32(n int) { c.launch(driver.Grid{X: n, Threads: 32}) }

func (d *Device) segmentSums(out, in []*buffer) {
	d.kernel("segment_sums").status().arrays(out[0].array, in[0].array, in[1].array).int(in[0].array.Shape[0]).each32(out[0].array.Shape[0])
}

func (d *Device) dpo(o compute.DPO, out, in []*buffer) {
	d.kernel("dpo").status().arrays(out[0].array, out[1].array, in[0].array, in[1].array, in[2].array, in[3].array).int(in[0].array.Shape[0]).float(o.Beta).
		each32(in[3].array.Shape[0])
}

func (d *Device) orpo(o compute.ORPO, out, in []*buffer) {
	pairs := in[3].array.Shape[0]
	d.kernel("orpo").status().arrays(out[0].array, out[1].array, in[0].array, in[1].array, in[2].array, in[3].array).int(pairs, in[0].array.Shape[0]).
		float(o.Beta).double(compute.Surest).each32(pairs)
}

func (d *Device) scaleRows(out, in []*buffer) {
	x := in[0].array
	d.kernel("scale_rows_"+letter(x.DType)).arrays(out[0].array, x, in[1].array).int(x.Shape[1]).blocks(x.Shape[0])
}
