//go:build !linux

package machine

import "runtime"

// HeldMemory is how many bytes of memory this process holds now, as far as Go knows: the program's
// file, which is not known, is left out.
func HeldMemory() (own, program int64) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased), 0
}

// GPUs are the device nodes of graphics processors, which only Linux has.
func GPUs() []string { return nil }
