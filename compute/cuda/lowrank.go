package cuda

import (
	"math"
	"slices"

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

// thinGroup is what thin products have in common that are launched together: in one launch, or in two, where tall ones share activations
// with narrow ones.
type thinGroup struct{ rows int }

// As in kernels/lowrank.cuh: products of a launch, rows of a narrow block, the lengths that sums are cut into, and the few columns that are
// made at a time.
const (
	mostThin    = 6
	narrowRows  = 64
	narrowDepth = 512
	tallWidth   = 64
	tallChunk   = 128
	tallDepth   = 8 * tallChunk
	sliceFew    = 8
)

// thin multiplies, and with it those that follow.
func (d *Device) thin(rows int, p thin) {
	if w := &d.waits; w.maker != nil && w.maker.takes(p, w.thin) {
		w.thin = append(w.thin, p)
		return
	}
	key := thinGroup{rows}
	full := d.waits.same == key && !key.takes(d.waits.thin, p)
	g := d.join(key, full, func() { d.thinAll(rows, d.waits.thin) })
	g.thin = append(g.thin, p)
}

// takes reports whether p can be made with list: narrow products, then tall ones. Behind narrow ones, tall ones come that are made of
// the same read, and with those others, in a launch of their own.
func (k thinGroup) takes(list []thin, p thin) bool {
	narrow, tall := split(list)
	pairs, counters := 0, k.counters(p)
	for _, w := range list {
		counters += k.counters(w)
	}
	for i := range tall {
		if partner(narrow, tall[:i], tall[i]) >= 0 {
			pairs++
		}
	}
	switch {
	case counters > countersHeld:
		return false
	case !p.tall:
		return len(tall) == 0 && len(narrow) < mostThin && !p.afterAny(narrow)
	case len(tall) == mostThin || p.afterAny(tall):
		return false
	}
	return len(narrow) == 0 || pairs > 0 || partner(narrow, tall, p) >= 0
}

// split cuts a list into the narrow products that it begins with, and the tall ones.
func split(list []thin) (narrow, tall []thin) {
	n := 0
	for n < len(list) && !list[n].tall {
		n++
	}
	return list[:n], list[n:]
}

// partner is the narrow product that the tall p is made with, of one read, or -1. Those before p have theirs.
func partner(narrow, before []thin, p thin) int {
	if len(narrow) > mostThin/2 || p.few > sliceFew || p.turned || p.afterAny(narrow) {
		return -1
	}
	found := -1
	for i, w := range narrow {
		if w.few > sliceFew || sharesX(narrow[:i], w) {
			return -1
		}
		if sharesX(narrow[i:i+1], p) && !sharesX(before, p) {
			found = i
		}
	}
	return found
}

func (p thin) afterAny(list []thin) bool { return slices.ContainsFunc(list, p.after) }

// after reports whether p cannot be made at the same time as w, which comes before it.
func (p thin) after(w thin) bool {
	return p.c.overlaps(w.c) || p.c.overlaps(w.x) || p.c.overlaps(w.s) || p.x.overlaps(w.c) || p.s.overlaps(w.c)
}

func (a array) overlaps(b array) bool {
	return a.ptr < b.ptr+driver.Ptr(b.Bytes()) && b.ptr < a.ptr+driver.Ptr(a.Bytes())
}

// units is in how many blocks the products of an x are made, beside the other way of the grid; parts is in how many parts a sum is.
func (p thin) units() int {
	if p.tall {
		return (p.many + tallWidth - 1) / tallWidth
	}
	return (p.many + narrowDepth - 1) / narrowDepth
}

func (p thin) parts(rows int) int {
	if p.tall {
		return (rows + tallDepth - 1) / tallDepth
	}
	return p.units()
}

// counters is the most that a product uses: blocks that share a sum count themselves.
func (k thinGroup) counters(p thin) int {
	if p.tall {
		return p.units()
	}
	return (k.rows + narrowRows - 1) / narrowRows
}

// A thinList is products of a launch, as structs Thin.
type thinList [thinWords * mostThin]uint64

const thinWords = 7 // of a struct Thin

// put makes p product i. sums is memory for the parts of its sum, first as in a struct Thin.
func (l *thinList) put(i int, p thin, sums array, first int) {
	flags := btoi(p.turned) | btoi(p.accumulate)<<1
	copy(l[thinWords*i:], []uint64{uint64(p.c.ptr), uint64(p.x.ptr), uint64(p.s.ptr), uint64(sums.ptr),
		uint64(p.few) | uint64(p.many)<<32, uint64(first) | uint64(flags)<<32, uint64(math.Float32bits(p.alpha))})
}

// sums is work memory for a sum of several parts.
func (d *Device) sums(p thin, parts int) (sums array) {
	if parts > 1 {
		sums = d.scratch(compute.F32, parts, p.c.Shape.Elems())
	}
	return sums
}

// thinAll launches products, narrow ones before tall ones.
func (d *Device) thinAll(rows int, list []thin) {
	narrow, tall := split(list)
	paired, rest := make([]thin, len(narrow), mostThin), make([]thin, 0, mostThin)
	pairs := 0
	for i, p := range tall {
		if n := partner(narrow, tall[:i], p); n >= 0 {
			paired[n] = p
			pairs++
		} else {
			rest = append(rest, p)
		}
	}
	var sums thinSums
	if pairs > 0 {
		sums = d.pairedAll(rows, narrow, paired)
	} else if len(narrow) > 0 {
		words, units := d.thinList(rows, narrow)
		d.kernel("narrow_mma").words(words[:]...).int(len(narrow), rows).ptr(d.counters).
			launch(driver.Grid{X: (rows + narrowRows - 1) / narrowRows, Y: units, Threads: 256})
	}
	if len(tall) == 0 {
		return
	}
	words, units := d.thinList(rows, rest)
	copy(words[thinWords*len(rest):], sums.words[:thinWords*sums.n])
	parts := (rows + tallDepth - 1) / tallDepth
	before := (sums.blocks + parts - 1) / parts
	name := "tall_mma"
	for i, p := range rest {
		if p.few > sliceFew || sharesX(rest[:i], p) {
			name = "tall_more_mma"
		}
	}
	d.kernel(name).words(words[:]...).int(len(rest), sums.n, before, rows).ptr(d.counters).
		launch(driver.Grid{X: parts, Y: before + units, Threads: 256})
}

// thinSums is tall products of which paired_mma has made the chunks, and in how many blocks they are added up.
type thinSums struct {
	words     thinList
	n, blocks int
}

// pairedAll launches narrow products with the tall ones that are made of the same read, some of which are none.
func (d *Device) pairedAll(rows int, narrow, tall []thin) (sums thinSums) {
	var words thinList
	units, chunks := 0, (rows+tallChunk-1)/tallChunk
	for i, p := range narrow {
		words.put(2*i, p, d.sums(p, p.units()), units)
		units += p.units()
		if p := tall[i]; p.tall {
			parts := d.scratch(compute.F32, chunks, p.c.Shape.Elems())
			words.put(2*i+1, p, parts, 0)
			sums.words.put(sums.n, p, parts, sums.blocks)
			sums.n++
			sums.blocks += (p.c.Shape.Elems() + 1023) / 1024
		}
	}
	d.kernel("paired_mma").words(words[:]...).int(len(narrow), rows).ptr(d.counters).launch(driver.Grid{X: chunks, Y: units, Threads: 256})
	return sums
}

// thinList lists products of one kind, and adds up their units. Those of one x lie side by side, in the order in which they came.
func (d *Device) thinList(rows int, list []thin) (words thinList, units int) {
	n := 0
	for i, p := range list {
		if sharesX(list[:i], p) {
			continue
		}
		for _, q := range list[i:] {
			if q.x.ptr == p.x.ptr && q.many == p.many {
				words.put(n, q, d.sums(q, q.parts(rows)), units)
				n++
			}
		}
		units += p.units()
	}
	return words, units
}

// sharesX reports whether one of list has the x of p.
func sharesX(list []thin, p thin) bool {
	return slices.ContainsFunc(list, func(q thin) bool { return q.x.ptr == p.x.ptr && q.many == p.many })
}
