package cuda

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

func (d *Device) rowSquares(o compute.RowSquares, out, in []*buffer) {
	w, s := in[0], weightOf(in[0])
	if s.form == packed {
		_, kb := packedBlocks(o.Weight.Rows, o.Weight.Cols)
		d.kernel("row_squares_w4").arrays(out[0].array).ptr(w.ptr).int(o.Weight.Cols, kb).float(float32(s.zero)).blocks(o.Weight.Rows)
		return
	}
	d.kernel("row_squares_raw").arrays(out[0].array).ptr(w.ptr).ptr(s.scales).ptr(s.biases).rawFormat(s).int(o.Weight.Cols).blocks(o.Weight.Rows)
}

func (d *Device) updatedNorm(o compute.UpdatedNorm, out, in []*buffer) {
	n, rank := in[0].array.Shape[0], in[1].array.Shape[0]
	d.kernel("updated_norm").arrays(out[0].array, in[0].array, in[1].array, in[2].array).int(n, rank).float(o.Scale).each(n)
}

func (d *Device) magnitude(o compute.Magnitude, out, in []*buffer) {
	x := in[0].array
	n, p := x.Shape.Elems(), product{}
	if o.Bias {
		p.bias = in[3]
	}
	d.kernel("magnitude_"+letter(x.DType)).arrays(out[0].array, x, in[1].array, in[2].array).biasArgs(p).int(x.Shape[1]).long(int64(n)).each(n)
}

func (d *Device) magnitudeGrad(out, in []*buffer) {
	x := in[0].array
	d.kernel("magnitude_grad_"+letter(x.DType)).arrays(out[0].array, out[1].array, x, in[1].array, in[2].array, in[3].array).
		int(x.Shape[0], x.Shape[1]).blocks((x.Shape[1] + 31) / 32)
}

// mostRank is the highest rank that low_rank_rows has shared memory for.
const mostRank = 1024

func (d *Device) lowRankRows(o compute.LowRankRows, out, in []*buffer) {
	x, y, rows := in[0].array, out[0].array, in[1].array
	for i, scale := range o.Scales {
		a, b := in[2+2*i].array, in[3+2*i].array
		d.kernel("low_rank_rows_"+letter(y.DType)+letter(x.DType)).status().arrays(y, x, a, b).ptr(rows.ptr+driver.Ptr(8*i)).
			int(x.Shape[0], x.Shape[1], a.Shape[1], y.Shape[1]).float(scale).blocks(x.Shape[0])
	}
}
