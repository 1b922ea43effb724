//go:build !purego

package cpu

// tile6x16 is tileGeneric for 6 by 16: twelve vectors of sums.
//
//	for l := range k {
//		for i := range 6 {
//			sum[i][0:16] += a[l*6+i] * b[l*16:l*16+16]
//		}
//	}
//
//go:noescape
func tile6x16(k int, a, b, c *float32, ldc int, add bool)

// narrowAVX is narrowTileGeneric:
//
//	for l := range k {
//		for i := range 8 {
//			sum[i][0:8] += a[i*line+l*step] * b[l*8:l*8+8]
//		}
//	}
//
//go:noescape
func narrowAVX(k int, a *float32, line, step int, b, c *float32, add bool)

// interleave4AVX is interleave4Generic:
//
//	for l := range n {
//		for i := range 4 {
//			dst[l*width+i] = src[i*ld+l]
//		}
//	}
//
//go:noescape
func interleave4AVX(dst *float32, width int, src *float32, ld, n int)

// interleave2AVX is interleave2Generic, the same with two rows.
//
//go:noescape
func interleave2AVX(dst *float32, width int, src *float32, ld, n int)

// scatter16AVX is scatterGeneric for pieces of 16:
//
//	for i := range n {
//		copy(dst[i*stride:i*stride+16], src[i*16:])
//	}
//
//go:noescape
func scatter16AVX(dst *float32, stride int, src *float32, n int)

// prefetchT0 loads lines into the first-level cache without waiting for them:
// three from a on, one at b and at c.
//
//go:noescape
func prefetchT0(a, b, c *byte)

// affineGroupsAVX2 is affineRowGeneric:
//
//	for g := range groups {
//		for i := g*group; i < (g+1)*group; i++ {
//			dst[i] = scales[g]*q(i) + biases[g]
//		}
//	}
//
// with q(i) the i-th number of bits bits in src. For other widths than 4 and 8
// it reads up to 8 bytes past the last.
//
//go:noescape
func affineGroupsAVX2(dst *float32, src *byte, scales, biases *float32, groups, group, bits int)

// widenF16AVX and widenBF16AVX convert n values, a multiple of 8:
//
//	for i := range n {
//		dst[i] = float32(src[i])
//	}
//
//go:noescape
func widenF16AVX(dst *float32, src *byte, n int)

//go:noescape
func widenBF16AVX(dst *float32, src *byte, n int)

func affineRowAVX2(dst []float32, src []byte, scales, biases []float32, bits int) {
	groups := len(scales)
	group := len(dst) / groups
	if bits != 4 && bits != 8 && cap(src)-len(src) < 8 {
		groups-- // the last group must not be read past its end
		var last [128 + 8]byte
		copy(last[:], src[groups*group/8*bits:])
		affineGroupsAVX2(&dst[groups*group], &last[0], &scales[groups], &biases[groups], 1, group, bits)
	}
	if groups > 0 {
		affineGroupsAVX2(&dst[0], &src[0], &scales[0], &biases[0], groups, group, bits)
	}
}

func widenF16AVX2(dst []float32, src []byte) {
	n := len(dst) &^ 7
	if n > 0 {
		widenF16AVX(&dst[0], &src[0], n)
	}
	widenF16Generic(dst[n:], src[2*n:])
}

func widenBF16AVX2(dst []float32, src []byte) {
	n := len(dst) &^ 7
	if n > 0 {
		widenBF16AVX(&dst[0], &src[0], n)
	}
	widenBF16Generic(dst[n:], src[2*n:])
}
