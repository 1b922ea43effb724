package generate

import (
	"context"
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
)

// decoder chooses the tokens of an answer one after another.
//
// The device does the choosing, and the host reads no more than the token. A device that
// works beside the host (compute.Info's Async) has the pass of that token queued by then,
// so that it need not wait for the host: the decoder is one token behind.
type decoder struct {
	session *Session
	draw    sampler // of the next token
	prompt  []int32
	answer  []int32 // the session has run all but the last
	most    int     // tokens that the answer may have, -1 for any number

	// What the session has run ahead: guesses at the next tokens, and what is chosen after
	// the answer's last token and after each guess: on the device, and once it is read, on
	// the host. There is neither when the answer's last token must be run.
	guesses []int32
	coming  *choice // of 1+len(guesses)
	choices []int32

	drafted, accepted int

	// With a filter the host chooses: from logits, once they have come, with work memory
	// for as many weights.
	filter  func(answer []int32, logits []float32) error
	logits  []float32
	weights []float64
}

// newDecoder reads the prompt, after which the first token is coming.
func (s *Session) newDecoder(ctx context.Context, prompt []int32, o Options) (*decoder, error) {
	if err := o.Sampling.Check(); err != nil {
		return nil, err
	}
	if err := s.model.CheckTokens(prompt); err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	draw := sampler{Sampling: o.Sampling, stream: compute.NewKey(o.Seed)}
	s.most = o.MaxTokens
	if o.Filter != nil {
		d := &decoder{session: s, draw: draw, prompt: prompt, most: o.MaxTokens, filter: o.Filter}
		return d, s.prefill(ctx, prompt, o.PrefillStep, o.Progress, use{logits: &d.logits})
	}
	coming := &choice{n: 1}
	if err := s.prefill(ctx, prompt, o.PrefillStep, o.Progress, draw.into(coming)); err != nil {
		coming.free()
		return nil, err
	}
	return &decoder{session: s, draw: draw, prompt: prompt, most: o.MaxTokens, coming: coming}, nil
}

// next is the next token, and whether it was guessed.
func (d *decoder) next(ctx context.Context) (id int32, guessed bool, err error) {
	if err = ctx.Err(); err == nil && len(d.choices) == 0 {
		err = d.choose(ctx)
	}
	if err == nil {
		err = check(d.choices[0])
	}
	if err != nil {
		return 0, false, err
	}
	id = d.choices[0]
	d.draw = d.draw.after(1)
	d.answer = append(d.answer, id)
	if len(d.guesses) > 0 && d.guesses[0] == id {
		d.choices, d.guesses = d.choices[1:], d.guesses[1:]
		d.accepted++
		return id, true, nil
	}
	d.choices, d.guesses = nil, nil
	return id, false, nil
}

// pick fills choices with what the host chooses of the logits that the filter leaves.
func (d *decoder) pick(ctx context.Context) error {
	if d.logits == nil {
		last := d.answer[len(d.answer)-1]
		if err := d.session.step(ctx, []int32{last}, 1, use{logits: &d.logits}); err != nil {
			return err
		}
	}
	logits := d.logits
	d.logits = nil
	if err := check(largest(logits)); err != nil {
		return err
	}
	if err := d.filter(d.answer, logits); err != nil {
		return err
	}
	if d.weights == nil {
		d.weights = make([]float64, len(logits))
	}
	d.choices = []int32{d.draw.Pick(logits, d.weights, d.draw.stream)}
	return nil
}

// choose fills choices.
func (d *decoder) choose(ctx context.Context) error {
	if d.filter != nil {
		return d.pick(ctx)
	}
	if d.coming == nil {
		if err := d.score(ctx); err != nil {
			return err
		}
	}
	coming, ahead := d.coming, d.mayRunAhead()
	d.coming = nil
	if ahead {
		if err := d.runAhead(ctx, coming); err != nil {
			coming.free()
			return err
		}
	}
	var err error
	d.choices, err = coming.read()
	if ahead && err == nil {
		seen := d.session.tokens
		seen[len(seen)-1] = d.choices[0]
	}
	return err
}

// score runs the answer's last token and guesses at those behind it, all in one pass, and
// has the device choose what follows each.
func (d *decoder) score(ctx context.Context) error {
	if err := d.forget(); err != nil {
		return err
	}
	if err := d.guess(ctx); err != nil {
		return err
	}
	coming := &choice{n: 1 + len(d.guesses)}
	last := d.answer[len(d.answer)-1]
	if err := d.session.step(ctx, append([]int32{last}, d.guesses...), coming.n, d.draw.into(coming)); err != nil {
		coming.free()
		return err
	}
	d.coming = coming
	return nil
}

// mayRunAhead reports whether the pass of the token that is coming can be queued before it
// is known. If that token ends the answer, the pass was in vain and is taken back; so it
// must change nothing else.
func (d *decoder) mayRunAhead() bool {
	s := d.session
	switch {
	case !s.model.Device().Info().Async || s.drafter != nil:
		return false
	case d.most >= 0 && len(d.answer)+1 >= d.most: // it is the last
		return false
	case s.limited: // a full ring forgets a token for each
		return false
	}
	return s.kvBits.Bits == 0 || s.cache.Len()+1 != s.kvBits.Start // it would quantize what is there
}

// runAhead queues the pass of a token that the device has chosen, and the choice after it.
func (d *decoder) runAhead(ctx context.Context, from *choice) error {
	next := &choice{n: 1}
	if err := d.session.stepAhead(ctx, d, from, d.draw.after(1).into(next)); err != nil {
		next.free()
		return err
	}
	d.coming = next
	return nil
}

// end gives back what the decoder holds, and leaves the session as if nothing had been run
// ahead.
func (d *decoder) end() error {
	d.session.again.Free()
	d.session.most = 0
	if d.coming != nil {
		d.coming.free()
		d.coming = nil
	}
	return d.forget()
}

// forget cuts guesses off the session's cache: it is left as if none had been made.
func (d *decoder) forget() error {
	return d.session.cut(len(d.prompt) + max(0, len(d.answer)-1))
}

// guess asks the drafter, if there is one, for as many tokens as may be drafted.
func (d *decoder) guess(ctx context.Context) (err error) {
	n := d.draftable()
	if n <= 0 {
		return nil
	}
	s := d.session
	if d.guesses, err = s.drafter.draft(ctx, slices.Concat(d.prompt, d.answer), n, d.draw); err != nil {
		return err
	}
	unknown := func(id int32) bool { return int(id) >= s.model.Config.VocabSize }
	if i := slices.IndexFunc(d.guesses, unknown); i >= 0 {
		d.guesses = d.guesses[:i]
	}
	d.drafted += len(d.guesses)
	return nil
}

// draftable is how many tokens may be drafted.
func (d *decoder) draftable() int {
	s := d.session
	if s.drafter == nil {
		return 0
	}
	n := s.draftTokens
	if d.most >= 0 {
		n = min(n, d.most-len(d.answer))
	}
	if rest := s.kvBits.Start - s.cache.Len(); s.kvBits.Bits > 0 && rest > 0 {
		n = min(n, rest-2) // the cache must not be quantized for a guess that is wrong
	}
	return n
}
