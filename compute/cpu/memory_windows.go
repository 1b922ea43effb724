package cpu

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapMemory takes pages from the system; they start zeroed.
func mapMemory(size int) ([]byte, error) {
	at, err := windows.VirtualAlloc(0, uintptr(size), windows.MEM_RESERVE|windows.MEM_COMMIT, windows.PAGE_READWRITE)
	if err != nil {
		return nil, err
	}
	first := *(**byte)(unsafe.Pointer(&at)) // not Go's memory, so that it does not move
	return unsafe.Slice(first, size), nil
}

func unmapMemory(b []byte) {
	if err := windows.VirtualFree(uintptr(unsafe.Pointer(unsafe.SliceData(b))), 0, windows.MEM_RELEASE); err != nil {
		panic("cpu: block does not belong to the allocator: " + err.Error())
	}
	runtime.KeepAlive(b)
}
