package cli

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func cpuModel() string {
	for _, name := range []string{"model name", "Model"} {
		if model := procField("/proc/cpuinfo", name); model != "" {
			return model
		}
	}
	return "unknown processor"
}

// cpuHasF16C asks the kernel, as x/sys/cpu does not know the feature.
func cpuHasF16C() bool {
	return strings.Contains(procField("/proc/cpuinfo", "flags")+" ", " f16c ")
}

// totalMemory is the machine's memory or the control group's limit, whichever is less.
func totalMemory() int64 {
	total, _ := strconv.ParseInt(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	total <<= 10
	if text, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			total = min(total, limit)
		}
	}
	return total
}

// procField gives the value of the first "name: value" line of a file in /proc.
func procField(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// freeDisk gives the bytes that may still be written at path, 0 if unknown.
func freeDisk(path string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// peakMemory gives the most memory that this process held at once, mapped files
// included. (getrusage would count what the parent held before exec.)
func peakMemory() int64 {
	peak, _ := strconv.ParseInt(strings.TrimSuffix(procField("/proc/self/status", "VmHWM"), " kB"), 10, 64)
	return peak << 10
}
