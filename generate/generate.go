// Package generate turns a prompt into text: prefill, sampling, stop rules,
// streaming and figures; prompt caches; drafts of a smaller model (speculative
// decoding). A Session is the way in: Stream answers a prompt piece by piece.
package generate

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/tokenizer"
)

// Options are the settings of one answer.
type Options struct {
	MaxTokens   int // -1 is no limit
	Sampling    Sampling
	Seed        uint64
	StopTokens  []int32
	StopStrings []string // the answer ends before the first of them
	PrefillStep int      // tokens of the prompt at a time; 0 is 2048
	// In a Batch: answers of higher priority begin first, and their prompts are read first.
	// Of one priority, those of clients begin first that have fewer under way.
	Priority int
	Client   string
	// Filter, where it is set, gets the logits [vocab] of each next token, with the answer's tokens so
	// far, and may change them: Masked is a logit that is never chosen. The host chooses then, and
	// drafts nothing. An error ends the answer.
	Filter func(answer []int32, logits []float32) error
	// Ready, where it is set, is called when the answer's turn has come, before its prompt is read: it may
	// Begin the session with what another one has read. An error ends the answer.
	Ready func(ctx context.Context) error
	// Progress is told how much of the prompt has been read; may be nil.
	Progress func(done, total int)
}

// prefillStep is mlx-lm's default of Options.PrefillStep.
const prefillStep = 2048

// Masked is the logit of a token that may not come. It is finite, since a logit that is not is
// taken for a broken model.
const Masked = -1e30

// Why an answer ended: the model said so or a stop string came, or it has MaxTokens.
const (
	FinishStop   = "stop"
	FinishLength = "length"
)

// Piece is what one more token adds to the answer.
type Piece struct {
	Text    string // empty while a character, or what could be a stop string, is not complete
	Token   int32
	Guessed bool   // by the draft model
	Finish  string // set on the last piece
	Stats   Stats
}

// Stats are mlx-lm's figures of one answer so far, and how its draft did.
type Stats struct {
	PromptTokens     int     `json:"prompt_tokens"`
	CachedTokens     int     `json:"cached_tokens"` // of the prompt, known from before
	PromptTPS        float64 `json:"prompt_tps"`
	GenerationTokens int     `json:"generation_tokens"` // with the stop token
	GenerationTPS    float64 `json:"generation_tps"`
	DraftedTokens    int     `json:"drafted_tokens"`  // guessed by the draft model
	AcceptedTokens   int     `json:"accepted_tokens"` // of these, part of the answer
}

// Stream answers prompt token by token. The sequence ends with a piece whose
// Finish is set, or with an error.
func (s *Session) Stream(ctx context.Context, tok *tokenizer.Tokenizer, prompt []int32, o Options) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		if err := s.stream(ctx, tok, prompt, o, yield); err != nil {
			yield(Piece{}, err)
		}
	}
}

func (s *Session) stream(ctx context.Context, tok *tokenizer.Tokenizer, prompt []int32, o Options, yield func(Piece, error) bool) error {
	leave, err := s.enter(ctx, len(prompt), o)
	if err != nil {
		return err
	}
	defer leave()
	if o.Ready != nil {
		if err := o.Ready(ctx); err != nil {
			return err
		}
	}
	r, err := s.begin(ctx, tok, prompt, o)
	if err != nil {
		return err
	}
	defer r.decoder.end() // should it fail, the next prompt fails there, too
	for o.MaxTokens < 0 || r.stats.GenerationTokens < o.MaxTokens {
		piece, err := r.next(ctx)
		if err != nil {
			return err
		}
		if !yield(piece, nil) || piece.Finish != "" {
			return nil
		}
	}
	yield(Piece{Finish: FinishLength, Stats: r.stats}, nil)
	return nil
}

// Tokens is Stream without text, and so without stop strings: the tokens alone, a stop token
// the last.
func (s *Session) Tokens(ctx context.Context, prompt []int32, o Options) iter.Seq2[int32, error] {
	return func(yield func(int32, error) bool) {
		leave, err := s.enter(ctx, len(prompt), o)
		if err != nil {
			yield(0, err)
			return
		}
		defer leave()
		d, err := s.newDecoder(ctx, prompt, o)
		if err != nil {
			yield(0, err)
			return
		}
		defer d.end() // should it fail, the next prompt fails there, too
		for n := 0; n < o.MaxTokens || o.MaxTokens < 0; n++ {
			id, _, err := d.next(ctx)
			if !yield(id, err) || err != nil || slices.Contains(o.StopTokens, id) {
				return
			}
		}
	}
}

// Answer collects Stream: the whole text and the last figures.
func (s *Session) Answer(ctx context.Context, tok *tokenizer.Tokenizer, prompt []int32, o Options) (string, Piece, error) {
	var text strings.Builder
	var last Piece
	for p, err := range s.Stream(ctx, tok, prompt, o) {
		if err != nil {
			return text.String(), last, err
		}
		text.WriteString(p.Text)
		last = p
	}
	return text.String(), last, nil
}
