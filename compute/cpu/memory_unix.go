//go:build unix

package cpu

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// mapMemory takes pages from the system; they start zeroed.
func mapMemory(size int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		adviseHuge(b)
	}
	return b, err
}

func unmapMemory(b []byte) {
	if err := unix.Munmap(b[:cap(b)]); err != nil {
		panic("cpu: block does not belong to the allocator: " + err.Error())
	}
	runtime.KeepAlive(b)
}
