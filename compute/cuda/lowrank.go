package cuda

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// A thin product has one matrix of activations, x [rows, many] of bf16, and one of few columns, in float32. A narrow one, c = x s,
// sums over the columns of x, a tall one, c = sᵀ x, over its rows: see kernels/lowrank.cuh.
type thin struct {
	c, x, s    array
	few, many  int
	tall       bool
	turned     bool // narrow: s is [few, many] instead of [many, few]; tall: c is [many, few] instead of [few, many]
	accumulate bool // into c
	alpha      float32
}

// thinGroup is what thin products have in common that are launched as one.
type thinGroup struct {
	tall bool
	rows int
}

// As in kernels/lowrank.cuh: products of a launch, rows of a narrow block, and the lengths that sums are cut into.
const (
	mostThin    = 6
	narrowRows  = 64
	narrowDepth = 512
	tallWidth   = 64
	tallDepth   = 512
)

// thin multiplies, and with it those that follow.
func (d *Device) thin(rows int, p thin) {
	if w := &d.waits; w.gates.takes(p, w.thin) {
		w.thin = append(w.thin, p)
		return
	}
	key := thinGroup{p.tall, rows}
	list, counters := d.waits.thin, key.counters(p)
	full := len(list) == mostThin
	for _, w := range list {
		counters += key.counters(w)
		full = full || p.after(w)
	}
	full = full || counters > countersHeld
	g := d.join(key, full, func() { d.thinAll(key) })
	g.thin = append(g.thin, p)
}

// after reports whether p cannot be made at the same time as w, which comes before it.
func (p thin) after(w thin) bool {
	return p.c.overlaps(w.c) || p.c.overlaps(w.x) || p.c.overlaps(w.s) || p.x.overlaps(w.c) || p.s.overlaps(w.c)
}

func (a array) overlaps(b array) bool {
	return a.ptr < b.ptr+driver.Ptr(b.Bytes()) && b.ptr < a.ptr+driver.Ptr(a.Bytes())
}

// units is in how many blocks the products of an x are made, beside the other way of the grid.
func (k thinGroup) units(p thin) int {
	if k.tall {
		return (p.many + tallWidth - 1) / tallWidth
	}
	return (p.many + narrowDepth - 1) / narrowDepth
}

// counters is the most that a product uses: blocks that share a sum count themselves.
func (k thinGroup) counters(p thin) int {
	if k.tall {
		return k.units(p)
	}
	return (k.rows + narrowRows - 1) / narrowRows
}

const thinWords = 7 // of a struct Thin

// thinWords adds the product as a struct Thin. units is the first of its x; a sum of several parts has work memory for them.
func (d *Device) thinWords(words []uint64, p thin, parts, units int) []uint64 {
	var sums array
	if parts > 1 {
		sums = d.scratch(compute.F32, parts, p.c.Shape.Elems())
	}
	flags := btoi(p.turned) | btoi(p.accumulate)<<1
	return append(words, uint64(p.c.ptr), uint64(p.x.ptr), uint64(p.s.ptr), uint64(sums.ptr),
		uint64(p.few)|uint64(p.many)<<32, uint64(units)|uint64(flags)<<32, uint64(math.Float32bits(p.alpha)))
}

// thinAll launches the products that wait. Those of one x lie side by side, in the order in which they came.
func (d *Device) thinAll(key thinGroup) {
	list := d.waits.thin
	words, n, units := make([]uint64, 0, thinWords*mostThin), 0, 0
	parts := func(p thin) int {
		if key.tall {
			return (key.rows + tallDepth - 1) / tallDepth
		}
		return key.units(p)
	}
	for i, p := range list {
		if key.sharesX(list[:i], p) {
			continue
		}
		for _, q := range list[i:] {
			if q.x.ptr != p.x.ptr || q.many != p.many {
				continue
			}
			words = d.thinWords(words, q, parts(q), units)
			n++
		}
		units += key.units(p)
	}
	name, grid := "narrow_mma", driver.Grid{X: (key.rows + narrowRows - 1) / narrowRows, Y: units, Threads: 256}
	if key.tall {
		name, grid.X = "tall_mma", (key.rows+tallDepth-1)/tallDepth
	}
	d.kernel(name).words(words[:cap(words)]...).int(n, key.rows).ptr(d.counters).launch(grid)
}

// sharesX reports whether one of list has the x of p.
func (k thinGroup) sharesX(list []thin, p thin) bool {
	for _, q := range list {
		if q.x.ptr == p.x.ptr && q.many == p.many {
			return true
		}
	}
	return false
}
