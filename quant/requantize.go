package quant

import (
	"cmp"
	"fmt"
)

// Requantize stores the values of m in the format to: Dense, or one that
// [QuantizeAffine] or [QuantizeFP] make with this source and rule. It holds no more
// than single rows as float32.
func (m *Matrix) Requantize(to Format, source DType, rule Rule) (*Matrix, error) {
	values := func(row int) []float32 {
		w := make([]float32, m.Cols)
		m.Row(w, row)
		return w
	}
	var out *Matrix
	err := to.Check()
	switch {
	case to.Kind == Affine:
		out, err = quantizeAffine(to, m.Rows, m.Cols, rule, values)
	case to.Kind.IsFP():
		out, err = quantizeFP(to.Kind, m.Rows, m.Cols, source, rule, values)
	case to.Kind != Dense:
		err = fmt.Errorf("writing %v is not supported", to)
	case err == nil:
		n := to.RowBytes(m.Cols)
		out = &Matrix{Format: to, Rows: m.Rows, Cols: m.Cols, Data: make([]byte, m.Rows*n)}
		errs := make([]error, m.Rows)
		eachRow(m.Rows, m.Cols, func(row int) { errs[row] = Narrow(out.Data[row*n:(row+1)*n], values(row), to.DType) })
		err = cmp.Or(errs...)
	}
	if err != nil {
		return nil, err
	}
	out.Experts = m.Experts
	return out, nil
}
