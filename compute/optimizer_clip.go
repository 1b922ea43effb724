package compute

import "math"

// ClipFactor is what gradients are multiplied with so that the norm of all of them is at most
// Max: min(1, Max / (√squares + 1e-6)), as PyTorch's clip_grad_norm_ has it.
//
//	in: squares F32 [1], the sum of their squares (see SumSquares);  out: F32 [1]
type ClipFactor struct{ Max float32 }

func (ClipFactor) Name() string { return "clip_factor" }

func (ClipFactor) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 1), want(in, 0, "squares", 1), wantType(in, 0, "squares", F32)); err != nil {
		return nil, err
	}
	return []Spec{{Shape{1}, F32}}, nil
}

func (ClipFactor) Cost(in []Spec) Cost { return elementCost(in, 3, 1) }

func (o ClipFactor) Define(out, in []Array) {
	const least = 1e-6 // of the divisor
	norm := float32(math.Sqrt(float64(in[0].F32()[0])))
	out[0].F32()[0] = min(1, o.Max/(norm+least))
}
