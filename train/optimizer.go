package train

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// OptimizerConfig chooses an optimizer.
type OptimizerConfig struct {
	Name string // one of Optimizers
	// Options are the keyword arguments of MLX's optimizer of that name, as in
	// optimizer_config. What is left out has MLX's default.
	Options map[string]any
}

// Optimizers are the names of all optimizers, in mlx-lm's order.
var Optimizers = []string{"adam", "adamw", "muon", "sgd", "adafactor"}

// An optimizer is the rule by which gradients change parameters. It holds settings
// only; each update is given what is kept of its parameter.
type optimizer interface {
	// state lists the shapes of the arrays that are kept of a parameter between
	// updates: F32, zeros before the first.
	state(p nn.Param) []compute.Shape
	// update changes the parameter and its state in place.
	update(u update) error
}

// An update is the part of one parameter in an update of all.
type update struct {
	dev   compute.Device
	param nn.Param
	grad  compute.Buffer   // may be overwritten
	state []compute.Buffer // as optimizer.state has them
	rate  compute.Buffer   // F32 [2]: learning rate, number of the update from 1
}

// newOptimizer checks the settings.
func newOptimizer(c OptimizerConfig) (optimizer, error) {
	a := arguments{given: c.Options}
	var o optimizer
	switch c.Name {
	case "adam":
		o = newAdam(&a)
	case "adamw":
		o = newAdamW(&a)
	case "muon":
		o = newMuon(&a)
	case "sgd":
		o = newSGD(&a)
	case "adafactor":
		o = newAdafactor(&a)
	default:
		return nil, fault.Choice("optimizer", c.Name, Optimizers...)
	}
	if err := a.check(); err != nil {
		return nil, fault.At("optimizer_config", "%s: %w", c.Name, err)
	}
	return o, nil
}

// check refuses an unknown optimizer, unknown options, and values that would make an
// update NaN.
func (c OptimizerConfig) check() error {
	_, err := newOptimizer(c)
	return err
}

// run runs an op that takes the parameter, its gradient, its state and the rate, and
// changes the parameter and the state.
func (u update) run(op compute.Op) error {
	p := u.param.Buffer()
	return u.dev.Run(op, append(bufs(p), u.state...), append(append(bufs(p, u.grad), u.state...), u.rate))
}

// updates apply an optimizer to all parameters of a model.
type updates struct {
	rule   optimizer
	dev    compute.Device
	params []nn.Param
	state  [][]*tensor.Tensor // of each parameter
	rate   *tensor.Tensor     // see update.rate
	done   int
}

func newUpdates(dev compute.Device, c OptimizerConfig, params []nn.Param) (*updates, error) {
	rule, err := newOptimizer(c)
	if err != nil {
		return nil, err
	}
	u := &updates{rule: rule, dev: dev, params: params, state: make([][]*tensor.Tensor, len(params))}
	if u.rate, err = tensor.New(dev, compute.Shape{2}, compute.F32, nil); err != nil {
		return nil, fmt.Errorf("learning rate: %w", err)
	}
	for i, p := range params {
		for _, shape := range rule.state(p) {
			s, err := newZeros(dev, shape)
			if err != nil {
				u.free()
				return nil, fmt.Errorf("optimizer state of %s: %w", p.Name, err)
			}
			u.state[i] = append(u.state[i], s)
		}
	}
	return u, nil
}

func newZeros(dev compute.Device, shape compute.Shape) (*tensor.Tensor, error) {
	x, err := tensor.New(dev, shape, compute.F32, nil)
	if err != nil {
		return nil, err
	}
	if err := dev.Run(compute.Fill{Shape: shape}, bufs(x.Buffer()), nil); err != nil {
		x.Free()
		return nil, err
	}
	return x, nil
}

// apply applies the gradients with learning rate lr and forgets them. If one of guards
// holds something that is no number, nothing else changes: the device sees to that, and
// the host, once it has read them, calls takeBack.
func (u *updates) apply(lr float64, guards ...*tensor.Tensor) error {
	if err := u.next(lr); err != nil {
		return err
	}
	for _, x := range guards {
		if err := u.dev.Run(compute.Guard{}, bufs(u.rate.Buffer()), bufs(x.Buffer(), u.rate.Buffer())); err != nil {
			return err
		}
	}
	for i, p := range u.params {
		g := p.Grad()
		if g == nil {
			continue // no path from the loss to this parameter
		}
		one := update{dev: u.dev, param: p, grad: g, rate: u.rate.Buffer()}
		for _, s := range u.state[i] {
			one.state = append(one.state, s.Buffer())
		}
		if err := u.rule.update(one); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		p.ZeroGrad()
	}
	return nil
}

// takeBack does not count the last update, which changed nothing.
func (u *updates) takeBack() { u.done-- }

// next begins an update: what changes with each is written once for all parameters.
func (u *updates) next(lr float64) error {
	u.done++
	return u.dev.Write(u.rate.Buffer(), compute.FloatBytes([]float32{float32(lr), float32(u.done)}))
}

func (u *updates) free() {
	u.rate.Free()
	for _, state := range u.state {
		for _, s := range state {
			s.Free()
		}
	}
}
