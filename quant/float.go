package quant

import (
	"encoding/binary"
	"fmt"
	"math"
)

// F16ToF32 widens an IEEE 754 half-precision number. The result is exact; a
// NaN keeps its payload.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	abs := uint32(h & 0x7fff)
	if abs >= 0x7c00 { // infinity and NaN
		return math.Float32frombits(sign | 0x7f800000 | abs&0x3ff<<13)
	}
	// Read with float32's exponent bias the number is 2^112 too small, which
	// holds for subnormals too, and the product is exact.
	const rebias = 1 << 112
	f := math.Float32frombits(abs<<13) * rebias
	return math.Float32frombits(math.Float32bits(f) | sign)
}

// F32ToF16 rounds to half precision, ties to even. Magnitudes of 65520 and
// more become infinity; a NaN stays one (and turns quiet).
func F32ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	abs := b & 0x7fffffff
	switch {
	case abs > 0x7f800000:
		return sign | 0x7e00 | uint16(abs>>13&0x3ff)
	case abs >= 0x477ff000: // 65520, half way between 65504 and 2^16
		return sign | 0x7c00
	case abs < 0x38800000: // below 2^-14, the smallest normal half
		// The spacing of float32 just above 0.5 is 2^-24, that of subnormal
		// halves, so adding 0.5 rounds to the right place.
		sum := math.Float32frombits(abs) + 0.5
		return sign | uint16(math.Float32bits(sum)-0x3f000000)
	}
	const rebias = (127 - 15) << 23
	return sign | uint16((abs-rebias+0xfff+abs>>13&1)>>13)
}

// bf16ToF32 widens a bfloat16 number, exactly.
func bf16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// f32ToBF16 rounds to bfloat16, ties to even. A NaN stays one (and turns quiet).
func f32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// Floats widens little-endian numbers of type d to float32: dst[i] is the i-th
// number of src. src must hold at least len(dst) of them. F64 and the wider
// integers are rounded to the nearest float32.
func Floats(dst []float32, src []byte, d DType) {
	if len(dst) == 0 {
		return
	}
	src = src[:len(dst)*d.Size()]
	switch d { // direct calls: through a table, what lies on a caller's stack would escape
	case F32:
		widenF32(dst, src)
	case F16:
		widenF16(dst, src)
	case BF16:
		widenBF16(dst, src)
	case F64:
		widenF64(dst, src)
	case I8:
		widen8[int8](dst, src)
	case I16:
		widen16[int16](dst, src)
	case I32:
		widen32[int32](dst, src)
	case I64:
		widen64[int64](dst, src)
	case U8, Bool:
		widen8[uint8](dst, src)
	case U16:
		widen16[uint16](dst, src)
	case U32:
		widen32[uint32](dst, src)
	case U64:
		widen64[uint64](dst, src)
	default:
		panic(fmt.Sprintf("quant: Floats from %v", d))
	}
}

func widenF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func widenF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func widenBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = bf16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func widenF64(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
	}
}

func widen8[T int8 | uint8](dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(T(src[i]))
	}
}

func widen16[T int16 | uint16](dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(T(binary.LittleEndian.Uint16(src[2*i:])))
	}
}

func widen32[T int32 | uint32](dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(T(binary.LittleEndian.Uint32(src[4*i:])))
	}
}

func widen64[T int64 | uint64](dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(T(binary.LittleEndian.Uint64(src[8*i:])))
	}
}

// Narrow is PutFloats, but refuses a finite number that is infinite in type d.
func Narrow(dst []byte, src []float32, d DType) error {
	if d == F16 {
		for _, f := range src {
			if f-f == 0 && !fits(f, d) {
				return fmt.Errorf("weight %g is too large for float16: use bfloat16 or float32", f)
			}
		}
	}
	PutFloats(dst, src, d)
	return nil
}

// PutFloats stores src as little-endian numbers of type d, rounded to the
// nearest even. dst must have room for len(src) of them, and d must be a
// floating-point type.
func PutFloats(dst []byte, src []float32, d DType) {
	if len(src) == 0 {
		return
	}
	dst = dst[:len(src)*d.Size()]
	le := binary.LittleEndian
	switch d {
	case F32:
		for i, f := range src {
			le.PutUint32(dst[4*i:], math.Float32bits(f))
		}
	case F16:
		for i, f := range src {
			le.PutUint16(dst[2*i:], F32ToF16(f))
		}
	case BF16:
		for i, f := range src {
			le.PutUint16(dst[2*i:], f32ToBF16(f))
		}
	case F64:
		for i, f := range src {
			le.PutUint64(dst[8*i:], math.Float64bits(float64(f)))
		}
	default:
		panic(fmt.Sprintf("quant: PutFloats to %v", d))
	}
}
