//go:build !purego

package cpu

import (
	"golang.org/x/sys/cpu"

	"github.com/lentil-lm/lentil/quant"
)

// nibblesAVX2 is nibblesGeneric, bytesAVX2 bytesGeneric. They ask for the bytes ahead of
// those they read:
//
//	for r := range 8 {
//		for i := range runs*32 {
//			line := i/32*16 + i%32/16*half + i%16/4 // nibbles
//			dst[line*stride+r*4+i%4] = low nibble of src[r*ld+i]
//			dst[(line+odd)*stride+r*4+i%4] = its high nibble
//
//			dst[i/4*stride+r*4+i%4] = src[r*ld+i] // bytes
//		}
//	}
//
//go:noescape
func nibblesAVX2(dst *byte, stride int, src *byte, ld, ahead, runs, half, odd int)

//go:noescape
func bytesAVX2(dst *byte, stride int, src *byte, ld, ahead, runs int)

// codesBMI2 is codesGeneric for n codes, a multiple of 32. It reads up to 8
// bytes past the last.
//
//	for i := range n {
//		dst[i] = bits i*bits to (i+1)*bits-1 of src
//	}
//
//go:noescape
func codesBMI2(dst, src *byte, n, bits int)

// tile8AVX2x4 and tile8AVX2x2 are tile8Generic for 4 and 2 rows by 16 and codes of at
// most 6 bits, start8AVX2x4 and start8AVX2x2 the same where start is given:
//
//	for run := range groups*runs {
//		g := run / runs
//		for r := range rows {
//			dot[0:16] := start[run, r] + Σ (x of row r and the run) * (codes of 16 columns)
//			c[r, 0:16] += ws[g, 0:16] * scale[run, r] * dot[0:16]
//			c[r, 0:16] += wb[g, 0:16] * sum[g, r] // once for a group, without start
//		}
//	}
//
//go:noescape
func tile8AVX2x4(t *byteTile)

//go:noescape
func tile8AVX2x2(t *byteTile)

//go:noescape
func start8AVX2x4(t *byteTile)

//go:noescape
func start8AVX2x2(t *byteTile)

// tile8VNNIx6 and so on are tile8Generic for 6, 4 and 2 rows by 32, start8VNNIx6 and so
// on the same where start is given; see tile8AVX2x4.
//
//go:noescape
func tile8VNNIx6(t *byteTile)

//go:noescape
func tile8VNNIx4(t *byteTile)

//go:noescape
func tile8VNNIx2(t *byteTile)

//go:noescape
func start8VNNIx6(t *byteTile)

//go:noescape
func start8VNNIx4(t *byteTile)

//go:noescape
func start8VNNIx2(t *byteTile)

// codesQ6KAVX2 is codesQ6KGeneric for blocks super-blocks:
//
//	for i := range blocks*256 {
//		dst[i] = low nibble i | high bit pair i << 4
//	}
//
// superScalesQ4KAVX2 and superScalesQ6KAVX2 are superScalesGeneric:
//
//	for g := range blocks*8 { // Q4_K
//		scales[g], biases[g] = d * (scale of 6 bits), -dmin * (minimum of 6 bits)
//	}
//	for g := range blocks*16 { // Q6_K
//		scales[g], biases[g] = d * (scale of 8 bits), -32 * scales[g]
//	}
//
//go:noescape
func codesQ6KAVX2(dst, src *byte, blocks int)

//go:noescape
func superScalesQ4KAVX2(scales, biases *float32, src *byte, blocks int)

//go:noescape
func superScalesQ6KAVX2(scales, biases *float32, src *byte, blocks int)

// codesVBMI is codesGeneric as well, but reads nothing past the last code.
//
//go:noescape
func codesVBMI(dst, src *byte, n, bits int, tables *codeTables)

// dotCodesAVX2 and dotCodesVNNI are dotCodesGeneric for groups of runs times 32
// codes:
//
//	for r := range 4 {
//		for run := range groups*runs {
//			dot := Σ (codes of row r and the run) * (x of the run)
//			y[r] += scales[r, run/runs] * scale[run] * float32(dot)
//		}
//	}
//
//go:noescape
func dotCodesAVX2(y *float32, codes *byte, ld int, scales *float32, x *int8, scale *float32, groups, runs int)

//go:noescape
func dotCodesVNNI(y *float32, codes *byte, ld int, scales *float32, x *int8, scale *float32, groups, runs int)

// codeTables say, for every byte of codesVBMI's result, which byte of eight codes it
// comes from and where its bits begin there.
type codeTables struct{ bytes, shifts [64]byte }

var tablesOf = func() (t [9]codeTables) {
	for bits := range t {
		for i := range 64 {
			t[bits].bytes[i] = byte(i/8*bits + i%8)
			t[bits].shifts[i] = byte(i % 8 * bits)
		}
	}
	return t
}()

var avx2Bytes = byteKernels{
	tileRows: 4,
	tileCols: 16,
	maxCode:  63,
	tile: func(rows int, t *byteTile) {
		switch {
		case t.start == nil && rows == 4:
			tile8AVX2x4(t)
		case t.start == nil:
			tile8AVX2x2(t)
		case rows == 4:
			start8AVX2x4(t)
		default:
			start8AVX2x2(t)
		}
	},
	nibbles: func(dst []byte, stride int, src []byte, ld, ahead, runs int) {
		nibblesAVX2(&dst[0], stride, &src[0], ld, ahead, runs, 8, 4)
	},
	nibblesQ4K: func(dst []byte, stride int, src []byte, ld, ahead, blocks int) {
		for b := range blocks {
			nibblesAVX2(&dst[b*superBlock/4*stride], stride, &src[b*bytesQ4K+headQ4K], ld, ahead, superBlock/nibbleRun, 4, 8)
		}
	},
	nibblesFP4: func(dst []byte, stride int, src []byte, ld, ahead, runs int) {
		nibblesFP4AVX2(&dst[0], stride, &src[0], ld, ahead, runs)
	},
	bytes: func(dst []byte, stride int, src []byte, ld, ahead, runs int) {
		bytesAVX2(&dst[0], stride, &src[0], ld, ahead, runs)
	},
	codesQ6K: func(dst, src []byte) { codesQ6KAVX2(&dst[0], &src[0], len(dst)/superBlock) },
	superScales: func(scales, biases []float32, src []byte, kind quant.Kind) {
		if kind == quant.Q4K {
			superScalesQ4KAVX2(&scales[0], &biases[0], &src[0], len(scales)/8)
		} else {
			superScalesQ6KAVX2(&scales[0], &biases[0], &src[0], len(scales)/16)
		}
	},
	codes: func(dst, src []byte, bits int) { codesBMI2(&dst[0], &src[0], len(dst), bits) },
	dotCodes: func(y []float32, codes []byte, scales []float32, x []int8, scale []float32) {
		groups := len(scales) / 4
		dotCodesAVX2(&y[0], &codes[0], len(x), &scales[0], &x[0], &scale[0], groups, len(scale)/groups)
	},
}

// vnniBytes is avx2Bytes with wider tiles.
var vnniBytes = func() byteKernels {
	k := avx2Bytes
	k.tileRows, k.tileCols, k.maxCode, k.tileAsks = 6, 32, 255, true
	k.tile = func(rows int, t *byteTile) {
		switch {
		case t.start == nil && rows == 6:
			tile8VNNIx6(t)
		case t.start == nil && rows == 4:
			tile8VNNIx4(t)
		case t.start == nil:
			tile8VNNIx2(t)
		case rows == 6:
			start8VNNIx6(t)
		case rows == 4:
			start8VNNIx4(t)
		default:
			start8VNNIx2(t)
		}
	}
	k.scaleColumns = scaleColumnsAVX512
	k.packed = func(rows int, t *packedTile, kind quant.Kind) {
		switch kind {
		case quant.MXFP4:
			packedMXVNNI[rows](t)
		case quant.NVFP4:
			packedNVVNNI[rows](t)
		default:
			packedQ4VNNI[rows](t)
		}
	}
	k.dotCodes = func(y []float32, codes []byte, scales []float32, x []int8, scale []float32) {
		groups := len(scales) / 4
		dotCodesVNNI(&y[0], &codes[0], len(x), &scales[0], &x[0], &scale[0], groups, len(scale)/groups)
	}
	if cpu.X86.HasAVX512VBMI {
		k.codes = func(dst, src []byte, bits int) { codesVBMI(&dst[0], &src[0], len(dst), bits, &tablesOf[bits]) }
	}
	return k
}()
