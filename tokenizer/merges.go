package tokenizer

import (
	"iter"
	"math/bits"
	"math/rand/v2"
)

// pair is two neighbouring tokens.
type pair struct{ left, right int32 }

// merge is what a pair becomes; lower ranks go first.
type merge struct{ rank, id int32 }

// mergeTable maps pairs to merges: a hash table with linear probing. An entry takes one
// memory access; a Go map takes two or three. Loading a vocabulary fills the table with
// half a million pairs, and encoding reads little else.
type mergeTable struct {
	slots []mergeSlot // a power of two, at most half of them used
	n     int
}

type mergeSlot struct {
	key uint64 // 0 if free
	merge
}

// hashSeed prevents files with pairs that all fall on one slot.
var hashSeed = rand.Uint64()

// newMergeTable returns a table with room for n pairs; it grows if need be.
func newMergeTable(n int) *mergeTable {
	size := 16
	for size < 2*n {
		size *= 2
	}
	return &mergeTable{slots: make([]mergeSlot, size)}
}

func (t *mergeTable) len() int { return t.n }

// slot returns the slot where a key is, or where it belongs.
func (t *mergeTable) slot(key uint64) *mergeSlot {
	high, low := bits.Mul64(key^hashSeed, 0x9E3779B97F4A7C15)
	mask := uint64(len(t.slots) - 1)
	for i := (high ^ low) & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.key == key || s.key == 0 {
			return s
		}
	}
}

// key packs a pair of ids, which are not negative; it is never 0.
func (p pair) key() uint64 { return uint64(p.left)<<32 | uint64(p.right) + 1 }

func (t *mergeTable) get(p pair) (merge, bool) {
	s := t.slot(p.key())
	return s.merge, s.key != 0
}

// set puts a merge under a pair, in place of any other.
func (t *mergeTable) set(p pair, m merge) {
	if 2*t.n >= len(t.slots) {
		old := t.slots
		t.slots = make([]mergeSlot, 2*len(old))
		for _, s := range old {
			if s.key != 0 {
				*t.slot(s.key) = s
			}
		}
	}
	s := t.slot(p.key())
	if s.key == 0 {
		t.n++
	}
	*s = mergeSlot{p.key(), m}
}

// all yields every pair, in no order.
func (t *mergeTable) all() iter.Seq2[pair, merge] {
	return func(yield func(pair, merge) bool) {
		for _, s := range t.slots {
			if s.key != 0 && !yield(pair{int32(s.key >> 32), int32(uint32(s.key) - 1)}, s.merge) {
				return
			}
		}
	}
}
