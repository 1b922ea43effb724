//go:build !purego

package cpu

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// quantize64AVX2 and quantize32AVX2 are quantize64Generic and quantize32Generic for
// groups groups of 32:
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
func quantize64AVX2(q *int8, scale, sum, x *float32, groups int)

//go:noescape
func quantize32AVX2(q *int8, scale, sum, x *float32, groups int)

// dotQ4AVX2 is dotQ4Generic with rows of runs times 64 weights; group is 32, 64
// or 128:
//
//	for r := range rows {
//		for k := range 2*runs {
//			dot := Σ (nibbles of w[r, k]) * (x of group k)
//			y[r] += scales[r, k*32/group] * scale[k*4] * float32(dot)
//		}
//		for g := range runs*64/group {
//			y[r] += biases[r, g] * sum[g]
//		}
//	}
//
//go:noescape
func dotQ4AVX2(y *float32, rows int, w *byte, scales, biases *float32, x *int8, scale, sum *float32, runs, group int)

// dotAffineAVX2 is dotAffineGeneric, the sum of x times what affineGroupsAVX2 gives:
//
//	for r := range rows {
//		for i := range groups*group {
//			y[r] += (scales[r, i/group]*q(r, i) + biases[r, i/group]) * x[i]
//		}
//	}
//
// Like that, it may read up to 8 bytes past the last weight.
//
//go:noescape
func dotAffineAVX2(y *float32, rows int, w *byte, scales, biases, x *float32, groups, group, bits int)

// dotF16AVX, dotBF16AVX2 and dotF32AVX are dotDenseGeneric for n columns, a
// multiple of 16:
//
//	for r := range rows {
//		for i := range n {
//			y[r] += float32(w[r*n+i]) * x[i]
//		}
//	}
//
//go:noescape
func dotF16AVX(y *float32, rows int, w *byte, x *float32, n int)

//go:noescape
func dotBF16AVX2(y *float32, rows int, w *byte, x *float32, n int)

//go:noescape
func dotF32AVX(y *float32, rows int, w *byte, x *float32, n int)

// dotRowsAVX2 and addRowsAVX2 are dotRowsGeneric and addRowsGeneric for rows > 0
// rows of n columns, a multiple of 8:
//
//	for r := range rows {
//		y[r] = Σ x[r*ld+i] * q[i]       // dotRows
//		y[0:n] += p[r] * x[r*ld:r*ld+n] // addRows
//	}
//
//go:noescape
func dotRowsAVX2(y *float32, rows int, x *float32, ld int, q *float32, n int)

//go:noescape
func addRowsAVX2(y, p *float32, rows int, x *float32, ld, n int)

// dotHalvesAVX2 and addHalvesAVX2 are the same for x in F16: dotHalvesGeneric and
// addHalvesGeneric.
//
//go:noescape
func dotHalvesAVX2(y *float32, rows int, x *byte, ld int, q *float32, n int)

//go:noescape
func addHalvesAVX2(y, p *float32, rows int, x *byte, ld, n int)

var avx2Dots = dotKernels{
	quantize64: func(q []int8, scale, sum, x []float32) {
		quantize64AVX2(&q[0], &scale[0], &sum[0], &x[0], len(x)/32)
	},
	quantize32: func(q []int8, scale, sum, x []float32) {
		quantize32AVX2(&q[0], &scale[0], &sum[0], &x[0], len(x)/32)
	},
	dotQ4K: func(y []float32, w []byte, x []int8, scale, sum []float32) {
		dotQ4KAVX2(&y[0], len(y), &w[0], &x[0], &scale[0], &sum[0], len(x)/superBlock)
	},
	dotQ6K: func(y []float32, w []byte, x []int8, scale, sum []float32) {
		dotQ6KAVX2(&y[0], len(y), &w[0], &x[0], &scale[0], &sum[0], len(x)/superBlock)
	},
	dotQ4: func(y []float32, w []byte, scales, biases []float32, x []int8, scale, sum []float32) {
		dotQ4AVX2(&y[0], len(y), &w[0], &scales[0], &biases[0], &x[0], &scale[0], &sum[0], len(x)/64, len(x)/len(sum))
	},
	starts: func(start []int32, x []int8) { startsAVX2(&start[0], &x[0], len(x)/64) },
	dotFP4: func(y []float32, w []byte, halves []float32, x []int8, scale []float32, start []int32) {
		dotFP4AVX2(&y[0], len(y), &w[0], &halves[0], &x[0], &scale[0], &start[0], len(x)/64, len(x)*len(y)/len(halves))
	},
	dotFP8: func(y []float32, w []byte, scales, x []float32) {
		dotFP8AVX2(&y[0], len(y), &w[0], &scales[0], &x[0], len(x)/32)
	},
	dotAffine: func(y []float32, w []byte, scales, biases, x []float32, bits int) {
		groups := len(scales) / len(y)
		dotAffineAVX2(&y[0], len(y), &w[0], &scales[0], &biases[0], &x[0], groups, len(x)/groups, bits)
	},
	dotWide: wideAVX2,
	dotRows: func(y, x []float32, ld int, q []float32) {
		if len(q)%8 != 0 || len(y) == 0 {
			dotRowsGeneric(y, x, ld, q)
			return
		}
		dotRowsAVX2(&y[0], len(y), &x[0], ld, &q[0], len(q))
	},
	addRows: func(y, p, x []float32, ld int) {
		if len(y)%8 != 0 || len(p) == 0 {
			addRowsGeneric(y, p, x, ld)
			return
		}
		addRowsAVX2(&y[0], &p[0], len(p), &x[0], ld, len(y))
	},
	dotHalves: func(y []float32, x []byte, ld int, q []float32) {
		if len(q)%8 != 0 || len(y) == 0 {
			dotHalvesGeneric(y, x, ld, q)
			return
		}
		dotHalvesAVX2(&y[0], len(y), &x[0], ld, &q[0], len(q))
	},
	addHalves: func(y, p []float32, x []byte, ld int) {
		if len(y)%8 != 0 || len(p) == 0 {
			addHalvesGeneric(y, p, x, ld)
			return
		}
		addHalvesAVX2(&y[0], &p[0], len(p), &x[0], ld, len(y))
	},
	dotDense: func(y []float32, w []byte, x []float32, t compute.DType) {
		switch {
		case len(x)%16 != 0:
			dotDenseGeneric(y, w, x, t)
		case t == quant.F16:
			dotF16AVX(&y[0], len(y), &w[0], &x[0], len(x))
		case t == quant.BF16:
			dotBF16AVX2(&y[0], len(y), &w[0], &x[0], len(x))
		default:
			dotF32AVX(&y[0], len(y), &w[0], &x[0], len(x))
		}
	},
}
