package cuda

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// fewPairs is the most pairs of a token and an expert for which rows of weights are read where they lie, once a pair.
const fewPairs = 64

// warps queues a kernel of a warp for each of n rows.
func (c *call) warps(n int) { c.blocks((n + 7) / 8) }

func (d *Device) route(o compute.Route, out, in []*buffer) {
	x := in[0].array
	d.kernel("route_"+letter(x.DType)).arrays(out[0].array, out[1].array, x).int(x.Shape[0], x.Shape[1], o.K).flag(o.Normalize).warps(x.Shape[0])
}

func (d *Device) routeGrad(o compute.RouteGrad, out, in []*buffer) {
	x, ids := in[0].array, in[1].array
	d.kernel("route_grad_"+letter(x.DType)).status().arrays(out[0].array, x, ids, in[2].array).int(x.Shape[0], x.Shape[1], ids.Shape[1]).flag(o.Normalize).warps(x.Shape[0])
}

func (d *Device) combine(out, in []*buffer) {
	y, scores := in[0].array, in[1].array
	d.kernel("combine_"+letter(y.DType)).arrays(out[0].array, y, scores).int(scores.Shape[1], y.Shape[1]).blocks(scores.Shape[0])
}

func (d *Device) combineGrad(out, in []*buffer) {
	y, scores := in[1].array, in[2].array
	d.kernel("combine_grad_"+letter(y.DType)).arrays(out[0].array, out[1].array, in[0].array, y, scores).long(int64(y.Shape[0])).int(scores.Shape[1], y.Shape[1]).warps(y.Shape[0])
}

// An experts is a product of pairs [T·K, ..] with the matrices of their experts.
type experts struct {
	ids           array
	order, starts array
	count, pairs  int
	own           bool // a pair has a row of x of its own
}

// sorted queues the sorting of the pairs by expert.
func (d *Device) sorted(ids array, count int, own bool) experts {
	e := experts{ids: ids, count: count, pairs: ids.Shape.Elems(), own: own}
	if e.pairs > 0 {
		e.order, e.starts = d.scratch(compute.I32, e.pairs), d.scratch(compute.I32, count+1)
		d.kernel("expert_sort").status().arrays(e.order, e.starts, ids).int(e.pairs, count).blocks(count)
	}
	return e
}

// tiles cuts the pairs of each expert into tiles, of which there are at most `most`.
func (d *Device) tiles(e experts, size int) (tiles array, most int) {
	most = min(e.pairs, (e.pairs+size-1)/size+e.count)
	tiles = d.scratch(compute.I32, 4+4*most)
	d.kernel("expert_tiles").arrays(tiles, e.starts).int(e.count, size).launch(driver.Grid{X: 1, Threads: 1})
	return tiles, most
}

// divisor tells which row of an array a pair has: its own, or its token's.
func (e experts) divisor(own bool) int {
	if own {
		return 1
	}
	return e.ids.Shape[1]
}

// pairs adds the struct Pairs of experts.cuh.
func (c *call) pairs(order, tiles array, in, out int) *call {
	return c.words(uint64(order.ptr), uint64(tiles.ptr), uint64(uint32(in))|uint64(uint32(out))<<32)
}

func (d *Device) expertLinear(o compute.ExpertLinear, out, in []*buffer) {
	x, ids, w, y := in[0].array, in[1].array, in[2], out[0].array
	if ids.Shape.Elems() == 0 {
		return
	}
	if ids.Shape.Elems() <= fewPairs {
		d.expertFew(o, y, x, ids, w)
		return
	}
	d.expertProduct(d.sorted(ids, o.Experts, o.Own), y, x, w, o.Weight, false, true, o.Own, false)
}

// expertFew reads the rows that it takes where they lie.
func (d *Device) expertFew(o compute.ExpertLinear, y, x, ids array, w *buffer) {
	rows, per := o.Weight.Rows/o.Experts, ids.Shape[1]
	if o.Own {
		per = 1
	}
	s, grid := weightOf(w), driver.Grid{X: rows, Y: ids.Shape.Elems(), Threads: 32}
	if s.form == packed {
		_, kb := packedBlocks(o.Weight.Rows, o.Weight.Cols)
		d.kernel("expert_few_w4_"+letter(y.DType)).status().arrays(y, x).int(code(x.DType)).ptr(w.ptr).arrays(ids).
			int(per, o.Experts, rows, o.Weight.Cols, kb).float(float32(s.zero)).launch(grid)
		return
	}
	d.kernel("expert_few_raw_"+letter(y.DType)).status().arrays(y, x).int(code(x.DType)).ptr(w.ptr).ptr(s.scales).ptr(s.biases).arrays(ids).
		int(per, o.Experts, rows).rawFormat(s).int(o.Weight.Cols).launch(grid)
}

// expertProduct is y = x Wᵀ for each pair, or with back x W: y has a row for each pair where ownY, else adds nothing up and
// must have one pair a token.
func (d *Device) expertProduct(e experts, y, x array, w *buffer, weight compute.Weight, back, ownY, ownX, accumulate bool) {
	rows, cols := weight.Rows/e.count, weight.Cols
	width, reduced := rows, cols
	if back {
		width, reduced = cols, rows
	}
	s := weightOf(w)
	isFloat := s.form == dense && s.dtype == compute.F32
	if x.DType == compute.BF16 && !isFloat && rows%8 == 0 && cols%8 == 0 && !accumulate {
		m, name := d.expertMatrices(e, w, weight, compute.BF16), "expert_mma_"
		if back {
			name += "grad_"
		}
		tiles, most := d.tiles(e, 128)
		d.kernel(name+letter(y.DType)).arrays(y, x, m).pairs(e.order, tiles, e.divisor(ownX), e.divisor(ownY)).int(width, reduced).
			launch(driver.Grid{X: most, Y: (width + 127) / 128, Threads: 256, Shared: denseShared})
		return
	}
	m := d.expertMatrices(e, w, weight, compute.F32)
	bl, bn := int64(1), int64(cols)
	if back {
		bl, bn = bn, bl
	}
	tiles, most := d.tiles(e, 64)
	d.kernel("expert_product_"+letter(y.DType)+letter(x.DType)).arrays(y, x, m).pairs(e.order, tiles, e.divisor(ownX), e.divisor(ownY)).int(width, reduced).
		long(int64(rows) * int64(cols)).long(bl).long(bn).flag(accumulate).launch(driver.Grid{X: (width + 63) / 64, Y: most, Threads: 256})
}

// expertMatrices widens the matrices of the experts that have pairs.
func (d *Device) expertMatrices(e experts, w *buffer, weight compute.Weight, t compute.DType) array {
	s := weightOf(w)
	if s.form == dense && s.dtype == t {
		return array{compute.Spec{Shape: compute.Shape{weight.Rows, weight.Cols}, DType: t}, w.ptr}
	}
	y := d.scratch(t, weight.Rows, weight.Cols)
	grid := driver.Grid{X: weight.Rows, Threads: min(256, max(32, (weight.Cols/4+31)&^31))}
	if s.form == packed {
		_, kb := packedBlocks(weight.Rows, weight.Cols)
		d.kernel("expert_rows_w4_"+letter(t)).arrays(y).ptr(w.ptr).arrays(e.starts).int(weight.Rows/e.count, weight.Cols, kb).float(float32(s.zero)).launch(grid)
		return y
	}
	d.kernel("expert_rows_raw_" + letter(t)).arrays(y).ptr(w.ptr).ptr(s.scales).ptr(s.biases).arrays(e.starts).int(weight.Rows / e.count).rawFormat(s).int(weight.Cols).launch(grid)
	return y
}

// expertGradInput makes the gradient of each pair, and adds up those of a token where they share a row.
func (d *Device) expertGradInput(o compute.ExpertGradInput, out, in []*buffer) {
	dy, ids, dx := in[0].array, in[1].array, out[0].array
	if ids.Shape.Elems() == 0 {
		return
	}
	e := d.sorted(ids, o.Experts, true)
	if o.Own {
		d.expertProduct(e, dx, dy, in[2], o.Weight, true, true, true, o.Accumulate)
		return
	}
	parts := d.scratch(compute.F32, e.pairs, o.Weight.Cols)
	d.expertProduct(e, parts, dy, in[2], o.Weight, true, true, true, false)
	d.kernel("sum_pairs_"+letter(dx.DType)).arrays(dx, parts).int(ids.Shape[1], o.Weight.Cols).flag(o.Accumulate).blocks(ids.Shape[0])
}

func (d *Device) expertGradWeight(o compute.ExpertGradWeight, out, in []*buffer) {
	dy, x, ids := in[0].array, in[1].array, in[2].array
	rows, cols := dy.Shape[1], x.Shape[1]
	if rows == 0 || cols == 0 {
		return
	}
	if ids.Shape.Elems() == 0 {
		if !o.Accumulate {
			d.elements("fill", 0, out[0].array)
		}
		return
	}
	e := d.sorted(ids, o.Experts, o.Own)
	d.kernel("expert_weight_"+letter(dy.DType)+letter(x.DType)).arrays(out[0].array, dy, x, e.order, e.starts).int(e.divisor(o.Own), rows, cols).
		float(o.Alpha).flag(o.Accumulate).launch(driver.Grid{X: (cols + 63) / 64, Y: (rows + 63) / 64, Z: o.Experts, Threads: 256})
}
