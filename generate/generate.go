// Package generate turns a prompt into text: prefill, sampling, stop rules,
// streaming and figures; prompt caches; drafts of a smaller model (speculative
// decoding).
package generate

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/tokenizer"
)

// Options are the settings of one answer.
type Options struct {
	MaxTokens   int // -1 is no limit
	Sampling    Sampling
	Seed        uint64
	StopTokens  []int32
	StopStrings []string // generation ends before the first of them
	PrefillStep int      // tokens of the prompt at a time; 0 is 2048
	// Progress hears how much of the prompt has been read; may be nil.
	Progress func(done, total int)
}

// prefillStep is mlx-lm's default of Options.PrefillStep.
const prefillStep = 2048

// Why generation ended.
const (
	FinishStop   = "stop"
	FinishLength = "length"
)

// Piece is what one more token adds to the answer.
type Piece struct {
	Text    string // may be empty: half a character, or what could be a stop string's beginning
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
	if err := o.Sampling.Check(); err != nil {
		return err
	}
	for i, id := range prompt {
		if id < 0 || int(id) >= s.model.Config.VocabSize {
			return fmt.Errorf("token %d of the prompt is %d, the model's vocabulary has %d: tokenizer and model do not belong together", i, id, s.model.Config.VocabSize)
		}
	}
	step := o.PrefillStep
	if step <= 0 {
		step = prefillStep
	}
	began := time.Now()
	stats := Stats{PromptTokens: len(prompt), CachedTokens: s.Cached(prompt)}
	logits, err := s.prefill(ctx, prompt, step, o.Progress)
	if err != nil {
		return err
	}
	d := decoder{session: s, draw: sampler{Sampling: o.Sampling, keys: compute.NewKey(o.Seed)}, prompt: prompt, most: o.MaxTokens, logits: logits}
	defer d.forget() // should it fail, the next prompt fails there, too
	text := stopper{stops: o.StopStrings}
	stream := tok.Stream()
	first := time.Now()
	for n := 0; o.MaxTokens < 0 || n < o.MaxTokens; n++ {
		id, guessed, err := d.next(ctx)
		if err != nil {
			return err
		}
		stats.DraftedTokens, stats.AcceptedTokens = d.drafted, d.accepted
		if n == 0 {
			first = time.Now()
			stats.PromptTPS = float64(stats.PromptTokens) / first.Sub(began).Seconds()
		}
		stats.GenerationTokens = n + 1
		if spent := time.Since(first).Seconds(); n > 0 && spent > 0 {
			stats.GenerationTPS = float64(n) / spent
		}
		if slices.Contains(o.StopTokens, id) {
			rest, _ := text.end(stream.Flush())
			yield(Piece{Text: rest, Token: id, Guessed: guessed, Finish: FinishStop, Stats: stats}, nil)
			return nil
		}
		piece := Piece{Token: id, Guessed: guessed, Stats: stats}
		var stopped bool
		if piece.Text, stopped = text.add(stream.Add(id)); stopped {
			piece.Finish = FinishStop
		} else if n+1 == o.MaxTokens {
			var rest string
			piece.Finish = FinishLength
			if rest, stopped = text.end(stream.Flush()); stopped {
				piece.Finish = FinishStop
			}
			piece.Text += rest
		}
		if !yield(piece, nil) || piece.Finish != "" {
			return nil
		}
	}
	yield(Piece{Finish: FinishLength, Stats: stats}, nil)
	return nil
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

// stopper holds back text that may turn out to be a stop string.
type stopper struct {
	stops []string
	held  string
}

// add returns the text that is safe to show, and whether a stop string came.
func (s *stopper) add(text string) (out string, stopped bool) {
	s.held += text
	end := -1
	for _, stop := range s.stops {
		if i := strings.Index(s.held, stop); stop != "" && i >= 0 && (end < 0 || i < end) {
			end = i
		}
	}
	if end >= 0 {
		out, s.held = s.held[:end], ""
		return out, true
	}
	hold := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(s.held)); n > hold; n-- {
			if strings.HasSuffix(s.held, stop[:n]) {
				hold = n
			}
		}
	}
	cut := len(s.held) - hold
	out, s.held = s.held[:cut], s.held[cut:]
	return out, false
}

// end is add for the last text: nothing is held back any more.
func (s *stopper) end(text string) (out string, stopped bool) {
	out, stopped = s.add(text)
	out += s.held
	s.held = ""
	return out, stopped
}
