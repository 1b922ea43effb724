package cpu

import (
	"encoding/binary"

	"github.com/lentil-lm/lentil/quant"
)

// Super-blocks of 256 weights, as package quant describes them.
var (
	bytesQ4K = quant.BlockQ4K.Bytes()
	bytesQ6K = quant.BlockQ6K.Bytes()
)

const superBlock = 256

// widenQ4KGeneric widens one super-block's nibbles: with scales and minima of
// its eight groups of 32 in sm, w = sm[g]·q - sm[8+g]. Low nibbles of 32 bytes
// are one group, high nibbles the next.
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

// superRow widens whole super-blocks; s is a place for their scales.
func (kn *kernels) superRow(dst []float32, src []byte, kind quant.Kind, s *[16]float32) {
	for ; len(dst) >= superBlock; dst = dst[superBlock:] {
		out := (*[superBlock]float32)(dst)
		if kind == quant.Q4K {
			scalesQ4K(s, src)
			kn.widenQ4K(out, (*[128]byte)(src[16:]), s)
			src = src[bytesQ4K:]
			continue
		}
		d := quant.F16ToF32(binary.LittleEndian.Uint16(src[208:]))
		for i := range s {
			s[i] = d * float32(int8(src[192+i]))
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
