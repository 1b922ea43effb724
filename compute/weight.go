package compute

import (
	"fmt"

	"github.com/lentil-lm/lentil/quant"
)

// Weight is an op's attribute that says how its weight matrix [Rows, Cols] is stored. The
// matrix is one input: a buffer of Device.ImportWeight, or, where it is dense, any buffer
// of that shape and type.
type Weight struct {
	Format     quant.Format
	Rows, Cols int
}

// WeightOf is the attribute for a matrix.
func WeightOf(m *quant.Matrix) Weight { return Weight{Format: m.Format, Rows: m.Rows, Cols: m.Cols} }

// Spec is the spec of the matrix's buffer: [Rows, Cols] of a float type if it is dense,
// else U8 [Rows, bytes of a row], scales and biases included. How the bytes lie on the
// device is the device's business; Device.Read gives packed bits, scales and biases,
// one after the other, as they were imported.
func (w Weight) Spec() Spec {
	if w.Format.Kind == quant.Dense {
		return Spec{Shape{w.Rows, w.Cols}, w.Format.DType}
	}
	return Spec{Shape{w.Rows, w.rowBytes()}, U8}
}

// rowBytes is what a row of all Specs takes together.
func (w Weight) rowBytes() int {
	n := w.Format.RowBytes(w.Cols)
	if w.Format.HasScales() {
		scales := w.Cols / w.Format.Group * w.Format.DType.Size()
		n += scales
		if w.Format.Kind == quant.Affine {
			n += scales
		}
	}
	return n
}

// check compares the weight's input, in[i], with Spec.
func (w Weight) check(in []Spec, i int) error {
	if err := w.checkFormat(); err != nil {
		return err
	}
	cols, t := w.Cols, w.Format.DType
	if w.Format.Kind != quant.Dense {
		cols, t = w.rowBytes(), U8
	}
	if got := in[i]; len(got.Shape) != 2 || got.Shape[0] != w.Rows || got.Shape[1] != cols || got.DType != t {
		return fmt.Errorf("weight is %v, a %v matrix [%d, %d] is %v", got, w.Format, w.Rows, w.Cols, w.Spec())
	}
	return nil
}

func (w Weight) checkFormat() error {
	if err := w.Format.Check(); err != nil {
		return fmt.Errorf("weight: %w", err)
	}
	if n := w.Format.RowMultiple(); w.Rows <= 0 || w.Cols <= 0 || w.Cols%n != 0 {
		return fmt.Errorf("weight has shape [%d, %d], a %v row is a multiple of %d", w.Rows, w.Cols, w.Format, n)
	}
	return nil
}

// Of views the content of the weight's input as a matrix.
func (w Weight) Of(a Array) *quant.Matrix {
	if a.Matrix != nil {
		return a.Matrix
	}
	m, rest := &quant.Matrix{Format: w.Format, Rows: w.Rows, Cols: w.Cols}, a.Data
	parts := []*[]byte{&m.Data, &m.Scales, &m.Biases}
	for i, s := range w.Specs() {
		n := s.Bytes()
		*parts[i], rest = rest[:n:n], rest[n:]
	}
	return m
}

// A weighted op has a weight among its inputs.
type weighted interface {
	// weightInput tells which input it is.
	weightInput() (Weight, int)
}

// WeightInput tells which input of op is a weight, and how that is stored. ok is false
// for ops without one.
func WeightInput(op Op) (w Weight, input int, ok bool) {
	o, ok := op.(weighted)
	if ok {
		w, input = o.weightInput()
	}
	return w, input, ok
}

// CheckWeight reports an imported matrix that is stored otherwise than op says. Specs do
// not tell all formats apart; devices call it in Run, beside Check.
func CheckWeight(op Op, input int, m *quant.Matrix) error {
	w, i, ok := WeightInput(op)
	switch {
	case !ok || i != input:
		return fmt.Errorf("%s: input %d is a weight, which the op takes nowhere but at its weight", op.Name(), input)
	case m.Format != w.Format || m.Rows != w.Rows || m.Cols != w.Cols:
		return fmt.Errorf("%s: weight is a %v matrix [%d, %d], the op wants %v [%d, %d]", op.Name(), m.Format, m.Rows, m.Cols, w.Format, w.Rows, w.Cols)
	}
	return nil
}

// Specs are the specs of a matrix that ops write row by row, as a quantized KV cache is:
// one buffer if it is dense or in GGUF blocks, two in mxfp4, nvfp4 and mxfp8 (packed
// bits, scales), and three if it is affine (biases as well).
func (w Weight) Specs() []Spec {
	switch w.Format.Kind {
	case quant.Dense:
		return []Spec{{Shape{w.Rows, w.Cols}, w.Format.DType}}
	case quant.Affine, quant.MXFP4, quant.NVFP4, quant.MXFP8:
		groups := Shape{w.Rows, w.Cols / w.Format.Group}
		parts := []Spec{{Shape{w.Rows, w.Format.RowBytes(w.Cols) / 4}, U32}, {groups, w.Format.DType}, {groups, w.Format.DType}}
		if w.Format.Kind != quant.Affine {
			return parts[:2]
		}
		return parts
	default:
		return []Spec{{Shape{w.Rows, w.Format.RowBytes(w.Cols)}, U8}}
	}
}

// checkParts compares the buffers of a matrix that is written, in[first:], with Specs.
func (w Weight) checkParts(in []Spec, first int) error {
	if err := w.checkFormat(); err != nil {
		return err
	}
	for i, want := range w.Specs() {
		got := in[first+i]
		if !got.Shape.Equal(want.Shape) || got.DType != want.DType {
			return fmt.Errorf("matrix buffer %d is %v, a %v matrix [%d, %d] has %v", i, got, w.Format, w.Rows, w.Cols, want)
		}
	}
	return nil
}

// Matrix views the buffers of Specs, from arrays[0] on, as a quant.Matrix.
func (w Weight) Matrix(arrays []Array) *quant.Matrix {
	m := &quant.Matrix{Format: w.Format, Rows: w.Rows, Cols: w.Cols, Data: arrays[0].Data}
	if w.Format.HasScales() {
		m.Scales = arrays[1].Data
	}
	if w.Format.Kind == quant.Affine {
		m.Biases = arrays[2].Data
	}
	return m
}

// bytes is the stored size of the matrix.
func (w Weight) bytes() int64 { return traffic(w.Specs()) }
