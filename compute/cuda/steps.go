package cuda

import (
	"strings"
	"unsafe"

	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// One token goes through a layer in six launches, and each waits for its weights anew. So where launches are captured, those
// that follow one another become the steps of one launch (kernels/steps.cuh), which does to the bit what they do.

// step is the struct Step of kernels/steps.cuh.
type step [37]uint64

const (
	stepNormed = 1 << iota
	stepAdded
	stepGated
	stepTurn
	stepAttend
)

const (
	mostSteps   = 24 // of a launch, as in kernels/steps.cuh
	fewestSteps = 3  // fewer gain nothing
	stepThreads = 512
	// stepShared is two rounds of weights of 16 warps, the steps, and a token.
	stepShared = stepThreads/32*2*oneRound*blockBytes/4 + mostSteps*stepBytes + oneRoom
	stepBytes  = 8 * len(step{})
	// stepMaps is how many descriptions of matrices a step has: of numbers, then of scales.
	stepMaps  = 2 * mostRows
	stepOther = 10 << 10 // shared memory that the kernel declares
)

// stepKinds are the kernels that can be steps.
var stepKinds = map[string]int{
	"one_w4_b": 0, "one_added_w4_b": stepAdded, "one_normed_w4_b": stepNormed, "one_gated_w4_b": stepGated, "one_normed_gated_w4_b": stepNormed | stepGated,
	"turn_store_b": stepTurn, "single_64_1": stepAttend, "single_64_4": stepAttend, "single_128_1": stepAttend, "single_128_4": stepAttend,
}

// asStep turns a launch into a step, where it can be one.
func (d *Device) asStep(r record) (s step, ok bool) {
	name := d.kernelName(r.f)
	kind, ok := stepKinds[name]
	if !ok {
		return s, false
	}
	w := r.words
	s[0] = halves(kind, r.grid.Y)
	switch kind {
	case stepTurn:
		const keys, values = 10, 10 + mostCaches + mostCaches/2
		copy(s[1:7], w[:6])
		s[7], s[12] = w[8], halves(int(w[6]), int(w[7]))
		s[8], s[9], s[10], s[11] = w[keys], w[keys+mostCaches], w[values], w[values+mostCaches]
		return s, r.grid.X == 1 && w[9] == 1
	case stepAttend:
		copy(s[1:9], w[:8])
		copy(s[9:13], w[9:13])
		s[13], s[14] = halves(int(w[8]), r.grid.X), 128
		if strings.HasPrefix(name, "single_64") {
			s[14] = 64
		}
		return s, true
	}
	const rows, around = 4, 4 + 7*mostRows
	s[1] = w[0]
	copy(s[2:35], w[rows:around+5])
	s[35], s[36] = halves(int(w[1]), int(w[2])), halves(int(w[around+5]), int(w[3]))
	return s, true
}

// stepping reports whether the card can go through steps: all blocks at a time, with enough shared memory.
func (d *Device) stepping() bool {
	return !d.noSteps && d.image.Hopper && d.card.Cooperative && d.card.SharedMemory >= stepShared+stepOther
}

// inSteps makes launches of steps of those that can be, and returns the memory that holds them.
func (d *Device) inSteps(list []record) ([]record, []driver.Ptr) {
	if !d.stepping() {
		return list, nil
	}
	var out []record
	var held []driver.Ptr
	var steps []step
	end := func() {
		if len(steps) >= fewestSteps {
			if r, p, ok := d.stepsLaunch(steps); ok {
				out, held = append(out[:len(out)-len(steps)], r), append(held, p)
			}
		}
		steps = steps[:0]
	}
	for _, r := range list {
		s, ok := d.asStep(r)
		if !ok || len(steps) == mostSteps {
			end()
		}
		if ok {
			steps = append(steps, s)
		}
		out = append(out, r)
	}
	end()
	return out, held
}

// stepsLaunch writes steps to the card, with what describes their matrices, and makes the launch that goes through them.
func (d *Device) stepsLaunch(steps []step) (r record, p driver.Ptr, ok bool) {
	k := d.kernels["token_steps"]
	if k == nil {
		if k = d.find("token_steps"); k == nil {
			return r, 0, false
		}
	}
	// a description is 16 words, and lies at a multiple of 64 bytes
	words := make([]uint64, 0, len(steps)*(16*stepMaps+len(step{})))
	for _, s := range steps {
		maps, err := d.matrices(s)
		if err != nil {
			return r, 0, false // launches do as well, here and below
		}
		words = append(words, maps[:]...)
	}
	begin := len(words)
	for _, s := range steps {
		words = append(words, s[:]...)
	}
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
	p, err := d.drv.Alloc(int64(len(bytes)), d.stream)
	if err != nil {
		return r, 0, false
	}
	if err := d.drv.CopyIn(p, bytes, d.stream); err != nil {
		d.fail(err)
	}
	gate := d.counters + driver.Ptr(4*countersHeld)
	r = record{k.f, driver.Grid{X: d.card.Multiprocessors, Threads: stepThreads, Shared: k.shared, Cooperative: true},
		[]uint64{uint64(p) + uint64(8*begin), uint64(p), uint64(len(steps)), uint64(gate)}, []uint8{0, 1, 2, 3}}
	return r, p, true
}

// matrices describes the weights of a step: each as rows of one block, in boxes of what 16 rows have of 8 blocks.
func (d *Device) matrices(s step) (maps [16 * stepMaps]uint64, err error) {
	if uint32(s[0]) >= stepTurn {
		return maps, nil
	}
	const weights, rows = 6, 22
	kb := int(s[35] >> 32)
	for i := range mostRows {
		n := int(uint32(s[rows+i/2] >> (32 * (i % 2))))
		if n == 0 {
			break
		}
		strips, _ := packedBlocks(n, 1)
		for j, cols := range []int{256, 32} { // of 512 bytes of numbers, 64 of scales
			if err := d.drv.Boxes(&d.call.tile, driver.Ptr(s[weights+i]), strips*kb, blockBytes/2, blockBytes/2, oneRound, cols); err != nil {
				return maps, err
			}
			words := d.call.tile.Words()
			copy(maps[16*(mostRows*j+i):], words[:])
		}
	}
	return maps, nil
}

// freeSteps gives the memory of steps back, behind the launches that read it.
func (d *Device) freeSteps(held []driver.Ptr) {
	for _, p := range held {
		d.fail(d.drv.Free(p, d.stream))
	}
}
