//go:build !purego

package cpu

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// quantize64AVX2 is quantize64Generic for groups groups of 32.
//
//go:noescape
func quantize64AVX2(q *int8, scale, sum, x *float32, groups int)

// quantize32AVX2 is quantize32Generic for groups groups of 32.
//
//go:noescape
func quantize32AVX2(q *int8, scale, sum, x *float32, groups int)

// dotQ4AVX2 is dotQ4Generic with rows of runs times 64 weights; group is 32, 64
// or 128.
//
//go:noescape
func dotQ4AVX2(y *float32, rows int, w *byte, scales, biases *float32, x *int8, scale, sum *float32, runs, group int)

// dotAffineAVX2 is dotAffineGeneric.
//
//go:noescape
func dotAffineAVX2(y *float32, rows int, w *byte, scales, biases, x *float32, groups, group, bits int)

// dotF16AVX, dotBF16AVX2 and dotF32AVX are dotDenseGeneric for n columns, a
// multiple of 16.
//
//go:noescape
func dotF16AVX(y *float32, rows int, w *byte, x *float32, n int)

//go:noescape
func dotBF16AVX2(y *float32, rows int, w *byte, x *float32, n int)

//go:noescape
func dotF32AVX(y *float32, rows int, w *byte, x *float32, n int)

// dotRowsAVX2 and addRowsAVX2 are dotRowsGeneric and addRowsGeneric for rows > 0
// rows of n columns, a multiple of 8.
//
//go:noescape
func dotRowsAVX2(y *float32, rows int, x *float32, ld int, q *float32, n int)

//go:noescape
func addRowsAVX2(y, p *float32, rows int, x *float32, ld, n int)

// dotHalvesAVX2 and addHalvesAVX2 are dotHalvesGeneric and addHalvesGeneric for
// rows > 0 rows of n columns, a multiple of 8.
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
