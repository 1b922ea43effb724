package cpu

import (
	"unsafe"

	"github.com/lentil-lm/lentil/quant"
)

// tileGeneric is what every tile kernel computes: with panels a [k, mr] and
// b [k, nr], c[i*ldc+j] (+)= Σ_l a[l*mr+i] · b[l*nr+j].
func tileGeneric(mr, nr, k int, a, b, c *float32, ldc int, add bool) {
	as, bs := unsafe.Slice(a, k*mr), unsafe.Slice(b, k*nr)
	cs := unsafe.Slice(c, (mr-1)*ldc+nr)
	for i := range mr {
		for j := range nr {
			var sum float32
			for l := range k {
				sum += as[l*mr+i] * bs[l*nr+j]
			}
			if add {
				sum += cs[i*ldc+j]
			}
			cs[i*ldc+j] = sum
		}
	}
}

// tile4x4 is tileGeneric for 4 by 4 with its sums in registers.
func tile4x4(k int, a, b, c *float32, ldc int, add bool) {
	as, bs := unsafe.Slice(a, 4*k), unsafe.Slice(b, 4*k)
	var s [4][4]float32
	for i := 0; i < 4; i += 2 { // two rows at a time: eight sums fit the registers
		var s00, s01, s02, s03, s10, s11, s12, s13 float32
		for l := 0; l+4 <= len(bs); l += 4 {
			ar, br := as[l:l+4:l+4], bs[l:l+4:l+4]
			a0, a1 := ar[i], ar[i+1]
			b0, b1, b2, b3 := br[0], br[1], br[2], br[3]
			s00 += a0 * b0
			s01 += a0 * b1
			s02 += a0 * b2
			s03 += a0 * b3
			s10 += a1 * b0
			s11 += a1 * b1
			s12 += a1 * b2
			s13 += a1 * b3
		}
		s[i], s[i+1] = [4]float32{s00, s01, s02, s03}, [4]float32{s10, s11, s12, s13}
	}
	cs := unsafe.Slice(c, 3*ldc+4)
	for i := range s {
		row := cs[i*ldc : i*ldc+4]
		for j, v := range s[i] {
			if add {
				v += row[j]
			}
			row[j] = v
		}
	}
}

// interleave4Generic writes n columns of four rows that lie ld apart:
// dst[l*width+i] = src[i*ld+l].
func interleave4Generic(dst *float32, width int, src *float32, ld, n int) {
	if n == 0 {
		return
	}
	d, s := unsafe.Slice(dst, (n-1)*width+4), unsafe.Slice(src, 3*ld+n)
	for l := range n {
		q := d[l*width : l*width+4]
		q[0], q[1], q[2], q[3] = s[l], s[ld+l], s[2*ld+l], s[3*ld+l]
	}
}

// interleave2Generic is interleave4Generic for two rows.
func interleave2Generic(dst *float32, width int, src *float32, ld, n int) {
	if n == 0 {
		return
	}
	d, s := unsafe.Slice(dst, (n-1)*width+2), unsafe.Slice(src, ld+n)
	for l := range n {
		d[l*width], d[l*width+1] = s[l], s[ld+l]
	}
}

// scatterGeneric copies n pieces of w values to places stride apart.
func scatterGeneric(dst *float32, stride int, src *float32, n, w int) {
	d, s := unsafe.Slice(dst, (n-1)*stride+w), unsafe.Slice(src, n*w)
	for i := range n {
		copy(d[i*stride:i*stride+w], s[i*w:])
	}
}

func scatter4(dst *float32, stride int, src *float32, n int) { scatterGeneric(dst, stride, src, n, 4) }

// affineRowGeneric widens len(scales) groups of packed weights. len(dst) is
// the number of weights, a multiple of 8 in each group:
// dst[i] = scales[g]·q[i] + biases[g], q being a little-endian bit stream.
func affineRowGeneric(dst []float32, src []byte, scales, biases []float32, bits int) {
	groups := len(scales)
	m := quant.Matrix{Format: quant.Format{Kind: quant.Affine, DType: quant.F32, Bits: bits, Group: len(dst) / groups}, Rows: 1, Cols: len(dst),
		Data: src, Scales: byteView(scales), Biases: byteView(biases)}
	m.Row(dst, 0)
}

func widenF16Generic(dst []float32, src []byte) { quant.Floats(dst, src, quant.F16) }

func widenBF16Generic(dst []float32, src []byte) { quant.Floats(dst, src, quant.BF16) }

// byteView views float32 values as bytes.
func byteView(v []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}
