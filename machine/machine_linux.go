package machine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Processor is the name of the processor.
func Processor() string { return system("/").processor() }

// TotalMemory is the computer's memory in bytes, or the control group's limit if that is less.
func TotalMemory() int64 { return system("/").totalMemory() }

// AvailableMemory is how many bytes this process may still take: what the kernel
// reports as available, within the control group's limit.
func AvailableMemory() int64 { return system("/").availableMemory() }

// PeakMemory is the most bytes that this process held at once, mapped files
// included. (getrusage would count what the parent held before exec.)
func PeakMemory() int64 { return system("/").peakMemory() }

// hasF16C asks the kernel, as x/sys/cpu does not know the feature.
func hasF16C() bool {
	return strings.Contains(system("/").field("proc/cpuinfo", "flags")+" ", " f16c ")
}

// A system is the root of the file tree in which the kernel tells about itself.
type system string

// Files of the kernel, below the root.
const (
	memoryInfo  = "proc/meminfo"
	memoryLimit = "sys/fs/cgroup/memory.max"
	memoryUsed  = "sys/fs/cgroup/memory.current"
)

func (s system) processor() string {
	for _, name := range []string{"model name", "Model"} {
		if model := s.field("proc/cpuinfo", name); model != "" {
			return model
		}
	}
	return unknownProcessor
}

func (s system) totalMemory() int64 {
	total := kilobytes(s.field(memoryInfo, "MemTotal"))
	if limit := s.number(memoryLimit); limit > 0 {
		total = min(total, limit)
	}
	return total
}

func (s system) availableMemory() int64 {
	available := kilobytes(s.field(memoryInfo, "MemAvailable"))
	if limit := s.number(memoryLimit); limit > 0 {
		available = min(available, max(limit-s.number(memoryUsed), 1)) // 0 would mean unknown
	}
	return available
}

func (s system) peakMemory() int64 { return kilobytes(s.field("proc/self/status", "VmHWM")) }

// field is the value of the first "name: value" line of a file.
func (s system) field(path, name string) string {
	text, err := os.ReadFile(filepath.Join(string(s), path))
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

// number is what a file with one number says; 0 for another word, such as "max".
func (s system) number(path string) int64 {
	text, err := os.ReadFile(filepath.Join(string(s), path))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// kilobytes reads "16 kB" as 16384.
func kilobytes(text string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
	return n << 10
}
