package adapter

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// Of copies the adapter of a model, so that it can be written in any layout, merged, or
// attached elsewhere. Numbers that are NaN or infinite are refused.
func Of(m *model.Model) (*Adapter, error) {
	a := &Adapter{Base: m.Source().Path()}
	for _, l := range m.Adapted() {
		lora, ok := l.Adapter.(*nn.LoRA)
		if !ok {
			return nil, fmt.Errorf("%s: its adapter is no LoRA", l.Name)
		}
		u, err := updateOf(m.Device(), l, lora)
		if err != nil {
			return nil, err
		}
		a.Dropout = lora.Dropout
		a.held += len(u.A) + len(u.B)
		a.Updates = append(a.Updates, u)
	}
	if len(a.Updates) == 0 {
		return nil, fmt.Errorf("the model has no adapter")
	}
	slices.SortFunc(a.Updates, byModule)
	return a, a.checkSpread()
}

// updateOf reads the tensors of a LoRA.
func updateOf(dev compute.Device, l *nn.Linear, lora *nn.LoRA) (u Update, err error) {
	u = Update{Module: l.Name, Experts: l.Experts, In: l.In(), Out: l.Out(), Rank: lora.Rank(), Scale: lora.Scale}
	read := func(x *tensor.Tensor) (values []float32) {
		if err != nil {
			return nil
		}
		if values, err = tensor.ReadFloats(dev, x); err == nil && !finite(values) {
			err = diverged("the adapter of " + l.Name)
		}
		return values
	}
	u.A, u.B = read(lora.A), read(lora.B)
	if lora.Magnitude != nil {
		u.Magnitude = read(lora.Magnitude.M)
	}
	if err == nil && u.Experts > 0 { // Aᵀ and Bᵀ of each expert
		u.A, u.B = transposeEach(u.A, u.Rank, u.In), transposeEach(u.B, u.Out, u.Rank)
	}
	return u, err
}
