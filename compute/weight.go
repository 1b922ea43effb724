package compute

import (
	"fmt"

	"github.com/lentil-lm/lentil/quant"
)

// Weight is an op's attribute that says how its weight matrix [Rows, Cols] is stored.
// The matrix itself is one input buffer if it is dense or in GGUF blocks, two in mxfp4,
// nvfp4 and mxfp8 (packed bits, scales), and three if it is affine (biases as well).
type Weight struct {
	Format     quant.Format
	Rows, Cols int
}

// Inputs is how many buffers the matrix takes.
func (w Weight) Inputs() int {
	switch {
	case w.Format.Kind == quant.Affine:
		return 3
	case w.Format.HasScales():
		return 2
	}
	return 1
}

// Specs are the specs of these buffers.
func (w Weight) Specs() []Spec {
	switch w.Format.Kind {
	case quant.Dense:
		return []Spec{{Shape{w.Rows, w.Cols}, w.Format.DType}}
	case quant.Affine, quant.MXFP4, quant.NVFP4, quant.MXFP8:
		groups := Shape{w.Rows, w.Cols / w.Format.Group}
		return []Spec{
			{Shape{w.Rows, w.Format.RowBytes(w.Cols) / 4}, U32},
			{groups, w.Format.DType},
			{groups, w.Format.DType},
		}[:w.Inputs()]
	default:
		return []Spec{{Shape{w.Rows, w.Format.RowBytes(w.Cols)}, U8}}
	}
}

// check compares the weight's buffers, in[first:], with Specs.
func (w Weight) check(in []Spec, first int) error {
	if err := w.Format.Check(); err != nil {
		return fmt.Errorf("weight: %w", err)
	}
	if n := w.Format.RowMultiple(); w.Rows <= 0 || w.Cols <= 0 || w.Cols%n != 0 {
		return fmt.Errorf("weight has shape [%d, %d], a %v row is a multiple of %d", w.Rows, w.Cols, w.Format, n)
	}
	for i, want := range w.Specs() {
		got := in[first+i]
		if !got.Shape.Equal(want.Shape) || got.DType != want.DType {
			return fmt.Errorf("weight buffer %d is %v, a %v matrix [%d, %d] has %v", i, got, w.Format, w.Rows, w.Cols, want)
		}
	}
	return nil
}

// Matrix views the weight's buffers, from arrays[0] on, as a quant.Matrix.
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
