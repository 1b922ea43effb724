//go:build !purego

package cpu

// tile12x8 is tileGeneric for 12 by 8: 24 vectors of sums.
//
//	for l := range k {
//		for i := range 12 {
//			sum[i][0:8] += a[l*12+i] * b[l*8:l*8+8]
//		}
//	}
//
//go:noescape
func tile12x8(k int, a, b, c *float32, ldc int, add bool)

// narrowNEON is narrowTileGeneric:
//
//	for l := range k {
//		for i := range 8 {
//			sum[i][0:8] += a[i*line+l*step] * b[l*8:l*8+8]
//		}
//	}
//
//go:noescape
func narrowNEON(k int, a *float32, line, step int, b, c *float32, add bool)

// interleave4NEON is interleave4Generic:
//
//	for l := range n {
//		for i := range 4 {
//			dst[l*width+i] = src[i*ld+l]
//		}
//	}
//
//go:noescape
func interleave4NEON(dst *float32, width int, src *float32, ld, n int)

// interleave2NEON is interleave2Generic, the same with two rows.
//
//go:noescape
func interleave2NEON(dst *float32, width int, src *float32, ld, n int)

// scatter8NEON is scatterGeneric for pieces of 8:
//
//	for i := range n {
//		copy(dst[i*stride:i*stride+8], src[i*8:])
//	}
//
//go:noescape
func scatter8NEON(dst *float32, stride int, src *float32, n int)

// prefetchNEON loads lines into the first-level cache without waiting for them:
// three from a on, one at b and at c.
//
//go:noescape
func prefetchNEON(a, b, c *byte)
