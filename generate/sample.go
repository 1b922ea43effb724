package generate

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/tensor"
)

// Sampling says how the next token is chosen.
type Sampling = compute.Sampling

// sampler is a Sampling with the random stream that the next token is drawn from.
type sampler struct {
	Sampling
	stream compute.Key
}

// after is the sampler of the token n tokens on.
func (s sampler) after(n int) sampler {
	s.stream = s.stream.After(n * s.Draws())
	return s
}

// into lets the device choose tokens into dst I32 [n], from the logits [n, vocab] of n
// tokens that follow each other.
func (s sampler) into(dst *tensor.Tensor) use {
	keys := make([]compute.Key, dst.Shape()[0])
	for i := range keys {
		keys[i] = s.stream
		s = s.after(1)
	}
	return func(t *tensor.Tape, logits *tensor.Tensor) {
		t.Choose(dst, logits, []compute.Sampling{s.Sampling}, keys)
	}
}

// check refuses a token that stands for logits that are not finite.
func check(token int32) error {
	logit, unusable := compute.Unusable(token)
	if !unusable {
		return nil
	}
	return fmt.Errorf("the model's output for token %d is not a finite number: the weights, or an adapter whose training diverged, are not usable", logit)
}

// largest is the token of the largest logit, the first of several, or what check refuses.
func largest(v []float32) int32 { return Sampling{}.Pick(v, nil, compute.Key{}) }
