package train

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
)

// adafactor keeps second moments of rows and columns alone (see compute.Adafactor).
type adafactor struct {
	eps          [2]float64 // added to squared gradients; least size of a parameter that its steps go by
	clip         float64    // most root mean square of a step, before the learning rate
	decayRate    float64    // power of the update's number, for the second moments
	beta1        float64    // of the first moment, where there is one
	momentum     bool
	decay        float64
	scaled       bool // steps go by the size of the parameter
	relativeStep bool // the step size is Adafactor's own, whatever the learning rate
	warmupInit   bool // and begins small
}

// What Adafactor's own step size is at most: this, or with warmup_init so much for
// each update done, and never more than one by the root of their number.
const (
	adafactorStep   = 1e-2
	adafactorWarmup = 1e-6
)

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
		Stack: stack(u.param), LR: o.rate(u), Scaled: o.scaled, MinScale: float32(o.eps[1]),
		Eps: float32(o.eps[0]), Clip: float32(o.clip), Beta2: 1 - float32(math.Pow(float64(u.step), o.decayRate)),
		Momentum: o.momentum, Beta1: o.beta1, WeightDecay: float32(o.decay),
	})
}

// rate is the step size before it is scaled with the parameter's.
func (o adafactor) rate(u update) float32 {
	if !o.relativeStep {
		return u.lr
	}
	most := adafactorStep
	if o.warmupInit {
		most = adafactorWarmup * float64(u.step)
	}
	return float32(min(most, 1/math.Sqrt(float64(u.step))))
}
