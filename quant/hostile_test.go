package quant

import (
	"bytes"
	"testing"
)

// FuzzBlocks decodes foreign blocks of all types in both ways, which must agree. Where a
// damaged block has a scale that is not finite, no weight may be finite in either.
func FuzzBlocks(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1, 2, 128, 63, 0}, 60))
	f.Add(bytes.Repeat([]byte{255}, 300))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, b := range allBlocks {
			n := len(raw) / b.Bytes()
			if n == 0 {
				continue
			}
			data := raw[:n*b.Bytes()]
			direct := make([]float32, n*b.Elements())
			b.Decode(direct, data)
			m, err := FromBlocks(b, data, 1, len(direct))
			if err != nil {
				t.Fatalf("%v: %v", b, err)
			}
			if err := m.Check(); err != nil {
				t.Fatalf("%v: %v", b, err)
			}
			for i, v := range m.Floats() {
				if v != direct[i] && (finite(v) || finite(direct[i])) {
					t.Fatalf("%v: weight %d is %v in one way, %v in the other", b, i, direct[i], v)
				}
			}
			m.ToAffine(F16)
			for _, to := range allBlocks {
				if m.Cols%to.Elements() != 0 {
					continue
				}
				if out, err := ToBlocks(to, m); err == nil && len(out) != m.Cols/to.Elements()*to.Bytes() {
					t.Fatalf("%v to %v: %d bytes", b, to, len(out))
				}
			}
		}
	})
}

func finite(v float32) bool { return v-v == 0 }

// FuzzMatrix reads matrices of foreign formats and shapes: those that Check accepts
// can be read, refined and stored as blocks.
func FuzzMatrix(f *testing.F) {
	f.Add(uint8(Affine), uint8(F16), 4, 32, 1, 64, bytes.Repeat([]byte{1, 60}, 40))
	f.Add(uint8(Dense), uint8(BF16), 0, 0, 2, 3, make([]byte, 12))
	f.Add(uint8(Q4K), uint8(0), 0, 0, 1, 256, make([]byte, 144))
	f.Add(uint8(Affine), uint8(F32), 3, 64, 1, 64, make([]byte, 40))
	f.Fuzz(func(t *testing.T, kind, dtype uint8, bits, group, rows, cols int, data []byte) {
		m := &Matrix{Format: Format{Kind: Kind(kind), DType: DType(dtype), Bits: bits, Group: group}, Rows: rows, Cols: cols, Data: data}
		if err := m.Format.Check(); err != nil {
			return
		}
		if n := m.Format.RowMultiple(); rows <= 0 || cols <= 0 || rows > 1<<10 || cols > 1<<10 || n <= 0 || cols%n != 0 {
			m.Check()
			return
		}
		size := min(rows*m.Format.RowBytes(cols), len(data))
		m.Data = data[:size]
		if m.Format.HasScales() {
			each := rows * (cols / m.Format.Group) * m.Format.DType.Size()
			m.Scales = data[size:min(size+each, len(data))]
			if m.Format.Kind == Affine {
				m.Biases = m.Scales
			}
		}
		if m.Check() != nil {
			return
		}
		values := m.Floats()
		if len(values) != rows*cols {
			t.Fatalf("%d values of [%d, %d]", len(values), rows, cols)
		}
		if m.Format.Kind == Affine && m.Format.Bits < 8 {
			if _, err := m.Refine(values, 8); err != nil {
				return
			}
		}
		if cols%32 == 0 {
			ToBlocks(BlockQ4_1, m)
		}
	})
}
