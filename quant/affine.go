package quant

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"
)

// Rule picks between the two roundings found in MLX's quantizers. Both make
// valid weights; they differ in ties and in groups without positive weights.
type Rule uint8

const (
	// RuleMetal is what the GPU does, and how published models were made: ties round
	// away from zero, and the largest weight of a group counts as zero if it is less.
	RuleMetal Rule = iota
	// RuleCPU rounds ties to even and takes the true largest weight.
	RuleCPU
)

func checkAffine(bits, group int) error {
	switch bits {
	case 2, 3, 4, 5, 6, 8:
	default:
		return fmt.Errorf("%d bits: expected 2, 3, 4, 5, 6 or 8", bits)
	}
	switch group {
	case 32, 64, 128:
		return nil
	}
	return fmt.Errorf("group size %d: expected 32, 64 or 128", group)
}

// QuantizeAffine quantizes the matrix w, [rows, cols] in row-major order, as
// mx.quantize does. scaleType (F32, F16 or BF16) is the type of the stored
// scales and biases; MLX uses that of the source weights. cols must be a
// multiple of group. A weight that is not finite, or one that scaleType cannot
// hold, is an error.
func QuantizeAffine(w []float32, rows, cols int, bits, group int, scaleType DType, rule Rule) (*Matrix, error) {
	if rows <= 0 || cols <= 0 || len(w)/rows != cols || len(w)%rows != 0 {
		return nil, fmt.Errorf("quantizing %d weights as [%d, %d]", len(w), rows, cols)
	}
	f := Format{Kind: Affine, DType: scaleType, Bits: bits, Group: group}
	return quantizeAffine(f, rows, cols, rule, func(row int) []float32 { return w[row*cols : (row+1)*cols] })
}

// quantizeAffine is QuantizeAffine with values giving the rows. It calls values from
// several goroutines.
func quantizeAffine(f Format, rows, cols int, rule Rule, values func(row int) []float32) (*Matrix, error) {
	m := &Matrix{Format: f, Rows: rows, Cols: cols}
	if err := f.Check(); err != nil {
		return nil, err
	}
	group := f.Group
	if cols%group != 0 {
		return nil, fmt.Errorf("rows of %d weights do not divide into groups of %d", cols, group)
	}
	groups := cols / group
	m.Data = make([]byte, rows*f.RowBytes(cols))
	m.Scales = make([]byte, rows*groups*f.DType.Size())
	m.Biases = make([]byte, len(m.Scales))

	var bad atomic.Int64 // 1 + the first group found that cannot be quantized
	eachRow(rows, cols, func(row int) {
		w := values(row)
		for g := range groups {
			if at := row*groups + g; !m.putGroup(at, w[g*group:(g+1)*group], rule) {
				bad.CompareAndSwap(0, int64(at)+1)
				return
			}
		}
	})
	if b := bad.Load(); b != 0 {
		at := int(b-1) * group
		return nil, fmt.Errorf("row %d, columns %d to %d: weights are not finite or too large for %v scales",
			at/cols, at%cols, at%cols+group-1, f.DType)
	}
	return m, nil
}

// PutRow quantizes src, [Cols], into one row of an Affine matrix in writable memory.
// A group with a value that is not finite, or too large for the scales, becomes NaN.
func (m *Matrix) PutRow(row int, src []float32, rule Rule) {
	group := m.Format.Group
	first, size := row*(m.Cols/group), m.Format.DType.Size()
	for i := range m.Cols / group {
		g := first + i
		if !m.putGroup(g, src[i*group:(i+1)*group], rule) {
			nan := []float32{float32(math.NaN())}
			PutFloats(m.Scales[g*size:], nan, m.Format.DType)
			PutFloats(m.Biases[g*size:], nan, m.Format.DType)
		}
	}
}

// putGroup quantizes w into group g, counted over all rows. It is false when the type
// of the scales cannot hold it.
func (m *Matrix) putGroup(g int, w []float32, rule Rule) bool {
	var q [128]uint8
	f := m.Format
	scale, bias, ok := quantizeGroup(q[:len(w)], w, f.Bits, rule)
	if !ok || !fits(scale, f.DType) || !fits(bias, f.DType) {
		return false
	}
	n, size := f.RowBytes(f.Group), f.DType.Size()
	pack(m.Data[g*n:], q[:len(w)], f.Bits)
	PutFloats(m.Scales[g*size:], []float32{scale}, f.DType)
	PutFloats(m.Biases[g*size:], []float32{bias}, f.DType)
	return true
}

// fits reports whether f stays finite in type d.
func fits(f float32, d DType) bool {
	switch d {
	case F16:
		f = F16ToF32(F32ToF16(f))
	case BF16:
		f = bf16ToF32(f32ToBF16(f))
	}
	return f-f == 0
}

// quantizeGroup writes the integers of one group to q and returns the float32 scale
// and bias. ok is false when a weight is not finite.
//
// The edge of larger magnitude is represented exactly: it gets the integer 0
// and becomes the bias. The scale is negative when that edge is the maximum.
// The integers come from the unrounded scale and bias, as in MLX.
func quantizeGroup(q []uint8, w []float32, bits int, rule Rule) (scale, bias float32, ok bool) {
	const minScale = 1e-7
	levels := float32(int(1)<<bits - 1)
	lo, hi := w[0], w[0]
	if rule == RuleMetal {
		hi = max(hi, 0)
	}
	var largest uint32 // magnitude, as bits: these order as the numbers do
	for _, x := range w {
		largest = max(largest, math.Float32bits(x)&^(1<<31))
		if x < lo {
			lo = x
		}
		if x > hi {
			hi = x
		}
	}
	if largest >= 0xff<<23 { // infinite or not a number
		return 0, 0, false
	}
	scale = max((hi-lo)/levels, minScale)
	edge := lo
	if abs(lo) <= abs(hi) {
		scale, edge = -scale, hi
	}
	if q0 := round(edge/scale, rule); q0 != 0 {
		scale, bias = edge/q0, edge
	}
	q = q[:len(w)]
	if rule == RuleCPU {
		for i, x := range w {
			q[i] = roundEven(between((x-bias)/scale, 0, levels))
		}
	} else {
		for i, x := range w {
			q[i] = uint8(int32(float64(between((x-bias)/scale, 0, levels)) + 0.5))
		}
	}
	return scale, bias, scale-scale == 0
}

// between brings a number into a range. It is faster than min and max, since it does
// not care about NaN and the sign of zero.
func between(f, lo, hi float32) float32 {
	if f < lo {
		return lo
	}
	if f > hi {
		return hi
	}
	return f
}

// roundEven rounds a number from 0 to 255, ties to even: the sum has no bits for a
// fraction, and its lowest bits are the integer.
func roundEven(f float32) uint8 { return uint8(math.Float32bits(f + 3<<22)) }

func abs(f float32) float32 { return math.Float32frombits(math.Float32bits(f) &^ (1 << 31)) }

// round rounds to a whole number, ties by rule. A float32 plus a half is exact
// in float64 wherever it matters for the result.
func round(f float32, rule Rule) float32 {
	if rule == RuleCPU {
		return float32(math.RoundToEven(float64(f)))
	}
	return float32(math.Trunc(float64(f) + math.Copysign(0.5, float64(f))))
}

// pack writes the integers q, each below 2^bits, as a stream of bits.
// len(q)*bits must be a multiple of 32.
func pack(dst []byte, q []uint8, bits int) {
	switch bits {
	case 4:
		for ; len(q) >= 8; dst, q = dst[4:], q[8:] {
			binary.LittleEndian.PutUint32(dst, joinNibbles(binary.LittleEndian.Uint64(q)))
		}
		return
	case 8:
		copy(dst, q)
		return
	}
	var acc uint64
	var have, at int
	for _, v := range q {
		acc |= uint64(v) << have
		if have += bits; have >= 32 {
			binary.LittleEndian.PutUint32(dst[at:], uint32(acc))
			acc >>= 32
			have -= 32
			at += 4
		}
	}
}
