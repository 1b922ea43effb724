// Package engine turns the name of a model into a model that runs. The name is
// a folder, a .gguf file or a repository of the hub, which is downloaded if need
// be. What comes with the model comes with the engine: its tokenizer, its chat
// template, the tokens that end an answer, the device it runs on.
//
//	e, err := engine.Open(ctx, "./model", engine.Options{Adapter: "./adapters"})
//	defer e.Close()
//	text, _, err := e.Answer(ctx, "Why eat lentils?", generate.Options{MaxTokens: 200})
//
// For a conversation, [Engine.Prompt] turns messages into tokens and
// [Engine.Session] makes a session that remembers what it has read; its Stream
// gives an answer piece by piece. Sessions of one engine may run at the same time.
//
// What only looks at a model opens less of it: [Find] gives its place on disk,
// [OpenTokenizer] its tokenizer, [OpenFiles] tokenizer and weights.
//
// Mistakes of the caller's user, such as a name that nothing has, are faults
// (package fault) of the settings model, adapter_path, draft_model, device,
// threads and extra_eos_token.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/all"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/model"
)

// Options say how a model is opened. The zero value is a good choice.
type Options struct {
	Device  string // name of the device that it runs on; "" or "auto" takes the best there is
	Threads int    // of the processor; 0 is one per core
	Adapter string // folder or file of an adapter to put on the model; "" for none
	// Draft names a smaller model of the same family, which guesses tokens for
	// this one to check (speculative decoding); "" for none.
	Draft string

	// Download is called when files of a repository are to be downloaded. What
	// it returns hears how that comes along, and that it is over. May be nil.
	Download func(repo string) (progress func(hub.Progress), end func())
	// Warn hears of what went wrong without harm. May be nil.
	Warn func(text string)
}

// An Engine is a model that is ready to run, with all that belongs to it.
type Engine struct {
	*Files
	Model  *model.Model // on the device
	Device compute.Device

	draft  *Engine // on the same device; nil for none
	opened bool    // the files were opened with the engine, and are closed with it
}

// check refuses what cannot work, before anything is downloaded.
func (o Options) check() error {
	if o.Threads < 0 {
		return fault.Value("threads", o.Threads, "0, for one per core, or more")
	}
	return nil
}

// Open loads the model of a folder, a .gguf file or a repository of the hub.
func Open(ctx context.Context, name string, o Options) (*Engine, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	path, err := Find(ctx, name, hub.ModelPatterns, o)
	if err != nil {
		return nil, err
	}
	files, err := openFiles("model", path)
	if err != nil {
		return nil, err
	}
	e, err := files.Load(ctx, o)
	if err != nil {
		files.Close()
		return nil, err
	}
	e.opened = true
	return e, nil
}

// Load loads the model of files that are open. They stay open when the engine is closed.
func (f *Files) Load(ctx context.Context, o Options) (*Engine, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	dev, err := all.Open(o.Device, all.Options{Threads: o.Threads})
	if err != nil {
		return nil, err
	}
	e := &Engine{Files: f, Device: dev}
	if err := e.load(ctx, o); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) load(ctx context.Context, o Options) (err error) {
	if e.Model, err = model.Load(e.Device, e.Source); err != nil {
		return fault.Mark(err, compute.ErrNoMemory)
	}
	if err := e.attach(o.Adapter); err != nil || o.Draft == "" {
		return err
	}
	e.draft, err = e.openDraft(ctx, o)
	return err
}

// attach puts an adapter on the model.
func (e *Engine) attach(path string) error {
	if path == "" {
		return nil
	}
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return fault.Given("adapter_path", path, "there is no such folder").Try("Train first, with %v %s.", fault.Setting("adapter_path"), path)
	case err != nil:
		return fault.At("adapter_path", "%w", err)
	}
	return fault.Mark(adapter.Load(e.Model, path), compute.ErrNoMemory)
}

// openDraft loads the draft model onto the same device. An adapter on the engine is none of the draft's.
func (e *Engine) openDraft(ctx context.Context, o Options) (*Engine, error) {
	const setting = "draft_model"
	path, err := find(ctx, setting, o.Draft, hub.ModelPatterns, o)
	if err != nil {
		return nil, err
	}
	files, err := openFiles(setting, path)
	if err != nil {
		return nil, err
	}
	draft := &Engine{Files: files, opened: true}
	if draft.Model, err = model.Load(e.Device, files.Source); err != nil {
		err = fmt.Errorf("draft model: %w", fault.Mark(err, compute.ErrNoMemory))
	} else if same := generate.SameTokens(e.Tokenizer, files.Tokenizer); same != nil {
		err = fault.Given(setting, o.Draft, "its tokens are not those of the model: %w", same).Try("Give a smaller model of the same family.")
	}
	if err != nil {
		draft.Close()
		return nil, err
	}
	return draft, nil
}

// Close ends the workers of the device and unmaps the files. The sessions are closed before.
func (e *Engine) Close() {
	if e.draft != nil {
		e.draft.Close()
	}
	if e.Device != nil {
		all.Close(e.Device)
	}
	if e.opened {
		e.Files.Close()
	}
}
