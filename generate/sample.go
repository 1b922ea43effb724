package generate

import (
	"fmt"
	"sync"
	"sync/atomic"

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

// of uses the logits of a session's pass.
func (u use) of(t *tensor.Tape, dev compute.Device, logits *tensor.Tensor) {
	if u.choice == nil {
		*u.logits = t.Read(logits)
		return
	}
	keys := make([]compute.Key, u.choice.n)
	for i := range keys {
		keys[i] = u.how.after(i).stream
	}
	c := choose(t, dev, logits, []compute.Sampling{u.how.Sampling}, keys)
	u.choice.set(c, 0)
	c.leave()
}

// chosen is tokens that the device has chosen in one pass, for one session or several, which hold it.
type chosen struct {
	*tensor.Tensor // I32 [n]
	dev            compute.Device
	users          atomic.Int32
	mu             sync.Mutex
	tokens         []int32 // once the host knows them
}

// choose has the device choose a token for each row of logits. Who asks holds it.
func choose(t *tensor.Tape, dev compute.Device, logits *tensor.Tensor, how []compute.Sampling, keys []compute.Key) *chosen {
	c := &chosen{dev: dev}
	c.users.Store(1)
	var err error
	if c.Tensor, err = tensor.New(dev, compute.Shape{len(keys)}, compute.I32, nil); err != nil {
		t.Fail(err)
		return c
	}
	t.Choose(c.Tensor, logits, how, keys)
	return c
}

// read waits for the tokens.
func (c *chosen) read() ([]int32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens == nil {
		tokens := make([]int32, c.Shape().Elems())
		if err := c.dev.Read(c.Buffer(), compute.IntBytes(tokens)); err != nil {
			return nil, err
		}
		c.tokens = tokens
	}
	return c.tokens, nil
}

// leave ends the hold of one user.
func (c *chosen) leave() {
	if c.users.Add(-1) == 0 {
		c.Tensor.Free()
	}
}

// choice is the tokens of one session among those that were chosen in a pass: n of them, from at on.
type choice struct {
	all   *chosen // nil before the pass
	at, n int
}

// set makes it n of those that were chosen.
func (c *choice) set(all *chosen, at int) {
	c.free()
	all.users.Add(1)
	c.all, c.at = all, at
}

func (c *choice) free() {
	if c.all != nil {
		c.all.leave()
		c.all = nil
	}
}

// read waits for the tokens of a choice, and frees it. The first must be a token; others
// need not.
func (c *choice) read() ([]int32, error) {
	defer c.free()
	all, err := c.all.read()
	if err != nil {
		return nil, err
	}
	tokens := all[c.at : c.at+c.n : c.at+c.n]
	return tokens, check(tokens[0])
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
