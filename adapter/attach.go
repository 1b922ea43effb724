package adapter

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
)

// Attach puts the adapter beside the projections of m that it is for, in place of what
// adapters there are. Each projection keeps the rank and scale that it has here. FitTo is
// called, so that two Attach of the same adapter must not run at the same time.
func (a *Adapter) Attach(m *model.Model) error {
	if err := a.checkCopies(m.Source()); err != nil {
		return err
	}
	if err := a.FitTo(m.Config); err != nil {
		return err
	}
	linears := map[string]*nn.Linear{}
	for _, l := range m.Linears() {
		linears[l.Name] = l
	}
	var unknown []string
	for _, u := range a.Updates {
		l := linears[u.Module]
		if l == nil || !slices.Equal(l.Shape(), u.Shape()) {
			unknown = append(unknown, fmt.Sprintf("%s %v", u.Module, u.Shape()))
		}
	}
	if len(unknown) > 0 {
		return otherModel("adapter", unknown)
	}
	m.Detach()
	for _, u := range a.Updates {
		if err := u.attach(m.Device(), linears[u.Module], a.Dropout); err != nil {
			m.Detach()
			return fmt.Errorf("%s: %w", u.Module, err)
		}
	}
	return m.RefreshAdapters()
}

// With makes a model that shares the weights of base and has an adapter of its own. path
// is as for [Load], or empty for no adapter. [model.Model.Share] tells who owns what. The
// new model takes memory for its adapter alone; the weights of full fine-tuning take the
// place of base's in the new model only.
func With(base *model.Model, path string) (*model.Model, error) {
	m, err := base.Share()
	if err != nil || path == "" {
		return m, err
	}
	if err := Load(m, path); err != nil {
		m.Free()
		return nil, err
	}
	return m, nil
}

// attach puts an update beside the projection that it is for.
func (u *Update) attach(dev compute.Device, l *nn.Linear, dropout float32) error {
	a, b := u.A, u.B
	if u.Experts > 0 {
		a, b = u.transposed()
	}
	lora, err := nn.NewLoRA(dev, l, u.Rank, u.Scale, dropout, a, b)
	if err != nil {
		return err
	}
	l.Adapter = lora
	if u.Magnitude == nil {
		return nil
	}
	if err := lora.AddMagnitude(dev, l); err != nil {
		return err
	}
	return dev.Write(lora.Magnitude.M.Buffer(), compute.FloatBytes(u.Magnitude))
}
