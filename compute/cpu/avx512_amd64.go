//go:build !purego

package cpu

// tile14x32 is tileGeneric for 14 by 32: 28 vectors of sums.
//
//go:noescape
func tile14x32(k int, a, b, c *float32, ldc int, add bool)

// scatter32AVX512 is scatterGeneric for pieces of 32.
//
//go:noescape
func scatter32AVX512(dst *float32, stride int, src *float32, n int)

// avx512 is the AVX2 family with wider tiles. What moves memory gains nothing
// by wider registers and stays.
var avx512 = func() *kernels {
	k := *avx2
	k.name = "avx512"
	k.mr, k.nr = 14, 32
	k.tile = tile14x32
	k.scatter = scatter32AVX512
	return &k
}()
