package train

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
)

// sgd keeps a momentum of every number (see compute.SGD).
type sgd struct {
	momentum, dampening float32
	decay               float32 // added to the gradient
	nesterov            bool
}

func newSGD(a *arguments) sgd {
	o := sgd{
		momentum:  float32(a.number("momentum", 0, belowOne)),
		decay:     float32(a.number("weight_decay", 0, notNegative)),
		dampening: float32(a.number("dampening", 0, notNegative)),
		nesterov:  a.truth("nesterov", false),
	}
	if o.nesterov && o.momentum == 0 {
		a.refuse("nesterov", true, "false, as momentum is 0")
	}
	return o
}

func (o sgd) state(p nn.Param) []compute.Shape { return []compute.Shape{p.Shape()} }

func (o sgd) update(u update) error {
	return u.run(compute.SGD{Momentum: o.momentum, Dampening: o.dampening, WeightDecay: o.decay, Nesterov: o.nesterov})
}
