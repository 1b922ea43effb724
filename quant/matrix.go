package quant

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
)

// Kind is a family of weight layouts.
type Kind uint8

// The known layouts. Q4K and Q6K are the GGUF block types of those names; the
// simpler GGUF types have an equal Affine form, see [FromBlocks]. MXFP4, NVFP4
// and MXFP8 are small floats with a scale for each group, see [ParseMode].
const (
	Dense Kind = iota
	Affine
	Q4K
	Q6K
	MXFP4
	NVFP4
	MXFP8
)

// Format says how to read the bytes of a [Matrix].
type Format struct {
	Kind  Kind
	DType DType // Dense: type of the elements. Affine: type of scales and biases. MXFP4 and so on: U8.

	Bits, Group int // Affine, MXFP4 and so on: bits of a weight, weights that share a scale.
}

// Check reports what is wrong with the format itself.
func (f Format) Check() error {
	switch f.Kind {
	case Dense:
		if !f.DType.IsFloat() {
			return fmt.Errorf("dense weights of type %v: expected F32, F16, BF16 or F64", f.DType)
		}
	case Affine:
		if err := checkAffine(f.Bits, f.Group); err != nil {
			return err
		}
		if f.DType != F32 && f.DType != F16 && f.DType != BF16 {
			return fmt.Errorf("scales of type %v: expected F32, F16 or BF16", f.DType)
		}
	case MXFP4, NVFP4, MXFP8:
		return f.checkFP()
	case Q4K, Q6K:
	default:
		return fmt.Errorf("unknown weight format %d", f.Kind)
	}
	return nil
}

// RowBytes returns the bytes of Data that a row of cols weights takes (scales
// and biases not counted). cols must be a multiple of [Format.RowMultiple].
func (f Format) RowBytes(cols int) int {
	switch f.Kind {
	case Dense:
		return cols * f.DType.Size()
	case Affine, MXFP4, NVFP4, MXFP8:
		return cols / 8 * f.Bits
	case Q4K:
		return cols / BlockQ4K.Elements() * BlockQ4K.Bytes()
	case Q6K:
		return cols / BlockQ6K.Elements() * BlockQ6K.Bytes()
	}
	return 0
}

// RowMultiple returns the number that the length of a row must be a multiple of.
func (f Format) RowMultiple() int {
	switch f.Kind {
	case Affine, MXFP4, NVFP4, MXFP8:
		return f.Group
	case Q4K, Q6K:
		return BlockQ4K.Elements()
	}
	return 1
}

// BitsPerWeight returns the stored bits per weight, scales and biases included.
func (f Format) BitsPerWeight() float64 {
	switch f.Kind {
	case Dense:
		return float64(8 * f.DType.Size())
	case Affine:
		return float64(f.Bits) + float64(16*f.DType.Size())/float64(f.Group)
	case MXFP4, NVFP4, MXFP8:
		return float64(f.Bits) + 8/float64(f.Group)
	}
	n := f.RowMultiple()
	return float64(8*f.RowBytes(n)) / float64(n)
}

// HasScales reports whether the matrix has Scales beside its Data; only Affine
// has Biases too.
func (f Format) HasScales() bool { return f.Kind == Affine || f.Kind.IsFP() }

// Floats is the floating-point type to store the weights in when they are no longer
// quantized: that of the elements or scales, F16 for GGUF blocks, and BF16 for the
// small floats, which it holds exactly.
func (f Format) Floats() DType {
	switch f.Kind {
	case Dense, Affine:
		return f.DType
	case MXFP4, NVFP4, MXFP8:
		return BF16
	}
	return F16
}

// String returns a short name: "bf16", "4-bit g64", "mxfp4", "Q4_K".
func (f Format) String() string {
	switch f.Kind {
	case Dense:
		return strings.ToLower(f.DType.String())
	case Affine:
		return fmt.Sprintf("%d-bit g%d", f.Bits, f.Group)
	case Q4K:
		return BlockQ4K.String()
	case Q6K:
		return BlockQ6K.String()
	case MXFP4, NVFP4, MXFP8:
		return f.Mode()
	}
	return fmt.Sprintf("Kind(%d)", uint8(f.Kind))
}

// Matrix is a weight matrix as it lies in memory: [Rows, Cols], row after row.
// The slices may point into a read-only file mapping: only PutRow may write them.
type Matrix struct {
	Format     Format
	Rows, Cols int

	// Experts, when not 0, says that the matrix is a stack of so many: one for each
	// expert of a mixture, with Rows/Experts rows.
	Experts int

	// Data holds dense elements, packed bits or GGUF blocks:
	// [Rows, Format.RowBytes(Cols)] bytes.
	Data []byte

	// Scales are [Rows, Cols/Group] of Format.DType, for the formats that have them;
	// Biases are the same, for Affine alone.
	Scales, Biases []byte
}

// Check reports whether the sizes of the slices agree with format and shape.
// The other methods rely on it.
func (m *Matrix) Check() error {
	if err := m.Format.Check(); err != nil {
		return err
	}
	if m.Rows <= 0 || m.Cols <= 0 {
		return fmt.Errorf("shape [%d, %d]: expected positive sizes", m.Rows, m.Cols)
	}
	if m.Experts < 0 || m.Experts > 0 && m.Rows%m.Experts != 0 {
		return fmt.Errorf("%d rows do not divide among %d experts", m.Rows, m.Experts)
	}
	// 8 bytes is the most that a weight, or its share of the scales, takes.
	if m.Cols > math.MaxInt/8/m.Rows {
		return fmt.Errorf("shape [%d, %d] is too large", m.Rows, m.Cols)
	}
	if n := m.Format.RowMultiple(); m.Cols%n != 0 {
		return fmt.Errorf("%v rows of %d weights: expected a multiple of %d", m.Format, m.Cols, n)
	}
	if want := m.Rows * m.Format.RowBytes(m.Cols); len(m.Data) != want {
		return fmt.Errorf("%v matrix [%d, %d] has %d bytes of data, expected %d", m.Format, m.Rows, m.Cols, len(m.Data), want)
	}
	var scales, biases int
	if m.Format.HasScales() {
		scales = m.Rows * (m.Cols / m.Format.Group) * m.Format.DType.Size()
	}
	if m.Format.Kind == Affine {
		biases = scales
	}
	if len(m.Scales) != scales || len(m.Biases) != biases {
		return fmt.Errorf("%v matrix [%d, %d] has %d bytes of scales and %d of biases, expected %d and %d",
			m.Format, m.Rows, m.Cols, len(m.Scales), len(m.Biases), scales, biases)
	}
	return nil
}

// Shape is [Rows, Cols], or [Experts, rows of each, Cols] for a stack.
func (m *Matrix) Shape() []int {
	if m.Experts > 0 {
		return []int{m.Experts, m.Rows / m.Experts, m.Cols}
	}
	return []int{m.Rows, m.Cols}
}

// Row writes the float32 values of one row to dst, whose length is Cols.
func (m *Matrix) Row(dst []float32, row int) {
	dst = dst[:m.Cols]
	n := m.Format.RowBytes(m.Cols)
	src := m.Data[row*n : (row+1)*n]
	switch m.Format.Kind {
	case Dense:
		Floats(dst, src, m.Format.DType)
	case Affine:
		n := m.Cols / m.Format.Group * m.Format.DType.Size()
		affineRow(dst, src, m.Scales[row*n:(row+1)*n], m.Biases[row*n:(row+1)*n], m.Format)
	case MXFP4, NVFP4, MXFP8:
		n := m.Cols / m.Format.Group
		fpRow(dst, src, m.Scales[row*n:(row+1)*n], m.Format)
	case Q4K:
		BlockQ4K.Decode(dst, src)
	case Q6K:
		BlockQ6K.Decode(dst, src)
	}
}

// Floats returns all values, [Rows, Cols], in new memory.
func (m *Matrix) Floats() []float32 {
	all := make([]float32, m.Rows*m.Cols)
	eachRow(m.Rows, m.Cols, func(row int) {
		m.Row(all[row*m.Cols:(row+1)*m.Cols], row)
	})
	return all
}

// eachRow calls do for every row, on several goroutines where the matrix is large.
func eachRow(rows, cols int, do func(row int)) {
	const serial = 1 << 16 // weights that one core decodes in well under 1 ms
	parts := min(runtime.GOMAXPROCS(0), rows)
	if parts < 2 || rows*cols <= serial {
		for row := range rows {
			do(row)
		}
		return
	}
	var wg sync.WaitGroup
	for p := range parts {
		wg.Go(func() {
			for row := p * rows / parts; row < (p+1)*rows/parts; row++ {
				do(row)
			}
		})
	}
	wg.Wait()
}
