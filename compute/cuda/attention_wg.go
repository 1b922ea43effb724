package cuda

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// byWarpgroups reports whether Hopper's kernels for attention take these heads. They look for the largest score before it is scaled.
func (d *Device) byWarpgroups(o compute.Attention) bool {
	return d.image.Hopper && (o.HeadDim == 64 || o.HeadDim == 128) && o.Scale > 0
}

// flashWG is the shared memory of kernels/attention_wg.cuh: 128 queries, two tiles of 128 keys and two of values, and ten
// barriers. flashWGGrad is that of the gradient: two tiles of 128 rows that stay, four pairs of half the size, the sums of
// 64 queries with each, and ten barriers.
func flashWG(head int) int     { return 5*128*head*2 + 10*8 }
func flashWGGrad(head int) int { return (2*128+4*2*64)*head*2 + 4*64*8 + 10*8 }

// attendByWarpgroups is attend on Hopper.
func (d *Device) attendByWarpgroups(o compute.Attention, y, q, k, v array, lse driver.Ptr, bounds *buffer, span driver.Ptr) {
	t, tiles, most := q.Shape[0], driver.Ptr(0), (q.Shape[0]+127)/128
	if bounds != nil {
		tiles, most = d.segmentTiles(bounds, t, 128)
	}
	d.kernel(fmt.Sprintf("flash_wg_%d", o.HeadDim)).status().tiles(q, 128).tiles(k, 128).tiles(v, 128).arrays(y).ptr(lse).ptr(tiles).ptr(span).int(k.Shape[0]).
		heads(o, t, 0).launch(driver.Grid{X: o.Heads, Y: most, Threads: 384})
}

// attentionGradByWarpgroups is attentionGrad on Hopper: blocks of keys and blocks of queries are one launch, so that short
// ones fill what long ones leave.
func (d *Device) attentionGradByWarpgroups(o compute.Attention, out, in []*buffer) {
	q, k, v, bounds, y, lse, dy := in[0].array, in[1].array, in[2].array, in[3], in[4].array, in[5].array, in[6].array
	t := q.Shape[0]
	tiles, most := d.segmentTiles(bounds, t, 128)
	pieces := t/64 + bounds.array.Shape[0] - 1
	sums := d.scratch(compute.F32, o.Heads, pieces, 2, 64)
	d.kernel(fmt.Sprintf("query_sums_%d", o.HeadDim)).arrays(sums, y, dy, lse).ptr(tiles).int(pieces, o.Heads).launch(driver.Grid{X: o.Heads, Y: most, Threads: 256})
	d.kernel(fmt.Sprintf("flash_wg_grad_%d", o.HeadDim)).tiles(q, 64).tiles(k, 64).tiles(v, 64).tiles(dy, 64).arrays(out[0].array, out[1].array, out[2].array, sums).
		ptr(tiles).int(most, pieces).heads(o, t, 0).launch(driver.Grid{X: most * (o.KVHeads + o.Heads), Threads: 384})
}
