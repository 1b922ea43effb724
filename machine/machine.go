// Package machine tells what this computer has: processor, cores, memory, disk.
// It is the one place that asks the operating system, so that all parts of a
// program reckon with the same figures. What cannot be known is 0, or named as unknown.
package machine

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/cpu"

	"github.com/lentil-lm/lentil/fault"
)

// Cores is how many processor cores the system has.
func Cores() int { return runtime.NumCPU() }

// Threads is how many of them this process may use at once: a control group
// or GOMAXPROCS may allow fewer.
func Threads() int { return runtime.GOMAXPROCS(0) }

// mostThreads is more than any one computer has cores; with far more of them nothing gets done.
const mostThreads = 1024

// CheckThreads refuses a number of worker threads that cannot be meant. 0 is one per core.
func CheckThreads(n int) error {
	if n < 0 || n > mostThreads {
		return fault.Value("threads", n, fmt.Sprintf("0, for one per core, to %d", mostThreads))
	}
	return nil
}

// Features names the features of the processor that kernels may use.
func Features() []string {
	features := []struct {
		name string
		has  bool
	}{
		{"avx2", cpu.X86.HasAVX2}, {"fma", cpu.X86.HasFMA}, {"f16c", hasF16C()},
		{"avx_vnni", cpu.X86.HasAVXVNNI},
		{"avx512f", cpu.X86.HasAVX512F}, {"avx512bw", cpu.X86.HasAVX512BW}, {"avx512vl", cpu.X86.HasAVX512VL},
		{"avx512_vnni", cpu.X86.HasAVX512VNNI}, {"avx512_bf16", cpu.X86.HasAVX512BF16},
		{"neon", runtime.GOARCH == "arm64"},
		{"asimdhp", cpu.ARM64.HasASIMDHP}, {"dotprod", cpu.ARM64.HasASIMDDP}, {"sve", cpu.ARM64.HasSVE},
	}
	var names []string
	for _, f := range features {
		if f.has {
			names = append(names, f.name)
		}
	}
	return names
}

// unknownProcessor is the name of a processor that the system does not tell.
const unknownProcessor = "unknown processor"

// Name describes the computer in a line: processor, cores, memory, system.
func Name() string {
	text := fmt.Sprintf("%s, %d cores", Processor(), Cores())
	if m := TotalMemory(); m > 0 {
		text += fmt.Sprintf(", %.0f GB", float64(m)/1e9)
	}
	return text + ", " + runtime.GOOS + "/" + runtime.GOARCH
}
