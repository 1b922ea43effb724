package cuda

import (
	"math"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// Decoding one token is many small ops on little data, and launches take longer than the ops themselves. So products of one
// token are held back, together with the norm before them and with the sum or the gate behind them, and launched as one
// kernel (kernels/linear_one.cuh). It writes what each of the ops writes, and to the bit what their own kernels write: which of
// them come together may depend on what else is done.

// oneGroup is what products of one token have in common.
type oneGroup struct {
	x    driver.Ptr
	cols int
	to   compute.DType
	zero int
}

// normGroup waits with a norm for the products of its result.
type normGroup struct{ y driver.Ptr }

// isOne reports whether the kernel for one token does a product.
func (d *Device) isOne(p *product) bool {
	return p.x.Shape[0] == 1 && !p.back && !p.accumulate && p.cols%8 == 0 && oneShared(p.cols) <= d.oneRoom() &&
		(p.rank == 0 || p.u.DType == compute.F32 && p.v.DType == compute.F32)
}

// oneNorm holds back the norm of one token.
func (d *Device) oneNorm(n norm) bool {
	width := n.w.Shape[0]
	if n.x.Shape.Elems() != width || n.x.DType != compute.BF16 || width%8 != 0 || oneShared(width) > d.oneRoom() || n.y.ptr == n.x.ptr {
		return false
	}
	g := d.join(normGroup{n.y.ptr}, true, func() { d.norms(n) })
	g.norm = &n
	return true
}

// one multiplies one token with a matrix, and with those that follow.
func (d *Device) one(p product) {
	key := oneGroup{p.x.ptr, p.cols, p.y.DType, p.w.stored.zeroPair()}
	if d.waits.touches(p.y.ptr) || p.readsResult(d.waits.one) {
		d.emit()
	}
	if w := &d.waits; w.same == any(normGroup{p.x.ptr}) && p.y.DType == compute.BF16 && w.norm.w.Shape[0] == p.cols {
		w.same, w.begin = key, func() { d.oneAll(key, behind{}) }
	}
	g := d.join(key, len(d.waits.one) == mostRows, func() { d.oneAll(key, behind{}) })
	g.one = append(g.one, p)
}

// touches reports whether the products that wait, or their norm, read or write what lies there.
func (g *group) touches(p driver.Ptr) bool {
	return g.norm != nil && (p == g.norm.x.ptr || p == g.norm.y.ptr) || slices.ContainsFunc(g.one, func(o product) bool { return p == o.x.ptr || p == o.y.ptr })
}

// turnGroup is what rotations have in common that wait for the keys and values to be stored.
type turnGroup struct {
	op       compute.RoPE
	cos, sin driver.Ptr
}

// holdTurn holds back the rotation of queries, then that of keys, in place; or back, in either order.
func (d *Device) holdTurn(t turn, x array) bool {
	if x.DType != compute.BF16 || t.op.Traditional || t.op.HeadDim%8 != 0 || 2*t.cos.Shape[1] != t.op.HeadDim || x.Shape[0] == 0 {
		return false
	}
	full := len(d.waits.turns) != 1 || d.waits.turns[0].ptr == x.ptr
	g := d.join(turnGroup{t.op, t.cos.ptr, t.sin.ptr}, full, func() { d.turnStore(t) })
	g.turns = append(g.turns, x)
	return true
}

// holdStore holds back the keys that were just turned, and launches all with the values.
func (d *Device) holdStore(s storeSpan) bool {
	w := &d.waits
	if len(w.turns) != 2 || w.turns[0].Shape[1]%w.turns[1].Shape[1] != 0 || w.same.(turnGroup).op.Inverse || len(s.to) == 0 || len(s.to) > mostCaches || s.x.DType != compute.BF16 || !s.x.Shape.Equal(w.turns[1].Shape) {
		return false
	}
	switch len(w.store) {
	case 0:
		if s.x.ptr != w.turns[1].ptr {
			return false
		}
		w.store = append(w.store, s)
	case 1:
		if first := w.store[0]; s.spans.ptr != first.spans.ptr || len(s.to) != len(first.to) || s.to[0].DType != first.to[0].DType ||
			s.x.ptr == w.turns[0].ptr || s.x.ptr == w.turns[1].ptr {
			return false
		}
		w.store = append(w.store, s)
		d.emit()
	}
	return true
}

// turnStore launches rotations and what is stored behind them, together where all four are there.
func (d *Device) turnStore(t turn) {
	turns, store := d.waits.turns, d.waits.store
	if len(store) < 2 {
		d.turnAll(t, turns)
		for _, s := range store {
			d.store(s)
		}
		return
	}
	q, k, keys, values := turns[0], turns[1], store[0], store[1]
	head := t.op.HeadDim
	d.kernel("turn_store_"+letter(keys.to[0].DType)).status().arrays(q, k, values.x, t.cos, t.sin).int(q.Shape[1]/k.Shape[1], head).
		arrays(keys.spans).int(len(keys.to)).arraysOf(keys.to).arraysOf(values.to).
		launch(driver.Grid{X: k.Shape[0], Y: k.Shape[1] / head, Threads: 256})
}

// turnAll launches one or two rotations that wait.
func (d *Device) turnAll(t turn, list []array) {
	if t.op.HeadDim%16 != 0 {
		for _, x := range list {
			d.turn(t, x, x)
		}
		return
	}
	a, b := list[0], array{}
	width := a.Shape[1]
	if len(list) > 1 {
		b = list[1]
		width += b.Shape[1]
	}
	d.kernel("turn").arrays(a, b, t.cos, t.sin).int(a.Shape[1], width-a.Shape[1], t.op.HeadDim).float(t.sign()).
		launch(driver.Grid{X: a.Shape[0], Threads: min(512, max(32, (width/16+31)&^31))})
}

// behind is what follows products in their launch.
type behind struct {
	name        string
	sum, addend array
}

// addend is what an Add adds to the one product that waits, where that can be done in its launch.
func addend(list []product, o compute.Add, y, a, b array) (array, bool) {
	if len(list) != 1 || o.Alpha != 1 || y.DType != compute.BF16 || list[0].y.DType != compute.BF16 {
		return array{}, false
	}
	p := list[0]
	if a.ptr == p.y.ptr {
		a, b = b, a
	}
	return a, b.ptr == p.y.ptr && a.ptr != b.ptr && y.ptr != p.x.ptr && y.Shape.Elems() == p.y.Shape.Elems()
}

// gates puts the two products that wait in the order of a SwiGLU, and reports whether that can be made in their launch.
func gates(list []product, y, gate, up array) bool {
	if len(list) != 2 || list[0].y.DType != compute.BF16 || y.DType != compute.BF16 || list[0].rows != list[1].rows || gate.ptr == up.ptr {
		return false
	}
	if list[0].y.ptr == up.ptr {
		list[0], list[1] = list[1], list[0]
	}
	return list[0].y.ptr == gate.ptr && list[1].y.ptr == up.ptr && y.ptr != list[0].x.ptr && y.Shape.Elems() == gate.Shape.Elems()
}

// oneAdd adds to a product that waits, and launches it.
func (d *Device) oneAdd(o compute.Add, y, a, b array) bool {
	added, ok := addend(d.waits.one, o, y, a, b)
	if !ok || d.waits.norm != nil {
		return false
	}
	d.oneBehind(behind{"added_", y, added})
	return true
}

// oneGated makes silu(gate) · up of two products that wait, and launches them.
func (d *Device) oneGated(y, gate, up array) bool {
	w := &d.waits
	if !gates(w.one, y, gate, up) || w.norm != nil && y.ptr == w.norm.x.ptr {
		return false
	}
	d.oneBehind(behind{name: "gated_", sum: y})
	return true
}

func (d *Device) oneBehind(b behind) {
	key := d.waits.same.(oneGroup)
	d.waits.begin = func() { d.oneAll(key, b) }
	d.emit()
}

const (
	oneRing  = 8 * (8*512 + 2*8*64) // what weights on their way take: OneRing of kernels/linear_one.cuh
	oneOther = 3328                 // shared memory that the kernels declare
	mostRoom = 62 << 10             // the most that a token may take, on any card
	// oneRound is how many blocks of weights a warp takes at a time, of oneWarps that share them.
	oneRound, oneWarps = 8, 8
)

// oneRoom is the most shared memory that a token may take. A plan, which has no card, reckons with a large one.
func (d *Device) oneRoom() int {
	if d.card.SharedMemory == 0 {
		return mostRoom
	}
	return min(mostRoom, d.card.SharedMemory-oneRing-oneOther)
}

// oneShared is what a token of so many numbers takes, filled up to 8 blocks of 64: three bytes each, and 16 of each 64.
func oneShared(cols int) int {
	const round = 64 * oneRound
	return (3*64 + 16) * oneRound * ((cols + round - 1) / round)
}

// oneResident is how many blocks of the kernel a multiprocessor gets at most. It has room for more: those of the kernel behind
// it, which begin to read their weights.
const oneResident = 3

// oneAll launches the products that wait, with what stands before and behind them.
func (d *Device) oneAll(key oneGroup, b behind) {
	name, items := b.name, 0
	var around [5]uint64
	if n := d.waits.norm; n != nil {
		around[0], around[1] = uint64(n.y.ptr), uint64(n.w.ptr)
		around[4] = uint64(code(n.w.DType)) | uint64(math.Float32bits(n.eps))<<32
		key.x = n.x.ptr
		name = "normed_" + name
	}
	around[2], around[3] = uint64(b.sum.ptr), uint64(b.addend.ptr)
	for _, p := range d.waits.one {
		items += (p.rows + 15) / 16
	}
	if b.name == "gated_" { // an item is of both
		items /= 2
	}
	_, kb := packedBlocks(1, key.cols)
	d.kernel("one_"+name+"w4_"+letter(key.to)).ptr(key.x).int(key.cols, kb, key.zero).rowsOf(d.waits.one).words(around[:]...).int(items).
		launch(driver.Grid{X: min(items, oneResident*d.card.Multiprocessors), Threads: 256, Shared: oneRing + oneShared(key.cols)})
}

// rowsOf adds the struct Rows of linear_one.cuh.
func (c *call) rowsOf(list []product) *call {
	const half = mostRows / 2
	var words [5*mostRows + 4*half]uint64
	narrow := words[5*mostRows:]
	for i, p := range list {
		put := func(at int, v uint32) { narrow[at*half+i/2] |= uint64(v) << (32 * (i % 2)) }
		words[i], words[mostRows+i] = uint64(p.y.ptr), uint64(p.w.ptr)
		if p.bias != nil {
			words[2*mostRows+i] = uint64(p.bias.ptr)
			put(1, uint32(code(p.bias.array.DType)))
		}
		words[3*mostRows+i], words[4*mostRows+i] = uint64(p.u.ptr), uint64(p.v.ptr)
		put(0, uint32(p.rows))
		put(2, uint32(p.rank))
		put(3, math.Float32bits(p.scale))
	}
	return c.words(words[:]...)
}
