// Package engine turns the name of a model into a model that runs. The name is
// a folder, a .gguf file or a repository of the hub, which is downloaded if need
// be. What comes with the model comes with the engine: its tokenizer, its chat
// template, the tokens that end an answer, the device it runs on.
//
//	e, err := engine.Open(ctx, "./model", engine.Options{Adapter: "./adapters"})
//	defer e.Close()
//	text, _, err := e.Answer(ctx, "Why eat lentils?", generate.Options{MaxTokens: 200})
//
// For a conversation, [Files.Prompt] turns messages into tokens and
// [Engine.Session] makes a session that remembers what it has read; its Stream
// gives an answer piece by piece. Sessions of one engine may run at the same time, and
// faster as part of a [generate.Batch].
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
	"sync/atomic"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/all"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/weights"
)

// Options say how a model is opened. The zero value is a good choice.
type Options struct {
	Device  string // name of the device that it runs on; "" or "auto" takes the best there is
	Threads int    // of the processor; 0 is one per core
	Adapter string // folder or file of an adapter to put on the model; "" for none
	// Draft names a smaller model of the same family, which guesses tokens for
	// this one to check (speculative decoding); "" for none.
	Draft string

	// MLX opens the model as mlx-lm runs it where that differs, see [model.AsMLX].
	MLX bool

	// Download is called when files of a repository are to be downloaded. What
	// it returns hears how that comes along, and that it is over. May be nil.
	Download func(repo string) (progress func(hub.Progress), end func())
	// Warn hears of what went wrong without harm. May be nil.
	Warn func(text string)
}

// An Engine is a model that is ready to run, with all that belongs to it.
type Engine struct {
	*Files
	Model *model.Model

	*base
}

// base is what engines over the same weights share.
type base struct {
	users  atomic.Int32 // engines that are not closed
	device compute.Device
	draft  *draft // nil for none
	files  *Files // closed with the last engine; nil if they are another's
}

// A draft is a smaller model on the same device, which guesses for the model.
type draft struct {
	files *Files
	model *model.Model
}

// Open loads the model of a folder, a .gguf file or a repository of the hub.
func Open(ctx context.Context, name string, o Options) (*Engine, error) {
	files, err := OpenFiles(ctx, name, o)
	if err != nil {
		return nil, err
	}
	e, err := files.Load(ctx, o)
	if err != nil {
		files.Close()
		return nil, err
	}
	e.base.files = files
	return e, nil
}

// floats is the type that the model's weights, or their scales, have; 0 where they are in blocks of GGUF.
func (f *Files) floats() compute.DType {
	m, err := f.Source.Outline("model.embed_tokens")
	if err != nil {
		return 0
	}
	switch t := m.Format.DType; t {
	case compute.F32, compute.F16, compute.BF16:
		return t
	}
	return 0
}

// beside is what a device with memory of its own has to hold beside the weights, at least: a context of some thousand tokens,
// or the step of a small training. What a training needs is planned later.
const beside = 1 << 30

// Fits says whether a model fits into the memory of a device, for all.Options.
func Fits(src weights.Source) func(compute.Device) error {
	return func(dev compute.Device) error {
		planned := plan.New(plan.For(dev))
		m, err := model.Load(planned, src)
		if err != nil {
			return fault.Mark(err, compute.ErrNoMemory)
		}
		defer m.Free()
		r := planned.Report()
		if need, have := r.WeightBytes+r.CurrentBytes+beside, dev.Info().Memory; need > have {
			return fault.Of("the model takes %.1f GB there with room to work, of which %.1f GB are free", float64(need)/1e9, float64(have)/1e9)
		}
		return nil
	}
}

// Load loads the model of files that are open. They stay open when the engine is closed.
func (f *Files) Load(ctx context.Context, o Options) (*Engine, error) {
	dev, err := all.Open(o.Device, all.Options{Threads: o.Threads, Floats: f.floats(), Fits: Fits(f.Source), Passed: func(device string, why error) {
		if o.Warn != nil {
			o.Warn(fmt.Sprintf("%s is not used: %v", device, why))
		}
	}})
	if err != nil {
		return nil, err
	}
	e := &Engine{Files: f, base: &base{device: dev}}
	e.users.Add(1)
	if err := e.load(ctx, o); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) load(ctx context.Context, o Options) (err error) {
	if e.Model, err = model.Load(e.device, e.Source); err != nil {
		return fault.Mark(err, compute.ErrNoMemory)
	}
	if o.Adapter != "" {
		if err := adapterIsThere(o.Adapter); err != nil {
			return err
		}
		if err := adapter.Load(e.Model, o.Adapter); err != nil {
			return fault.Mark(err, compute.ErrNoMemory)
		}
	}
	if o.Draft != "" {
		e.draft, err = e.openDraft(ctx, o)
		warnDraft(e.device.Info(), o.Warn)
	}
	return err
}

func adapterIsThere(path string) error {
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return fault.Given("adapter_path", path, "there is no such folder").Try("Train first, with %v %s.", fault.Setting("adapter_path"), path)
	case err != nil:
		return fault.At("adapter_path", "%w", err)
	}
	return nil
}

// With makes an engine over the same weights with the adapter of a folder or
// file, or without one where path is "". It takes memory for the adapter alone,
// and both engines may be used at the same time. Each is closed by itself, in any order.
func (e *Engine) With(path string) (*Engine, error) {
	if path != "" {
		if err := adapterIsThere(path); err != nil {
			return nil, err
		}
	}
	m, err := adapter.With(e.Model, path)
	if err != nil {
		return nil, fault.Mark(err, compute.ErrNoMemory)
	}
	e.users.Add(1)
	return &Engine{Files: e.Files, Model: m, base: e.base}, nil
}

// ScaleAdapter multiplies what the engine's adapter adds by a factor: 0.5 is half of it. Weights
// of full fine-tuning have no such factor.
func (e *Engine) ScaleAdapter(by float64) error {
	linears := e.Model.Adapted()
	if len(linears) == 0 && by != 1 {
		return fault.Value("adapter_scale", by, "1, since there is no LoRA to scale")
	}
	for _, l := range linears {
		if lora, ok := l.Adapter.(*nn.LoRA); ok {
			lora.Scale *= float32(by)
		}
	}
	return e.Model.RefreshAdapters()
}

// openDraft loads the draft model. An adapter on the engine is none of the draft's.
func (e *Engine) openDraft(ctx context.Context, o Options) (*draft, error) {
	const setting = "draft_model"
	path, err := find(ctx, setting, o.Draft, hub.ModelPatterns, o)
	if err != nil {
		return nil, err
	}
	files, err := openFiles(setting, path)
	if err != nil {
		return nil, err
	}
	d := &draft{files: files}
	if d.model, err = model.Load(e.device, files.Source); err != nil {
		err = fmt.Errorf("draft model: %w", fault.Mark(err, compute.ErrNoMemory))
	} else if same := generate.SameTokens(e.Tokenizer, files.Tokenizer); same != nil {
		err = fault.Given(setting, o.Draft, "its tokens are not those of the model: %w", same).Try("Give a smaller model of the same family.")
	}
	if err != nil {
		files.Close()
		return nil, err
	}
	return d, nil
}

// PeakMemory is the most bytes that were held at once: see the function of this name.
func (e *Engine) PeakMemory() int64 { return PeakMemory(e.device) }

// PeakMemory is the most bytes that a device held at once, if it has memory of its own, and
// else those of the process.
func PeakMemory(dev compute.Device) int64 {
	if dev.Info().Async {
		_, peak := dev.Memory()
		return peak
	}
	return machine.PeakMemory()
}

// warnDraft tells what a draft model may change on a device.
func warnDraft(info compute.Info, warn func(text string)) {
	if !info.RowWise && warn != nil {
		warn(fmt.Sprintf("%s rounds tokens that are checked together in another way than single ones: with a draft model, an answer may differ from the one without it", info.Name))
	}
}

// Close frees the model; its sessions are closed before. With the last engine
// over the same weights, the device's workers end and the files are unmapped.
func (e *Engine) Close() {
	if e.Model != nil {
		e.Model.Free()
	}
	if e.users.Add(-1) > 0 {
		return
	}
	if e.draft != nil {
		e.draft.model.Free()
	}
	e.device.Close()
	if e.draft != nil {
		e.draft.files.Close()
	}
	if e.files != nil {
		e.files.Close()
	}
}
