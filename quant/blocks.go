package quant

import (
	"encoding/binary"
	"fmt"
	"math"
)

// BlockType is a block format of GGUF files. A row of a tensor is a run of
// blocks, each with its own scale. Layouts and formulas: ggml-common.h and
// ggml-quants.c of the ggml project.
type BlockType uint8

// The block types that can be read. The number in a name is the bits of a
// weight; types ending in 1 have an offset beside the scale, types ending in K
// have super-blocks of 256 weights with quantized scales.
const (
	BlockQ4_0 BlockType = iota
	BlockQ4_1
	BlockQ5_0
	BlockQ5_1
	BlockQ8_0
	BlockQ4K
	BlockQ6K
	BlockQ5K
)

// blocks gives name, weights and bytes of a block, and its affine equal:
// bits and the integer that stands for zero (-1: the block stores a bias).
var blocks = [...]struct {
	name            string
	elements, bytes int
	bits, zero      int
}{
	BlockQ4_0: {"Q4_0", 32, 18, 4, 8},
	BlockQ4_1: {"Q4_1", 32, 20, 4, -1},
	BlockQ5_0: {"Q5_0", 32, 22, 5, 16},
	BlockQ5_1: {"Q5_1", 32, 24, 5, -1},
	BlockQ8_0: {"Q8_0", 32, 34, 8, 128},
	BlockQ4K:  {name: "Q4_K", elements: 256, bytes: 144},
	BlockQ6K:  {name: "Q6_K", elements: 256, bytes: 210},
	BlockQ5K:  {name: "Q5_K", elements: 256, bytes: 176, bits: 5},
}

// Elements returns the weights in a block.
func (b BlockType) Elements() int { return blocks[b].elements }

// Bytes returns the bytes a block takes.
func (b BlockType) Bytes() int { return blocks[b].bytes }

// String returns ggml's name, such as "Q4_K".
func (b BlockType) String() string { return blocks[b].name }

// Decode writes the float32 values of the blocks in src to dst, whose length
// must be a multiple of Elements. It is the definition of the block types.
func (b BlockType) Decode(dst []float32, src []byte) {
	n, size := b.Elements(), b.Bytes()
	for ; len(dst) >= n; dst, src = dst[n:], src[size:] {
		block := src[:size]
		switch b {
		case BlockQ4K:
			decodeQ4K((*[256]float32)(dst), block)
		case BlockQ6K:
			decodeQ6K((*[256]float32)(dst), block)
		case BlockQ5K:
			decodeQ5K((*[256]float32)(dst), block)
		default:
			var q [32]uint8
			b.integers(&q, block)
			d, m := b.scale(block)
			if z := blocks[b].zero; z >= 0 {
				for i, v := range q {
					dst[i] = d * float32(int(v)-z)
				}
			} else {
				for i, v := range q {
					dst[i] = float32(d*float32(v)) + m
				}
			}
		}
	}
}

// scale returns the scale of a block of 32 and its offset, 0 where the type has none.
func (b BlockType) scale(block []byte) (d, m float32) {
	d = F16ToF32(binary.LittleEndian.Uint16(block))
	if blocks[b].zero < 0 {
		m = F16ToF32(binary.LittleEndian.Uint16(block[2:]))
	}
	return d, m
}

// body returns what follows scale and offset.
func (b BlockType) body(block []byte) []byte {
	if blocks[b].zero < 0 {
		return block[4:b.Bytes()]
	}
	return block[2:b.Bytes()]
}

// integers unpacks a block of 32. Signed integers are shifted up by the type's
// zero, so all are unsigned.
func (b BlockType) integers(q *[32]uint8, block []byte) {
	body := b.body(block)
	if b == BlockQ8_0 {
		for i := range q {
			q[i] = body[i] ^ 0x80 // two's complement plus 128
		}
		return
	}
	var high uint32 // fifth bits, weight i at bit i
	if blocks[b].bits == 5 {
		high = binary.LittleEndian.Uint32(body)
		body = body[4:]
	}
	// The low nibbles are weights 0 to 15, the high ones 16 to 31.
	for i, v := range body[:16] {
		q[i] = v&15 | uint8(high>>i&1)<<4
		q[i+16] = v>>4 | uint8(high>>(i+16)&1)<<4
	}
}

// repack writes the integers of a block of 32 as a stream of bits: integers and pack in
// one. For the common types it needs no loop over the weights.
func (b BlockType) repack(dst, block []byte) {
	le := binary.LittleEndian
	body := b.body(block)
	switch b {
	case BlockQ4_0, BlockQ4_1:
		for i := range 2 {
			v := le.Uint64(body[8*i:])
			le.PutUint32(dst[4*i:], joinNibbles(v))
			le.PutUint32(dst[8+4*i:], joinNibbles(v>>4))
		}
	case BlockQ8_0:
		for i := range 4 {
			le.PutUint64(dst[8*i:], le.Uint64(body[8*i:])^0x8080808080808080)
		}
	default:
		var q [32]uint8
		b.integers(&q, block)
		pack(dst, q[:], blocks[b].bits)
	}
}

// joinNibbles puts the low nibbles of eight bytes side by side.
func joinNibbles(v uint64) uint32 {
	v &= 0x0f0f0f0f0f0f0f0f
	v = (v | v>>4) & 0x00ff00ff00ff00ff
	v = (v | v>>8) & 0x0000ffff0000ffff
	return uint32(v | v>>16)
}

// decodeQ4K decodes a super-block of Q4_K: two f16 scales, eight pairs of
// 6-bit scale and minimum in 12 bytes, and 128 bytes of nibbles.
func decodeQ4K(dst *[256]float32, block []byte) {
	q := block[16:144]
	for j := range 8 { // groups of 32 weights
		scale, bias := affineK(block, j)
		// A run of 32 bytes serves two groups: low nibbles, then high ones.
		shift := 4 * (j & 1)
		out := dst[32*j : 32*j+32]
		for i, v := range q[32*(j/2) : 32*(j/2)+32] {
			out[i] = float32(scale*float32(v>>shift&15)) + bias
		}
	}
}

// scaleAndMin unpacks the 6-bit scale and minimum of group j.
func scaleAndMin(packed []byte, j int) (sc, mn uint8) {
	if j < 4 {
		return packed[j] & 63, packed[j+4] & 63
	}
	// The low 4 bits are here, the high 2 above the entries of j-4.
	return packed[j+4]&15 | packed[j-4]>>6<<4, packed[j+4]>>4 | packed[j]>>6<<4
}

// decodeQ5K decodes a super-block of Q5_K. It is like Q4_K, with 32 bytes of fifth bits
// (group j in bit j) before the nibbles.
func decodeQ5K(dst *[256]float32, block []byte) {
	var q [256]uint8
	integersQ5K(&q, block)
	for j := range 8 {
		scale, bias := affineK(block, j)
		for i, v := range q[32*j : 32*j+32] {
			dst[32*j+i] = float32(scale*float32(v)) + bias
		}
	}
}

// affineK returns the scale and bias of group j of a super-block of Q4_K or Q5_K.
func affineK(block []byte, j int) (scale, bias float32) {
	d, dmin := F16ToF32(binary.LittleEndian.Uint16(block)), F16ToF32(binary.LittleEndian.Uint16(block[2:]))
	sc, mn := scaleAndMin(block[4:16], j)
	return d * float32(sc), -(dmin * float32(mn))
}

func integersQ5K(q *[256]uint8, block []byte) {
	high, low := block[16:48], block[48:176]
	for at := range q {
		j, i := at/32, at%32
		q[at] = low[32*(j/2)+i]>>(4*(j&1))&15 | high[i]>>j&1<<4
	}
}

// decodeQ6K decodes a super-block of Q6_K: 128 bytes of low nibbles, 64 bytes
// of high bit pairs, 16 signed scales and one f16 scale.
func decodeQ6K(dst *[256]float32, block []byte) {
	low, high, scales := block[:128], block[128:192], block[192:208]
	d := F16ToF32(binary.LittleEndian.Uint16(block[208:]))
	for half := range 2 {
		out, ql := dst[128*half:128*half+128], low[64*half:64*half+64]
		qh, sc := high[32*half:32*half+32], scales[8*half:8*half+8]
		for k := range 4 { // quarter k: nibble k/2 of bytes 32*(k%2)..., bit pair k
			bytes, nibble := ql[32*(k&1):32*(k&1)+32], 4*(k>>1)
			for i, v := range bytes {
				q := int(v>>nibble&15|qh[i]>>(2*k)&3<<4) - 32
				scale := d * float32(int8(sc[2*k+i/16]))
				out[32*k+i] = scale * float32(q)
			}
		}
	}
}

// FromBlocks makes a matrix of a GGUF tensor, [rows, cols]. The types with
// blocks of 32 and Q5_K become the affine format with the same float32 values,
// in new memory; Q4_K and Q6_K matrices use data where it lies.
func FromBlocks(b BlockType, data []byte, rows, cols int) (*Matrix, error) {
	if int(b) >= len(blocks) {
		return nil, fmt.Errorf("unknown block type %d", b)
	}
	n, size := b.Elements(), b.Bytes()
	if rows <= 0 || cols <= 0 || cols%n != 0 {
		return nil, fmt.Errorf("%v matrix [%d, %d]: expected rows that are a multiple of %d", b, rows, cols, n)
	}
	if cols > math.MaxInt/8/rows || rows*(cols/n)*size != len(data) {
		return nil, fmt.Errorf("%v matrix [%d, %d] has %d bytes", b, rows, cols, len(data))
	}
	m := &Matrix{Rows: rows, Cols: cols}
	switch b {
	case BlockQ4K, BlockQ6K:
		m.Format.Kind = Q4K + Kind(b-BlockQ4K)
		m.Data = data
		return m, nil
	case BlockQ5K:
		m.Format = Format{Kind: Affine, DType: F32, Bits: 5, Group: 32}
		affineFromQ5K(m, data)
		return m, nil
	}
	m.Format = Format{Kind: Affine, DType: b.scaleType(data), Bits: blocks[b].bits, Group: n}
	b.affine(m, data)
	return m, nil
}

// scaleType returns F16 unless a bias zero*scale would overflow it.
func (b BlockType) scaleType(data []byte) DType {
	const maxF16 = 65504
	zero := float32(blocks[b].zero)
	for ; zero > 0 && len(data) > 0; data = data[b.Bytes():] {
		if d := F16ToF32(binary.LittleEndian.Uint16(data)); abs(d*zero) > maxF16 && abs(d) <= maxF16 {
			return F32
		}
	}
	return F16
}

// affine fills m, whose shape and format are set, with the blocks of data.
//
// The values stay equal: scale*q is exact in float32 (11 bits of an f16 times at most
// 8), and so is the bias -zero*scale, a power of two times an f16. If the scale of a
// block is not finite, no weight is, in either form.
func (b BlockType) affine(m *Matrix, data []byte) {
	groups, rowBytes := m.Cols/m.Format.Group, m.Format.RowBytes(m.Cols)
	scaleBytes := groups * m.Format.DType.Size()
	m.Data = make([]byte, m.Rows*rowBytes)
	m.Scales, m.Biases = make([]byte, m.Rows*scaleBytes), make([]byte, m.Rows*scaleBytes)
	zero := float32(max(blocks[b].zero, 0))
	eachRow(m.Rows, m.Cols, func(row int) {
		scales, biases := make([]float32, groups), make([]float32, groups)
		out := m.Data[row*rowBytes : (row+1)*rowBytes]
		src := data[row*groups*b.Bytes():]
		for g := range groups {
			block := src[g*b.Bytes() : (g+1)*b.Bytes()]
			d, offset := b.scale(block)
			scales[g], biases[g] = d, offset-zero*d
			b.repack(out[g*rowBytes/groups:], block)
		}
		PutFloats(m.Scales[row*scaleBytes:], scales, m.Format.DType)
		PutFloats(m.Biases[row*scaleBytes:], biases, m.Format.DType)
	})
}

// affineFromQ5K fills m with groups of 32. Their scales are products of a half
// and 6 bits, which only float32 holds exactly.
func affineFromQ5K(m *Matrix, data []byte) {
	groups, rowBytes := m.Cols/32, m.Format.RowBytes(m.Cols)
	m.Data = make([]byte, m.Rows*rowBytes)
	m.Scales, m.Biases = make([]byte, 4*m.Rows*groups), make([]byte, 4*m.Rows*groups)
	size := BlockQ5K.Bytes()
	eachRow(m.Rows, m.Cols, func(row int) {
		scales, biases := make([]float32, groups), make([]float32, groups)
		var q [256]uint8
		for at := range m.Cols / 256 {
			block := data[(row*m.Cols/256+at)*size:][:size]
			integersQ5K(&q, block)
			pack(m.Data[row*rowBytes+at*160:], q[:], 5)
			for j := range 8 {
				scales[8*at+j], biases[8*at+j] = affineK(block, j)
			}
		}
		PutFloats(m.Scales[4*row*groups:], scales, F32)
		PutFloats(m.Biases[4*row*groups:], biases, F32)
	})
}
