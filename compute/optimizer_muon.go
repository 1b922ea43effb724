package compute

import (
	"fmt"
	"math"
)

// Momentum is the moving average of gradients in Muon (Jordan et al., 2024) as MLX
// computes it:
//
//	g += WeightDecay·p;  v = Beta·v + (1-Beta)·g
//	u = Beta·v + (1-Beta)·g when Nesterov, else v
//
//	in: p, g, v F32 of one shape, rate F32 [2] of LR and Step
//	out: u (may be g), v (the same buffer)
//
// 1-Beta is taken in float64 before it is rounded, as in Adam.
type Momentum struct {
	Beta        float64
	WeightDecay float32
	Nesterov    bool
}

func (Momentum) Name() string { return "momentum" }

func (Momentum) Infer(in []Spec) ([]Spec, error) {
	s, err := sameShapeAndRates(in, "p", "g", "v")
	if err != nil {
		return nil, err
	}
	return []Spec{s[0], s[0]}, nil
}

func (Momentum) Cost(in []Spec) Cost { return elementCost(in, 8, 2) }

func (o Momentum) Define(out, in []Array) {
	if GivenUp(in[3], out[1:], in[2:3]) {
		clear(out[0].F32())
		return
	}
	p, g, v := in[0].F32(), in[1].F32(), in[2].F32()
	u, v2 := out[0].F32(), out[1].F32()
	keep, add := float32(o.Beta), float32(1-o.Beta)
	for i, gi := range g {
		gi += o.WeightDecay * p[i]
		vi := keep*v[i] + add*gi
		u[i], v2[i] = vi, vi
		if o.Nesterov {
			u[i] = add*gi + keep*vi
		}
	}
}

// Descend takes a step against u: p - LR·Factor·u.
//
//	in: p, u F32 of one shape, rate F32 [2] of LR and Step;  out: p (the same buffer)
type Descend struct{ Factor float32 }

func (Descend) Name() string { return "descend" }

func (Descend) Infer(in []Spec) ([]Spec, error) { return sameShapeAndRates(in, "p", "u") }

func (Descend) Cost(in []Spec) Cost { return elementCost(in, 2, 1) }

// Step is the addition that an update with this rate is.
func (o Descend) Step(rate Array) Add {
	lr, _ := rate.Rate()
	return Add{Alpha: -(lr * o.Factor)}
}

func (o Descend) Define(out, in []Array) {
	if !GivenUp(in[2], out, in[:1]) {
		o.Step(in[2]).Define(out, in[:2])
	}
}

// UnitNorm is x / (‖x‖ + Eps), ‖x‖ being the root of Σ x² over all of x. The output
// may be x.
//
//	in: x F32;  out: F32 as x
type UnitNorm struct{ Eps float32 }

func (UnitNorm) Name() string { return "unit_norm" }

func (UnitNorm) Infer(in []Spec) ([]Spec, error) { return sameShape(in, "x") }

func (UnitNorm) Cost(in []Spec) Cost { return elementCost(in, 3, 1) }

// Divisor is ‖x‖ + Eps for Σ x².
func (o UnitNorm) Divisor(squares float64) float32 { return float32(math.Sqrt(squares)) + o.Eps }

func (o UnitNorm) Define(out, in []Array) {
	x, y := in[0].F32(), out[0].F32()
	d := o.Divisor(sumSquares(x))
	for i, v := range x {
		y[i] = v / d
	}
}

// Reshape gives the same numbers another shape.
//
//	in: x F32 of as many elements as Shape;  out: F32 of Shape
type Reshape struct{ Shape Shape }

func (Reshape) Name() string { return "reshape" }

func (o Reshape) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 1), wantType(in, 0, "x", F32)); err != nil {
		return nil, err
	}
	if in[0].Shape.Elems() != o.Shape.Elems() {
		return nil, fmt.Errorf("x has shape %v, which cannot become %v", []int(in[0].Shape), []int(o.Shape))
	}
	return []Spec{{o.Shape, F32}}, nil
}

func (o Reshape) Cost(in []Spec) Cost { return Cost{Bytes: 2 * in[0].Bytes()} }

func (o Reshape) Define(out, in []Array) { copy(out[0].F32(), in[0].F32()) }
