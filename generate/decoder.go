package generate

import (
	"context"
	"slices"
)

// decoder chooses the tokens of an answer one after another.
type decoder struct {
	session *Session
	draw    sampler
	prompt  []int32
	answer  []int32 // the session has run all but the last
	most    int     // tokens that the answer may have, -1 for any number

	// What the session has run ahead: guesses at the next tokens, and the logits of the
	// next token and of the one after each guess, [1+len(guesses), vocab]. Both are empty
	// when the answer's last token must be run.
	guesses []int32
	logits  []float32

	drafted, accepted int
}

// next is the next token, and whether it was guessed.
func (d *decoder) next(ctx context.Context) (id int32, guessed bool, err error) {
	if err = ctx.Err(); err == nil && len(d.logits) == 0 {
		err = d.score(ctx)
	}
	if err != nil {
		return 0, false, err
	}
	vocab := d.session.model.Config.VocabSize
	if err := usable(d.logits[:vocab]); err != nil {
		return 0, false, err
	}
	id = d.draw.pick(d.logits[:vocab])
	d.answer = append(d.answer, id)
	if len(d.guesses) > 0 && d.guesses[0] == id {
		d.logits, d.guesses = d.logits[vocab:], d.guesses[1:]
		d.accepted++
		return id, true, nil
	}
	d.logits, d.guesses = nil, nil
	return id, false, nil
}

// score runs the answer's last token and guesses at those behind it, all in one pass.
func (d *decoder) score(ctx context.Context) error {
	if err := d.forget(); err != nil {
		return err
	}
	if err := d.guess(ctx); err != nil {
		return err
	}
	last := d.answer[len(d.answer)-1]
	logits, err := d.session.stepLast(append([]int32{last}, d.guesses...), 1+len(d.guesses))
	d.logits = logits
	return err
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
