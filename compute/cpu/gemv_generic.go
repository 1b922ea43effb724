package cpu

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// round32 rounds 32 values to 8 bits. The scale is the largest magnitude over 127.
func round32(q *[32]int8, x []float32) (scale float32) {
	var top, inv float32
	for _, f := range x {
		top = max(top, f, -f)
	}
	if top > 0 {
		inv = 127 / top
	}
	for i, f := range x {
		q[i] = int8(math.RoundToEven(float64(f * inv)))
	}
	return top / 127
}

// quantize64Generic rounds x to 8 bits in groups of 32, in the order that activations8
// has for packed nibbles. The scale of a group is given four times; sum is scale · Σ q.
func quantize64Generic(q []int8, scale, sum, x []float32) {
	for g := 0; g < len(x)/32; g++ {
		var v [32]int8
		s := round32(&v, x[g*32:(g+1)*32])
		var total int32
		out := q[g/2*64+g%2*16:]
		for i, r := range v {
			out[i%2*32+i/2] = r
			total += int32(r)
		}
		for i := range 4 {
			scale[g*4+i] = s
		}
		sum[g] = s * float32(total)
	}
}

// quantize32Generic rounds x to 8 bits in groups of 32 and keeps its order.
// Each group has one scale and two sums, scale · Σ q of each half.
func quantize32Generic(q []int8, scale, sum, x []float32) {
	for g := 0; g < len(x)/32; g++ {
		v := (*[32]int8)(q[g*32:])
		scale[g] = round32(v, x[g*32:(g+1)*32])
		for half := range 2 {
			var total int32
			for _, r := range v[half*16 : half*16+16] {
				total += int32(r)
			}
			sum[2*g+half] = scale[g] * float32(total)
		}
	}
}

// dotQ4Generic multiplies rows of 4-bit weights with 8-bit activations:
// y[r] = Σ_g scales[r,g]·(Σ q·x) + biases[r,g]·sum[g]. 32 products are summed up in
// integers.
func dotQ4Generic(y []float32, w []byte, scales, biases []float32, x []int8, scale, sum []float32) {
	groups := len(sum)
	per := len(x) / groups / 32 // runs of 32 in a group
	for r := range y {
		row := w[r*len(x)/2:][:len(x)/2]
		var total float32
		for g := range groups {
			total += biases[r*groups+g] * sum[g]
			for k := g * per; k < (g+1)*per; k++ {
				var dot int32
				v := x[k/2*64+k%2*16:]
				for i, b := range row[k*16 : (k+1)*16] {
					dot += int32(b&15)*int32(v[i]) + int32(b>>4)*int32(v[32+i])
				}
				total += scales[r*groups+g] * scale[k*4] * float32(dot)
			}
		}
		y[r] = total
	}
}

// dotAffineGeneric multiplies rows of packed weights with x.
func dotAffineGeneric(y []float32, w []byte, scales, biases, x []float32, bits int) {
	rowBytes, groups := len(x)/8*bits, len(scales)/len(y)
	group := len(x) / groups
	var tmp [128]float32
	for r := range y {
		y[r] = 0
		for g := range groups {
			at := r*groups + g
			affineRowGeneric(tmp[:group], w[r*rowBytes+g*group/8*bits:][:group/8*bits], scales[at:at+1], biases[at:at+1], bits)
			y[r] += dotGeneric(tmp[:group], x[g*group:(g+1)*group])
		}
	}
}

// dotWideGeneric multiplies rows of n widened weights with rows of x:
// y[r*ldy+j] = Σ w[j*n+i]·x[r*n+i]. n is a multiple of 32.
func dotWideGeneric(y []float32, ldy int, w, x []float32, n, rows int) {
	for r := range rows {
		dotRowsGeneric(y[r*ldy:r*ldy+len(w)/n], w, n, x[r*n:(r+1)*n])
	}
}

// dotDenseGeneric multiplies rows of F32, F16 or BF16 weights with x.
func dotDenseGeneric(y []float32, w []byte, x []float32, t compute.DType) {
	var tmp [256]float32
	size := t.Size()
	for r := range y {
		y[r] = 0
		for c := 0; c < len(x); c += len(tmp) {
			n := min(len(tmp), len(x)-c)
			quant.Floats(tmp[:n], w[(r*len(x)+c)*size:][:n*size], t)
			y[r] += dotGeneric(tmp[:n], x[c:c+n])
		}
	}
}

// dotRowsGeneric multiplies rows of x, ld apart, with q: y[r] = Σ x[r*ld+i]·q[i].
func dotRowsGeneric(y, x []float32, ld int, q []float32) {
	for r := range y {
		y[r] = dotGeneric(q, x[r*ld:r*ld+len(q)])
	}
}

// addRowsGeneric adds weighted rows of x, ld apart: y[i] += Σ_r p[r]·x[r*ld+i].
func addRowsGeneric(y, p, x []float32, ld int) {
	for r, f := range p {
		addScaledGeneric(y, y, f, x[r*ld:r*ld+len(y)])
	}
}

// dotHalvesGeneric is dotRowsGeneric for x in F16.
func dotHalvesGeneric(y []float32, x []byte, ld int, q []float32) {
	for r := range y {
		var sum float32
		for i, v := range q {
			sum += v * half(x, r*ld+i)
		}
		y[r] = sum
	}
}

// addHalvesGeneric is addRowsGeneric for x in F16.
func addHalvesGeneric(y, p []float32, x []byte, ld int) {
	for r, f := range p {
		for i := range y {
			y[i] += f * half(x, r*ld+i)
		}
	}
}

func half(x []byte, i int) float32 {
	return quant.F16ToF32(binary.LittleEndian.Uint16(x[2*i:]))
}

// int8View views bytes as signed.
func int8View(b []byte) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}
