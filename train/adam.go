package train

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
)

// adam keeps two moments of every number (see compute.Adam).
type adam struct {
	betas          [2]float64
	eps, decay     float32
	biasCorrection bool // off by default, as in MLX
}

func newAdam(a *arguments) adam {
	return adam{
		betas:          a.pair("betas", [2]float64{0.9, 0.999}, belowOne, belowOne),
		eps:            float32(a.number("eps", 1e-8, positive)),
		biasCorrection: a.truth("bias_correction", false),
	}
}

func (o adam) state(p nn.Param) []compute.Shape { return []compute.Shape{p.Shape(), p.Shape()} }

func (o adam) update(u update) error {
	return u.run(compute.Adam{
		Beta1: o.betas[0], Beta2: o.betas[1], Eps: o.eps,
		WeightDecay: o.decay, BiasCorrection: o.biasCorrection,
	})
}
