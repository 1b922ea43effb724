package cli

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// cpuFeatures names the features of the processor that kernels may use.
func cpuFeatures() []string {
	features := []struct {
		name string
		has  bool
	}{
		{"avx2", cpu.X86.HasAVX2}, {"fma", cpu.X86.HasFMA}, {"f16c", cpuHasF16C()},
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
