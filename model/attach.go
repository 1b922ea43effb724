package model

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
)

// AttachLoRAFile attaches an adapter that was read apart from the model.
func (m *Model) AttachLoRAFile(f *LoRAFile) error {
	if err := f.CheckCopies(m.src); err != nil {
		return err
	}
	if err := f.FitTo(m.Config); err != nil {
		return err
	}
	rank, scale := f.Uniform()
	var keys, unknown []string
	shapes := map[string][]int{}
	for _, l := range m.Linears() {
		shapes[l.Name] = stackShape(l.Experts, l.Out(), l.In())
	}
	for _, u := range f.Updates {
		keys = append(keys, u.Module)
		if !slices.Equal(shapes[u.Module], u.Shape()) {
			unknown = append(unknown, fmt.Sprintf("%s %v", u.Module, u.Shape()))
		}
	}
	if len(unknown) > 0 {
		return otherModel("adapter", unknown)
	}
	if _, err := m.AttachLoRA(LoRAConfig{Rank: rank, Scale: scale, Dropout: f.Dropout, Keys: keys, DoRA: f.DoRA()}, compute.NewKey(0)); err != nil {
		return err
	}
	values := map[string][]float32{}
	for _, u := range f.Updates {
		a, b := u.A, u.B
		if u.Experts > 0 {
			a, b = u.Transposed()
		}
		values[u.Module+".lora_a"], values[u.Module+".lora_b"] = a, b
		values[u.Module+".m"] = u.Magnitude
	}
	for _, p := range m.Trainable() {
		v, ok := values[p.Name]
		if !ok {
			continue
		}
		if err := m.dev.Write(p.Buffer(), compute.FloatBytes(slices.Clone(v))); err != nil {
			m.Detach()
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return m.RefreshAdapters()
}
