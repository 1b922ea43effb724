//go:build !unix && !windows

package cpu

func mapMemory(size int) ([]byte, error) { return heapBlock(size), nil }

func unmapMemory([]byte) {} // the garbage collector takes it
