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

// neon is generic where nothing is named below: pairs of rows are rare, as
// panels have twelve or eight.
var neon = func() *kernels {
	k := *generic
	k.name = "neon"
	k.mr, k.nr = 12, 8
	k.tile = tile12x8
	k.interleave4 = interleave4NEON
	k.scatter = scatter8NEON
	k.prefetch = prefetchNEON
	return &k
}()
