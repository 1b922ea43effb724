package tune

import (
	"context"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// Options are what a run needs beside its recipe. The zero value is good.
type Options struct {
	Report run.Reporter // hears the events of the run; nil: nobody

	// Download is called when files of a repository are to be downloaded. What it returns
	// hears how that comes along, and that it is over. May be nil.
	Download func(repo string) (progress func(hub.Progress), end func())

	// Given tells which settings the user chose. The others may follow what is found:
	// num_layers the model, and the measure of a test its adapter. Nil: all are chosen.
	Given func(setting string) bool

	// A run whose state lies at AdapterPath goes on, if it is of the same recipe. Resume
	// refuses to begin where there is none; Overwrite begins anew, over the adapter that
	// lies there.
	Resume, Overwrite bool

	// Abandon ends when a step of training that is under way is to be given up and what is
	// trained to be saved: the end of the run's ctx waits for that step. Nil never ends.
	Abandon context.Context

	// Ask puts the questions of Recipe.EvalQuestions to the model as it is now, and leaves it as
	// it is. That may take about as long as training on so many tokens, and leaves questions out for it; 0 asks all.
	// Nil where there are no questions.
	Ask func(ctx context.Context, e *engine.Engine, tokens int) (run.Asked, error)

	// Reduce joins this worker with others that run the same recipe, each with a device or a
	// computer of its own. The first one writes the folder, which the others only read, to go
	// on; rows, model and settings have to be the same everywhere. Nil works alone.
	Reduce train.Reduce

	// Version and Command go into run.json: of the program, and its command line, from
	// which secrets are taken out.
	Version string
	Command []string
}

func (o Options) report(e run.Event) {
	if o.Report != nil {
		o.Report.Report(e)
	}
}

// engine gives the options for opening a model.
func (o Options) engine(r *Recipe) engine.Options {
	e := engine.Options{Device: r.Device, Threads: r.Threads, MLX: r.compatMLX(), Download: o.Download, Warn: o.warn}
	if !r.Train {
		e.Adapter = r.AdapterPath
	}
	return e
}

// first tells whether this worker writes the folder.
func (o Options) first() bool {
	if o.Reduce == nil {
		return true
	}
	rank, _ := o.Reduce.Rank()
	return rank == 0
}

func (o Options) given(setting string) bool { return o.Given == nil || o.Given(setting) }

func (o Options) warn(text string) { o.report(run.Warning{Text: fault.Say("%s", text)}) }

func (o Options) say(format string, args ...any) {
	o.report(run.Message{Text: fault.Say(format, args...)})
}
