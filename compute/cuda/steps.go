package cuda

import (
	"strings"
	"unsafe"

	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// One token goes through a layer in six launches, and each waits for its weights anew. So where launches are captured, those
// that follow one another become the steps of one launch (kernels/steps.cuh), which does to the bit what they do.

// step is the struct Step of kernels/steps.cuh.
type step [39]uint64

const (
	stepNormed = 1 << iota
	stepAdded
	stepGated
	stepTurn
	stepAttend
	stepWaits
)

// The words of a step that is a product.
const (
	stepToken, stepResults, stepWeights, stepRows = 1, 2, 6, 22
	stepSum, stepAddend, stepCols, stepMailed     = 32, 33, 35, 37
)

const (
	mostSteps   = 24 // of a launch, as in kernels/steps.cuh
	fewestSteps = 3  // fewer gain nothing
	stepThreads = 512
	// stepShared is two rounds of weights of 16 warps, the steps, and a token.
	stepShared = stepThreads/32*2*oneRound*blockBytes/4 + mostSteps*stepBytes + mostRoom
	stepBytes  = 8 * len(step{})
	// stepMaps is how many descriptions of matrices a step has: of numbers, then of scales.
	stepMaps  = 2 * mostRows
	stepOther = 12 << 10 // shared memory that the kernel declares
	// mostEntries is how many rounds of 8 warps by 8 blocks a unit of 8 warps may have in a launch.
	mostEntries = 256
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
	s[stepToken] = w[0]
	copy(s[stepResults:stepCols], w[rows:around+5])
	s[stepCols], s[36] = halves(int(w[1]), int(w[2])), halves(int(w[around+5]), int(w[3]))
	s[stepMailed], s[38] = halves(-1, -1), halves(-1, 0)
	return s, true
}

func (s *step) kind() int { return int(uint32(s[0])) }

// entries is how many rounds each of so many units has, at most.
func (s *step) entries(units int) int {
	if !s.product() {
		return 0
	}
	const round = 64 * oneRound * oneWarps
	n := (int(uint32(s[36])) + units - 1) / units * ((int(uint32(s[stepCols])) + round - 1) / round)
	if s.kind()&stepGated != 0 {
		n *= 2
	}
	return n
}

func (s *step) product() bool { return s.kind()&(stepTurn|stepAttend) == 0 }

// rows is how many rows matrix i of a product has, of at most mostRows.
func (s *step) rows(i int) int { return int(uint32(s[stepRows+i/2] >> (32 * (i % 2)))) }

// result is where the one result of a product lies and how long it is; of products with several it is none.
func (s *step) result() (p uint64, n int) {
	switch {
	case !s.product():
		return 0, 0
	case s.kind()&(stepAdded|stepGated) != 0:
		return s[stepSum], s.rows(0)
	case s.rows(1) != 0:
		return 0, 0
	}
	return s[stepResults], s.rows(0)
}

// mail tells steps which results blocks tell one another by mail: those of a product that the next one multiplies. All blocks
// read all of them, so that no block is more than a step ahead, and what it writes nobody reads any more. The other steps wait
// until all blocks have come to them. mail returns how many numbers there are.
func mail(steps []step) (size int) {
	at := make(map[uint64]int, len(steps))     // of results that came by mail
	since := make(map[uint64]bool, len(steps)) // results of products since blocks waited
	for i := 1; i < len(steps); i++ {
		before, s := &steps[i-1], &steps[i]
		p, n := before.result()
		token, addend := -1, -1
		delete(at, p)
		since[p] = true
		for j := 0; before.product() && j < mostRows; j++ {
			since[before[stepResults+j]] = true
		}
		if s.product() && p != 0 && s[stepToken] == p && int(uint32(s[stepCols])) == n {
			token = size
			at[p] = token
			before[38] = halves(token, 0)
			size += (n + 15) / 16 * 16
		}
		waits := token < 0
		if s.kind()&stepAdded != 0 {
			if from, ok := at[s[stepAddend]]; ok {
				addend = from
			} else if since[s[stepAddend]] {
				waits = true
			}
		}
		if s.product() {
			s[stepMailed] = halves(token, addend)
		}
		if waits {
			s[0] |= stepWaits
			clear(since)
		}
	}
	return size
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
	entries := 0
	end := func() {
		if len(steps) >= fewestSteps {
			if r, p, ok := d.stepsLaunch(steps); ok {
				out, held = append(out[:len(out)-len(steps)], r), append(held, p)
			}
		}
		steps, entries = steps[:0], 0
	}
	for _, r := range list {
		s, ok := d.asStep(r)
		n := s.entries(stepThreads / 256 * d.card.Multiprocessors)
		ok = ok && n <= mostEntries
		if !ok || len(steps) == mostSteps || entries+n > mostEntries {
			end()
		}
		if ok {
			steps, entries = append(steps, s), entries+n
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
	size, begin := mail(steps), len(words)
	for _, s := range steps {
		words = append(words, s[:]...)
	}
	gate := len(words)
	words = append(words, make([]uint64, 2-gate%2)...) // the mail lies at a multiple of 16 bytes
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
	sides := int64(2 * 2 * size)
	p, err := d.drv.Alloc(int64(len(bytes))+sides, d.stream)
	if err != nil {
		return r, 0, false
	}
	end := p + driver.Ptr(len(bytes))
	d.fail(d.drv.CopyIn(p, bytes, d.stream))
	if size > 0 {
		d.fail(d.drv.Set(end, 0xFF, sides, d.stream))
	}
	r = record{k.f, driver.Grid{X: d.card.Multiprocessors, Threads: stepThreads, Shared: k.shared, Cooperative: true},
		[]uint64{uint64(p) + uint64(8*begin), uint64(p), uint64(len(steps)), uint64(p) + uint64(8*gate), uint64(end), uint64(size)}, []uint8{0, 1, 2, 3, 4, 5}}
	return r, p, true
}

// matrices describes the weights of a step: each as rows of one block, in boxes of what 16 rows have of 4 blocks.
func (d *Device) matrices(s step) (maps [16 * stepMaps]uint64, err error) {
	if !s.product() {
		return maps, nil
	}
	kb := int(s[stepCols] >> 32)
	for i := range mostRows {
		n := s.rows(i)
		if n == 0 {
			break
		}
		strips, _ := packedBlocks(n, 1)
		for j, cols := range []int{256, 32} { // of 512 bytes of numbers, 64 of scales
			if err := d.drv.Boxes(&d.call.tile, driver.Ptr(s[stepWeights+i]), strips*kb, blockBytes/2, blockBytes/2, oneRound/2, cols); err != nil {
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
