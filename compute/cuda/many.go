package cuda

import (
	"fmt"
	"math"
	"strconv"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// manyGroup is what products of some tokens have in common.
type manyGroup struct {
	x            driver.Ptr
	tokens, cols int
	to           compute.DType
	zero         int
	parts        int // of the sums on Hopper
}

// manyRows is how many rows the matrices of a launch have together, so that the counters suffice: those of more rows are
// multiplied one by one, and their sums are not cut into parts.
var manyRows = 1 << 18

// many multiplies up to 64 tokens with a matrix, and with those that follow.
func (d *Device) many(p product) {
	if p.rank > 0 {
		p.u = d.inFloat(p.u)
	}
	key := manyGroup{p.x.ptr, p.x.Shape[0], p.cols, p.y.DType, p.w.stored.zeroPair(), 0}
	if way := d.manyWay(); way == onHopper {
		key.parts = way.split(p.rows, p.cols)
	}
	list, rows := d.waits.many, p.rows
	for _, o := range list {
		rows += o.rows
	}
	g := d.join(key, len(list) == mostRows || rows > manyRows || p.readsResult(list), func() { d.manyAll(key, behind{}) })
	g.many = append(g.many, p)
}

// manyAdd adds to a product that waits, and launches it.
func (d *Device) manyAdd(o compute.Add, y, a, b array) bool {
	added, ok := addend(d.waits.many, o, y, a, b)
	if ok {
		d.manyBehind(behind{"added_", y, added})
	}
	return ok
}

// manyGated makes silu(gate) · up of two products that wait, and launches them.
func (d *Device) manyGated(y, gate, up array) bool {
	ok := gates(d.waits.many, y, gate, up)
	if ok {
		d.manyBehind(behind{name: "gated_", sum: y})
	}
	return ok
}

func (d *Device) manyBehind(b behind) {
	key := d.waits.same.(manyGroup)
	d.waits.begin = func() { d.manyAll(key, b) }
	d.emit()
}

// manyWay is how a card multiplies some tokens, with mma.sync or on Hopper with wgmma: how many rows a block takes at a time, and how
// many parts the sums of a matrix are cut into. These depend on the matrix alone: results do not depend on how many tokens there
// are, nor on what is multiplied beside it.
type manyWay struct {
	name  string
	rows  int
	split func(rows, cols int) int
}

var (
	manyEvery = manyWay{"w4", 128, splitToFill}
	manyWG    = manyWay{"wg", 64, splitToFit}
	onHopper  = &manyWG
)

// splitToFill cuts sums until there are 192 blocks, so that all cores read, or parts have fewer than 8 steps of 128 columns.
func splitToFill(rows, cols int) int {
	groups, steps, split := (rows+127)/128, (cols+127)/128, 1
	for groups*split < 192 && steps >= 8*split {
		split *= 2
	}
	return split
}

// splitToFit cuts sums of matrices with few rows into parts of up to 1024 columns, longer ones of up to 3072, so that all cores read.
func splitToFit(rows, cols int) int {
	switch {
	case rows >= 8192:
		return 1
	case cols > 8192:
		return (cols + 3071) / 3072
	}
	return (cols + 1023) / 1024
}

func (d *Device) manyWay() *manyWay {
	if d.image.Hopper {
		return onHopper
	}
	return &manyEvery
}

// manyShared is the shared memory of the kernels, by their tiles of 8 tokens: see Stages in kernels/linear_many.cuh.
const (
	manyShared2 = 7 * (4*blockBytes + 2*8*256)
	manyShared4 = 5 * (4*blockBytes + 4*8*256)
	manyShared8 = 3 * (4*blockBytes + 8*8*256)
)

// manySharedWG is the shared memory of a kernel of kernels/linear_many_wg.cuh: see its Room.
func manySharedWG(tokens int) int {
	stages := map[int]int{16: 12, 32: 9, 64: 6}[tokens]
	return stages*(2*tokens*128+3*2*blockBytes+16) + 6*tokens*128 + 6*4
}

func init() {
	for _, tile := range []int{16, 32, 64} {
		for _, name := range []string{"many_wg_%d_b", "many_wg_%d_f", "many_added_wg_%d_b", "many_gated_wg_%d_b"} {
			name = fmt.Sprintf(name, tile)
			shared[name], waiting[name] = manySharedWG(tile), true
		}
	}
}

// manyAll launches the products that wait, with what stands behind them.
func (d *Device) manyAll(key manyGroup, b behind) {
	way, list, units := d.manyWay(), d.waits.many, 0
	for _, p := range list {
		units += (p.rows + way.rows - 1) / way.rows
	}
	if 2*units > countersHeld { // whose sums splitToFill does not cut
		way = &manyEvery
	}
	var words [5*mostRows + 5*mostRows/2 + 2]uint64 // the struct Many
	narrow := words[5*mostRows:]
	blocks, parts := 0, b.name == "gated_" && way == &manyEvery
	for i, p := range list {
		put := func(at, v int) { narrow[(at*mostRows+i)/2] |= uint64(uint32(v)) << (32 * (i % 2)) }
		words[i], words[mostRows+i] = uint64(p.y.ptr), uint64(p.w.ptr)
		if p.bias != nil {
			words[2*mostRows+i] = uint64(p.bias.ptr)
			put(1, code(p.bias.array.DType))
		}
		words[3*mostRows+i], words[4*mostRows+i] = uint64(p.u.ptr), uint64(p.v.ptr)
		split := way.split(p.rows, key.cols)
		put(0, p.rows)
		put(2, split)
		put(3, p.rank)
		put(4, int(math.Float32bits(p.scale)))
		blocks += (p.rows + way.rows - 1) / way.rows * split
		parts = parts || split > 1
	}
	narrow[5*mostRows/2], narrow[5*mostRows/2+1] = uint64(b.sum.ptr), uint64(b.addend.ptr)
	var sums array
	if parts {
		const beyond = 4 // which Hopper's kernels read, and leave out: three parts, and of an odd number of tiles one or two more
		sums = d.scratch(compute.F32, blocks+beyond, (key.tokens+7)/8*8, way.rows)
	}
	_, kb := packedBlocks(1, key.cols)
	name := "many_" + b.name + way.name + "_"
	if way == &manyEvery {
		tiles := 2
		for 8*tiles < key.tokens {
			tiles *= 2
		}
		d.kernel(name+strconv.Itoa(tiles)+"_"+letter(key.to)).ptr(key.x).int(key.tokens, key.cols, kb, key.zero).arrays(sums).ptr(d.counters).words(words[:]...).
			launch(driver.Grid{X: blocks, Threads: 256})
		return
	}
	tile := 16
	for tile < key.tokens {
		tile *= 2
	}
	c := d.kernel(name + strconv.Itoa(tile) + "_" + letter(key.to))
	m := c.tensorMap(list[0].x, tile)
	var all [16 + len(words) + 8]uint64 // the struct ManyArgs: a multiple of 64 bytes
	copy(all[:], m[:])
	copy(all[16:], words[:])
	copy(all[16+len(words):], []uint64{uint64(sums.ptr), uint64(d.counters), halves(key.tokens, kb), halves(key.parts, units), halves(key.zero, 0)})
	c.words(all[:]...).launch(driver.Grid{X: max(1, min(units, d.card.Multiprocessors/key.parts)), Y: key.parts, Threads: 896})
}
