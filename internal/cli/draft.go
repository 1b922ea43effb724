package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/hub"
)

// draftFlags are the flags of speculative decoding.
type draftFlags struct {
	DraftModel     string
	NumDraftTokens int
}

func (d *draftFlags) declare(f *pflag.FlagSet) {
	f.StringVar(&d.DraftModel, "draft-model", "", "`folder` or .gguf file of a smaller model of the same family,\nwhich guesses tokens for the model to check: the same\nanswer, sooner if it is much smaller and mostly right")
	f.IntVar(&d.NumDraftTokens, "num-draft-tokens", 3, "`tokens` that it guesses at a time")
}

// check refuses what cannot work, before anything is loaded.
func (d *draftFlags) check(maxKVSize int) error {
	if d.DraftModel == "" {
		return nil
	}
	if err := generate.CheckDraft(d.NumDraftTokens, maxKVSize > 0); err != nil {
		return inputError(err)
	}
	return nil
}

// attach lets a draft model guess for a session of e's model, if one is asked for. An
// adapter on e is none of the draft's.
func (d *draftFlags) attach(ctx context.Context, streams Streams, e *engine, s *generate.Session, exact bool) (detach func(), err error) {
	if d.DraftModel == "" {
		return func() {}, nil
	}
	path, err := localModelOf(ctx, streams, "--draft-model", d.DraftModel, hub.ModelPatterns)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, noModel("--draft-model", path, err)
	}
	draft, err := loadEngine(e.dev, path)
	if err != nil {
		return nil, fmt.Errorf("--draft-model: %w", err)
	}
	fail := func(err error) (func(), error) {
		draft.src.Close()
		return nil, err
	}
	if err := generate.SameTokens(e.tok, draft.tok); err != nil {
		return fail(usage("--draft-model %s: its tokens are not those of the model: %w\nGive a smaller model of the same family.", d.DraftModel, err))
	}
	session, err := generate.NewSession(draft.model, 0, exact)
	if err != nil {
		return fail(err)
	}
	if err := s.Speculate(session, d.NumDraftTokens); err != nil {
		return fail(inputError(err))
	}
	return func() {
		session.Close()
		draft.src.Close()
	}, nil
}
