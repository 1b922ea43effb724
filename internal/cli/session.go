package cli

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
)

// sessionFlags are the flags of generate, chat and cache_prompt that say which model is asked, and what it remembers.
type sessionFlags struct {
	Model, AdapterPath string
	TrustRemoteCode    bool
	Draft              draftFlags
	MaxKVSize          int
	KV                 kvFlags
	Exact              bool
	deviceFlags
}

func (s *sessionFlags) declareModel(f *pflag.FlagSet, model string) {
	f.StringVar(&s.Model, "model", model, "`folder` or .gguf file of the model")
	f.StringVar(&s.AdapterPath, "adapter-path", "", "`folder` of an adapter to put on it")
}

func (s *sessionFlags) declareEngine(f *pflag.FlagSet) {
	f.IntVar(&s.MaxKVSize, "max-kv-size", 0, "remember at most this many `tokens`; 0 for no limit")
	s.KV.declare(f)
	f.BoolVar(&s.Exact, "exact", false, "float32 all the way, instead of 8-bit activations and a 16-bit cache")
	s.deviceFlags.declare(f)
}

// open loads the model and begins a session with it. What cannot work is refused before anything is loaded.
func (s *sessionFlags) open(ctx context.Context, streams Streams) (*engine.Engine, *engine.Session, error) {
	if err := s.KV.check(s.MaxKVSize); err != nil {
		return nil, nil, err
	}
	if err := s.Draft.check(s.MaxKVSize); err != nil {
		return nil, nil, err
	}
	options := s.opening(streams)
	options.Adapter, options.Draft = s.AdapterPath, s.Draft.Model
	e, err := engine.Open(ctx, s.Model, options)
	if err != nil {
		return nil, nil, err
	}
	session, err := e.Session(s.remembering())
	if err != nil {
		e.Close()
		return nil, nil, err
	}
	return e, session, nil
}

// remembering says what a session keeps, and how.
func (s *sessionFlags) remembering() engine.SessionOptions {
	return engine.SessionOptions{MaxKVSize: s.MaxKVSize, KV: s.KV.KVBits, Exact: s.Exact, DraftTokens: s.Draft.Tokens}
}

// draftFlags are the flags of speculative decoding.
type draftFlags struct {
	Model  string
	Tokens int
}

func (d *draftFlags) declare(f *pflag.FlagSet) {
	f.StringVar(&d.Model, "draft-model", "", "`folder` or .gguf file of a smaller model of the same family,\nwhich guesses tokens for the model to check: the same\nanswer, sooner if it is much smaller and mostly right")
	f.IntVar(&d.Tokens, "num-draft-tokens", 3, "`tokens` that it guesses at a time")
}

func (d *draftFlags) check(maxKVSize int) error {
	if d.Model == "" {
		return nil
	}
	return fault.Mark(generate.CheckDraft(d.Tokens, maxKVSize > 0))
}
