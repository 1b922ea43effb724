package nn

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

// stored are the keys or the values of one layer, [capacity, KVHeads·HeadDim], stored
// like the rows of a weight: one tensor of floats, or packed integers, scales and
// biases.
type stored struct {
	compute.Weight
	parts []*tensor.Tensor
}

// newStored makes rows of the given content; nil is none yet.
func newStored(dev compute.Device, w compute.Weight, content *quant.Matrix) (*stored, error) {
	r := &stored{Weight: w}
	data := make([][]byte, 3)
	if content != nil {
		data = [][]byte{content.Data, content.Scales, content.Biases}
	}
	for i, s := range w.Specs() {
		x, err := tensor.New(dev, s.Shape, s.DType, data[i])
		if err != nil {
			r.free()
			return nil, fmt.Errorf("KV cache of %d tokens: %w", w.Rows, err)
		}
		r.parts = append(r.parts, x)
	}
	return r, nil
}

// put writes x [T, cols] as rows from at on.
func (r *stored) put(t *tensor.Tape, x *tensor.Tensor, at int) {
	if r.Format.Kind == quant.Affine {
		t.QuantizeRows(r.parts, r.Weight, x, at)
		return
	}
	t.CopyRows(r.parts[0], x, at)
}

// quantized are rows of floats as affine integers, with the same room to grow: what
// lies there is rounded along with the others, and never read.
func (r *stored) quantized(t *tensor.Tape, dev compute.Device, f quant.Format) *stored {
	q, err := newStored(dev, compute.Weight{Format: f, Rows: r.Rows, Cols: r.Cols}, nil)
	if err != nil {
		t.Fail(err)
		return nil
	}
	q.put(t, r.parts[0], 0)
	return q
}

// matrix copies out the first n rows, in the order in which they lie.
func (r *stored) matrix(dev compute.Device, n int) (*quant.Matrix, error) {
	m := &quant.Matrix{Format: r.Format, Rows: n, Cols: r.Cols}
	for i, part := range []*[]byte{&m.Data, &m.Scales, &m.Biases}[:len(r.parts)] {
		all := make([]byte, r.parts[i].Buffer().Spec().Bytes())
		if err := dev.Read(r.parts[i].Buffer(), all); err != nil {
			return nil, err
		}
		*part = all[:len(all)/r.Rows*n]
	}
	return m, nil
}

func (r *stored) free() {
	if r == nil {
		return
	}
	for _, p := range r.parts {
		p.Free()
	}
}
