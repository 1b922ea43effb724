package mlx

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/quant"
)

// buffer is a slot.
type buffer struct {
	dev    *Device
	spec   compute.Spec
	array  mlxc.Array // 0 before it is written, and for quantized weights
	weight *weight    // nil for a buffer of Alloc
	freed  bool
	fresh  bool   // in Device.fresh
	heads  int    // if not 0, the array is a cache [1, heads, rows, cols/heads], in which each head's rows lie side by side
	puts   int    // arrays that it has had
	tables tables // made of the array: see call.tables
	// host is a copy of integers that the host wrote: bounds and spans, by which graphs are built.
	host []byte
}

// tables are those of RoPE.
type tables struct {
	of       tableOf
	cos, sin mlxc.Array
}

// tableOf tells what they were made of, beside the slot that keeps them: sines, and the pairs that turn.
type tableOf struct {
	sin         *buffer
	puts        int // of sin
	traditional bool
}

func (t *tables) free(lib *mlxc.Library) {
	lib.Free(t.cos)
	lib.Free(t.sin)
	*t = tables{}
}

// hostBytes is the most bytes of integers that are kept on the host, too.
const hostBytes = 1 << 16

func (b *buffer) Spec() compute.Spec { return b.spec }

// Free empties the slot. Work that was built before keeps its arrays.
func (b *buffer) Free() {
	d := b.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.freed || d.closed {
		return
	}
	b.freed = true
	if b.weight == nil {
		d.held -= b.spec.Bytes()
		d.account.Free(b.spec.Bytes())
	} else {
		d.held -= b.weight.bytes
		d.weights -= b.weight.bytes
	}
	d.later(func() error {
		if b.weight != nil {
			b.weight.free(d.lib)
		}
		d.lib.Free(b.array)
		b.tables.free(d.lib)
		b.array, b.host = 0, nil
		return nil
	})
}

// Alloc returns a slot. Its content is zeros until it is written.
func (d *Device) Alloc(shape compute.Shape, t compute.DType) (compute.Buffer, error) {
	spec := compute.Spec{Shape: slices.Clone(shape), DType: t}
	if err := spec.Check(); err != nil {
		return nil, fmt.Errorf("mlx: %w", err)
	}
	if _, ok := types[t]; !ok {
		return nil, fmt.Errorf("mlx: buffer %v: elements of that type are not used here", spec)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	if err := d.admit(spec.Bytes()); err != nil {
		return nil, err
	}
	d.account.Take(spec.Bytes())
	return &buffer{dev: d, spec: spec}, nil
}

// admit counts bytes of a slot, if they fit. MLX itself would end the process.
func (d *Device) admit(n int64) error {
	if d.limit > 0 && d.held+n > d.limit {
		err := fmt.Errorf("mlx: %w: %d MiB wanted, %d MiB held, %d MiB are for buffers", compute.ErrNoMemory, n>>20, d.held>>20, d.limit>>20)
		return fault.Advise(err, "Other programs take memory too: close some.")
	}
	d.held += n
	return nil
}

// types are MLX's names of element types.
var types = map[compute.DType]mlxc.Type{
	compute.F32: mlxc.F32, compute.F16: mlxc.F16, compute.BF16: mlxc.BF16, compute.I32: mlxc.I32, compute.U32: mlxc.U32, compute.U8: mlxc.U8,
}

// Owner, Freed and Imported are for the checks of package compute.

func (b *buffer) Owner() compute.Device { return b.dev }
func (b *buffer) Freed() bool           { return b.freed }
func (b *buffer) Imported() *quant.Matrix {
	if b.weight == nil {
		return nil
	}
	return b.weight.matrix
}

// Read waits for the buffer's content and copies it out. A weight is read where it was imported from.
func (d *Device) Read(b compute.Buffer, dst []byte) error {
	return d.enter(func() error {
		c, err := compute.OwnCopy[*buffer](d, b, len(dst), false)
		if err != nil {
			return err
		}
		if c.weight != nil {
			compute.CopyOut(dst, c.weight.matrix)
			return nil
		}
		d.g.Read(d.value(c), dst)
		return nil
	})
}

// Write copies host bytes into the buffer.
func (d *Device) Write(b compute.Buffer, src []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	c, err := compute.OwnCopy[*buffer](d, b, len(src), true)
	if err != nil {
		return err
	}
	small := len(src) <= hostBytes
	if small { // what is larger is copied once, now
		src = slices.Clone(src)
	}
	d.later(func() error {
		a := d.g.New(src, types[c.spec.DType], c.spec.Shape...)
		if d.g.Failed() {
			return nil
		}
		d.put(c, a, 0)
		if c.spec.DType == compute.I32 && small {
			c.host = src
		}
		return nil
	})
	if !small {
		d.hand(d.lib.Do)
	}
	return d.take()
}

// value is the array in a slot.
func (d *Device) value(b *buffer) mlxc.Array {
	switch {
	case b.weight != nil:
	case b.array == 0:
		d.put(b, d.g.Zeros(types[b.spec.DType], b.spec.Shape...), 0)
	case b.heads > 0:
		d.put(b, d.g.Reshape(d.g.Transpose(b.array, 0, 2, 1, 3), b.spec.Shape...), 0)
	}
	return b.array
}

// byHead is a cache [rows, cols] as [1, heads, rows, cols/heads], which it stays: MLX's products copy what is not so.
func (d *Device) byHead(b *buffer, heads int) mlxc.Array {
	if b.heads != heads {
		rows, cols := b.spec.Shape[0], b.spec.Shape[1]
		x := d.g.Transpose(d.g.Reshape(d.value(b), 1, rows, heads, cols/heads), 0, 2, 1, 3)
		d.put(b, d.g.Contiguous(x), heads)
	}
	return b.array
}

// put puts an array of the buffer's type and shape into its slot; with heads it is one of a cache as byHead has it.
func (d *Device) put(b *buffer, a mlxc.Array, heads int) {
	kept := d.g.Keep(a)
	d.lib.Free(b.array)
	b.tables.free(d.lib)
	b.array, b.heads, b.host = kept, heads, nil
	b.puts++
}

// ints are the integers of a buffer: the host's copy, or what the device has, which is waited for.
func (d *Device) ints(b *buffer) compute.Array {
	if b.host == nil {
		data := make([]byte, b.spec.Bytes())
		d.g.Read(d.value(b), data)
		if d.g.Failed() || len(data) > hostBytes {
			return compute.Array{Spec: b.spec, Data: data}
		}
		b.host = data
	}
	return compute.Array{Spec: b.spec, Data: b.host}
}

// weight is an imported matrix.
type weight struct {
	matrix *quant.Matrix
	bytes  int64
	packed mlxc.Quantized // of formats that MLX has; else the matrix is the buffer's array
	scales quant.DType    // of packed
	isWide bool           // bytes has what wide takes
	wide   mlxc.Quantized // packed with scales and biases in float32, once a product needs them
}

func (w *weight) free(lib *mlxc.Library) {
	lib.Free(w.packed.Packed)
	lib.Free(w.packed.Scales)
	lib.Free(w.packed.Biases)
	lib.Free(w.wide.Scales)
	lib.Free(w.wide.Biases)
	w.packed, w.wide = mlxc.Quantized{}, mlxc.Quantized{}
}

// widened is a weight for products in float32: MLX would cast its scales and biases for each.
func (d *Device) widened(w *weight) mlxc.Quantized {
	if w.packed.Biases == 0 || w.scales == quant.F32 {
		return w.packed
	}
	if w.wide.Scales == 0 {
		w.wide = w.packed
		w.wide.Packed = 0
		w.wide.Scales, w.wide.Biases = d.g.Keep(d.g.As(w.packed.Scales, mlxc.F32)), d.g.Keep(d.g.As(w.packed.Biases, mlxc.F32))
	}
	wide := w.wide
	wide.Packed = w.packed.Packed
	return wide
}

// widens is how many bytes Device.widened makes for an op, of the weight that is its input i.
func widens(op compute.Op, out []compute.Spec, activations compute.DType) (i int, bytes int64) {
	w, i, ok := compute.WeightInput(op)
	_, isEmbed := op.(compute.Embed)
	f := w.Format
	if !ok || isEmbed || out[0].DType != compute.F32 || activations == compute.F32 || f.Kind != quant.Affine || f.DType == quant.F32 || !isPacked(f) {
		return i, 0
	}
	return i, 2 * 4 * int64(w.Rows) * int64(w.Cols/f.Group)
}

// admitWide counts what Device.widened makes of a weight, once.
func (d *Device) admitWide(w *weight, bytes int64) error {
	if w == nil || w.isWide {
		return nil
	}
	if err := d.admit(bytes); err != nil {
		return err
	}
	w.isWide = true
	w.bytes += bytes
	d.weights += bytes
	return nil
}

// isPacked reports whether MLX multiplies by a format as it is.
func isPacked(f quant.Format) bool {
	switch f.Kind {
	case quant.Affine:
		return f.Group >= 32
	case quant.MXFP4, quant.MXFP8, quant.NVFP4:
		return true
	}
	return false
}

// ImportWeight copies a matrix. Formats that MLX lacks become dense.
func (d *Device) ImportWeight(m *quant.Matrix) (compute.Buffer, error) {
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("mlx: weight: %w", err)
	}
	b := &buffer{dev: d, spec: compute.WeightOf(m).Spec(), weight: &weight{matrix: m}}
	if a, ok := m.ToAffine(quant.F32); ok { // Q4_K, exactly
		m = a
	}
	err := d.enter(func() error { return d.imported(b, m) })
	if err != nil {
		b.Free()
		return nil, err
	}
	return b, nil
}

// imported copies m into the buffer.
func (d *Device) imported(b *buffer, m *quant.Matrix) error {
	w, g, f := b.weight, d.g, m.Format
	bytes := d.account.stored(m)
	if err := d.admit(bytes); err != nil {
		return err
	}
	w.bytes = bytes
	d.weights += bytes
	if !isPacked(f) {
		d.put(b, d.dense(m, denseType(f, d.info.Activations)), 0)
		return nil
	}
	w.packed = mlxc.Quantized{Group: f.Group, Bits: f.Bits, Mode: "affine"}
	if f.Kind != quant.Affine {
		w.packed.Mode = f.Mode()
	}
	w.scales = scalesOf(f, d.info.Activations)
	scales := func(data []byte) mlxc.Array {
		a := g.New(data, types[f.DType], m.Rows, m.Cols/f.Group)
		return g.Keep(g.As(a, types[w.scales]))
	}
	w.packed.Packed = g.Keep(g.New(m.Data, mlxc.U32, m.Rows, f.RowBytes(m.Cols)/4))
	w.packed.Scales = scales(m.Scales)
	if f.Kind == quant.Affine {
		w.packed.Biases = scales(m.Biases)
	}
	return nil
}

// scalesOf is what scales and biases are stored in: where activations are float32 all products are.
func scalesOf(f quant.Format, activations compute.DType) quant.DType {
	if f.Kind == quant.Affine && activations == compute.F32 {
		return quant.F32
	}
	return f.DType
}

// isExact reports whether a weight is imported without rounding.
func (d *Device) isExact(f quant.Format) bool {
	switch f.Kind {
	case quant.Dense:
		return f.DType.Size() <= 4
	case quant.Q6K:
		return denseType(f, d.info.Activations) == compute.F32
	}
	return true
}

// denseType is what a format that MLX lacks is stored in.
func denseType(f quant.Format, activations compute.DType) compute.DType {
	_, ok := types[f.DType]
	switch {
	case f.Kind == quant.Dense && ok:
		return f.DType
	case activations == compute.F32:
		return compute.F32
	}
	return activations
}

// dense copies a matrix in a type of floats.
func (d *Device) dense(m *quant.Matrix, t compute.DType) mlxc.Array {
	if m.Format.Kind == quant.Dense && m.Format.DType == t {
		return d.g.New(m.Data, types[t], m.Rows, m.Cols)
	}
	data := make([]byte, int64(m.Rows)*int64(m.Cols)*int64(t.Size()))
	row := make([]float32, m.Cols)
	for r := range m.Rows {
		m.Row(row, r)
		quant.PutFloats(data[r*m.Cols*t.Size():(r+1)*m.Cols*t.Size()], row, t)
	}
	return d.g.New(data, types[t], m.Rows, m.Cols)
}
