package cuda

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// A group is ops that came one after another and are launched as one: updates of all parameters, sums of squares, products
// of one input or that add up to one result, those of low-rank updates (lowrank.go), and products of one token with what
// stands before and behind them (fuse.go). It is launched before anything else is.
type group struct {
	same  any // what they have in common
	adam  []update
	sums  []array
	one   []product
	norm  *norm // before the products in one; nil for none
	sum   *sum  // that a norm may follow
	many  []product
	thin  []thin
	maker maker // before the products in thin; nil for none
	wgmma []product
	turns []array     // queries and keys to turn
	store []storeSpan // keys and values to store behind them
	begin func()      // queues the launch
	freed []area      // meanwhile, which the launch may still read
}

// An update is one parameter of the kernel adam.
type update struct{ p, m, v, g array }

// What a launch takes, as in kernels/optimizer.cuh and kernels/linear_one.cuh.
const (
	mostUpdates = 96
	mostArrays  = 96
	mostRows    = 4
)

// join begins a group unless the one that waits has the same in common and room.
func (d *Device) join(same any, full bool, begin func()) *group {
	if d.waits.same != same || full {
		d.emit()
		d.waits.same, d.waits.begin = same, begin
	}
	return &d.waits
}

// emit queues the group that waits.
func (d *Device) emit() {
	begin := d.waits.begin
	if begin == nil {
		return
	}
	d.waits.same, d.waits.begin = nil, nil
	held := len(d.areas)
	begin()
	for _, a := range d.areas[held:] {
		d.release(a.ptr, a.bytes)
	}
	d.areas = d.areas[:held]
	for _, a := range d.waits.freed {
		d.giveBack(a.ptr, a.bytes)
	}
	d.waits.freed = d.waits.freed[:0]
	w := &d.waits
	w.adam, w.sums, w.one, w.many, w.thin, w.wgmma = w.adam[:0], w.sums[:0], w.one[:0], w.many[:0], w.thin[:0], w.wgmma[:0]
	w.turns, w.store = w.turns[:0], w.store[:0]
	w.norm, w.sum, w.maker = nil, nil, nil
}

// adamGroup is what parameters that are updated together have in common.
type adamGroup struct {
	op   compute.Adam
	rate driver.Ptr
}

func (d *Device) adam(o compute.Adam, out, in []*buffer) {
	n := in[0].array.Shape.Elems()
	for i, k := range []int{0, 2, 3} {
		if out[i].ptr != in[k].ptr {
			d.kernel("cast_ff").arrays(out[i].array, in[k].array).long(int64(n)).each(n)
		}
	}
	if n == 0 {
		return
	}
	rate := in[4].ptr
	g := d.join(adamGroup{o, rate}, len(d.waits.adam) == mostUpdates, func() { d.updateAll(o, rate) })
	g.adam = append(g.adam, update{out[0].array, out[1].array, out[2].array, in[1].array})
}

func (d *Device) updateAll(o compute.Adam, rate driver.Ptr) {
	list, longest := d.waits.adam, 0
	words := make([]uint64, 0, 5*mostUpdates)
	for _, u := range list {
		n := u.p.Shape.Elems()
		words = append(words, uint64(u.p.ptr), uint64(u.m.ptr), uint64(u.v.ptr), uint64(u.g.ptr), uint64(n))
		longest = max(longest, n)
	}
	b1, a1, b2, a2 := o.Decays()
	d.kernel("adam").ptr(rate).float(o.Eps).float(o.WeightDecay).float(b1).float(a1).float(b2).float(a2).
		double(o.Beta1).double(o.Beta2).flag(o.BiasCorrection).words(words[:cap(words)]...).
		launch(driver.Grid{X: min((longest+1023)/1024, 4096), Y: len(list), Threads: 256})
}

// sumsGroup is what arrays have in common whose squares are added up to one number.
type sumsGroup struct{ y driver.Ptr }

func (d *Device) sumSquares(o compute.SumSquares, out, in []*buffer) {
	y := out[0].array
	full := len(d.waits.sums) == mostArrays || !o.Accumulate
	g := d.join(sumsGroup{y.ptr}, full, func() { d.squares(y, d.waits.sums, o.Accumulate) })
	g.sums = append(g.sums, in[0].array)
}

// sumParts is how many partial sums there are of one array, sumPartsEach of each of several.
const sumParts, sumPartsEach = 256, 32

// squares is y (+)= the sum of the squares of all elements of the arrays.
func (d *Device) squares(y array, list []array, accumulate bool) {
	each := sumPartsEach
	if len(list) == 1 {
		each = sumParts
	}
	words := make([]uint64, 2*mostArrays)
	for i, x := range list {
		words[i], words[mostArrays+i] = uint64(x.ptr), uint64(x.Shape.Elems())
	}
	parts := d.scratch(compute.U8, 8*each*len(list))
	d.kernel("squares").arrays(parts).words(words...).launch(driver.Grid{X: each, Y: len(list), Threads: 256})
	d.kernel("sum_parts").arrays(y, parts).int(each * len(list)).flag(accumulate).blocks(1)
}
