package compute

import (
	"fmt"
	"math"
)

// Adam is one update of Kingma and Ba's optimizer (2015) as MLX computes it. Weight
// decay is decoupled (AdamW, Loshchilov and Hutter, 2019).
//
//	p = p·(1 - LR·WeightDecay);  m = β1·m + (1-β1)·g;  v = β2·v + (1-β2)·g²
//	p -= LR·m / (sqrt(v) + Eps), or with BiasCorrection
//	p -= LR/(1-β1^Step)·m / (sqrt(v)/sqrt(1-β2^Step) + Eps)
//
//	in: p, g, m, v F32 of one shape;  out: p, m, v (the same buffers)
//
// 1-β is computed in float64 and then rounded, as MLX does; in float32, 1-0.999 would
// be off by 1e-5.
type Adam struct {
	LR, Eps, WeightDecay float32
	Beta1, Beta2         float64
	BiasCorrection       bool
	Step                 int // from 1
}

func (Adam) Name() string { return "adam" }

func (o Adam) Infer(in []Spec) ([]Spec, error) {
	if o.BiasCorrection && o.Step < 1 {
		return nil, fmt.Errorf("step is %d, the first is 1", o.Step)
	}
	s, err := sameShape(in, "p", "g", "m", "v")
	if err != nil {
		return nil, err
	}
	return []Spec{s[0], s[0], s[0]}, nil
}

func (Adam) Cost(in []Spec) Cost { return elementCost(in, 12, 3) }

// Factors returns the factors of the first moment and of the root of the second.
func (o Adam) Factors() (lr, root float32) {
	if !o.BiasCorrection {
		return o.LR, 1
	}
	c1 := float64(o.LR) / (1 - math.Pow(o.Beta1, float64(o.Step)))
	c2 := 1 / math.Sqrt(1-math.Pow(o.Beta2, float64(o.Step)))
	return float32(c1), float32(c2)
}

// Decays returns β1, 1-β1, β2 and 1-β2.
func (o Adam) Decays() (b1, a1, b2, a2 float32) {
	return float32(o.Beta1), float32(1 - o.Beta1), float32(o.Beta2), float32(1 - o.Beta2)
}

func (o Adam) Define(out, in []Array) {
	p, g, m, v := in[0].F32(), in[1].F32(), in[2].F32(), in[3].F32()
	p2, m2, v2 := out[0].F32(), out[1].F32(), out[2].F32()
	lr, root := o.Factors()
	b1, a1, b2, a2 := o.Decays()
	keep := 1 - o.LR*o.WeightDecay
	for i, gi := range g {
		mi := b1*m[i] + a1*gi
		vi := b2*v[i] + a2*(gi*gi)
		m2[i], v2[i] = mi, vi
		p2[i] = p[i]*keep - lr*mi/(float32(math.Sqrt(float64(vi)))*root+o.Eps)
	}
}

// SGD is one step of gradient descent as MLX computes it:
//
//	g += WeightDecay·p;  without Momentum p -= LR·g; else
//	u = Momentum·u + (1-Dampening)·g (g alone counts in full when Dampening is 0)
//	p -= LR·(g + Momentum·u when Nesterov, else u)
//
//	in: p, g, u F32 of one shape;  out: p, u (the same buffers)
type SGD struct {
	LR, Momentum, Dampening, WeightDecay float32
	Nesterov                             bool
}

func (SGD) Name() string { return "sgd" }

func (SGD) Infer(in []Spec) ([]Spec, error) {
	s, err := sameShape(in, "p", "g", "u")
	if err != nil {
		return nil, err
	}
	return []Spec{s[0], s[0]}, nil
}

func (SGD) Cost(in []Spec) Cost { return elementCost(in, 6, 2) }

func (o SGD) Define(out, in []Array) {
	p, g, u := in[0].F32(), in[1].F32(), in[2].F32()
	p2, u2 := out[0].F32(), out[1].F32()
	for i, gi := range g {
		gi += o.WeightDecay * p[i]
		step := gi
		u2[i] = u[i]
		if o.Momentum > 0 {
			u2[i] = o.Momentum*u[i] + (1-o.Dampening)*gi
			step = u2[i]
			if o.Nesterov {
				step = gi + o.Momentum*u2[i]
			}
		}
		p2[i] = p[i] - o.LR*step
	}
}

// SumSquares is Σ x²: the square of a gradient's norm.
//
//	in: x F32 of any shape;  out: F32 [1], added to when Accumulate
type SumSquares struct{ Accumulate bool }

func (SumSquares) Name() string { return "sum_squares" }

func (SumSquares) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 1), wantType(in, 0, "x", F32)); err != nil {
		return nil, err
	}
	return []Spec{{Shape{1}, F32}}, nil
}

func (SumSquares) Cost(in []Spec) Cost { return elementCost(in, 2, 0) }

func (o SumSquares) Define(out, in []Array) {
	sum, y := sumSquares(in[0].F32()), out[0].F32()
	if o.Accumulate {
		sum += float64(y[0])
	}
	y[0] = float32(sum)
}

func sumSquares(x []float32) (sum float64) {
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}
