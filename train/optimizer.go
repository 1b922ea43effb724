package train

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// OptimizerConfig names an optimiser and holds its settings: the keyword
// arguments of MLX's optimisers.
type OptimizerConfig struct {
	Name           string     // adam, adamw, sgd
	Betas          [2]float64 // adam, adamw; default 0.9, 0.999
	Eps            float64    // adam, adamw; default 1e-8
	WeightDecay    *float64   // adamw: 0.01, decoupled; sgd: 0, added to the gradient
	BiasCorrection bool       // adam, adamw; MLX's default is off
	Momentum       float64    // sgd
	Dampening      float64    // sgd
	Nesterov       bool       // sgd
}

// Optimizers are the names that --optimizer takes.
var Optimizers = []string{"adam", "adamw", "sgd"}

// optimizer updates parameters in place on their device.
type optimizer struct {
	config OptimizerConfig
	dev    compute.Device
	params []nn.Param
	state  [][]*tensor.Tensor // of each parameter: adam m, v; sgd momentum
	step   int                // updates done
}

func newOptimizer(dev compute.Device, c OptimizerConfig, params []nn.Param) (*optimizer, error) {
	if c.Betas == ([2]float64{}) {
		c.Betas = [2]float64{0.9, 0.999}
	}
	if c.Eps == 0 {
		c.Eps = 1e-8
	}
	states := map[string]int{"adam": 2, "adamw": 2, "sgd": 1}
	n, ok := states[c.Name]
	if !ok {
		return nil, fmt.Errorf("optimizer %q is not supported; known are adam, adamw, sgd", c.Name)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	o := &optimizer{config: c, dev: dev, params: params}
	for _, p := range params {
		var state []*tensor.Tensor
		for range n {
			s, err := tensor.New(dev, p.Shape(), compute.F32, nil)
			if err == nil {
				state = append(state, s)
				err = dev.Run(compute.Fill{Shape: p.Shape()}, []compute.Buffer{s.Buffer()}, nil)
			}
			if err != nil {
				o.state = append(o.state, state)
				o.free()
				return nil, fmt.Errorf("optimizer state of %s: %w", p.Name, err)
			}
		}
		o.state = append(o.state, state)
	}
	return o, nil
}

// check refuses settings under which an update is no number.
func (c OptimizerConfig) check() error {
	for _, b := range c.Betas {
		if !(b >= 0 && b < 1) {
			return fmt.Errorf("optimizer_config: betas are %v, expected 0 <= beta < 1", c.Betas)
		}
	}
	if !(c.Eps > 0) || !(c.Momentum >= 0 && c.Momentum < 1) {
		return fmt.Errorf("optimizer_config: eps is %g and momentum %g, expected eps > 0 and 0 <= momentum < 1", c.Eps, c.Momentum)
	}
	return nil
}

// update applies the gradients with learning rate lr and forgets them.
func (o *optimizer) update(lr float64) error {
	o.step++
	for i, p := range o.params {
		g := p.Grad()
		if g == nil {
			continue // no path from the loss to this parameter
		}
		out := []compute.Buffer{p.Buffer()}
		in := []compute.Buffer{p.Buffer(), g}
		for _, s := range o.state[i] {
			out, in = append(out, s.Buffer()), append(in, s.Buffer())
		}
		if err := o.dev.Run(o.op(float32(lr)), out, in); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		p.ZeroGrad()
	}
	return nil
}

func (o *optimizer) op(lr float32) compute.Op {
	c := o.config
	decay := float32(0)
	if c.Name == "adamw" {
		decay = 0.01
	}
	if c.WeightDecay != nil {
		decay = float32(*c.WeightDecay)
	}
	if c.Name == "sgd" {
		return compute.SGD{LR: lr, Momentum: float32(c.Momentum), Dampening: float32(c.Dampening), WeightDecay: decay, Nesterov: c.Nesterov}
	}
	if c.Name == "adam" {
		decay = 0
	}
	return compute.Adam{
		LR: lr, Beta1: c.Betas[0], Beta2: c.Betas[1], Eps: float32(c.Eps),
		WeightDecay: decay, BiasCorrection: c.BiasCorrection, Step: o.step,
	}
}

func (o *optimizer) free() {
	for _, state := range o.state {
		for _, s := range state {
			s.Free()
		}
	}
}
