package quant

import "encoding/binary"

// ToAffine returns a Q4_K matrix in the affine format that has the same 4-bit
// integers, in groups of 32: nothing is rounded but scales and biases, to
// scaleType. Quantizing the values again would choose other scales and round
// every weight a second time. ok is false for other formats, and when scaleType
// cannot hold a scale or bias.
func (m *Matrix) ToAffine(scaleType DType) (out *Matrix, ok bool) {
	if m.Format.Kind != Q4K {
		return nil, false
	}
	const group = 32
	out = &Matrix{Format: Format{Kind: Affine, DType: scaleType, Bits: 4, Group: group}, Rows: m.Rows, Cols: m.Cols, Experts: m.Experts}
	groups := m.Rows * m.Cols / group
	out.Data = make([]byte, m.Rows*m.Cols/2)
	scales, biases := make([]float32, groups), make([]float32, groups)
	for at := 0; at < groups; at += 8 { // a super-block
		block := m.Data[at/8*144:][:144]
		for j := range 8 {
			scale, offset := scaleQ4K(block, j)
			if !fits(scale, scaleType) || !fits(offset, scaleType) {
				return nil, false
			}
			scales[at+j], biases[at+j] = scale, -offset
			// 32 bytes hold two groups, low and high nibbles; here a byte holds two neighbours.
			from, to := block[16+32*(j/2):][:32], out.Data[(at+j)*16:][:16]
			shift := 4 * (j & 1)
			for i := range to {
				to[i] = from[2*i]>>shift&15 | from[2*i+1]>>shift&15<<4
			}
		}
	}
	out.Scales, out.Biases = make([]byte, groups*scaleType.Size()), make([]byte, groups*scaleType.Size())
	PutFloats(out.Scales, scales, scaleType)
	PutFloats(out.Biases, biases, scaleType)
	return out, true
}

// scaleQ4K returns what group j of a super-block multiplies its integers with
// and what it takes off.
func scaleQ4K(block []byte, j int) (scale, offset float32) {
	le := binary.LittleEndian
	d, dmin := F16ToF32(le.Uint16(block)), F16ToF32(le.Uint16(block[2:]))
	packed := block[4:16]
	var sc, mn uint8
	if j < 4 {
		sc, mn = packed[j]&63, packed[j+4]&63
	} else { // low 4 bits here, the high 2 are left over above j-4
		sc = packed[j+4]&15 | packed[j-4]>>6<<4
		mn = packed[j+4]>>4 | packed[j]>>6<<4
	}
	return d * float32(sc), dmin * float32(mn)
}
