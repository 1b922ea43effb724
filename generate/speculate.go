package generate

import (
	"context"
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/tokenizer"
)

// maxDraft is the most tokens that may be drafted at a time.
const maxDraft = 32

// A drafter guesses how a text goes on. A wrong guess costs time and nothing else.
type drafter interface {
	// draft guesses the next tokens, n or fewer. draw is a copy of the sampler that will
	// choose them: with its random numbers, a drafter with like probabilities guesses
	// what it will choose.
	draft(ctx context.Context, text []int32, n int, draw sampler) ([]int32, error)
}

// Speculate makes Stream let a draft model guess n tokens at a time, which the
// session's own model then looks at in one pass (speculative decoding, Leviathan et
// al., 2023). A guess is taken when it is the token that the model, with its own
// random number, chooses there, as in mlx-lm.
//
// On the CPU the answer is to the bit the one without a draft, greedy or sampled: the
// pass gives each token the logits that it has alone (see compute.Linear's RowWise),
// and random numbers are drawn for tokens of the answer only. A device that does not
// promise RowWise may choose otherwise where two tokens are equally likely up to
// rounding.
//
// Refused guesses are cut off the KV cache, so it must have no size limit. The draft
// session is for this one alone, and its caller closes it; nil ends drafting.
func (s *Session) Speculate(draft *Session, n int) error {
	if draft == nil {
		s.drafter = nil
		return nil
	}
	if err := CheckDraft(n, s.limited || draft.limited); err != nil {
		return err
	}
	s.drafter, s.draftTokens = modelDrafter{draft}, n
	return nil
}

// CheckDraft tells whether sessions can Speculate with n tokens at a time, one of them
// perhaps limited in size; the error names the settings.
func CheckDraft(n int, limited bool) error {
	switch {
	case n < 1 || n > maxDraft:
		return fault.Value("num_draft_tokens", n, fmt.Sprintf("1 to %d", maxDraft))
	case limited:
		return fault.At("draft_model", "cannot go with %v, nor with a prompt cache made with it: a refused guess must leave the cache again, and in a full one it has taken another token's place", fault.Setting("max_kv_size")).
			Try("Leave one of the two out.")
	}
	return nil
}

// modelDrafter asks a smaller model.
type modelDrafter struct{ session *Session }

// draft keeps in the session what it has run: the next text differs from the first
// wrong guess on, and is run from there.
func (d modelDrafter) draft(ctx context.Context, text []int32, n int, draw sampler) ([]int32, error) {
	c := d.session.model.Config
	if c.MaxPositionEmbeddings > 0 && len(text)+n > c.MaxPositionEmbeddings {
		return nil, nil // the text is longer than it takes
	}
	if slices.ContainsFunc(text, func(id int32) bool { return int(id) >= c.VocabSize }) {
		return nil, nil // it has no embedding for some of them
	}
	// The prompt is read without the answer's first token, as the model has read it: with
	// 8-bit activations the company of that token would round the others differently.
	one, err := &choice{n: 1}, error(nil)
	if last := len(text) - 1; last-d.session.cached(text) > 1 {
		err = d.session.prefill(ctx, text[:last], prefillStep, nil, sampler{}.into(one))
	}
	if err == nil {
		err = d.session.prefill(ctx, text, prefillStep, nil, draw.into(one))
	}
	var guess []int32
	if err == nil {
		guess, err = one.read()
	} else {
		one.free()
	}
	var guesses []int32
	for err == nil {
		if guesses = append(guesses, guess[0]); len(guesses) == n {
			return guesses, nil
		}
		draw = draw.after(1)
		guess, err = d.session.choose(ctx, guess, 1, draw)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("draft model: %w", err)
}

// SameTokens tells what differs between the tokenizers of a model and its draft: nil if
// each id that both have stands for the same text, and both cut texts into the same ids.
func SameTokens(model, draft *tokenizer.Tokenizer) error {
	n := min(model.VocabSize(), draft.VocabSize())
	for id := range int32(n) {
		if a, b := model.Piece(id), draft.Piece(id); a != b {
			return fmt.Errorf("token %d is %q for the model and %q for the draft", id, a, b)
		}
	}
	for _, text := range probes {
		a, err := model.Encode(text, false)
		if err != nil {
			return err
		}
		b, err := draft.Encode(text, false)
		if err != nil {
			return err
		}
		if !slices.Equal(a, b) {
			return fmt.Errorf("%q is %d for the model and %d for the draft", text, a, b)
		}
	}
	return nil
}

// probes are texts that tokenizers with the same vocabulary may cut differently: by how
// they divide words, numbers and white space, and by how far they merge.
var probes = []string{"Hello, world! It's 12345.67 €", "  indented\n\n\ttext über 豆腐 ", "internationalization"}
