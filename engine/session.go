package engine

import (
	"context"
	"iter"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
)

// SessionOptions say what a session remembers, and how. The zero value remembers all.
type SessionOptions struct {
	MaxKVSize   int             // tokens that are remembered at most; 0 for no limit
	KV          generate.KVBits // how keys and values are quantized; zero for not at all
	Exact       bool            // float32 all the way, instead of 8-bit activations and a 16-bit cache
	DraftTokens int             // tokens that the draft model guesses at a time; 0 is 3

	// Batch runs the session's passes together with those of others, of this engine or of
	// any other. MaxKVSize, KV and Exact are the batch's then. Nil is passes of its own.
	Batch *generate.Batch
}

// draftTokens is mlx-lm's default of SessionOptions.DraftTokens.
const draftTokens = 3

// A Session is a conversation with a model: what has been read and answered,
// and need not be read again. It knows when the model's answers end.
type Session struct {
	*generate.Session
	engine *Engine
	draft  *generate.Session
}

// Session begins a conversation. If the engine has a draft model, it guesses for the session.
func (e *Engine) Session(o SessionOptions) (*Session, error) {
	s := &Session{engine: e}
	if err := s.open(o); err != nil {
		s.Close()
		return nil, fault.Mark(err, compute.ErrNoMemory)
	}
	return s, nil
}

func (s *Session) open(o SessionOptions) (err error) {
	if o.Batch != nil {
		s.Session, err = o.Batch.Session(s.engine.Model)
	} else if s.Session, err = generate.NewSession(s.engine.Model, o.MaxKVSize, o.Exact); err == nil {
		err = s.QuantizeKV(o.KV)
	}
	if err != nil || s.engine.draft == nil {
		return err
	}
	if s.draft, err = generate.NewSession(s.engine.draft.model, 0, o.Exact); err != nil {
		return err
	}
	n := o.DraftTokens
	if n == 0 {
		n = draftTokens
	}
	return s.Speculate(s.draft, n)
}

// PeakMemory is that of the engine.
func (s *Session) PeakMemory() int64 { return s.engine.PeakMemory() }

// Close gives the memory back.
func (s *Session) Close() {
	for _, session := range []*generate.Session{s.draft, s.Session} {
		if session != nil {
			session.Close()
		}
	}
}

// Begin makes the session one that has seen the first n tokens of another one of its engine, which Shared
// counted: see [generate.Session.Begin].
func (s *Session) Begin(from *Session, n int) error {
	if err := s.Session.Begin(from.Session, n); err != nil || s.draft == nil {
		return err
	}
	return s.draft.Begin(from.draft, min(n, from.Common(from.draft)))
}

// Stream answers a prompt token by token, as [generate.Session.Stream] does.
// Nil StopTokens are the model's own, and so is what XTC must keep.
func (s *Session) Stream(ctx context.Context, prompt []int32, o generate.Options) iter.Seq2[generate.Piece, error] {
	o, err := s.complete(o)
	if err != nil {
		return func(yield func(generate.Piece, error) bool) { yield(generate.Piece{}, err) }
	}
	return s.Session.Stream(ctx, s.engine.Tokenizer, prompt, o)
}

// Answer is Stream in one piece: the text, and the last piece with the figures of all.
func (s *Session) Answer(ctx context.Context, prompt []int32, o generate.Options) (string, generate.Piece, error) {
	o, err := s.complete(o)
	if err != nil {
		return "", generate.Piece{}, err
	}
	return s.Session.Answer(ctx, s.engine.Tokenizer, prompt, o)
}

// complete adds what the model says about its answers.
func (s *Session) complete(o generate.Options) (_ generate.Options, err error) {
	if o.StopTokens == nil {
		if o.StopTokens, err = s.engine.Stops(); err != nil {
			return o, err
		}
	}
	if o.Sampling.XTCKeep == nil { // line breaks and ends
		breaks, err := s.engine.Tokenizer.Encode("\n", false)
		if err != nil {
			return o, err
		}
		o.Sampling.XTCKeep = append(breaks, o.StopTokens...)
	}
	return o, nil
}

// Answer puts one question to the model, in a session of its own: as the
// message of a user, or as it is to a model without a chat template.
func (e *Engine) Answer(ctx context.Context, question string, o generate.Options) (string, generate.Piece, error) {
	prompt, err := e.question(question)
	if err != nil {
		return "", generate.Piece{}, err
	}
	s, err := e.Session(SessionOptions{})
	if err != nil {
		return "", generate.Piece{}, err
	}
	defer s.Close()
	return s.Answer(ctx, prompt, o)
}

func (e *Engine) question(text string) ([]int32, error) {
	renderer, err := e.Template()
	if err != nil {
		return nil, err
	}
	if renderer == nil {
		return e.Tokenizer.EncodePlain(text)
	}
	return e.Prompt([]chat.Value{chat.NewMessage("user", text)}, PromptOptions{})
}
