package quant

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
)

// Encode quantizes src, whose length must be a multiple of Elements, into the
// blocks of dst. It chooses scales and integers as ggml's reference quantizers
// do (ggml-quants.c, without an importance matrix). ok is false when a value is
// not finite or too large for the half-precision scales.
func (b BlockType) Encode(dst []byte, src []float32) (ok bool) {
	most := math.Float32bits(1e9) // more than any type's largest scale times its integers
	n, size := b.Elements(), b.Bytes()
	for ; len(src) >= n; dst, src = dst[size:], src[n:] {
		var largest uint32 // magnitude, as bits: these order as the numbers do, NaN last
		for _, x := range src[:n] {
			largest = max(largest, math.Float32bits(x)&^(1<<31))
		}
		if largest >= most {
			return false
		}
		block := dst[:size]
		switch b {
		case BlockQ4K, BlockQ5K:
			ok = fastSearches.encodeK(b, block, (*[256]float32)(src))
		case BlockQ6K:
			ok = fastSearches.encodeQ6K(block, (*[256]float32)(src))
		default:
			ok = b.encode32(block, (*[32]float32)(src), math.Float32frombits(largest))
		}
		if !ok {
			return false
		}
	}
	return true
}

// encode32 quantizes one block of 32; largest is the largest magnitude in it.
func (b BlockType) encode32(block []byte, x *[32]float32, largest float32) bool {
	var q [32]uint8
	zero, levels := blocks[b].zero, float32(int(1)<<blocks[b].bits-1)
	if zero < 0 { // from the smallest value up
		lo, hi := x[0], x[0]
		for _, v := range x {
			if v < lo {
				lo = v
			}
			if v > hi {
				hi = v
			}
		}
		d := (hi - lo) / levels
		inverse := reciprocal(d)
		for i, v := range x {
			q[i] = uint8(int32(between(float32(float32(v-lo)*inverse)+0.5, 0, levels)))
		}
		return b.put32(block, &q, d, lo)
	}
	if b == BlockQ8_0 { // -127 to 127, ties away from zero
		d := largest / 127
		inverse := reciprocal(d)
		for i, v := range x {
			f := float64(v * inverse)
			q[i] = uint8(int32(f+math.Copysign(0.5, f)) + int32(zero))
		}
		return b.put32(block, &q, d, 0)
	}
	// The value of largest magnitude becomes the lowest integer: there is one more of
	// these than of positive ones.
	extreme := x[slices.IndexFunc(x[:], func(v float32) bool { return abs(v) == largest })]
	d := extreme / -float32(zero)
	inverse := float64(reciprocal(d))
	half := float64(zero) + 0.5
	for i, v := range x {
		// In float64, as a fused multiply-add would do it.
		f := float64(v)*inverse + half
		if f > float64(levels) {
			f = float64(levels)
		}
		q[i] = uint8(int32(f))
	}
	return b.put32(block, &q, d, 0)
}

func reciprocal(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

// put32 writes a block of 32: the inverse of scale and integers.
func (b BlockType) put32(block []byte, q *[32]uint8, d, m float32) bool {
	le := binary.LittleEndian
	le.PutUint16(block, F32ToF16(d))
	if blocks[b].zero < 0 {
		le.PutUint16(block[2:], F32ToF16(m))
	}
	body := b.body(block)
	if b == BlockQ8_0 {
		for i := 0; i < 32; i += 8 {
			le.PutUint64(body[i:], le.Uint64(q[i:])^0x8080808080808080)
		}
		return fits(d, F16)
	}
	if blocks[b].bits == 5 {
		var high uint32
		for i, v := range q {
			high |= uint32(v>>4) << i
		}
		le.PutUint32(body, high)
		body = body[4:]
	}
	const nibbles = 0x0f0f0f0f0f0f0f0f
	for i := 0; i < 16; i += 8 {
		le.PutUint64(body[i:], le.Uint64(q[i:])&nibbles|le.Uint64(q[i+16:])&nibbles<<4)
	}
	return fits(d, F16) && fits(m, F16)
}

// ToBlocks stores m in blocks of type b: [Rows, Cols/b.Elements()] blocks, row
// after row. Cols must be a multiple of b.Elements().
//
// Weights that are quantized already are not rounded a second time where b can hold
// them: blocks of the same type are copied, and an affine group keeps its integers
// where that is nearer to the stored weights than quantizing them anew. If half
// precision holds the scales, this is exact for Q4_1 from 4 bits, and for Q4_0 and Q8_0
// from groups whose bias is a multiple of the scale within the range of the type.
func ToBlocks(b BlockType, m *Matrix) ([]byte, error) {
	n, size := b.Elements(), b.Bytes()
	if m.Cols%n != 0 {
		return nil, fmt.Errorf("rows of %d weights, but %v takes multiples of %d", m.Cols, b, n)
	}
	if k := m.Format.Kind; b == BlockQ4K && k == Q4K || b == BlockQ6K && k == Q6K {
		return m.Data, nil
	}
	rowBytes := m.Cols / n * size
	out := make([]byte, m.Rows*rowBytes)
	var bad atomic.Int64 // 1 + a row that cannot be stored
	eachRow(m.Rows, m.Cols, func(row int) {
		values := make([]float32, m.Cols)
		m.Row(values, row)
		dst := out[row*rowBytes : (row+1)*rowBytes]
		if !b.Encode(dst, values) {
			bad.CompareAndSwap(0, int64(row)+1)
			return
		}
		if n == 32 && m.Format.Kind == Affine {
			b.keep(dst, values, m, row)
		}
	})
	if row := bad.Load(); row != 0 {
		return nil, fmt.Errorf("row %d has weights that are not finite or too large for %v", row-1, b)
	}
	return out, nil
}

// keep replaces blocks of one row by blocks with the integers of m where these are
// nearer to the row's values.
func (b BlockType) keep(dst []byte, values []float32, m *Matrix, row int) {
	groups, size := m.Cols/m.Format.Group, m.Format.DType.Size()
	scales, biases := make([]float32, groups), make([]float32, groups)
	Floats(scales, m.Scales[row*groups*size:], m.Format.DType)
	Floats(biases, m.Biases[row*groups*size:], m.Format.DType)
	rowBytes := m.Format.RowBytes(m.Cols)
	q := make([]uint8, m.Cols)
	unpack(q, m.Data[row*rowBytes:(row+1)*rowBytes], m.Format.Bits)
	trial := make([]byte, b.Bytes())
	for at := 0; at < m.Cols; at += 32 {
		g := at / m.Format.Group
		if !b.adopt(trial, (*[32]uint8)(q[at:]), scales[g], biases[g]) {
			continue
		}
		block := dst[at/32*b.Bytes() : (at/32+1)*b.Bytes()]
		if want := (*[32]float32)(values[at:]); b.distance(trial, want) < b.distance(block, want) {
			copy(block, trial)
		}
	}
}

// adopt writes a block with the weights scale*q + bias. It is false when b has no
// integers for them.
func (b BlockType) adopt(block []byte, q *[32]uint8, scale, bias float32) bool {
	zero, levels := blocks[b].zero, 1<<blocks[b].bits-1
	shift := 0.0 // of the integers
	if zero >= 0 {
		shift = float64(zero)
		if scale != 0 {
			shift += math.Round(float64(bias) / float64(scale))
		}
		if !(math.Abs(shift) <= 512) {
			return false
		}
	}
	var moved [32]uint8
	for i, v := range q {
		k := int(v) + int(shift)
		if k < 0 || k > levels {
			return false
		}
		moved[i] = uint8(k)
	}
	return b.put32(block, &moved, scale, bias)
}

// distance is the sum of squares of how far a block is from want.
func (b BlockType) distance(block []byte, want *[32]float32) (sum float64) {
	var got [32]float32
	b.Decode(got[:], block)
	for i, v := range got {
		d := float64(v) - float64(want[i])
		sum += d * d
	}
	return sum
}

// unpack is the inverse of pack.
func unpack(q []uint8, src []byte, bits int) {
	var acc uint64
	var have, at int
	for i := range q {
		if have < bits {
			acc |= uint64(binary.LittleEndian.Uint32(src[at:])) << have
			have += 32
			at += 4
		}
		q[i] = uint8(acc) & uint8(int(1)<<bits-1)
		acc >>= bits
		have -= bits
	}
}
