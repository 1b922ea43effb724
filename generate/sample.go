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

// into lets the device choose tokens into c, from the logits of tokens that follow each other.
func (s sampler) into(c *choice) use { return use{choice: c, how: s} }

// use is what is made of the logits [n, vocab] of a pass before they are gone: tokens are
// chosen, or they are copied to the host.
type use struct {
	choice *choice // of n tokens; nil for logits
	how    sampler // of the first of them
	logits *[]float32
}

func (u use) of(t *tensor.Tape, logits *tensor.Tensor) {
	if u.choice == nil {
		*u.logits = t.Read(logits)
		return
	}
	keys := make([]compute.Key, u.choice.Shape()[0])
	for i := range keys {
		keys[i] = u.how.after(i).stream
	}
	t.Choose(u.choice.Tensor, logits, []compute.Sampling{u.how.Sampling}, keys)
}

// choice is tokens that the device has chosen.
type choice struct {
	*tensor.Tensor         // I32 [n]
	tokens         []int32 // what it holds, once the host knows
}

// newChoice is room on the device for n tokens.
func (s *Session) newChoice(n int) (*choice, error) {
	x, err := tensor.New(s.model.Device(), compute.Shape{n}, compute.I32, nil)
	return &choice{Tensor: x}, err
}

// read waits for the tokens of a choice, and frees it. The first must be a token; others
// need not.
func (s *Session) read(c *choice) ([]int32, error) {
	defer c.Free()
	if c.tokens == nil {
		c.tokens = make([]int32, c.Shape()[0])
		if err := s.model.Device().Read(c.Buffer(), compute.IntBytes(c.tokens)); err != nil {
			return nil, err
		}
	}
	return c.tokens, check(c.tokens[0])
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
