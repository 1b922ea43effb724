//go:build !purego

package cpu

import (
	"golang.org/x/sys/cpu"

	"github.com/lentil-lm/lentil/quant"
)

// tile14x32 is tileGeneric for 14 by 32: 28 vectors of sums.
//
//	for l := range k {
//		for i := range 14 {
//			sum[i][0:32] += a[l*14+i] * b[l*32:l*32+32]
//		}
//	}
//
//go:noescape
func tile14x32(k int, a, b, c *float32, ldc int, add bool)

// scatter32AVX512 is scatterGeneric for pieces of 32, see scatter16AVX.
//
//go:noescape
func scatter32AVX512(dst *float32, stride int, src *float32, n int)

// dotQ4VNNI is dotQ4Generic for rows of runs times 64 weights in groups groups, see
// dotQ4AVX2. It may read up to 12 bytes past the last scale.
//
//go:noescape
func dotQ4VNNI(y *float32, rows int, w *byte, scales, biases *float32, x *int8, scale, sum *float32, runs, groups int)

// avx512 is the AVX2 family with wider tiles. Kernels that move memory gain nothing by
// wider registers and stay. The integer products use VNNI where the processor has it.
var avx512 = func() *kernels {
	k := *avx2
	k.name = "avx512"
	k.mr, k.nr = 14, 32
	k.tile = tile14x32
	k.scatter = scatter32AVX512
	k.dotWide = wideAVX512
	k.dotFP8 = func(y []float32, w []byte, scales, x []float32) {
		dotFP8AVX512(&y[0], len(y), &w[0], &scales[0], &x[0], len(x)/32)
	}
	if cpu.X86.HasAVX512VNNI {
		k.bytes = vnniBytes
		k.dotFP4 = func(y []float32, w []byte, halves []float32, x []int8, scale []float32, start []int32) {
			dotFP4VNNI(&y[0], len(y), &w[0], &halves[0], &x[0], &scale[0], &start[0], len(x)/64, len(x)*len(y)/len(halves))
		}
		k.rowwise = func(rows int, t *rowwiseTile, kind quant.Kind) {
			if kind == quant.Affine {
				rowwiseQ4VNNI[rows](t)
			} else {
				rowwiseFP4VNNI[rows](t)
			}
		}
		k.dotQ4 = func(y []float32, w []byte, scales, biases []float32, x []int8, scale, sum []float32) {
			dotQ4VNNI(&y[0], len(y), &w[0], &scales[0], &biases[0], &x[0], &scale[0], &sum[0], len(x)/64, len(sum))
		}
	}
	return &k
}()
