package cpu

import "golang.org/x/sys/unix"

func physicalMemory() int64 {
	n, _ := unix.SysctlUint64("hw.memsize")
	return int64(n)
}
