package machine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Processor is the name of the processor.
func Processor() string { return system("/").processor() }

// TotalMemory is the computer's memory in bytes, or the least limit of this process's control groups and of ulimit if
// that is less.
func TotalMemory() int64 { return system("/").totalMemory(unix.Getrlimit) }

// AvailableMemory is how many bytes this process may still take: what the kernel
// reports as available, within the limits of its control groups and of ulimit.
func AvailableMemory() int64 { return system("/").availableMemory(unix.Getrlimit) }

// HeldMemory is how many bytes of memory this process holds now: its own, and those of the program's file.
func HeldMemory() (own, program int64) { return system("/").heldMemory() }

// PeakMemory is the most bytes that this process held at once, mapped files
// included. (getrusage would count what the parent held before exec.)
func PeakMemory() int64 { return system("/").peakMemory() }

// GPUs are the device nodes of graphics processors that drivers have made: /dev/nvidia0 and so on of NVIDIA's, /dev/kfd of
// AMD's, /dev/dri/renderD128 and so on of all. That there is a node does not tell that it can be used.
func GPUs() []string { return system("/").gpus() }

func (s system) gpus() []string {
	var nodes []string
	for _, pattern := range []string{"dev/nvidia[0-9]*", "dev/kfd", "dev/dri/renderD*"} {
		found, _ := filepath.Glob(filepath.Join(string(s), pattern)) // the patterns are right
		nodes = append(nodes, found...)
	}
	return nodes
}

// hasF16C asks the kernel, as x/sys/cpu does not know the feature.
func hasF16C() bool {
	return strings.Contains(system("/").field("proc/cpuinfo", "flags")+" ", " f16c ")
}

// A system is the root of the file tree in which the kernel tells about itself.
type system string

// memoryInfo is the kernel's file about the memory of the computer, below the root.
const memoryInfo = "proc/meminfo"

func (s system) processor() string {
	for _, name := range []string{"model name", "Model"} {
		if model := s.field("proc/cpuinfo", name); model != "" {
			return model
		}
	}
	return unknownProcessor
}

// getLimit asks for a limit of this process; see unix.Getrlimit.
type getLimit = func(resource int, limit *unix.Rlimit) error

func (s system) totalMemory(get getLimit) int64 {
	total := kilobytes(s.field(memoryInfo, "MemTotal"))
	for _, b := range s.bounds(get) {
		total = min(total, b.limit)
	}
	return total
}

func (s system) availableMemory(get getLimit) int64 {
	available := kilobytes(s.field(memoryInfo, "MemAvailable"))
	for _, b := range s.bounds(get) {
		available = min(available, b.left())
	}
	return available
}

func (s system) bounds(get getLimit) []bound { return append(s.groups(), s.resourceLimits(get)...) }

func (s system) peakMemory() int64 { return kilobytes(s.field(statusFile, "VmHWM")) }

func (s system) heldMemory() (own, program int64) {
	path, err := os.Readlink(filepath.Join(string(s), "proc/self/exe"))
	ours := false
	for line := range strings.Lines(s.text("proc/self/smaps")) {
		// 00400000-01a0c000 r-xp 00000000 08:01 393 PATH, and then a line for each figure: Rss: 4 kB
		name, figure, ok := strings.Cut(line, ":")
		switch {
		case !ok || strings.Contains(name, "-"):
			ours = err == nil && strings.HasSuffix(strings.TrimSpace(line), " "+path)
		case name == "Rss" && ours:
			program += kilobytes(strings.TrimSpace(figure))
		}
	}
	return kilobytes(s.field(statusFile, "RssAnon")), program
}

// field is the value of the first "name: value" line of a file.
func (s system) field(path, name string) string {
	for line := range strings.Lines(s.text(path)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// number is what a file with one number says; 0 for another word, such as "max".
func (s system) number(path string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(s.text(path)), 10, 64)
	return n
}

// kilobytes reads "16 kB" as 16384.
func kilobytes(text string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
	return n << 10
}
