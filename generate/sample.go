package generate

import (
	"slices"

	"github.com/lentil-lm/lentil/compute"
)

// Sampling says how the next token is chosen.
type Sampling = compute.Sampling

// sampler draws tokens with a random stream of its own.
type sampler struct {
	Sampling
	keys    compute.Key
	weights []float64 // work memory
}

// pick returns the next token for logits [vocab], which it overwrites.
func (s *sampler) pick(logits []float32) int32 {
	s.weights = slices.Grow(s.weights[:0], len(logits))[:len(logits)]
	id := s.Pick(logits, s.weights, s.keys)
	s.keys = s.keys.After(s.Draws())
	return id
}

// Argmax is the token of the largest logit, the first of several: what a
// temperature of 0 takes.
func Argmax(v []float32) int32 { return Sampling{}.Pick(v, nil, compute.Key{}) }
