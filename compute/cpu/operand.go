package cpu

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// operand is one side of a matrix product, seen as [n, k]: element (i, l) is
// multiplied into output row (or column) i.
type operand interface {
	// pack writes the block [i0, i0+n) x [l0, l0+kc) in panels of width w:
	// dst[p*w*kc + l*w + i] for element (i0+p*w+i, l0+l), with zeros after the
	// last i. i0 and l0 are multiples of align. tmp has tmpFloats.
	pack(kn *kernels, dst []float32, w, i0, n, l0, kc int, tmp []float32)
	// align gives the multiples at which blocks begin, and end unless the operand ends.
	align() (i, l int)
}

// tmpFloats is the room that pack may use beside its output: four rows of a
// block and the scales of a row.
const tmpFloats = 5 * blockK

// ahead is how many rows ahead a piece of a weight is asked for. The pieces are short
// and far apart, so the processor does not guess them.
const ahead = 8

// rowMajor is an operand: element (i, l) is data[i*ld+l].
type rowMajor struct {
	data []float32
	ld   int
}

func (o rowMajor) align() (i, l int) { return 1, 1 }

func (o rowMajor) pack(kn *kernels, dst []float32, w, i0, n, l0, kc int, _ []float32) {
	for p := 0; p < n; p += w {
		panel := dst[p*kc : (p+w)*kc]
		have := min(w, n-p)
		packRows(kn, panel, w, w, have, o.data[(i0+p)*o.ld+l0:], o.ld, kc)
	}
}

// packRows fills the first lanes columns of a panel of width w with have rows of src, ld
// apart, then with zeros.
func packRows(kn *kernels, panel []float32, w, lanes, have int, src []float32, ld, kc int) {
	i := 0
	for ; i+4 <= have; i += 4 {
		kn.interleave4(&panel[i], w, &src[i*ld], ld, kc)
	}
	if i+2 <= have {
		kn.interleave2(&panel[i], w, &src[i*ld], ld, kc)
		i += 2
	}
	for ; i < have; i++ {
		for l, v := range src[i*ld : i*ld+kc] {
			panel[l*w+i] = v
		}
	}
	for ; i < lanes; i++ {
		for l := range kc {
			panel[l*w+i] = 0
		}
	}
}

// colMajor is an operand: element (i, l) is data[l*ld+i].
type colMajor struct {
	data []float32
	ld   int
}

func (o colMajor) align() (i, l int) { return 1, 1 }

func (o colMajor) pack(kn *kernels, dst []float32, w, i0, n, l0, kc int, _ []float32) {
	for l := range kc {
		packCols(kn, dst, w, kc, l, o.data[(l0+l)*o.ld+i0:][:n])
	}
}

// packCols writes line l of all panels.
func packCols(kn *kernels, dst []float32, w, kc, l int, src []float32) {
	at := l * w
	if n := len(src) / w; n > 0 && w == kn.nr {
		kn.scatter(&dst[at], w*kc, &src[0], n)
		at += n * w * kc
		src = src[n*w:]
	}
	for ; len(src) >= w; src = src[w:] {
		copy(dst[at:at+w], src)
		at += w * kc
	}
	if len(src) > 0 {
		clear(dst[at+copy(dst[at:at+w], src) : at+w])
	}
}

// weightRows is a stored weight matrix W with element (i, l) = W[i, l].
type weightRows struct{ m *quant.Matrix }

func (o weightRows) align() (i, l int) { return 1, o.m.Format.RowMultiple() }

func (o weightRows) pack(kn *kernels, dst []float32, w, i0, n, l0, kc int, tmp []float32) {
	for p := 0; p < n; p += w {
		panel := dst[p*kc : (p+w)*kc]
		for i := 0; i < w; i += 4 {
			have := max(min(4, w-i, n-p-i), 0)
			for r := range have {
				if p+i+r+ahead < n {
					kn.prefetchRow(o.m, i0+p+i+r+ahead, l0)
				}
				kn.weightRow(tmp[r*kc:(r+1)*kc], o.m, i0+p+i+r, l0, tmp[4*kc:])
			}
			packRows(kn, panel[i:], w, min(4, w-i), have, tmp, kc, kc)
		}
	}
}

// weightCols is a stored weight matrix W with element (i, l) = W[l, i].
type weightCols struct{ m *quant.Matrix }

func (o weightCols) align() (i, l int) { return o.m.Format.RowMultiple(), 1 }

func (o weightCols) pack(kn *kernels, dst []float32, w, i0, n, l0, kc int, tmp []float32) {
	for l := range kc {
		if l+ahead < kc {
			kn.prefetchRow(o.m, l0+l+ahead, i0)
		}
		kn.weightRow(tmp[:n], o.m, l0+l, i0, tmp[n:])
		packCols(kn, dst, w, kc, l, tmp[:n])
	}
}

// weightRow widens weights [c0, c0+len(dst)) of a row. c0 and the length are multiples
// of the format's row multiple. spare has spareFloats(len(dst)).
func (kn *kernels) weightRow(dst []float32, m *quant.Matrix, row, c0 int, spare []float32) {
	f, n := m.Format, len(dst)
	at := row*f.RowBytes(m.Cols) + f.RowBytes(c0)
	src := m.Data[at : at+f.RowBytes(n)]
	switch {
	case f.Kind == quant.Dense && f.DType == quant.F16:
		kn.widenF16(dst, src)
	case f.Kind == quant.Dense && f.DType == quant.BF16:
		kn.widenBF16(dst, src)
	case f.Kind == quant.Affine:
		g := n / f.Group
		sbytes := f.DType.Size()
		s0 := (row*(m.Cols/f.Group) + c0/f.Group) * sbytes
		scales, biases := spare[:g], spare[g:2*g]
		kn.widen(scales, m.Scales[s0:s0+g*sbytes], f.DType)
		kn.widen(biases, m.Biases[s0:s0+g*sbytes], f.DType)
		kn.affineRow(dst, src, scales, biases, f.Bits)
	case f.Kind == quant.Q4K || f.Kind == quant.Q6K:
		kn.superRow(dst, src, f.Kind, (*[16]float32)(spare))
	case f.Kind.IsFP():
		scales := spare[:n/f.Group]
		s0 := (row*m.Cols + c0) / f.Group
		if f.Kind == quant.MXFP8 {
			kn.fpScales(scales, m.Scales[s0:s0+len(scales)], f, 1)
			kn.fp8Row(dst, src, scales)
		} else {
			kn.fpScales(scales, m.Scales[s0:s0+len(scales)], f, 0.5)
			kn.fp4Row(dst, src, scales)
		}
	default:
		(&quant.Matrix{Format: f, Rows: 1, Cols: n, Data: src}).Row(dst, 0)
	}
}

// spareFloats is the room that weightRow needs for the scales of n weights.
func spareFloats(n int) int { return max(n/16, 16) }

// prefetchRow asks for the bytes of a row from column c0 on.
func (kn *kernels) prefetchRow(m *quant.Matrix, row, c0 int) {
	data := &m.Data[row*m.Format.RowBytes(m.Cols)+m.Format.RowBytes(c0)]
	scales, biases := data, data
	if m.Format.HasScales() {
		at := (row*m.Cols + c0) / m.Format.Group * m.Format.DType.Size()
		scales, biases = &m.Scales[at], &m.Scales[at]
		if m.Biases != nil {
			biases = &m.Biases[at]
		}
	}
	kn.prefetch(data, scales, biases)
}

// widen converts stored floats to float32.
func (kn *kernels) widen(dst []float32, src []byte, t compute.DType) {
	if t == quant.BF16 && len(dst) < 8 { // the scales of a short row: too few for a vector
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(src[2*i])<<16 | uint32(src[2*i+1])<<24)
		}
		return
	}
	switch t {
	case quant.F16:
		kn.widenF16(dst, src)
	case quant.BF16:
		kn.widenBF16(dst, src)
	default:
		quant.Floats(dst, src, t)
	}
}

// narrow rounds float32 values to a stored type.
func (kn *kernels) narrow(dst []byte, src []float32, t compute.DType) {
	switch t {
	case quant.F16:
		kn.narrowF16(dst, src)
	case quant.BF16:
		kn.narrowBF16(dst, src)
	default:
		quant.PutFloats(dst, src, t)
	}
}

// weightRowsOf is the operand W of y = x Wᵀ.
func weightRowsOf(m *quant.Matrix) operand {
	if f := denseF32(m); f != nil {
		return rowMajor{f, m.Cols}
	}
	return weightRows{m}
}

// weightColsOf is the operand W of dx = dy W.
func weightColsOf(m *quant.Matrix) operand {
	if f := denseF32(m); f != nil {
		return colMajor{f, m.Cols}
	}
	return weightCols{m}
}

// denseF32 views a dense float32 matrix, nil for any other.
func denseF32(m *quant.Matrix) []float32 {
	if m.Format.Kind != quant.Dense || m.Format.DType != quant.F32 {
		return nil
	}
	return compute.Array{Spec: compute.Spec{Shape: compute.Shape{m.Rows, m.Cols}, DType: quant.F32}, Data: m.Data}.F32()
}
