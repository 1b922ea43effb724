package cuda

import (
	"slices"

	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// smallBlock is the most bytes of blocks that the device keeps itself. Larger ones are the driver's, which splits and joins them.
const smallBlock = 1 << 20

// blocks keeps freed small blocks for the next buffers: no call of the driver, and the same addresses for the same sequence
// of buffers, which graphs need.
type blocks struct {
	// exact gives blocks of the size that is asked for, and keeps none: tests then see what is read or written beyond it.
	exact bool
	free  map[int64][]driver.Ptr // by size, the highest address first
}

// blockSize rounds up to eighths of a power of two: sizes are few, and at most an eighth is lost.
func blockSize(n int64) int64 {
	n = max(n, 512)
	if n > smallBlock {
		return (n + 511) &^ 511
	}
	step := int64(512)
	for 16*step <= n {
		step *= 2
	}
	return (n + step - 1) / step * step
}

// size is what a block for n bytes takes.
func (b *blocks) size(n int64) int64 {
	if b.exact {
		return max(16, (n+15)&^15)
	}
	return blockSize(n)
}

// keeps reports whether freed blocks of a size are kept.
func (b *blocks) keeps(size int64) bool { return size <= smallBlock && !b.exact }

// take gives the free block of this size at the lowest address.
func (b *blocks) take(size int64) (driver.Ptr, bool) {
	list := b.free[size]
	if len(list) == 0 {
		return 0, false
	}
	p := list[len(list)-1]
	b.free[size] = list[:len(list)-1]
	return p, true
}

// put keeps a block.
func (b *blocks) put(p driver.Ptr, size int64) {
	if b.free == nil {
		b.free = map[int64][]driver.Ptr{}
	}
	list := b.free[size]
	i, _ := slices.BinarySearchFunc(list, p, func(a, p driver.Ptr) int {
		if a > p {
			return -1
		}
		return 1
	})
	b.free[size] = slices.Insert(list, i, p)
}

// drain takes all free blocks.
func (b *blocks) drain() []driver.Ptr {
	var list []driver.Ptr
	for size, l := range b.free {
		list = append(list, l...)
		delete(b.free, size)
	}
	return list
}
