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
	g := d.join(key, len(d.waits.many) == mostRows, func() { d.manyAll(key) })
	g.many = append(g.many, p)
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

func (d *Device) manyAll(key manyGroup) {
	words, blocks, parts := make([]uint64, 4*mostRows+mostRows/2), 0, false
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
	name := "many_w4_8_"
	switch {
	case key.tokens <= 16:
		name = "many_w4_2_"
	case key.tokens <= 32:
		name = "many_w4_4_"
	}
	_, kb := packedBlocks(1, key.cols)
	d.kernel(name+letter(key.to)).ptr(key.x).int(key.tokens, key.cols, kb, key.zero).arrays(sums).ptr(d.counters).words(words...).
		launch(driver.Grid{X: blocks, Threads: 256})
}
