package cuda

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// widestHead is the longest head that has kernels.
const widestHead = 256

// flashHead is the size of head that the tiles are made for, 0 where heads of this size have none.
func flashHead(o compute.Attention, types ...compute.DType) int {
	for _, t := range types {
		if t != compute.BF16 {
			return 0
		}
	}
	switch {
	case o.HeadDim%8 != 0 || o.HeadDim > 128:
		return 0
	case o.HeadDim > 64:
		return 128
	}
	return 64
}

// fewName begins the names of kernels for few queries.
func fewName(head int) string {
	switch {
	case head <= 64:
		return "few_1_"
	case head <= 128:
		return "few_2_"
	}
	return "few_4_"
}

func flashName(name string, head int) string {
	if head == 64 {
		return name + "64"
	}
	return name + "128"
}

// segments finds the first key of each query, and with ends where its segment ends.
func (d *Device) segments(bounds array, t int, ends bool) (starts, stops array) {
	starts = d.scratch(compute.I32, t)
	if ends {
		stops = d.scratch(compute.I32, t)
	}
	d.kernel("segment_ends").arrays(starts, stops, bounds).int(bounds.Shape[0], t, 0).each(t)
	return starts, stops
}

// attend queues the forward kernel. bounds is that of packed segments, or span the address of one span of a cache; lse may
// be 0. What a query gets does not depend on other segments.
func (d *Device) attend(o compute.Attention, y, q, k, v array, lse driver.Ptr, bounds *array, span driver.Ptr) {
	t, room := q.Shape[0], k.Shape[0]
	if t == 0 {
		return
	}
	name, cut, grid := "", driver.Ptr(0), driver.Grid{X: t, Y: o.Heads, Threads: 256}
	switch head := flashHead(o, q.DType, k.DType); {
	case head > 0 && (t > 1 || bounds != nil):
		name = flashName("flash_", head)
		grid = driver.Grid{X: (t + 63) / 64, Y: o.Heads, Threads: 128}
		if bounds != nil {
			n := bounds.Shape[0] - 1
			grid.X += n
			cut = d.scratch(compute.I32, 4+4*grid.X).ptr
			d.kernel("segment_tiles").ptr(cut).arrays(*bounds).int(n, t).each(n)
		}
	case bounds != nil:
		starts, _ := d.segments(*bounds, t, false)
		name, cut = "attention_"+letter(q.DType)+letter(k.DType), starts.ptr
	case q.DType == compute.BF16 && o.HeadDim%8 == 0:
		name = fewName(o.HeadDim) + letter(q.DType) + letter(k.DType)
	default:
		name = "attention_" + letter(q.DType) + letter(k.DType)
	}
	d.kernel(name).status().ptr(y.ptr).ptr(lse).arrays(q, k, v).ptr(cut).ptr(span).int(room).heads(o, t, 0).launch(grid)
}

func (d *Device) attention(o compute.Attention, out, in []*buffer) {
	d.attend(o, out[0].array, in[0].array, in[1].array, in[2].array, out[1].ptr, &in[3].array, 0)
}

// cacheAttention takes one span after another.
func (d *Device) cacheAttention(o compute.CacheAttention, out, in []*buffer) {
	q, spans := in[0].array, in[1].array
	for i := range spans.Shape[0] {
		span := spans.ptr + driver.Ptr(16*i)
		var k, v array
		if isDense(o.Format) {
			k, v = in[2+2*i].array, in[3+2*i].array
		} else {
			k, v = d.widened(o, in[2+6*i:], span, compute.F32), d.widened(o, in[5+6*i:], span, compute.F32) // bf16 would be felt in the scores
		}
		d.attend(o.Attention, out[0].array, q, k, v, 0, nil, span)
	}
}

func (d *Device) attentionGrad(o compute.AttentionGrad, out, in []*buffer) {
	q, k, v, bounds, y, lse, dy := in[0].array, in[1].array, in[2].array, in[3].array, in[4].array, in[5].array, in[6].array
	t := q.Shape[0]
	if t == 0 {
		return
	}
	starts, ends := d.segments(bounds, t, true)
	delta := d.scratch(compute.F32, t, o.Heads)
	d.kernel("row_dots_"+letter(q.DType)).arrays(delta, y, dy).long(int64(t * o.Heads)).int(o.HeadDim).blocks((t*o.Heads + 7) / 8)
	dq, dkv := "attention_dq_"+letter(q.DType), "attention_dkv_"+letter(q.DType)
	grid := driver.Grid{X: t, Threads: 256}
	if head := flashHead(o.Attention, q.DType); head > 0 {
		dq, dkv = flashName("flash_dq_", head), flashName("flash_dkv_", head)
		grid = driver.Grid{X: (t + 63) / 64, Threads: 128}
	}
	grid.Y = o.Heads
	d.kernel(dq).arrays(out[0].array, q, k, v, dy, lse, delta, starts).heads(o.Attention, t, 0).launch(grid)
	grid.Y = o.KVHeads
	d.kernel(dkv).arrays(out[1].array, out[2].array, q, k, v, dy, lse, delta, starts, ends).heads(o.Attention, t, 0).launch(grid)
}
