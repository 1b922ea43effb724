package model

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// Share makes a second model of the same weights. Its structs are its own and have no
// adapter yet, so that each of the two can have one, or none. Both may be used at the
// same time, also while one of them is trained: what a model changes of its base, it
// copies first (see Unfreeze and Replace).
//
// Each model is freed by itself, in any order; weights go back with the last model that
// has them. The source has to stay open as long as one of the models lives. A model
// whose base is being trained cannot be shared.
func (m *Model) Share() (*Model, error) {
	from := shared{map[string]*tensor.Weight{}, m.vectors()}
	for _, s := range m.matrices() {
		from.weights[s.name] = s.weight
		if s.weight.Param != nil {
			return nil, errTrained(s.name)
		}
	}
	for name, v := range from.vectors {
		if v.Trainable() {
			return nil, errTrained(name)
		}
	}
	other := &Model{Config: m.Config, Head: &nn.Linear{}, dev: m.dev, src: m.src, arch: m.arch, frequencies: m.frequencies.Share()}
	for _, k := range m.kept {
		k.users.Add(1)
		other.kept = append(other.kept, k)
	}
	b := &builder{store: from}
	if err := b.build(other, m.Config, m.arch); err != nil {
		other.Free()
		return nil, err
	}
	return other, nil
}

// kept is what weights lie in, and how many models have them.
type kept struct {
	io.Closer
	users atomic.Int32
}

// Keep closes c once the model has been freed, and so have those that share its weights:
// what Replace has put into the model lies in it.
func (m *Model) Keep(c io.Closer) {
	k := &kept{Closer: c}
	k.users.Store(1)
	m.kept = append(m.kept, k)
}

func (k *kept) release() {
	if k.users.Add(-1) == 0 {
		k.Close() // read only: nothing can be lost
	}
}

func errTrained(name string) error {
	return fmt.Errorf("%s is being trained, and no other model can share that: share the model first, then unfreeze it", name)
}

// shared is the store of a model that has the weights of another.
type shared struct {
	weights map[string]*tensor.Weight // by module
	vectors map[string]*tensor.Tensor // by tensor name
}

func (s shared) weight(module string, _ []int) (*tensor.Weight, error) {
	w, ok := s.weights[module]
	if !ok {
		return nil, fmt.Errorf("the shared model has no module %s", module)
	}
	return w.Share(), nil
}

func (s shared) vector(name string, _ int) (*tensor.Tensor, error) {
	v, ok := s.vectors[name]
	if !ok {
		return nil, fmt.Errorf("the shared model has no tensor %s", name)
	}
	return v.Share(), nil
}
