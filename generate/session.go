package generate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// Session is a conversation with a model: the tokens it has seen and their KV
// cache. A new prompt that begins like the old one reuses what is there.
//
// Sessions of one model may be used at the same time, each by one goroutine.
type Session struct {
	model   *model.Model
	tape    *tensor.Tape
	cache   *nn.Cache
	limited bool    // the cache has a size limit
	kvBits  KVBits  // how the cache is quantized
	loaded  int     // tokens of a prompt cache file, whose ids are not known
	tokens  []int32 // tokens seen after these

	scoring bool         // logits of whole pieces of a prompt are asked for: see Score
	most    int          // tokens that the answer under way may have; -1 for any number
	stop    func() error // its error ends the pass under way; nil for never
	again   model.Again  // the pass of the answer's last token

	member   *member // its place in a batch; nil for passes of its own
	priority int     // there

	drafter     drafter // nil for none
	draftTokens int     // tokens that it drafts at a time
}

// NewSession makes an empty session. maxKVSize limits the cache (0: no limit);
// exact keeps activations and cache in float32.
func NewSession(m *model.Model, maxKVSize int, exact bool) (*Session, error) {
	info, dtype := m.Device().Info(), compute.F16
	switch {
	case exact:
		dtype = compute.F32
	case info.Cache != 0:
		dtype = info.Cache
	case info.Activations == compute.BF16:
		dtype = compute.BF16
	}
	cache, err := m.NewCache(maxKVSize, dtype)
	if err != nil {
		return nil, err
	}
	s := &Session{model: m, tape: tensor.NewTape(m.Device()), cache: cache, limited: maxKVSize > 0}
	s.tape.Exact = exact
	return s, nil
}

// Reset forgets everything.
func (s *Session) Reset() {
	s.cache.Free()
	s.tokens, s.loaded = nil, 0
	if s.member != nil {
		s.member.forget()
	}
}

// Begin makes the session one that has seen the first n tokens of another one of its model,
// those that Shared counted or all, and goes on by itself: for several answers to one prompt,
// and for conversations that begin alike. Nobody uses the other one meanwhile.
func (s *Session) Begin(from *Session, n int) error {
	s.Reset()
	if n < 0 || n > len(from.tokens) || s.limited != from.limited || s.kvBits != from.kvBits || !from.goesBack(n) {
		return fmt.Errorf("a session cannot begin with %d tokens of one that has seen %d, or remembers otherwise", n, len(from.tokens))
	}
	s.tape.Reset(false)
	if err := s.cache.CopyFrom(s.tape, from.cache, from.loaded+n); err != nil {
		return err
	}
	s.loaded, s.tokens = from.loaded, slices.Clone(from.tokens[:n])
	if s.member != nil {
		s.member.grown(s.cache.Bytes())
	}
	return nil
}

// bytesFor is what keys and values of n tokens take at most.
func (s *Session) bytesFor(n int) int64 {
	if s.kvBits.Bits == 0 || n < s.kvBits.Start {
		return s.cache.BytesFor(n, 0, 0)
	}
	return max(s.cache.BytesFor(s.kvBits.Start, 0, 0), s.cache.BytesFor(n, s.kvBits.Bits, s.kvBits.Group))
}

// Close gives the cache back.
func (s *Session) Close() {
	s.cache.Free()
	if s.member != nil {
		s.member.close()
		s.member = nil
	}
}

// cached is how many tokens of prompt the session need not compute again.
func (s *Session) cached(prompt []int32) int {
	n := 0
	for n < len(prompt) && n < len(s.tokens) && prompt[n] == s.tokens[n] {
		n++
	}
	n = min(n, len(prompt)-1) // the last token must run: its logits are asked for
	if !s.goesBack(n) {
		return 0
	}
	return max(n, 0)
}

// goesBack tells whether the session knows what it did after n tokens behind the loaded ones.
func (s *Session) goesBack(n int) bool {
	if s.loaded+n < s.cache.Len() && !s.cache.Trimmable() {
		return false
	}
	// Tokens that are quantized by now were not to be then.
	return s.kvBits.Bits == 0 || s.loaded > 0 || n >= s.kvBits.Start || s.cache.Len() < s.kvBits.Start
}

// Prefill brings the session to the end of prompt, step tokens at a time (0 is
// 2048), and returns the logits of the next token [vocab]: for callers that
// choose tokens themselves. A prompt that begins like what the session has seen
// reuses it.
func (s *Session) Prefill(ctx context.Context, prompt []int32, step int) (logits []float32, err error) {
	if err := s.prefill(ctx, prompt, step, nil, use{logits: &logits}); err != nil {
		return nil, err
	}
	return logits, check(largest(logits))
}

// prefill is Prefill that tells its progress and leaves the last token's logits to last.
func (s *Session) prefill(ctx context.Context, prompt []int32, step int, progress func(done, total int), last use) error {
	if step <= 0 {
		step = prefillStep
	}
	if s.member != nil {
		step = min(step, s.member.batch.o.PrefillStep)
	}
	if len(prompt) == 0 {
		return errors.New("the prompt has no tokens")
	}
	if limit := s.model.Config.MaxPositionEmbeddings; limit > 0 && !s.limited && s.loaded+len(prompt) > limit {
		return fault.Of("the prompt has %d tokens, the model takes %d (max_position_embeddings)", s.loaded+len(prompt), limit).
			Try("Shorten it, or give %v.", fault.Setting("max_kv_size"))
	}
	at := s.cached(prompt)
	if err := s.rewind(at); err != nil {
		return err
	}
	if s.most >= 0 {
		s.cache.Expect(s.loaded+len(prompt), s.loaded+len(prompt)+s.most)
	}
	for at < len(prompt) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(step, len(prompt)-at)
		if room := s.cache.Room(); room > 0 {
			n = min(n, room)
		}
		if s.kvBits.Bits > 0 && n > 1 && at+n == len(prompt) {
			n-- // as in mlx-lm, where the last token may find the others quantized
		}
		if n > 1 { // which takes long, and forgets nothing: the cache counts the tokens at the end
			s.stop = ctx.Err
		}
		var err error
		if part := prompt[at : at+n]; at+n == len(prompt) {
			err = s.step(ctx, part, 1, last)
		} else {
			_, err = s.choose(ctx, part, 1, sampler{}) // for its check: it takes the time of a step, and waits for it
		}
		s.stop = nil
		if err != nil {
			return err
		}
		at += n
		if progress != nil {
			progress(at, len(prompt))
		}
	}
	return nil
}

// rewind makes the session one that has seen n tokens after the loaded ones: those that
// Cached counted.
func (s *Session) rewind(n int) error {
	switch {
	case s.loaded+n == s.cache.Len():
		return nil
	case !s.cache.Trimmable() && s.loaded > 0:
		return fault.Of("the prompt cache has forgotten tokens (%v) and cannot go back to where its file ended", fault.Setting("max_kv_size")).Try("Load it again.")
	case !s.cache.Trimmable() || n == 0 && s.loaded == 0:
		s.Reset()
		return nil
	default:
		return s.cut(n)
	}
}

// cut forgets all but the first n tokens after the loaded ones.
func (s *Session) cut(n int) error {
	if n >= len(s.tokens) {
		return nil
	}
	if err := s.cache.Trim(s.loaded + n); err != nil {
		return err
	}
	s.tokens = s.tokens[:n]
	return nil
}

// Next takes one more token and returns the logits of the one after it [vocab].
func (s *Session) Next(id int32) (logits []float32, err error) {
	if err := s.step(context.Background(), []int32{id}, 1, use{logits: &logits}); err != nil {
		return nil, err
	}
	return logits, check(largest(logits))
}

// step runs more tokens and uses the logits after each of the last n.
func (s *Session) step(ctx context.Context, tokens []int32, n int, u use) error {
	return s.run(ctx, &job{Session: s, tokens: tokens, last: n, use: u})
}

// stepAhead runs a token that the device has chosen and nobody has read yet.
func (s *Session) stepAhead(ctx context.Context, d *decoder, from *choice, u use) error {
	return s.run(ctx, &job{Session: s, answer: d, tokens: []int32{unknown}, last: 1, use: u, from: from})
}

// unknown stands for a token that has not been read.
const unknown = -1

// run runs the tokens of a job.
func (s *Session) run(ctx context.Context, j *job) (err error) {
	tokens := j.tokens
	if s.member != nil {
		j.stop, j.priority = s.stop, s.priority
		err = s.member.run(ctx, j)
	} else {
		err = s.pass(j)
	}
	if err == nil {
		s.tokens = append(s.tokens, tokens...)
		err = s.quantize()
	}
	return err
}

// choose runs more tokens and returns what is chosen after each of the last n, as far as
// there is something to choose.
func (s *Session) choose(ctx context.Context, tokens []int32, n int, how sampler) ([]int32, error) {
	c := &choice{n: n}
	if err := s.step(ctx, tokens, n, how.into(c)); err != nil {
		c.free()
		return nil, err
	}
	return c.read()
}

// pass runs one forward pass.
func (s *Session) pass(j *job) error {
	t, seen := s.tape, s.cache.Len()
	t.Reset(false)
	t.RowWise = j.last > 1 && !s.scoring
	t.Stop = s.stop
	t.Scope(func() *tensor.Tensor {
		var logits *tensor.Tensor
		if rows := []model.Row{j.row()}; j.answer != nil {
			logits = s.again.StepRows(t, s.model, rows, []any{j.answer})
		} else {
			logits = s.model.StepRows(t, rows)
		}
		j.use.of(t, s.model.Device(), logits)
		return nil
	})
	t.Stop = nil
	if err := t.Err(); err != nil {
		s.takeBack(seen)
		return err
	}
	return nil
}

// takeBack makes the cache one of seen tokens again, after a pass that failed at its end.
func (s *Session) takeBack(seen int) {
	if s.cache.Len() > seen && s.cache.Trim(seen) != nil { // a ring has forgotten others for them
		s.Reset()
	}
}
