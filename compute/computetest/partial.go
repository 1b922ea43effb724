package computetest

import (
	"fmt"
	"sync"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// Partial is a device that is not finished, in plain Go: it supports a third of the ops,
// keeps activations in 16 bits, and puts weights into an order of its own when they are
// imported, column by column in its activations' type. It promises nothing. Tests
// run models on it through package fallback.
type Partial struct {
	activations compute.DType

	mu         sync.Mutex
	used, peak int64
}

// NewPartial makes a device for activations of type BF16 or F16.
func NewPartial(activations compute.DType) *Partial { return &Partial{activations: activations} }

// partialBuffer is host memory.
type partialBuffer struct {
	compute.Array
	dev    *Partial
	weight *columns // nil for a buffer of Alloc
	freed  bool
}

// columns are the weights of a matrix, [Cols, Rows] of 16 bits.
type columns struct {
	source *quant.Matrix // as it was imported, to be read back
	data   []byte
}

func (b *partialBuffer) Spec() compute.Spec { return b.Array.Spec }

func (b *partialBuffer) Free() {
	if b.freed {
		return
	}
	b.freed = true
	b.dev.take(-int64(len(b.Data)))
	b.Data, b.weight = nil, nil
}

// Owner, Freed and Imported are for the checks of package compute.

func (b *partialBuffer) Owner() compute.Device { return b.dev }
func (b *partialBuffer) Freed() bool           { return b.freed }
func (b *partialBuffer) Imported() *quant.Matrix {
	if b.weight == nil {
		return nil
	}
	return b.weight.source
}

func (d *Partial) take(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used += bytes
	d.peak = max(d.peak, d.used)
}

// Info promises nothing.
func (d *Partial) Info() compute.Info {
	return compute.Info{Name: "partial", Activations: d.activations}
}

// Alloc returns a buffer full of NaN.
func (d *Partial) Alloc(shape compute.Shape, t compute.DType) (compute.Buffer, error) {
	s := compute.Spec{Shape: shape, DType: t}
	if err := s.Check(); err != nil {
		return nil, err
	}
	if s.Bytes() > 1<<32 {
		return nil, compute.ErrNoMemory
	}
	b := &partialBuffer{Array: zeros(s), dev: d}
	for i := range b.Data {
		b.Data[i] = 0xFF
	}
	d.take(s.Bytes())
	return b, nil
}

// ImportWeight copies the matrix, column by column.
func (d *Partial) ImportWeight(m *quant.Matrix) (compute.Buffer, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	row, byColumn := make([]float32, m.Cols), make([]float32, m.Rows*m.Cols)
	for r := range m.Rows {
		m.Row(row, r)
		for c, v := range row {
			byColumn[c*m.Rows+r] = v
		}
	}
	w := &columns{source: m, data: make([]byte, len(byColumn)*d.activations.Size())}
	quant.PutFloats(w.data, byColumn, d.activations)
	return &partialBuffer{Array: compute.Array{Spec: compute.WeightOf(m).Spec()}, dev: d, weight: w}, nil
}

// Supports knows a third of the ops, on activations of the device's type.
func (d *Partial) Supports(op compute.Op, in []compute.Spec) bool {
	switch o := op.(type) {
	case compute.Linear:
		return in[0].DType == d.activations && o.Weight.Format.Kind != quant.Dense // dense ones may be ordinary buffers
	case compute.LinearGradInput:
		return in[0].DType == d.activations && o.Weight.Format.Kind != quant.Dense
	case compute.MatMul:
		return in[0].DType == d.activations
	case compute.Embed:
		return o.To == d.activations
	case compute.Fill, compute.RopeTable:
		return true
	case compute.RMSNorm, compute.RoPE, compute.Attention, compute.SwiGLU, compute.Add, compute.Scale, compute.GatherRows,
		compute.ScatterRows, compute.StoreRows, compute.ArgMax:
		return in[0].DType == d.activations
	}
	return false
}

// Run runs products with imported weights by its own means, and the other ops by their
// definitions.
func (d *Partial) Run(op compute.Op, out, in []compute.Buffer) error {
	own, err := compute.OwnOperands[*partialBuffer](d, op, out, in)
	if err != nil {
		return err
	}
	if !d.Supports(op, own.InSpecs) {
		return fmt.Errorf("%s: %w", op.Name(), compute.ErrUnsupported)
	}
	arraysIn, arraysOut := arraysOfPartial(own.In), arraysOfPartial(own.Out)
	for i, b := range own.In {
		if b.weight == nil {
			continue
		}
		w := compute.WeightOf(b.weight.source)
		arraysIn[i] = compute.Array{Spec: spec(d.activations, w.Cols, w.Rows), Data: b.weight.data}
	}
	switch o := op.(type) {
	case compute.Linear:
		var bias []float32
		if o.Bias {
			bias = arraysIn[2].Floats()
		}
		product(arraysOut[0], arraysIn[0], arraysIn[1].Floats(), o.Weight.Rows, func(c, r int) int { return c*o.Weight.Rows + r }, bias,
			update(arraysIn, compute.MatMul{Alpha: o.Scale, Accumulate: true}, o.Rank))
	case compute.LinearGradInput:
		before := arraysOut[0].Floats()
		if !o.Accumulate {
			before = nil
		}
		product(arraysOut[0], arraysIn[0], arraysIn[1].Floats(), o.Weight.Cols, func(r, c int) int { return c*o.Weight.Rows + r }, before,
			update(arraysIn, compute.MatMul{TransB: true, Alpha: 1, Accumulate: true}, o.Rank))
	case compute.Embed:
		d.embed(o, arraysOut[0], arraysIn, own.In[1].weight != nil)
	default:
		op.Define(arraysOut, arraysIn)
	}
	return nil
}

// product is y[t, j] = Σ x[t, i]·w[at(i, j)] for n columns j, plus before (for each row the
// same, or [T, n]), and what update adds.
func product(y, x compute.Array, w []float32, n int, at func(i, j int) int, before []float32, update func(sums compute.Array)) {
	k, values := x.Shape[1], x.Floats()
	sums := zeros(spec(compute.F32, x.Shape[0], n))
	for t := range x.Shape[0] {
		for j := range n {
			var sum float32
			if before != nil {
				sum = before[(t*n+j)%len(before)]
			}
			for i := range k {
				sum += values[t*k+i] * w[at(i, j)]
			}
			sums.F32()[t*n+j] = sum
		}
	}
	update(sums)
	y.SetFloats(sums.F32())
}

// update adds the low-rank update of a product, whose matrices are its last inputs.
func update(in []compute.Array, op compute.MatMul, rank int) func(sums compute.Array) {
	return func(sums compute.Array) {
		if rank > 0 {
			op.Define([]compute.Array{sums}, in[len(in)-2:])
		}
	}
}

// embed looks up columns of an imported weight, or rows of an ordinary buffer.
func (d *Partial) embed(o compute.Embed, y compute.Array, in []compute.Array, imported bool) {
	if !imported {
		o.Define([]compute.Array{y}, in)
		return
	}
	w, values := in[1].Floats(), make([]float32, y.Shape.Elems())
	for t, id := range in[0].I32() {
		if id < 0 { // no token
			continue
		}
		for c := range o.Weight.Cols {
			values[t*o.Weight.Cols+c] = w[c*o.Weight.Rows+int(id)]
		}
	}
	y.SetFloats(values)
}

func arraysOfPartial(buffers []*partialBuffer) []compute.Array {
	list := make([]compute.Array, len(buffers))
	for i, b := range buffers {
		list[i] = b.Array
	}
	return list
}

// Read gives a weight back as it was imported.
func (d *Partial) Read(b compute.Buffer, dst []byte) error { return d.transfer(b, dst, false) }

// Write copies the content in.
func (d *Partial) Write(b compute.Buffer, src []byte) error { return d.transfer(b, src, true) }

func (d *Partial) transfer(b compute.Buffer, host []byte, write bool) error {
	c, err := compute.OwnCopy[*partialBuffer](d, b, len(host), write)
	if err != nil {
		return err
	}
	switch {
	case write:
		copy(c.Data, host)
	case c.weight != nil:
		compute.CopyOut(host, c.weight.source)
	default:
		copy(host, c.Data)
	}
	return nil
}

// Sync has nothing to wait for.
func (d *Partial) Sync() error { return nil }

// Memory counts buffers, and no weights.
func (d *Partial) Memory() (used, peak int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used, d.peak
}

// Close reports buffers that were not freed.
func (d *Partial) Close() error {
	if used, _ := d.Memory(); used != 0 {
		return fmt.Errorf("partial: %d bytes were not freed", used)
	}
	return nil
}
