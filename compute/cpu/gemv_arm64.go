//go:build !purego

package cpu

import (
	"math/bits"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// quantize64NEON and quantize32NEON are quantize64Generic and
// quantize32Generic for groups groups of 32:
//
//	for g := range groups {
//		top := largest(abs(x[g*32:(g+1)*32]))
//		for i := range 32 {
//			q[place(g, i)] = round(x[g*32+i] * (127/top))
//		}
//		scale[g], sum[g] = top/127, top/127*total(q of the group)
//	}
//
//go:noescape
func quantize64NEON(q *int8, scale, sum, x *float32, groups int)

//go:noescape
func quantize32NEON(q *int8, scale, sum, x *float32, groups int)

// dotQ4NEON is dotQ4Generic with rows of runs times 64 weights, 32<<shift of
// which share a scale:
//
//	for r := range rows {
//		for k := range 2*runs {
//			dot := Σ (nibbles of w[r, k]) * (x of group k)
//			y[r] += scales[r, k>>shift] * scale[k*4] * float32(dot)
//		}
//		for g := range 2*runs>>shift {
//			y[r] += biases[r, g] * sum[g]
//		}
//	}
//
// dotQ4DotProd is the same with the dot product instructions of Armv8.4.
//
//go:noescape
func dotQ4NEON(y *float32, rows int, w *byte, scales, biases *float32, x *int8, scale, sum *float32, runs, shift int)

//go:noescape
func dotQ4DotProd(y *float32, rows int, w *byte, scales, biases *float32, x *int8, scale, sum *float32, runs, shift int)

// affineGroupsNEON is affineRowGeneric:
//
//	for g := range groups {
//		for i := g*group; i < (g+1)*group; i++ {
//			dst[i] = scales[g]*q(i) + biases[g]
//		}
//	}
//
// with q(i) the i-th number of bits bits in src and group a multiple of 32. For
// other widths than 4 and 8 it reads up to 8 bytes past the last. shifts are
// affineShifts[bits].
//
//go:noescape
func affineGroupsNEON(dst *float32, src *byte, scales, biases *float32, groups, group, bits int, shifts *[8]int64)

// dotAffineNEON is dotAffineGeneric, the sum of x times what affineGroupsNEON
// gives, for rows rows of groups groups.
//
//go:noescape
func dotAffineNEON(y *float32, rows int, w *byte, scales, biases, x *float32, groups, group, bits int, shifts *[8]int64)

// dotF16NEON, dotBF16NEON and dotF32NEON are dotDenseGeneric for n columns, a
// multiple of 16:
//
//	for r := range rows {
//		for i := range n {
//			y[r] += float32(w[r*n+i]) * x[i]
//		}
//	}
//
//go:noescape
func dotF16NEON(y *float32, rows int, w *byte, x *float32, n int)

//go:noescape
func dotBF16NEON(y *float32, rows int, w *byte, x *float32, n int)

//go:noescape
func dotF32NEON(y *float32, rows int, w *byte, x *float32, n int)

// dotRowsNEON and addRowsNEON are dotRowsGeneric and addRowsGeneric for rows > 0
// rows of n > 0 columns, a multiple of 4:
//
//	for r := range rows {
//		y[r] = Σ x[r*ld+i] * q[i]       // dotRows
//		y[0:n] += p[r] * x[r*ld:r*ld+n] // addRows
//	}
//
//go:noescape
func dotRowsNEON(y *float32, rows int, x *float32, ld int, q *float32, n int)

//go:noescape
func addRowsNEON(y, p *float32, rows int, x *float32, ld, n int)

// widenF16NEON and widenBF16NEON convert n > 0 values, a multiple of 16:
//
//	for i := range n {
//		dst[i] = float32(src[i])
//	}
//
//go:noescape
func widenF16NEON(dst *float32, src *byte, n int)

//go:noescape
func widenBF16NEON(dst *float32, src *byte, n int)

// narrowF16NEON and narrowBF16NEON round n > 0 values, a multiple of 8, to
// nearest with ties to even.
//
//go:noescape
func narrowF16NEON(dst *byte, src *float32, n int)

//go:noescape
func narrowBF16NEON(dst *byte, src *float32, n int)

// affineShifts[bits] are the shifts that bring each of eight numbers in 64 bits
// to the lowest.
var affineShifts = func() (t [9][8]int64) {
	for bits := range t {
		for i := range t[bits] {
			t[bits][i] = int64(-bits * i)
		}
	}
	return t
}()

func affineRowNEON(dst []float32, src []byte, scales, biases []float32, bits int) {
	groups := len(scales)
	group := len(dst) / groups
	if group%32 != 0 {
		affineRowGeneric(dst, src, scales, biases, bits)
		return
	}
	if bits != 4 && bits != 8 && cap(src)-len(src) < 8 {
		groups-- // the last group must not be read past its end
		var last [128 + 8]byte
		copy(last[:], src[groups*group/8*bits:])
		affineGroupsNEON(&dst[groups*group], &last[0], &scales[groups], &biases[groups], 1, group, bits, &affineShifts[bits])
	}
	if groups > 0 {
		affineGroupsNEON(&dst[0], &src[0], &scales[0], &biases[0], groups, group, bits, &affineShifts[bits])
	}
}

// eachHalves widens rows of n F16 values, ld apart, one after the other.
func eachHalves(x []byte, ld, rows, n int, do func(r int, row []float32)) {
	var wide [512]float32
	row := wide[:]
	if n > len(row) {
		row = make([]float32, n)
	}
	for r := range rows {
		widenF16Vector(row[:n], x[2*r*ld:2*(r*ld+n)])
		do(r, row[:n])
	}
}

func widenF16Vector(dst []float32, src []byte) {
	n := len(dst) &^ 15
	if n > 0 {
		widenF16NEON(&dst[0], &src[0], n)
	}
	widenF16Generic(dst[n:], src[2*n:])
}

func widenBF16Vector(dst []float32, src []byte) {
	n := len(dst) &^ 15
	if n > 0 {
		widenBF16NEON(&dst[0], &src[0], n)
	}
	widenBF16Generic(dst[n:], src[2*n:])
}

func narrowF16Vector(dst []byte, src []float32) {
	n := len(src) &^ 7
	if n > 0 {
		narrowF16NEON(&dst[0], &src[0], n)
	}
	narrowF16Generic(dst[2*n:], src[n:])
}

func narrowBF16Vector(dst []byte, src []float32) {
	n := len(src) &^ 7
	if n > 0 {
		narrowBF16NEON(&dst[0], &src[0], n)
	}
	narrowBF16Generic(dst[2*n:], src[n:])
}

// groupShift is the logarithm of the number of runs of 32 in a group.
func groupShift(columns, groups int) int { return bits.Len(uint(columns/groups/32)) - 1 }

// neonDots are the products of decoding; those of integers come in two
// variants, see kernels_arm64.go.
var neonDots = dotKernels{
	quantize64: func(q []int8, scale, sum, x []float32) {
		quantize64NEON(&q[0], &scale[0], &sum[0], &x[0], len(x)/32)
	},
	quantize32: func(q []int8, scale, sum, x []float32) {
		quantize32NEON(&q[0], &scale[0], &sum[0], &x[0], len(x)/32)
	},
	dotQ4K: func(y []float32, w []byte, x []int8, scale, sum []float32) {
		dotQ4KNEON(&y[0], len(y), &w[0], &x[0], &scale[0], &sum[0], len(x)/superBlock)
	},
	dotQ6K: func(y []float32, w []byte, x []int8, scale, sum []float32) {
		dotQ6KNEON(&y[0], len(y), &w[0], &x[0], &scale[0], &sum[0], len(x)/superBlock)
	},
	dotQ4: func(y []float32, w []byte, scales, biases []float32, x []int8, scale, sum []float32) {
		dotQ4NEON(&y[0], len(y), &w[0], &scales[0], &biases[0], &x[0], &scale[0], &sum[0], len(x)/64, groupShift(len(x), len(sum)))
	},
	dotAffine: func(y []float32, w []byte, scales, biases, x []float32, bits int) {
		groups := len(scales) / len(y)
		dotAffineNEON(&y[0], len(y), &w[0], &scales[0], &biases[0], &x[0], groups, len(x)/groups, bits, &affineShifts[bits])
	},
	dotDense: func(y []float32, w []byte, x []float32, t compute.DType) {
		switch {
		case len(x)%16 != 0:
			dotDenseGeneric(y, w, x, t)
		case t == quant.F16:
			dotF16NEON(&y[0], len(y), &w[0], &x[0], len(x))
		case t == quant.BF16:
			dotBF16NEON(&y[0], len(y), &w[0], &x[0], len(x))
		default:
			dotF32NEON(&y[0], len(y), &w[0], &x[0], len(x))
		}
	},
	dotRows: dotRowsVector,
	addRows: addRowsVector,
	dotHalves: func(y []float32, x []byte, ld int, q []float32) {
		eachHalves(x, ld, len(y), len(q), func(r int, row []float32) { dotRowsVector(y[r:r+1], row, 0, q) })
	},
	addHalves: func(y, p []float32, x []byte, ld int) {
		eachHalves(x, ld, len(p), len(y), func(r int, row []float32) { addRowsVector(y, p[r:r+1], row, 0) })
	},
}

func dotRowsVector(y, x []float32, ld int, q []float32) {
	if len(q)%4 != 0 || len(y) == 0 {
		dotRowsGeneric(y, x, ld, q)
		return
	}
	dotRowsNEON(&y[0], len(y), &x[0], ld, &q[0], len(q))
}

func addRowsVector(y, p, x []float32, ld int) {
	if len(y)%4 != 0 || len(p) == 0 {
		addRowsGeneric(y, p, x, ld)
		return
	}
	addRowsNEON(&y[0], &p[0], len(p), &x[0], ld, len(y))
}

// dotProdDots are neonDots with the dot product instructions.
var dotProdDots = func() dotKernels {
	k := neonDots
	k.dotQ4K = func(y []float32, w []byte, x []int8, scale, sum []float32) {
		dotQ4KDotProd(&y[0], len(y), &w[0], &x[0], &scale[0], &sum[0], len(x)/superBlock)
	}
	k.dotQ6K = func(y []float32, w []byte, x []int8, scale, sum []float32) {
		dotQ6KDotProd(&y[0], len(y), &w[0], &x[0], &scale[0], &sum[0], len(x)/superBlock)
	}
	k.dotQ4 = func(y []float32, w []byte, scales, biases []float32, x []int8, scale, sum []float32) {
		dotQ4DotProd(&y[0], len(y), &w[0], &scales[0], &biases[0], &x[0], &scale[0], &sum[0], len(x)/64, groupShift(len(x), len(sum)))
	}
	return k
}()
