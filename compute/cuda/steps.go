package cuda

import (
	"maps"
	"slices"
	"unsafe"

	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// One token goes through a layer in six launches, and each waits for its weights anew. So where launches are captured, those
// that follow one another become the steps of one launch (kernels/steps.cuh), which does to the bit what they do. Products
// are a step each; a rotation and the attention behind it are one.

// step is the struct Step of kernels/steps.cuh.
type step [40]uint64

const (
	stepNormed = 1 << iota
	stepAdded
	stepGated
	stepAttend
	stepWaits
)

// The words of a step that is a product.
const (
	stepToken, stepResults, stepWeights, stepRows = 1, 2, 6, 22
	stepNorm, stepSum, stepAddend                 = 30, 32, 33
	stepCols, stepItems, stepMailed, stepOut      = 35, 36, 37, 38
)

// The words of a step of attention: attendParts says where blocks hand over parts, attendHeads is the struct Heads.
const attendResult, attendParts, attendQuery, attendKey, attendHeads = 2, 3, 4, 5, 12

const (
	mostSteps   = 192 // of a launch, as in kernels/steps.cuh
	fewestSteps = 3   // fewer gain nothing
	stepThreads = 512
	// stepShared is two rounds of weights of 16 warps, and a token.
	stepShared = stepThreads/32*2*oneRound*blockBytes/4 + mostRoom
	// stepMaps is how many descriptions of matrices a step has: of numbers, then of scales.
	stepMaps  = 2 * mostRows
	stepOther = 18 << 10 // shared memory that the kernel declares
	// mostEntries is how many rounds of 8 warps by 8 blocks a unit of 8 warps may have in a launch.
	mostEntries = 512
)

// stepKinds are the kernels that are a step each.
var stepKinds = map[string]int{
	"one_w4_b": 0, "one_added_w4_b": stepAdded, "one_normed_w4_b": stepNormed, "one_gated_w4_b": stepGated, "one_normed_gated_w4_b": stepNormed | stepGated,
}

// asSteps turns the launches that a list begins with into steps, where they can be some: one product, or one with a rotation and the
// attention behind it. These are steps only so, since keys are asked for, and memory made ready, while the product is made.
func (d *Device) asSteps(list []record) (steps []step, launches int) {
	r := list[0]
	kind, ok := stepKinds[d.kernelName(r.f)]
	if !ok {
		return nil, 0
	}
	const rows, around = 4, 4 + 7*mostRows
	w, s := r.words, step{uint64(kind), r.words[0]}
	copy(s[stepResults:stepCols], w[rows:around+5])
	s[stepCols], s[stepItems] = halves(int(w[1]), int(w[2])), halves(int(w[around+5]), int(w[3]))
	s[stepMailed], s[stepOut] = halves(-1, -1), halves(-1, 0)
	if len(list) > 2 {
		if attend, ok := d.attendStep(list[1], list[2]); ok {
			return []step{s, attend}, 3
		}
	}
	return []step{s}, 1
}

// attendStep makes one step of a rotation and the attention behind it, if that is of the same token and the same caches.
func (d *Device) attendStep(turn, attend record) (s step, ok bool) {
	name := d.kernelName(attend.f)
	if d.kernelName(turn.f) != "turn_store_b" || name != "single_64" && name != "single_128" {
		return s, false
	}
	const keys, values = 10, 10 + mostCaches + mostCaches/2
	t, a := turn.words, attend.words
	room, heads, kv, head := a[8], int(a[9]>>32), int(uint32(a[10])), int(a[10]>>32)
	same := turn.grid.X == 1 && t[9] == 1 && t[1] == a[4] && t[8] == a[5] && int(t[7]) == head && int(t[6])*kv == heads && turn.grid.Y == kv &&
		t[keys] == a[6] && t[values] == a[7] && uint32(t[keys+mostCaches]) == uint32(room) && uint32(t[values+mostCaches]) == uint32(room)
	// what the attention gives must not lie where others still read the key or the value; a block has one part
	apart := func(x uint64) bool { return x+uint64(2*kv*head) <= a[1] || a[1]+uint64(2*heads*head) <= x }
	if !same || !apart(t[2]) || !apart(t[3]) || attend.grid.X < 2 || attend.grid.X*attend.grid.Y > d.card.Multiprocessors {
		return s, false
	}
	padded := 128
	if name == "single_64" {
		padded = 64
	}
	s[0], s[1], s[attendResult] = stepAttend, a[0], a[1]
	copy(s[attendQuery:9], t[1:6])
	copy(s[9:attendHeads], a[5:8])
	copy(s[attendHeads:16], a[9:13])
	s[16], s[17] = halves(int(room), attend.grid.X), uint64(padded)
	return s, true
}

func (s *step) kind() int { return int(uint32(s[0])) }

// entries is how many rounds each of so many units has, at most.
func (s *step) entries(units int) int {
	if !s.product() {
		return 0
	}
	const round = 64 * oneRound * oneWarps
	n := (int(uint32(s[stepItems])) + units - 1) / units * ((int(uint32(s[stepCols])) + round - 1) / round)
	if s.kind()&stepGated != 0 {
		n *= 2
	}
	return n
}

func (s *step) product() bool { return s.kind()&stepAttend == 0 }

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

// A span is memory from an address to another.
type span struct{ from, to uint64 }

// bf16s is the span of n numbers of 16 bits.
func bf16s(p uint64, n int) span { return span{p, p + 2*uint64(n)} }

func (a span) meets(b span) bool { return a.from < b.to && b.from < a.to }

// written is what a step writes but for caches.
func (s *step) written() (list []span) {
	if !s.product() {
		heads, kv, head := int(s[attendHeads]>>32), int(uint32(s[attendHeads+1])), int(s[attendHeads+1]>>32)
		return append(list, bf16s(s[attendResult], heads*head), bf16s(s[attendQuery], heads*head), bf16s(s[attendKey], kv*head))
	}
	for i := range mostRows {
		list = append(list, bf16s(s[stepResults+i], s.rows(i)))
	}
	if s.kind()&(stepAdded|stepGated) != 0 {
		list = append(list, bf16s(s[stepSum], s.rows(0)))
	}
	if s.kind()&stepNormed != 0 {
		list = append(list, bf16s(s[stepNorm], int(uint32(s[stepCols]))))
	}
	return list
}

// mail tells steps which results blocks tell one another by mail: those of a product that the next one multiplies. All blocks
// read all of them: who has come to a step knows that those that had a part in the one before are through with that, so what they
// have read may be written anew. The other steps wait until all blocks have come to them. mail returns how many numbers there are.
func mail(steps []step) (size int) {
	at := make(map[span]int, len(steps)) // what came by mail, and is still so
	var since []span                     // what was written since blocks waited
	for i := 1; i < len(steps); i++ {
		before, s := &steps[i-1], &steps[i]
		for _, w := range before.written() {
			since = append(since, w)
			maps.DeleteFunc(at, func(a span, _ int) bool { return a.meets(w) })
		}
		p, n := before.result()
		token, addend := -1, -1
		if s.product() && p != 0 && s[stepToken] == p && int(uint32(s[stepCols])) == n {
			token = size
			at[bf16s(p, n)] = token
			before[stepOut] = halves(token, 0)
			size += (n + 15) / 16 * 16
		}
		waits := token < 0
		if s.kind()&stepAdded != 0 {
			added := bf16s(s[stepAddend], s.rows(0))
			if from, ok := at[added]; ok {
				addend = from
			} else if slices.ContainsFunc(since, added.meets) {
				waits = true
			}
		}
		if s.product() {
			s[stepMailed] = halves(token, addend)
		}
		if waits {
			s[0] |= stepWaits
			since = since[:0]
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
	var launches, entries int // that they were, and that they have
	end := func() {
		if len(steps) >= fewestSteps {
			if r, p, ok := d.stepsLaunch(steps); ok {
				out, held = append(out[:len(out)-launches], r), append(held, p)
			}
		}
		steps, launches, entries = steps[:0], 0, 0
	}
	for len(list) > 0 {
		s, n := d.asSteps(list)
		own := 0
		if n > 0 {
			own = s[0].entries(stepThreads / 256 * d.card.Multiprocessors)
		}
		if own > mostEntries {
			s, n, own = nil, 0, 0
		}
		if n == 0 || len(steps)+len(s) > mostSteps || entries+own > mostEntries {
			end()
		}
		steps, launches, entries = append(steps, s...), launches+n, entries+own
		n = max(n, 1)
		out, list = append(out, list[:n]...), list[n:]
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
		described, err := d.matrices(s)
		if err != nil {
			return r, 0, false // launches do as well, here and below
		}
		words = append(words, described[:]...)
	}
	size, begin := mail(steps), len(words)
	for _, s := range steps {
		words = append(words, s[:]...)
	}
	gate := len(words)
	words = append(words, make([]uint64, 2-gate%2)...) // the mail lies at a multiple of 16 bytes
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
	sides := int64(2 * 2 * size)
	var parts int64 // of attention: a block has those of up to 8 heads of 128 values
	if slices.ContainsFunc(steps, func(s step) bool { return !s.product() }) {
		parts = int64(d.card.Multiprocessors) * singleHeads * (128 + 2) * 4
	}
	p, err := d.drv.Alloc(int64(len(bytes))+sides+parts, d.stream)
	if err != nil {
		return r, 0, false
	}
	end := p + driver.Ptr(len(bytes))
	for i, s := range steps {
		if !s.product() {
			words[begin+i*len(s)+attendParts] = uint64(end) + uint64(sides)
		}
	}
	d.fail(d.drv.CopyIn(p, bytes, d.stream))
	if size > 0 {
		d.fail(d.drv.Set(end, 0xFF, sides, d.stream))
	}
	r = record{k.f, driver.Grid{X: d.card.Multiprocessors, Threads: stepThreads, Shared: k.shared, Cooperative: true},
		[]uint64{uint64(p) + uint64(8*begin), uint64(p), uint64(len(steps)), uint64(p) + uint64(8*gate), uint64(end), uint64(size)}, []uint8{0, 1, 2, 3, 4, 5}}
	return r, p, true
}

// matrices describes the weights of a step: each as rows of one block, in boxes of what 16 rows have of 4 blocks.
func (d *Device) matrices(s step) (list [16 * stepMaps]uint64, err error) {
	if !s.product() {
		return list, nil
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
				return list, err
			}
			words := d.call.tile.Words()
			copy(list[16*(mostRows*j+i):], words[:])
		}
	}
	return list, nil
}

// freeSteps gives the memory of steps back, behind the launches that read it.
func (d *Device) freeSteps(held []driver.Ptr) {
	for _, p := range held {
		d.fail(d.drv.Free(p, d.stream))
	}
}
