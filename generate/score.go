package generate

import "context"

// scoreLogits is how many logits a pass of Score copies to the host at most: 32 MiB of them.
const scoreLogits = 8 << 20

// Score reads a prompt from its first token on and gives visit, in order, the logits [vocab] of the token after
// each: those after prompt[i] with i. They are visit's to change, and only for the time of the call. Afterwards the
// session has read the prompt. Of o, Priority, Client and PrefillStep count.
func (s *Session) Score(ctx context.Context, prompt []int32, o Options, visit func(i int, logits []float32) error) error {
	if err := s.model.CheckTokens(prompt); err != nil {
		return err
	}
	o.MaxTokens = 0
	leave, err := s.enter(ctx, len(prompt), o)
	if err != nil {
		return err
	}
	defer leave()
	s.Reset()
	s.scoring = true
	defer func() { s.scoring = false }()
	vocab := s.model.Config.VocabSize
	step := max(1, min(o.PrefillStep, scoreLogits/vocab))
	if o.PrefillStep <= 0 {
		step = max(1, min(batchPrefill, scoreLogits/vocab))
	}
	for at := 0; at < len(prompt); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(step, len(prompt)-at)
		if room := s.cache.Room(); room > 0 {
			n = min(n, room)
		}
		var logits []float32 // [n, vocab]
		if err := s.step(ctx, prompt[at:at+n], n, use{logits: &logits}); err != nil {
			return err
		}
		for i := range n {
			row := logits[i*vocab : (i+1)*vocab]
			if err := check(largest(row)); err != nil {
				return err
			}
			if err := visit(at+i, row); err != nil {
				return err
			}
		}
		at += n
	}
	return nil
}

// Shared is how many tokens of a prompt the session would not have to read.
func (s *Session) Shared(prompt []int32) int {
	if len(prompt) == 0 {
		return 0
	}
	return s.cached(prompt)
}

// Common is with how many tokens both sessions begin.
func (s *Session) Common(other *Session) int {
	if s.loaded > 0 || other.loaded > 0 {
		return 0
	}
	n := 0
	for n < len(s.tokens) && n < len(other.tokens) && s.tokens[n] == other.tokens[n] {
		n++
	}
	return n
}

// Bytes is what the session's keys and values take.
func (s *Session) Bytes() int64 { return s.cache.Bytes() }

// Len is how many tokens the session has seen.
func (s *Session) Len() int { return s.cache.Len() }
