package cuda

import (
	"fmt"
	"os"
	"unsafe"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
	"github.com/lentil-lm/lentil/quant"
)

// blockBytes is the size of a packed block of 64 by 64 weights of 4 bits: see kernels/w4.cuh.
const blockBytes = 2304

// A form is how a weight lies on the card.
type form int

const (
	dense  form = iota // elements of a float type, row by row
	packed             // blocks of w4.cuh
	raw                // as imported: bits, scales, biases
)

// stored tells how a weight lies.
type stored struct {
	form form
	kind quant.Kind // raw
	// dtype is the type of dense elements, or of the scales of a raw weight.
	dtype          compute.DType
	bits, group    int
	scales, biases driver.Ptr
	zero           int // packed: what is taken from the numbers before they are scaled
}

// packedBlocks are the blocks along rows and columns, an even number of each.
func packedBlocks(rows, cols int) (n, k int) { return (rows + 127) / 128 * 2, (cols + 127) / 128 * 2 }

// packedZero is 0 for scales and biases of bf16, which are packed as they are. Others are rounded to it: around the middle
// of the numbers, the bias is small, and so is its error.
func packedZero(f quant.Format) int {
	if f.DType == compute.BF16 {
		return 0
	}
	return 8
}

// zeroPair is the argument of kernels that takes 128 and the zero away, in two numbers of bf16.
func (s stored) zeroPair() int {
	half := 0xC300 + s.zero
	return half<<16 | half
}

// canPack reports whether the format has the packed form.
func canPack(f quant.Format) bool { return f.Kind == quant.Affine && f.Bits == 4 && f.Group%64 == 0 }

// isExact reports whether a weight lies on the card as it was imported, to the bit, so that products in float32 are right.
func isExact(f quant.Format) bool {
	if canPack(f) {
		return packedZero(f) == 0
	}
	return f.Kind != quant.Dense || f.DType.Size() <= 4
}

// storedAs tells how a weight of a format will lie, but for addresses.
func storedAs(f quant.Format) stored {
	switch {
	case canPack(f):
		return stored{form: packed, zero: packedZero(f)}
	case f.Kind != quant.Dense:
		return stored{form: raw, kind: f.Kind, dtype: f.DType, bits: f.Bits, group: f.Group}
	case f.DType.Size() <= 4:
		return stored{form: dense, dtype: f.DType}
	}
	return stored{form: dense, dtype: compute.BF16}
}

// rawBytes are the sizes of a weight's parts as imported, each rounded up to whole reads of kernels.
func rawBytes(f quant.Format, rows, cols int) (data, scales, biases int64) {
	round := func(n int) int64 { return int64(n+511) &^ 511 }
	data = round(rows*f.RowBytes(cols) + 1)
	if f.HasScales() {
		scales = round(rows * (cols / f.Group) * f.DType.Size())
	}
	if f.Kind == quant.Affine {
		biases = scales
	}
	return data, scales, biases
}

// storedBytes is what a weight takes on the card.
func storedBytes(f quant.Format, rows, cols int) int64 {
	switch s := storedAs(f); s.form {
	case packed:
		n, k := packedBlocks(rows, cols)
		return int64(n) * int64(k) * blockBytes
	case raw:
		data, scales, biases := rawBytes(f, rows, cols)
		return data + scales + biases
	default:
		return int64(rows) * int64(cols) * int64(s.dtype.Size())
	}
}

// ImportWeight copies the matrix, and packs it where products read that form. Float64 is rounded to bf16.
func (d *Device) ImportWeight(m *quant.Matrix) (compute.Buffer, error) {
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	d.enter()
	defer d.leave()
	b := &buffer{array: array{Spec: compute.WeightOf(m).Spec()}, dev: d, weight: m}
	f := m.Format
	b.stored = storedAs(f)
	var err error
	if b.ptr, b.bytes, err = d.memory(storedBytes(f, m.Rows, m.Cols)); err == nil {
		switch {
		case b.stored.form == packed:
			d.importPacked(b)
		case b.stored.form == raw:
			d.importRaw(b)
		case f.DType == b.stored.dtype:
			d.copyMapped(b.ptr, m.Data)
		default:
			d.importWidened(b)
		}
	}
	if err == nil {
		err = d.take()
	}
	if err != nil {
		if b.bytes > 0 {
			d.release(b.ptr, b.bytes)
		}
		return nil, fmt.Errorf("%s: weight %v: %w", d.name, b.array.Spec, err)
	}
	return b, nil
}

func (d *Device) importPacked(b *buffer) {
	m := b.weight
	n, k := packedBlocks(m.Rows, m.Cols)
	defer d.freeAreas()
	parts := [3]array{}
	for i, data := range [][]byte{m.Data, m.Scales, m.Biases} {
		parts[i] = d.scratch(compute.U8, len(data))
		d.copyMapped(parts[i].ptr, data)
	}
	d.kernel("pack_w4").ptr(b.ptr).arrays(parts[:]...).int(code(m.Format.DType), m.Rows, m.Cols, m.Format.Group).
		float(float32(b.stored.zero)).launch(driver.Grid{X: k, Y: n, Threads: 256})
}

func (d *Device) importRaw(b *buffer) {
	m := b.weight
	data, scales, _ := rawBytes(m.Format, m.Rows, m.Cols)
	b.stored.scales, b.stored.biases = b.ptr+driver.Ptr(data), b.ptr+driver.Ptr(data+scales)
	d.copyMapped(b.ptr, m.Data)
	d.copyMapped(b.stored.scales, m.Scales)
	d.copyMapped(b.stored.biases, m.Biases)
}

// importWidened keeps a matrix as bf16, made on the host a row at a time.
func (d *Device) importWidened(b *buffer) {
	m := b.weight
	d.flush()
	row, data := make([]float32, m.Cols), make([]byte, 2*m.Cols)
	for r := range m.Rows {
		m.Row(row, r)
		quant.PutFloats(data, row, compute.BF16)
		d.fail(d.stage.copyIn(d.drv, b.ptr+driver.Ptr(2*r*m.Cols), data, d.stream))
	}
}

// directCopy is how many bytes are worth pinning where they lie.
const directCopy = 4 << 20

// copyMapped copies much: memory of a mapped file is pinned meanwhile, so that the card reads it at full speed.
func (d *Device) copyMapped(dst driver.Ptr, src []byte) {
	if len(src) == 0 || d.err != nil {
		return
	}
	d.flush()
	if len(src) >= directCopy {
		pages := wholePages(src)
		if d.drv.Register(pages) == nil {
			d.fail(d.drv.CopyIn(dst, src, d.stream))
			d.fail(d.drv.Wait(d.stream))
			d.fail(d.drv.Unregister(pages))
			return
		}
	}
	d.fail(d.stage.copyIn(d.drv, dst, src, d.stream))
}

// wholePages are the pages that b lies on.
func wholePages(b []byte) []byte {
	page := uintptr(os.Getpagesize())
	start := unsafe.Pointer(unsafe.SliceData(b))
	before := uintptr(start) & (page - 1)
	n := (before + uintptr(len(b)) + page - 1) &^ (page - 1)
	return unsafe.Slice((*byte)(unsafe.Add(start, -int(before))), n)
}

// weightOf is the stored form of an op's weight, which may also be a dense buffer of Alloc.
func weightOf(b *buffer) stored {
	if b.weight == nil {
		return stored{form: dense, dtype: b.array.DType}
	}
	return b.stored
}

// widen gives a weight as dense elements of type t, BF16 or F32, in work memory where it does not lie so.
func (d *Device) widen(w *buffer, rows, cols int, t compute.DType) array {
	s := weightOf(w)
	if s.form == dense && s.dtype == t {
		return array{compute.Spec{Shape: compute.Shape{rows, cols}, DType: t}, w.ptr}
	}
	y := d.scratch(t, rows, cols)
	d.weightRows(y, w, 0, rows, cols, rows)
	return y
}

// weightRows writes rows of a weight [rows, cols] to y: those whose numbers lie at ids, or the first n.
func (d *Device) weightRows(y array, w *buffer, ids driver.Ptr, rows, cols, n int) {
	s := weightOf(w)
	threads := min(256, max(32, (cols/4+31)&^31))
	if s.form == packed {
		_, kb := packedBlocks(rows, cols)
		d.kernel("rows_w4_"+letter(y.DType)).status().ptr(y.ptr).ptr(w.ptr).ptr(ids).int(0, rows, cols, kb).
			float(float32(s.zero)).launch(driver.Grid{X: n, Threads: threads})
		return
	}
	d.kernel("rows_raw_"+letter(y.DType)).status().ptr(y.ptr).ptr(w.ptr).ptr(s.scales).ptr(s.biases).ptr(ids).
		int(0).rawFormat(s).int(rows, cols).launch(driver.Grid{X: n, Threads: threads})
}
