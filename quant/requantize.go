package quant

import "fmt"

// Requantize stores the values of m in the format to, which is Dense or one that
// [QuantizeAffine] or [QuantizeFP] make; source and rule are what these take. Only
// single rows are ever held as float32.
func (m *Matrix) Requantize(to Format, source DType, rule Rule) (*Matrix, error) {
	values := func(row int) []float32 {
		w := make([]float32, m.Cols)
		m.Row(w, row)
		return w
	}
	switch {
	case to.Kind == Affine:
		return quantizeAffine(to, m.Rows, m.Cols, rule, values)
	case to.Kind.IsFP():
		return quantizeFP(to.Kind, m.Rows, m.Cols, source, rule, values)
	case to.Kind != Dense:
		return nil, fmt.Errorf("writing %v is not supported", to)
	}
	if err := to.Check(); err != nil {
		return nil, err
	}
	n := to.RowBytes(m.Cols)
	out := &Matrix{Format: to, Rows: m.Rows, Cols: m.Cols, Experts: m.Experts, Data: make([]byte, m.Rows*n)}
	eachRow(m.Rows, m.Cols, func(row int) { PutFloats(out.Data[row*n:(row+1)*n], values(row), to.DType) })
	return out, nil
}
