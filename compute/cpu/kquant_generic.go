package cpu

import (
	"encoding/binary"

	"github.com/lentil-lm/lentil/quant"
)

// Package quant describes these super-blocks of 256 weights.
var (
	bytesQ4K = quant.BlockQ4K.Bytes()
	bytesQ6K = quant.BlockQ6K.Bytes()
)

const (
	superBlock  = 256
	headQ4K     = 16  // bytes of a Q4_K super-block before its codes: the scales
	scalesAtQ6K = 192 // where the scales of a Q6_K super-block begin, after its codes
	scaleAtQ6K  = 208 // where the scale of these is
)

// widenQ4KGeneric widens one super-block's nibbles: w = sm[g]·q - sm[8+g], sm having
// scales and minima of its eight groups of 32. The low nibbles of 32 bytes are one
// group, the high nibbles the next.
func widenQ4KGeneric(dst *[superBlock]float32, q *[128]byte, sm *[16]float32) {
	for g := range 8 {
		for i, b := range q[g/2*32 : g/2*32+32] {
			dst[g*32+i] = sm[g]*float32(b>>(g%2*4)&15) - sm[8+g]
		}
	}
}

// widenQ6KGeneric widens one super-block of 128 bytes of low nibbles and 64 of
// high bit pairs, with the scales of its sixteen groups of 16.
func widenQ6KGeneric(dst *[superBlock]float32, q *[192]byte, scales *[16]float32) {
	for half := range 2 {
		for k := range 4 {
			for i := range 32 {
				low := q[half*64+k%2*32+i] >> (k / 2 * 4) & 15
				high := q[128+half*32+i] >> (2 * k) & 3
				at := half*128 + k*32 + i
				dst[at] = scales[at/16] * float32(int(low|high<<4)-32)
			}
		}
	}
}

// superRow widens whole super-blocks. s has room for their scales.
func (kn *kernels) superRow(dst []float32, src []byte, kind quant.Kind, s *[16]float32) {
	for ; len(dst) >= superBlock; dst = dst[superBlock:] {
		out := (*[superBlock]float32)(dst)
		if kind == quant.Q4K {
			scalesQ4K(s, src)
			kn.widenQ4K(out, (*[128]byte)(src[headQ4K:]), s)
			src = src[bytesQ4K:]
			continue
		}
		d := quant.F16ToF32(binary.LittleEndian.Uint16(src[scaleAtQ6K:]))
		for i := range s {
			s[i] = d * float32(int8(src[scalesAtQ6K+i]))
		}
		kn.widenQ6K(out, (*[192]byte)(src), s)
		src = src[bytesQ6K:]
	}
}

// scalesQ4K unpacks the 6-bit scales and minima of a Q4_K super-block: eight of
// each in twelve bytes.
func scalesQ4K(sm *[16]float32, block []byte) {
	le := binary.LittleEndian
	d, dmin := quant.F16ToF32(le.Uint16(block)), quant.F16ToF32(le.Uint16(block[2:]))
	packed := (*[12]byte)(block[4:])
	for j := range 4 {
		a, b, c := packed[j], packed[j+4], packed[j+8]
		sm[j], sm[8+j] = d*float32(a&63), dmin*float32(b&63)
		sm[4+j], sm[12+j] = d*float32(c&15|a>>6<<4), dmin*float32(c>>4|b>>6<<4)
	}
}

// dotQ4KGeneric multiplies rows of Q4_K with activations of quantize32. A group of 32 is
// summed up in integers; sum is for whole groups.
func dotQ4KGeneric(y []float32, w []byte, x []int8, scale, sum []float32) {
	var sm [16]float32
	for r := range y {
		var total float32
		for b := 0; b < len(x)/superBlock; b++ {
			scalesQ4K(&sm, w)
			q := (*[128]byte)(w[headQ4K:])
			for g := range 8 {
				var dot int32
				at := b*superBlock + g*32
				for i, v := range q[g/2*32 : g/2*32+32] {
					dot += int32(v>>(g%2*4)&15) * int32(x[at+i])
				}
				total += sm[g]*scale[at/32]*float32(dot) - sm[8+g]*sum[at/32]
			}
			w = w[bytesQ4K:]
		}
		y[r] = total
	}
}

// dotQ6KGeneric multiplies rows of Q6_K with activations of quantize32. sum is for
// groups of 16.
func dotQ6KGeneric(y []float32, w []byte, x []int8, scale, sum []float32) {
	for r := range y {
		var total float32
		for b := 0; b < len(x)/superBlock; b++ {
			d := quant.F16ToF32(binary.LittleEndian.Uint16(w[scaleAtQ6K:]))
			var part float32
			for g := range 16 {
				half, k, i0 := g/8, g%8/2, g%2*16
				s, at := int32(int8(w[scalesAtQ6K+g])), b*superBlock+g*16
				var dot int32
				for i := i0; i < i0+16; i++ {
					low := w[half*64+k%2*32+i] >> (k / 2 * 4) & 15
					high := w[128+half*32+i] >> (2 * k) & 3
					dot += int32(low|high<<4) * int32(x[at+i-i0])
				}
				part += scale[at/32]*float32(s*dot) - 32*float32(s)*sum[at/16]
			}
			total += d * part
			w = w[bytesQ6K:]
		}
		y[r] = total
	}
}
