package cpu

import (
	"encoding/binary"
	"unsafe"

	"github.com/lentil-lm/lentil/quant"
)

// tile8Generic is what every tile kernel of bytes computes. For weight row j and row r
// of x, and x and w in integers:
//
//	c[r, j] (+)= Σ_g wb[g, j]·sum[g, r] + Σ_run ws[g, j]·scale[run, r]·(Σ x·w)
//
// or, where start is given, start[run, r] + Σ x·w in place of Σ x·w, and no wb.
func tile8Generic(rows, cols int, t *byteTile) {
	runs := t.groups * t.runs
	size := t.pieces * piece // values of a run
	x, scale := unsafe.Slice(t.x, runs*size*rows), unsafe.Slice(t.scale, runs*rows)
	w, ws := unsafe.Slice(t.w, runs*size*cols), unsafe.Slice(t.ws, t.groups*cols)
	var sum, wb []float32
	var start []int32
	if t.start != nil {
		start = unsafe.Slice(t.start, runs*rows)
	} else {
		sum, wb = unsafe.Slice(t.sum, t.groups*rows), unsafe.Slice(t.wb, t.groups*cols)
	}
	c := unsafe.Slice(t.c, (rows-1)*t.ldc+cols)
	for r := range rows {
		for j := range cols {
			var total float32
			for g := range t.groups {
				for run := g * t.runs; run < (g+1)*t.runs; run++ {
					var dot int32
					if start != nil {
						dot = start[run*rows+r]
					}
					for l := run * size; l < (run+1)*size; l += 4 {
						xs, ws := (*[4]int8)(x[(l/piece*rows+r)*piece+l%piece:]), (*[4]byte)(w[(l/4*cols+j)*4:])
						dot += int32(xs[0])*int32(ws[0]) + int32(xs[1])*int32(ws[1]) + int32(xs[2])*int32(ws[2]) + int32(xs[3])*int32(ws[3])
					}
					total += ws[g*cols+j] * scale[run*rows+r] * float32(dot)
				}
				if start == nil {
					total += wb[g*cols+j] * sum[g*rows+r]
				}
			}
			if t.add {
				total += c[r*t.ldc+j]
			}
			c[r*t.ldc+j] = total
		}
	}
}

// nibblesGeneric unpacks eight rows of 4-bit codes, ld bytes apart, as columns of a
// strip. A line of the strip has four codes of each column; lines lie stride apart.
// A run of 64 codes, 32 bytes, fills 16 lines, with four codes each of every row:
//
//	lines 0 to 3 and half to half+3   low nibbles of bytes 0 to 15 and 16 to 31
//	odd lines after these             their high nibbles
func nibblesGeneric(dst []byte, stride int, src []byte, ld, _, runs, half, odd int) {
	for run := range runs {
		for r := range 8 {
			for i, b := range src[r*ld+run*32:][:32] {
				line := run*16 + i/16*half + i%16/4
				dst[line*stride+r*4+i%4] = b & 15
				dst[(line+odd)*stride+r*4+i%4] = b >> 4
			}
		}
	}
}

// bytesGeneric writes eight rows of runs times 32 codes, ld bytes apart, as columns of
// a strip with lines stride apart.
func bytesGeneric(dst []byte, stride int, src []byte, ld, _, runs int) {
	for r := range 8 {
		for i, b := range src[r*ld:][:runs*32] {
			dst[i/4*stride+r*4+i%4] = b
		}
	}
}

// codesGeneric unpacks a little-endian stream of codes, a multiple of 32.
func codesGeneric(dst, src []byte, bits int) {
	for i := range dst {
		at := i * bits
		v := uint(src[at/8])
		if at%8+bits > 8 {
			v |= uint(src[at/8+1]) << 8
		}
		dst[i] = byte(v >> (at % 8) & (1<<bits - 1))
	}
}

var genericBytes = byteKernels{
	tileRows: 4,
	tileCols: 8,
	maxCode:  255,
	tile:     func(rows int, t *byteTile) { tile8Generic(rows, 8, t) },
	nibbles: func(dst []byte, stride int, src []byte, ld, ahead, runs int) {
		nibblesGeneric(dst, stride, src, ld, ahead, runs, 8, 4)
	},
	nibblesQ4K: func(dst []byte, stride int, src []byte, ld, ahead, blocks int) {
		for b := range blocks {
			nibblesGeneric(dst[b*superBlock/4*stride:], stride, src[b*bytesQ4K+headQ4K:], ld, ahead, superBlock/nibbleRun, 4, 8)
		}
	},
	bytes: bytesGeneric,
	codes: codesGeneric,

	nibblesFP4:  nibblesFP4Generic,
	codesQ6K:    codesQ6KGeneric,
	superScales: superScalesGeneric,
	dotCodes:    dotCodesGeneric,
}

// dotCodesGeneric multiplies four rows of codes, of 8 bits or fewer, with x:
// y[r] = Σ_g scales[r,g]·Σ_run scale[run]·(Σ q·x), runs being 32 long.
func dotCodesGeneric(y []float32, codes []byte, scales []float32, x []int8, scale []float32) {
	groups := len(scales) / 4
	runs := len(scale) / groups
	for r := range 4 {
		y[r] = 0
		for run, s := range scale {
			var dot int32
			for i := run * 32; i < (run+1)*32; i++ {
				dot += int32(codes[r*len(x)+i]) * int32(x[i])
			}
			y[r] += scales[r*groups+run/runs] * s * float32(dot)
		}
	}
}

// superScalesGeneric widens the scales of super-blocks. It gives the biases that go
// with codes from 0 to 15 (Q4_K) or to 63 (Q6_K).
func superScalesGeneric(scales, biases []float32, src []byte, kind quant.Kind) {
	var sm [16]float32
	for at := 0; at < len(scales); {
		if kind == quant.Q4K {
			scalesQ4K(&sm, src)
			for i := range 8 {
				scales[at+i], biases[at+i] = sm[i], -sm[8+i]
			}
			at, src = at+8, src[bytesQ4K:]
			continue
		}
		d := quant.F16ToF32(binary.LittleEndian.Uint16(src[scaleAtQ6K:]))
		for i, s := range src[scalesAtQ6K:scaleAtQ6K] {
			scales[at+i] = d * float32(int8(s))
			biases[at+i] = -32 * scales[at+i]
		}
		at, src = at+16, src[bytesQ6K:]
	}
}

// codesQ6KGeneric unpacks the 6-bit codes of super-blocks, see widenQ6KGeneric.
func codesQ6KGeneric(dst, src []byte) {
	for ; len(dst) > 0; dst, src = dst[superBlock:], src[bytesQ6K:] {
		for half := range 2 {
			low, high, out := src[half*64:][:64], src[128+half*32:][:32], dst[half*128:][:128]
			for i, h := range high {
				a, b := low[i], low[32+i]
				out[i], out[32+i] = a&15|h<<4&0x30, b&15|h<<2&0x30
				out[64+i], out[96+i] = a>>4|h&0x30, b>>4|h>>2&0x30
			}
		}
	}
}
