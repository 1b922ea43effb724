//go:build !purego

package cpu

import "golang.org/x/sys/cpu"

// machineKernels lists the assembly families that processor and system allow.
// F16C has no flag of its own here: every processor with AVX2 has it.
func machineKernels() []*kernels {
	var list []*kernels
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI2 {
		if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ {
			list = append(list, avx512)
		}
		list = append(list, avx2)
	}
	return list
}

var avx2 = &kernels{
	name:        "avx2",
	mr:          6,
	nr:          16,
	tile:        tile6x16,
	narrowTile:  narrowAVX,
	interleave4: interleave4AVX,
	interleave2: interleave2AVX,
	scatter:     scatter16AVX,
	prefetch:    prefetchT0,
	affineRow:   affineRowAVX2,
	widenQ4K:    widenQ4KAVX2,
	widenQ6K:    widenQ6KAVX2,
	e8m0:        e8m0Vector,
	e4m3:        e4m3Vector,
	fp4Row:      fp4RowAVX2,
	fp8Row:      fp8RowAVX2,
	widenF16:    widenF16AVX2,
	widenBF16:   widenBF16AVX2,
	narrowF16:   narrowF16F16C,
	narrowBF16:  narrowBF16Vector,
	dotKernels:  avx2Dots,
	bytes:       avx2Bytes,
	laneKernels: avx2Lanes,
	vectors:     avx2Vectors,
}
