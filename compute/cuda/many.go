package cuda

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// manyGroup is what products of some tokens have in common.
type manyGroup struct {
	x            driver.Ptr
	tokens, cols int
	to           compute.DType
	zero         int
}

// many multiplies up to 64 tokens with a matrix, and with those that follow.
func (d *Device) many(p product) {
	key := manyGroup{p.x.ptr, p.x.Shape[0], p.cols, p.y.DType, p.w.stored.zeroPair()}
	g := d.join(key, len(d.waits.many) == mostRows, func() { d.manyAll(key, behind{}) })
	g.many = append(g.many, p)
}

// manyAdd adds to a product that waits, and launches it.
func (d *Device) manyAdd(o compute.Add, y, a, b array) bool {
	w := &d.waits
	if len(w.many) != 1 || o.Alpha != 1 || y.DType != compute.BF16 || w.many[0].y.DType != compute.BF16 {
		return false
	}
	p := w.many[0]
	if a.ptr == p.y.ptr {
		a, b = b, a
	}
	if b.ptr != p.y.ptr || a.ptr == b.ptr || y.ptr == p.x.ptr || y.Shape.Elems() != p.y.Shape.Elems() {
		return false
	}
	d.manyBehind(behind{"added_", y, a})
	return true
}

// manyGated makes silu(gate) · up of two products that wait, and launches them.
func (d *Device) manyGated(y, gate, up array) bool {
	w := &d.waits
	if len(w.many) != 2 || y.DType != compute.BF16 || w.many[0].y.DType != compute.BF16 || w.many[0].rows != w.many[1].rows || gate.ptr == up.ptr {
		return false
	}
	if w.many[0].y.ptr == up.ptr {
		w.many[0], w.many[1] = w.many[1], w.many[0]
	}
	if w.many[0].y.ptr != gate.ptr || w.many[1].y.ptr != up.ptr || y.ptr == w.many[0].x.ptr || y.Shape.Elems() != gate.Shape.Elems() {
		return false
	}
	d.manyBehind(behind{name: "gated_", sum: y})
	return true
}

func (d *Device) manyBehind(b behind) {
	key := d.waits.same.(manyGroup)
	d.waits.begin = func() { d.manyAll(key, b) }
	d.emit()
}

// manyBlocks is how many blocks a matrix should have at least, so that all cores read; manySteps are the fewest steps of
// 128 columns that are worth a block.
var manyBlocks, manySteps = 192, 4

// manySplit is how many parts the sums of a matrix are cut into. It depends on the matrix alone: results do not depend on
// how many tokens there are, nor on what is multiplied beside it.
func manySplit(rows, cols int) int {
	groups, steps, split := (rows+127)/128, (cols+127)/128, 1
	for groups*split < manyBlocks && steps >= 2*split*manySteps {
		split *= 2
	}
	return split
}

// manyShared is the shared memory of the kernels, by their tiles of 8 tokens: see Stages in kernels/linear_many.cuh.
const (
	manyShared2 = 7 * (4*blockBytes + 2*8*256)
	manyShared4 = 5 * (4*blockBytes + 4*8*256)
	manyShared8 = 3 * (4*blockBytes + 8*8*256)
)

func (d *Device) manyAll(key manyGroup, b behind) {
	words, blocks, parts := make([]uint64, 4*mostRows+mostRows/2+2), 0, b.name == "gated_"
	pair := func(at, i, v int) { words[at+i/2] |= uint64(v) << (32 * (i % 2)) }
	for i, p := range d.waits.many {
		words[i], words[mostRows+i] = uint64(p.y.ptr), uint64(p.w.ptr)
		if p.bias != nil {
			words[2*mostRows+i] = uint64(p.bias.ptr)
			pair(3*mostRows+mostRows/2, i, code(p.bias.array.DType))
		}
		split := manySplit(p.rows, key.cols)
		pair(3*mostRows, i, p.rows)
		pair(4*mostRows, i, split)
		blocks += (p.rows + 127) / 128 * split
		parts = parts || split > 1
	}
	var sums array
	if parts {
		sums = d.scratch(compute.F32, blocks, key.tokens, 128)
	}
	copy(words[4*mostRows+mostRows/2:], []uint64{uint64(b.sum.ptr), uint64(b.addend.ptr)})
	name := "many_" + b.name + "w4_"
	switch {
	case key.tokens <= 16:
		name += "2_"
	case key.tokens <= 32:
		name += "4_"
	default:
		name += "8_"
	}
	_, kb := packedBlocks(1, key.cols)
	d.kernel(name+letter(key.to)).ptr(key.x).int(key.tokens, key.cols, kb, key.zero).arrays(sums).ptr(d.counters).words(words...).
		launch(driver.Grid{X: blocks, Threads: 256})
}
