package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// files is the store of a model that is loaded from its source.
type files struct {
	src  weights.Source
	dev  compute.Device
	used map[string]bool // tensors asked for
}

// weight imports the matrix of a module.
func (f *files) weight(module string, shape []int) (*tensor.Weight, error) {
	f.used[module+".weight"], f.used[module+".scales"], f.used[module+".biases"] = true, true, true
	if !f.src.Has(module) {
		return nil, f.errorf("tensor %s.weight is missing; expected %v: is the folder complete?", module, shape)
	}
	m, err := f.src.Matrix(module)
	if err != nil {
		return nil, err // it names the source
	}
	if !slices.Equal(m.Shape(), shape) {
		return nil, f.errorf("tensor %s.weight is %v, config.json says %v: weights and config belong to different models", module, m.Shape(), shape)
	}
	w, err := tensor.ImportWeight(f.dev, m)
	if err != nil {
		return nil, f.errorf("%s: %w", module, err)
	}
	return w, nil
}

// vector loads a one-dimensional tensor as F32: norms and biases are small.
func (f *files) vector(name string, n int) (*tensor.Tensor, error) {
	f.used[name] = true
	v, ok := f.src.Tensor(name)
	if !ok {
		return nil, f.errorf("tensor %s is missing; expected [%d]: is the folder complete?", name, n)
	}
	if len(v.Shape) != 1 || v.Shape[0] != n || !v.DType.IsWeight() {
		return nil, f.errorf("tensor %s is %v %v, config.json says float [%d]: weights and config belong to different models", name, v.DType, v.Shape, n)
	}
	values := make([]float32, n)
	quant.Floats(values, v.Data, v.DType)
	x, err := tensor.NewFloats(f.dev, compute.Shape{n}, values)
	if err != nil {
		return nil, f.errorf("%s: %w", name, err)
	}
	return x, nil
}

func (f *files) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", f.src.Path(), fmt.Errorf(format, args...))
}

// Unused reports whether a tensor may be stored with a model that does not compute with
// it. tied says that the embedding is the head.
func Unused(name string, tied bool) bool {
	return strings.Contains(name, "rotary_emb.inv_freq") || tied && strings.HasPrefix(name, "lm_head.")
}

// unexpected reports tensors that no part of the model uses: a sign that
// config.json describes another model.
func (f *files) unexpected(tied bool) error {
	var names []string
	for _, n := range f.src.Names() {
		if !f.used[n] && !Unused(n, tied) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil
	}
	shown := names
	if len(shown) > 5 {
		shown = shown[:5]
	}
	return f.errorf("%d tensors have no place in a model of this model_type and config: %s; weights and config.json belong to different models", len(names), strings.Join(shown, ", "))
}
