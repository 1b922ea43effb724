package quant

// ToAffine returns a Q4_K matrix in the affine format with the same 4-bit integers, in
// groups of 32. Only scales and biases are rounded, to scaleType; quantizing the values
// again would choose other scales and round every weight a second time. ok is false for
// other formats, and when scaleType cannot hold a scale or bias.
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
			scale, bias := affineK(block, j)
			if !fits(scale, scaleType) || !fits(bias, scaleType) {
				return nil, false
			}
			scales[at+j], biases[at+j] = scale, bias
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
