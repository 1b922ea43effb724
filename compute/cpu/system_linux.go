package cpu

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// adviseHuge asks for huge pages: fewer address translations for big matrices.
// A refusal costs speed only.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

// systemMemory returns the bytes that this process may take, 0 when unknown:
// what the kernel reports as available, within the control group's limit.
func systemMemory() int64 {
	available := field("/proc/meminfo", "MemAvailable:") << 10
	if limit := number("/sys/fs/cgroup/memory.max"); limit > 0 {
		limit -= number("/sys/fs/cgroup/memory.current")
		available = min(available, max(limit, 1))
	}
	return available
}

func field(path, name string) int64 {
	text, _ := os.ReadFile(path)
	_, rest, _ := bytes.Cut(text, []byte(name))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	return n
}

func number(path string) int64 { return field(path, "") }
