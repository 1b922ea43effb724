package train

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
)

// adafactor keeps second moments of rows and columns only (see compute.Adafactor).
type adafactor struct {
	eps          [2]float64 // added to squared gradients; lower bound of the parameter's size
	clip         float64    // upper bound of a step's root mean square, before the learning rate
	decayRate    float64    // the second moments keep 1 - t^decayRate of themselves
	momentum     bool       // keep a first moment ...
	beta1        float64    // ... which keeps this part of itself
	decay        float64
	scaled       bool // multiply steps with the parameter's root mean square
	relativeStep bool // use Adafactor's own step size, not the learning rate
	warmupInit   bool // let that step size start small
}

func newAdafactor(a *arguments) adafactor {
	o := adafactor{
		eps:          a.pair("eps", [2]float64{1e-30, 1e-3}, positive, notNegative),
		clip:         a.number("clip_threshold", 1, positive),
		decayRate:    a.number("decay_rate", -0.8, notPositive),
		decay:        a.number("weight_decay", 0, notNegative),
		scaled:       a.truth("scale_parameter", true),
		relativeStep: a.truth("relative_step", true),
		warmupInit:   a.truth("warmup_init", false),
	}
	o.beta1, o.momentum = a.optional("beta_1", belowOne)
	return o
}

func (o adafactor) state(p nn.Param) []compute.Shape {
	all := []compute.Shape{p.Shape()}
	if s := p.Shape(); len(s) > 1 {
		n := stack(p)
		all = []compute.Shape{{n, s.Rows() / n}, {n, s.Cols()}}
	}
	if o.momentum {
		all = append(all, p.Shape())
	}
	return all
}

// stack is how many matrices a parameter is.
func stack(p nn.Param) int { return max(p.Experts, 1) }

func (o adafactor) update(u update) error {
	return u.run(compute.Adafactor{
		Stack: stack(u.param), RelativeStep: o.relativeStep, WarmupInit: o.warmupInit,
		Scaled: o.scaled, MinScale: float32(o.eps[1]), Eps: float32(o.eps[0]), Clip: float32(o.clip), DecayRate: o.decayRate,
		Momentum: o.momentum, Beta1: o.beta1, WeightDecay: float32(o.decay),
	})
}
