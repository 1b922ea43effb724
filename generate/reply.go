package generate

import (
	"context"
	"slices"
	"time"

	"github.com/lentil-lm/lentil/tokenizer"
)

// reply is one answer under way.
type reply struct {
	Options
	decoder *decoder
	chars   *tokenizer.Stream
	text    stopper
	stats   Stats

	began time.Time // when the prompt was taken up
	first time.Time // when its first token came
}

// begin reads the prompt.
func (s *Session) begin(ctx context.Context, tok *tokenizer.Tokenizer, prompt []int32, o Options) (*reply, error) {
	r := &reply{Options: o, chars: tok.Stream(), text: stopper{stops: o.StopStrings}, began: time.Now()}
	r.stats = Stats{PromptTokens: len(prompt), CachedTokens: s.cached(prompt)}
	var err error
	r.decoder, err = s.newDecoder(ctx, prompt, o)
	return r, err
}

// next is the piece of one more token.
func (r *reply) next(ctx context.Context) (Piece, error) {
	id, guessed, err := r.decoder.next(ctx)
	if err != nil {
		return Piece{}, err
	}
	r.count()
	piece := Piece{Token: id, Guessed: guessed, Stats: r.stats}
	if slices.Contains(r.StopTokens, id) {
		piece.Text, _ = r.text.end(r.chars.Flush())
		piece.Finish = FinishStop
		return piece, r.chars.Err()
	}
	var stopped bool
	if piece.Text, stopped = r.text.add(r.chars.Add(id)); stopped {
		piece.Finish = FinishStop
	} else if r.stats.GenerationTokens == r.MaxTokens {
		var rest string
		piece.Finish = FinishLength
		if rest, stopped = r.text.end(r.chars.Flush()); stopped {
			piece.Finish = FinishStop
		}
		piece.Text += rest
	}
	return piece, r.chars.Err()
}

// count adds a token to the figures. The speed of generation is that of all but the
// first, which the prompt's time includes.
func (r *reply) count() {
	now := time.Now()
	if r.stats.GenerationTokens == 0 {
		r.first = now
		r.stats.PromptTPS = float64(r.stats.PromptTokens) / now.Sub(r.began).Seconds()
	} else if spent := now.Sub(r.first).Seconds(); spent > 0 {
		r.stats.GenerationTPS = float64(r.stats.GenerationTokens) / spent
	}
	r.stats.GenerationTokens++
	r.stats.DraftedTokens, r.stats.AcceptedTokens = r.decoder.drafted, r.decoder.accepted
}
