package cpu

import (
	"fmt"
	"math/bits"
	"sync"
	"unsafe"

	"github.com/lentil-lm/lentil/compute"
)

const (
	alignment = 64 // a cache line, and the widest vector register
	// mapped is the size from which blocks come from the system and go back to it.
	// Smaller ones live on Go's heap.
	mapped = 1 << 20
	// slack is how much free memory is kept for reuse beyond the peak of what was in use.
	slack = 64 << 20
)

// memory hands out blocks of host memory and keeps freed ones for reuse: a training
// step asks for the same sizes over and over. It never holds more, in use and free,
// than the peak in use plus slack. With an E that has no size it takes nothing and only reckons.
type memory[E any] struct {
	newBlock  func(size int) ([]E, error)
	dropBlock func([]E)

	mu    sync.Mutex
	limit int64 // bytes in use at once, 0 is no limit
	used  int64
	peak  int64
	kept  int64         // bytes in free
	most  int64         // in use and free at once
	free  map[int][][]E // by class size
}

func newMemory(limit int64) *memory[byte] {
	return &memory[byte]{newBlock: newBlock, dropBlock: dropBlock, limit: limit, free: map[int][][]byte{}}
}

// ledger is the account of a memory that takes none.
type ledger struct {
	memory[struct{}]
	heap, mostHeap int64 // bytes of blocks on Go's heap, in use and kept
}

func newLedger() *ledger {
	l := &ledger{memory: memory[struct{}]{free: map[int][][]struct{}{}}}
	l.newBlock = func(size int) ([]struct{}, error) {
		if size < mapped {
			l.heap += int64(size)
			l.mostHeap = max(l.mostHeap, l.heap)
		}
		return make([]struct{}, size), nil
	}
	l.dropBlock = func(block []struct{}) {
		if cap(block) < mapped {
			l.heap -= int64(cap(block))
		}
	}
	return l
}

// Take reckons with a block for so many bytes.
func (l *ledger) Take(bytes int64) int64 {
	block, _ := l.get(int(bytes)) // without a limit it cannot fail
	return int64(cap(block))
}

// Free reckons with the return of a block.
func (l *ledger) Free(size int64) { l.put(make([]struct{}, size)) }

// Most is what get has held at once, and how much of it in small blocks.
func (l *ledger) Most() (all, heap int64) { return l.most, l.mostHeap }

// classSize rounds up to a multiple of an eighth of the power of two below, so
// that at most an eighth of a block is wasted.
func classSize(n int) int {
	n = max(n, alignment)
	step := max(1<<(bits.Len(uint(n))-4), alignment)
	return roundUp(n, step)
}

// get returns n bytes of unspecified content, aligned, with the capacity of
// their class.
func (m *memory[E]) get(n int) ([]E, error) {
	size := classSize(n)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limit > 0 && int64(size) > m.limit-m.used {
		return nil, fmt.Errorf("%w: %d bytes asked for, %d in use, the limit is %d; use a smaller batch or shorter rows, or gradient checkpointing", compute.ErrNoMemory, n, m.used, m.limit)
	}
	block := m.reuse(size)
	if block == nil {
		m.trim(m.peak + slack - m.used - int64(size))
		var err error
		if block, err = m.newBlock(size); err != nil {
			m.trim(0)
			if block, err = m.newBlock(size); err != nil {
				return nil, fmt.Errorf("%w: the system refused %d bytes: %v", compute.ErrNoMemory, size, err)
			}
		}
	}
	size = cap(block)
	m.used += int64(size)
	m.peak, m.most = max(m.peak, m.used), max(m.most, m.used+m.kept)
	return block[:n:size], nil
}

// reuse takes a free block of this class or of the next two. Fresh pages cost time, and
// rows a little shorter than the last ones should find what those left.
func (m *memory[E]) reuse(size int) []E {
	for range 3 {
		if l := m.free[size]; len(l) > 0 {
			m.free[size] = l[:len(l)-1]
			m.kept -= int64(size)
			return l[len(l)-1]
		}
		size = classSize(size + 1)
	}
	return nil
}

// put takes a block of get back.
func (m *memory[E]) put(block []E) {
	size := cap(block)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= int64(size)
	m.free[size] = append(m.free[size], block[:size])
	m.kept += int64(size)
	m.trim(m.peak + slack - m.used)
}

// trim gives free blocks back, large ones first, until at most keep bytes are left.
func (m *memory[E]) trim(keep int64) {
	for m.kept > max(keep, 0) {
		largest := 0
		for size, l := range m.free {
			if len(l) > 0 {
				largest = max(largest, size)
			}
		}
		l := m.free[largest]
		m.dropBlock(l[len(l)-1])
		m.free[largest] = l[:len(l)-1]
		m.kept -= int64(largest)
	}
}

// newBlock allocates size bytes: many straight from the system where that is possible,
// few on Go's heap.
func newBlock(size int) ([]byte, error) {
	if size >= mapped {
		return mapMemory(size)
	}
	return heapBlock(size), nil
}

func dropBlock(b []byte) {
	if cap(b) >= mapped {
		unmapMemory(b)
	}
}

// heapBlock returns aligned bytes of Go's heap.
func heapBlock(size int) []byte {
	b := make([]byte, size+alignment-1)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (alignment - 1)
	return b[skip : skip+size : skip+size]
}
