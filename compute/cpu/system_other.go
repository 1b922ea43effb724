//go:build !linux

package cpu

func adviseHuge([]byte) {}

// systemMemory returns the bytes that this process may take, 0 when unknown.
func systemMemory() int64 { return physicalMemory() }
