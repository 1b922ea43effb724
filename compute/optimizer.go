package compute

import "math"

// rates is the rule of the input by which an optimizer's op is told what changes with each
// update: rate F32 [2], the learning rate LR and the number Step of the update, from 1.
// It is written once for all parameters, so that a device can replay its launches. Step 0 is an
// update that must not happen (see Guard): parameters and moments stay as they are.
func rates(in []Spec, i int) error {
	return firstErr(want(in, i, "rate", 2), wantType(in, i, "rate", F32))
}

// Rate is the content of an optimizer's input rate. Step is exact up to 2^24.
func (a Array) Rate() (lr float32, step float64) {
	v := a.F32()
	return v[0], float64(v[1])
}

// Guard gives up an update whose loss is no number: it makes Step 0 if one of x is NaN or
// infinite, and leaves rate as it is otherwise. The host need not know before it queues the
// update.
//
//	in: x F32 of any shape, rate F32 [2];  out: rate (the same buffer)
type Guard struct{}

func (Guard) Name() string { return "guard" }

func (Guard) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 2), wantType(in, 0, "x", F32), rates(in, 1)); err != nil {
		return nil, err
	}
	return in[1:], nil
}

func (Guard) Cost(in []Spec) Cost { return elementCost(in, 1, 0) }

func (Guard) Define(out, in []Array) {
	rate := out[0].F32()
	copy(rate, in[1].F32())
	for _, v := range in[0].F32() {
		if v-v != 0 { // NaN or infinite
			rate[1] = 0
		}
	}
}

// GivenUp tells whether the update of a rate must not happen, and if so gives out the
// content of kept.
func GivenUp(rate Array, out, kept []Array) bool {
	if _, step := rate.Rate(); step != 0 {
		return false
	}
	for i, a := range kept {
		copy(out[i].Data, a.Data)
	}
	return true
}

// Adam is one update of Kingma and Ba's optimizer (2015) as MLX computes it. Weight
// decay is decoupled (AdamW, Loshchilov and Hutter, 2019).
//
//	p = p·(1 - LR·WeightDecay);  m = β1·m + (1-β1)·g;  v = β2·v + (1-β2)·g²
//	p -= LR·m / (sqrt(v) + Eps), or with BiasCorrection
//	p -= LR/(1-β1^Step)·m / (sqrt(v)/sqrt(1-β2^Step) + Eps)
//
//	in: p, g, m, v F32 of one shape, rate F32 [2] of LR and Step
//	out: p, m, v (the same buffers)
//
// 1-β is computed in float64 and then rounded, as MLX does; in float32, 1-0.999 would
// be off by 1e-5.
type Adam struct {
	Eps, WeightDecay float32
	Beta1, Beta2     float64
	BiasCorrection   bool
}

func (Adam) Name() string { return "adam" }

func (o Adam) Infer(in []Spec) ([]Spec, error) {
	s, err := sameShapeAndRates(in, "p", "g", "m", "v")
	if err != nil {
		return nil, err
	}
	return []Spec{s[0], s[0], s[0]}, nil
}

// sameShapeAndRates is sameShape with the input rate behind the others.
func sameShapeAndRates(in []Spec, names ...string) ([]Spec, error) {
	if err := firstErr(arity(in, len(names)+1), rates(in, len(names))); err != nil {
		return nil, err
	}
	return sameShape(in[:len(names)], names...)
}

func (Adam) Cost(in []Spec) Cost { return elementCost(in, 12, 3) }

// Factors returns, for an update's rate, the factors of the parameter, of the first moment
// and of the root of the second.
func (o Adam) Factors(rate Array) (keep, lr, root float32) {
	lr, step := rate.Rate()
	keep = 1 - lr*o.WeightDecay
	if !o.BiasCorrection {
		return keep, lr, 1
	}
	c1 := float64(lr) / (1 - math.Pow(o.Beta1, step))
	c2 := 1 / math.Sqrt(1-math.Pow(o.Beta2, step))
	return keep, float32(c1), float32(c2)
}

// Decays returns β1, 1-β1, β2 and 1-β2.
func (o Adam) Decays() (b1, a1, b2, a2 float32) {
	return float32(o.Beta1), float32(1 - o.Beta1), float32(o.Beta2), float32(1 - o.Beta2)
}

func (o Adam) Define(out, in []Array) {
	if GivenUp(in[4], out, []Array{in[0], in[2], in[3]}) {
		return
	}
	p, g, m, v := in[0].F32(), in[1].F32(), in[2].F32(), in[3].F32()
	p2, m2, v2 := out[0].F32(), out[1].F32(), out[2].F32()
	keep, lr, root := o.Factors(in[4])
	b1, a1, b2, a2 := o.Decays()
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
//	in: p, g, u F32 of one shape, rate F32 [2] of LR and Step;  out: p, u (the same buffers)
type SGD struct {
	Momentum, Dampening, WeightDecay float32
	Nesterov                         bool
}

func (SGD) Name() string { return "sgd" }

func (SGD) Infer(in []Spec) ([]Spec, error) {
	s, err := sameShapeAndRates(in, "p", "g", "u")
	if err != nil {
		return nil, err
	}
	return []Spec{s[0], s[0]}, nil
}

func (SGD) Cost(in []Spec) Cost { return elementCost(in, 6, 2) }

func (o SGD) Define(out, in []Array) {
	if GivenUp(in[3], out, []Array{in[0], in[2]}) {
		return
	}
	p, g, u := in[0].F32(), in[1].F32(), in[2].F32()
	p2, u2 := out[0].F32(), out[1].F32()
	lr, _ := in[3].Rate()
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
		p2[i] = p[i] - lr*step
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
