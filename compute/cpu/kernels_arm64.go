//go:build !purego

package cpu

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// machineKernels lists the assembly families that the processor allows. Every
// Mac has the vector unit, of which the system's flags need not speak.
func machineKernels() []*kernels {
	if runtime.GOOS == "darwin" || cpu.ARM64.HasASIMD {
		return []*kernels{neon}
	}
	return nil
}

// hasDotProd says whether the dot product instructions of Armv8.4 are there.
var hasDotProd = runtime.GOOS == "darwin" || cpu.ARM64.HasASIMDDP

// neon is generic where nothing is named below: pairs of rows are rare, as
// panels have twelve or eight. The integer products of decoding use the dot
// product instructions where the processor has them.
var neon = func() *kernels {
	k := *generic
	k.name = "neon"
	k.mr, k.nr = 12, 8
	k.tile = tile12x8
	k.interleave4 = interleave4NEON
	k.scatter = scatter8NEON
	k.prefetch = prefetchNEON
	k.affineRow = affineRowNEON
	k.widenQ4K, k.widenQ6K = widenQ4KNEON, widenQ6KNEON
	k.widenF16, k.widenBF16 = widenF16Vector, widenBF16Vector
	k.narrowF16, k.narrowBF16 = narrowF16Vector, narrowBF16Vector
	k.dotKernels = neonDots
	if hasDotProd {
		k.dotKernels = dotProdDots
	}
	k.laneKernels = neonLanes
	k.vectors = neonVectors
	return &k
}()
