package model

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// ShapeOf is the shape of one of the model's tensors in files; ok is false for other names.
func (m *Model) ShapeOf(name string) (shape []int, ok bool) {
	if v, ok := m.vectors()[name]; ok {
		return v.Shape(), true
	}
	for _, s := range m.matrices() {
		if s.name+".weight" == name {
			return s.shape(), true
		}
	}
	return nil, false
}

// Replace puts x in the place of the model's tensor of that name. x has ShapeOf's shape and
// is F32, F16 or BF16. A matrix is used where it lies, so x.Data has to stay: see Keep.
// Models that shared the old tensor keep it.
func (m *Model) Replace(x weights.Tensor) error {
	if v, ok := m.vectors()[x.Name]; ok {
		values := make([]float32, v.Shape().Elems())
		quant.Floats(values, x.Data, x.DType)
		if err := v.Own(m.dev); err != nil {
			return err
		}
		return m.dev.Write(v.Buffer(), compute.FloatBytes(values))
	}
	for _, s := range m.matrices() {
		if s.name+".weight" == x.Name {
			return m.replace(s, x)
		}
	}
	return fmt.Errorf("the model has no tensor %s", x.Name)
}

// replace puts a dense matrix into a slot.
func (m *Model) replace(s slot, x weights.Tensor) error {
	w, err := tensor.ImportWeight(m.dev, &quant.Matrix{
		Format: quant.Format{Kind: quant.Dense, DType: x.DType}, Rows: s.weight.Rows, Cols: s.weight.Cols, Experts: s.experts, Data: x.Data,
	})
	if err != nil {
		return err
	}
	s.set(w)
	s.weight.Free()
	return nil
}

// slot is a place of the model that holds a matrix, or a stack of them.
type slot struct {
	name    string
	weight  *tensor.Weight
	experts int
	set     func(*tensor.Weight)
}

// shape is that of the tensor in files.
func (s slot) shape() []int {
	if s.experts > 0 {
		return []int{s.experts, s.weight.Rows / s.experts, s.weight.Cols}
	}
	return []int{s.weight.Rows, s.weight.Cols}
}

func (m *Model) matrices() []slot {
	out := []slot{{"model.embed_tokens", m.Embed, 0, func(w *tensor.Weight) {
		m.Embed = w
		if m.Tied {
			m.Head.Weight = w
		}
	}}}
	for _, l := range m.Linears() {
		out = append(out, slot{l.Name, l.Weight, l.Experts, func(w *tensor.Weight) { l.Weight = w }})
	}
	return out
}

// vectors are the norms and biases by tensor name.
func (m *Model) vectors() map[string]*tensor.Tensor {
	out := map[string]*tensor.Tensor{"model.norm.weight": m.Norm}
	for _, l := range m.Linears() {
		if l.Bias != nil {
			out[l.Name+".bias"] = l.Bias
		}
	}
	for _, b := range m.Blocks {
		for _, v := range blockVectors(b) {
			out[v.Name] = v.Tensor
		}
	}
	return out
}

// Matrix is the weight of a module by its path.
func (m *Model) Matrix(module string) (*tensor.Weight, bool) {
	for _, s := range m.matrices() {
		if s.name == module {
			return s.weight, true
		}
	}
	return nil, false
}

// Vector is a norm or bias by its tensor name.
func (m *Model) Vector(name string) (*tensor.Tensor, bool) {
	v, ok := m.vectors()[name]
	return v, ok
}
