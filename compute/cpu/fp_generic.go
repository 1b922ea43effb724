package cpu

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/lentil-lm/lentil/quant"
)

// Kernels for the small floats, which package quant describes.
//
// Twice an E2M1 number is an integer of at most 12, so its products with 8-bit
// activations are integers. A nibble stands for fp4Codes[nibble] - fp4Zero, times half
// the scale of its group. The kernels want codes that are not negative, hence fp4Zero;
// sums of products start at what makes up for it, see startsGeneric. E4M3 numbers span
// too much for this and are widened.
const fp4Zero = 12

// fp4Codes are the codes of the sixteen nibbles.
var fp4Codes = [16]byte{12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0}

// isFP4 says whether weights are E2M1.
func isFP4(f quant.Format) bool { return f.Kind == quant.MXFP4 || f.Kind == quant.NVFP4 }

// fpScales widens the scales of small floats, times factor.
func (kn *kernels) fpScales(dst []float32, src []byte, f quant.Format, factor float32) {
	if f.Kind == quant.NVFP4 {
		kn.e4m3(dst, src, factor)
	} else {
		kn.e8m0(dst, src, factor)
	}
}

// e8m0Generic widens powers of two, 2^(b-127), times factor. The last is infinity.
func e8m0Generic(dst []float32, src []byte, factor float32) {
	for i := range dst {
		// The power below the least normal one is a subnormal number.
		dst[i] = math.Float32frombits(max(uint32(src[i])<<23, 1<<22)) * factor
	}
}

// e4m3Generic widens E4M3 numbers, times factor.
func e4m3Generic(dst []float32, src []byte, factor float32) {
	for i := range dst {
		b := uint32(src[i])
		v := math.Float32frombits(b&0x80<<24|b&0x7f<<20) * 0x1p120
		if b&0x7f == 0x7f {
			v = float32(math.NaN())
		}
		dst[i] = v * factor
	}
}

// fp4RowGeneric widens len(halves) groups of nibbles: twice an E2M1 number times
// half its scale.
func fp4RowGeneric(dst []float32, src []byte, halves []float32) {
	group := len(dst) / len(halves)
	for i := range dst {
		dst[i] = halves[i/group] * float32(int(fp4Codes[src[i/2]>>(i%2*4)&15])-fp4Zero)
	}
}

// fp8RowGeneric widens len(scales) groups of E4M3 numbers.
func fp8RowGeneric(dst []float32, src []byte, scales []float32) {
	group := len(dst) / len(scales)
	for g, s := range scales {
		e4m3Generic(dst[g*group:(g+1)*group], src[g*group:], s)
	}
}

// startsGeneric computes where sums of codes times x start: -fp4Zero · Σ x of eight
// neighbours. In the order of quantize64, four of them are in each half of a run.
func startsGeneric(start []int32, x []int8) {
	for i := range start {
		var sum int32
		for j := range 4 {
			at := i/8*64 + i%8*4 + j
			sum += int32(x[at]) + int32(x[at+32])
		}
		start[i] = -fp4Zero * sum
	}
}

// dotFP4Generic multiplies rows of nibbles with activations of quantize64:
// y[r] = Σ halves[r,g]·scale·(start + Σ code·x), sums of eight in integers.
func dotFP4Generic(y []float32, w []byte, halves []float32, x []int8, scale []float32, start []int32) {
	groups := len(halves) / len(y)
	group := len(x) / groups
	for r := range y {
		row := w[r*len(x)/2:]
		y[r] = 0
		for i, dot := range start {
			v := binary.LittleEndian.Uint32(row[i*4:])
			for j := range 4 {
				at := i/8*64 + i%8*4 + j
				dot += int32(fp4Codes[v&15])*int32(x[at]) + int32(fp4Codes[v>>4&15])*int32(x[at+32])
				v >>= 8
			}
			y[r] += halves[r*groups+i*8/group] * scale[i] * float32(dot)
		}
	}
}

// dotFP8Generic multiplies rows of E4M3 numbers with x.
func dotFP8Generic(y []float32, w []byte, scales, x []float32) {
	groups := len(scales) / len(y)
	group := len(x) / groups
	var tmp [32]float32
	for r := range y {
		y[r] = 0
		for g := range groups {
			fp8RowGeneric(tmp[:group], w[r*len(x)+g*group:], scales[r*groups+g:][:1])
			y[r] += dotGeneric(tmp[:group], x[g*group:(g+1)*group])
		}
	}
}

// nibblesFP4Generic unpacks eight rows of nibbles, ld bytes apart, to codes as
// columns of a strip whose lines lie stride apart. Every 16 weights fill four
// lines: two with the low nibbles of their bytes, two with the high ones.
func nibblesFP4Generic(dst []byte, stride int, src []byte, ld, _, runs int) {
	for r := range 8 {
		for i, b := range src[r*ld:][:runs*32] {
			line := i/8*4 + i%8/4
			dst[line*stride+r*4+i%4] = fp4Codes[b&15]
			dst[(line+2)*stride+r*4+i%4] = fp4Codes[b>>4]
		}
	}
}

// int32View views float32 values as integers.
func int32View(v []float32) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}
