//go:build !purego

package cpu

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// machineKernels lists the assembly families that the processor allows. Every Mac has
// the vector unit; its system's flags may not say so.
func machineKernels() []*kernels {
	if runtime.GOOS == "darwin" || cpu.ARM64.HasASIMD {
		return []*kernels{neon}
	}
	return nil
}

// hasDotProd says whether the dot product instructions of Armv8.4 are there.
var hasDotProd = runtime.GOOS == "darwin" || cpu.ARM64.HasASIMDDP

// neon has assembly for all but small floats. The integer products of decoding use the
// dot product instructions where the processor has them.
var neon = &kernels{
	name:        "neon",
	mr:          12,
	nr:          8,
	tile:        tile12x8,
	narrowTile:  narrowNEON,
	interleave4: interleave4NEON,
	interleave2: interleave2NEON,
	scatter:     scatter8NEON,
	prefetch:    prefetchNEON,
	affineRow:   affineRowNEON,
	widenQ4K:    widenQ4KNEON,
	widenQ6K:    widenQ6KNEON,
	e8m0:        e8m0Generic,
	e4m3:        e4m3Generic,
	fp4Row:      fp4RowGeneric,
	fp8Row:      fp8RowGeneric,
	widenF16:    widenF16Vector,
	widenBF16:   widenBF16Vector,
	narrowF16:   narrowF16Vector,
	narrowBF16:  narrowBF16Vector,
	dotKernels:  chooseDots(hasDotProd),
	laneKernels: neonLanes,
	vectors:     neonVectors,
}

func chooseDots(dotProd bool) dotKernels {
	if dotProd {
		return dotProdDots
	}
	return neonDots
}
