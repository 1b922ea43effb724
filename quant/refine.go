package quant

import "fmt"

// Refine stores w, [Rows, Cols], on the grid of the affine matrix m divided
// into finer steps: m's biases, and scales divided by two for every bit more.
// All values of m lie on that grid, so weights that did not change keep their exact
// values; a fresh quantization would round them anew. Weights beyond a group's range
// are clamped to it.
func (m *Matrix) Refine(w []float32, bits int) (*Matrix, error) {
	if m.Format.Kind != Affine || bits < m.Format.Bits {
		return nil, fmt.Errorf("a %v matrix has no grid that %d bits refine", m.Format, bits)
	}
	to := m.Format
	to.Bits = bits
	if err := to.Check(); err != nil {
		return nil, err
	}
	if len(w) != m.Rows*m.Cols {
		return nil, fmt.Errorf("refining %d weights as [%d, %d]", len(w), m.Rows, m.Cols)
	}
	out := &Matrix{Format: to, Rows: m.Rows, Cols: m.Cols, Experts: m.Experts, Biases: m.Biases}
	groups, rowBytes := m.Cols/to.Group, to.RowBytes(m.Cols)
	scales, biases := make([]float32, m.Rows*groups), make([]float32, m.Rows*groups)
	Floats(scales, m.Scales, to.DType)
	Floats(biases, m.Biases, to.DType)
	divisor := float32(int(1) << (bits - m.Format.Bits))
	for i := range scales {
		scales[i] /= divisor
	}
	out.Scales = make([]byte, len(m.Scales))
	PutFloats(out.Scales, scales, to.DType)
	Floats(scales, out.Scales, to.DType) // as rounded, where the type has no smaller numbers
	out.Data = make([]byte, m.Rows*rowBytes)
	levels := float32(int(1)<<bits - 1)
	eachRow(m.Rows, m.Cols, func(row int) {
		q := make([]uint8, to.Group)
		for g := range groups {
			scale, bias := scales[row*groups+g], biases[row*groups+g]
			at := row*m.Cols + g*to.Group
			for i, x := range w[at : at+to.Group] {
				q[i] = 0
				if scale != 0 {
					q[i] = uint8(min(max(round((x-bias)/scale, RuleCPU), 0), levels))
				}
			}
			pack(out.Data[row*rowBytes+g*to.Group/8*bits:], q, bits)
		}
	})
	return out, nil
}
