package quant

import (
	"fmt"
	"math"
	"sync/atomic"
)

// QuantizeFP stores the matrix w, [rows, cols] in row-major order, in one of
// the formats MXFP4, NVFP4 and MXFP8, as mx.quantize does. source (F32, F16 or
// BF16) is the type that the weights have in MLX: [RuleCPU] does its sums in it.
// cols must be a multiple of the format's group. A weight that is not finite is
// an error.
//
// Each group's scale is its largest magnitude over the largest number of the
// format, rounded up to a power of two for E8M0 and to the nearest number for
// E4M3. With [RuleCPU] ties between numbers of 4 bits go to the smaller
// magnitude and there is no negative zero; with [RuleMetal] they go to the even
// one, and weights are multiplied by the reciprocal of the scale.
func QuantizeFP(w []float32, rows, cols int, kind Kind, source DType, rule Rule) (*Matrix, error) {
	if rows <= 0 || cols <= 0 || len(w)/rows != cols || len(w)%rows != 0 {
		return nil, fmt.Errorf("quantizing %d weights as [%d, %d]", len(w), rows, cols)
	}
	return quantizeFP(kind, rows, cols, source, rule, func(row int) []float32 { return w[row*cols : (row+1)*cols] })
}

// quantizeFP is QuantizeFP with values giving the rows. It calls values from several
// goroutines.
func quantizeFP(kind Kind, rows, cols int, source DType, rule Rule, values func(row int) []float32) (*Matrix, error) {
	f, err := ParseMode(Format{Kind: kind}.Mode())
	if err != nil || !kind.IsFP() {
		return nil, fmt.Errorf("quantizing to kind %d: expected MXFP4, NVFP4 or MXFP8", kind)
	}
	if source != F32 && source != F16 && source != BF16 {
		return nil, fmt.Errorf("quantizing weights of type %v: expected F32, F16 or BF16", source)
	}
	if cols%f.Group != 0 {
		return nil, fmt.Errorf("rows of %d weights do not divide into groups of %d", cols, f.Group)
	}
	m := &Matrix{Format: f, Rows: rows, Cols: cols}
	groups := cols / f.Group
	m.Data, m.Scales = make([]byte, rows*f.RowBytes(cols)), make([]byte, rows*groups)
	q := fpQuantizer{f, source, rule}
	groupBytes := f.RowBytes(f.Group)
	var bad atomic.Int64 // 1 + a group with a weight that is not finite
	eachRow(rows, cols, func(row int) {
		w := values(row)
		for g := range groups {
			at := row*groups + g
			var ok bool
			if m.Scales[at], ok = q.group(m.Data[at*groupBytes:(at+1)*groupBytes], w[g*f.Group:(g+1)*f.Group]); !ok {
				bad.CompareAndSwap(0, int64(at)+1)
				return
			}
		}
	})
	if b := bad.Load(); b != 0 {
		at := int(b-1) * f.Group
		return nil, fmt.Errorf("row %d, columns %d to %d: weights are not finite", at/cols, at%cols, at%cols+f.Group-1)
	}
	return m, nil
}

type fpQuantizer struct {
	format Format
	source DType
	rule   Rule
}

// group encodes the weights of one group and returns their scale.
func (q fpQuantizer) group(dst []byte, w []float32) (scale byte, ok bool) {
	var largest float32
	for _, x := range w {
		if x-x != 0 {
			return 0, false
		}
		largest = max(largest, abs(x))
	}
	most := float32(6)
	if q.format.Bits == 8 {
		most = 448
	}
	s := q.round(largest / most)
	var value float32
	if q.format.Kind == NVFP4 {
		scale = toE4M3(s)
		value = e4m3[scale]
	} else {
		scale = toE8M0(s)
		if s == 0 && q.rule == RuleCPU {
			scale = 127
		}
		value = e8m0[scale]
	}
	if q.format.Bits == 8 {
		for i, x := range w {
			dst[i] = toE4M3(q.divide(x, value))
		}
		return scale, true
	}
	for i := range dst {
		dst[i] = q.toE2M1(q.divide(w[2*i], value)) | q.toE2M1(q.divide(w[2*i+1], value))<<4
	}
	return scale, true
}

// round brings a result to the type that the rule computes in.
func (q fpQuantizer) round(f float32) float32 {
	if q.rule == RuleCPU {
		switch q.source {
		case F16:
			return F16ToF32(F32ToF16(f))
		case BF16:
			return bf16ToF32(f32ToBF16(f))
		}
	}
	return f
}

// divide is x over the group's scale. A scale of zero makes everything zero.
func (q fpQuantizer) divide(x, scale float32) float32 {
	switch {
	case scale == 0:
		return 0
	case q.rule == RuleMetal:
		return x * (1 / scale)
	}
	return q.round(x / scale)
}

// toE2M1 rounds to the nearest nibble.
func (q fpQuantizer) toE2M1(x float32) byte {
	// Half way between neighbours: the even one is above the odd steps.
	halves := [7]float32{0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5}
	a := abs(x)
	var b byte
	for i, h := range halves {
		if a > h || a == h && q.rule == RuleMetal && i&1 == 1 {
			b++
		}
	}
	if math.Signbit(float64(x)) && (b != 0 || q.rule == RuleMetal) {
		b |= 8
	}
	return b
}

// toE4M3 rounds to the nearest byte, ties to even. 448 stands for all that is larger.
func toE4M3(x float32) byte {
	a := abs(x)
	sign := byte(math.Float32bits(x) >> 24 & 0x80)
	switch {
	case a >= 448:
		return sign | 0x7e
	case a < 1.0/64: // subnormal: steps of 2^-9, which float32 has from 2^14 on
		return sign | byte(math.Float32bits(a+1<<14)&0xff)
	}
	b := math.Float32bits(a)
	const rebias = (127 - 7) << 23
	return sign | byte((b-rebias+0x7ffff+b>>20&1)>>20)
}

// toE8M0 rounds a number, not a negative one, up to a power of two.
func toE8M0(s float32) byte {
	b := math.Float32bits(s)
	if b <= 0x400000 { // 2^-127 or less
		return 0
	}
	return byte((b + 0x7fffff) >> 23) // a mantissa that is not zero carries
}
