// Package bench measures how fast a model reads, writes and learns on this
// machine, op by op if asked, and how fast the machine itself is.
//
//	b, err := bench.Open(ctx, "./model", engine.Options{})
//	defer b.Close()
//	figures, err := b.Run(ctx, bench.Answers{Prompt: 512, Generate: 128, Batch: 1}, bench.Options{Trials: 5})
//
// The tokens are random, and no weights are needed either: a [Shape] writes
// random ones in the shape of a known model, which take the same time.
package bench

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/all"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/weights"
)

// A Bench is a model under measurement.
type Bench struct {
	Model *model.Model

	dev    *profiler
	source weights.Source
}

// Open loads a model by name, as engine.Open does; it needs no tokenizer, and an adapter or a draft is not loaded.
func Open(ctx context.Context, name string, o engine.Options) (*Bench, error) {
	path, err := engine.Find(ctx, name, hub.ModelPatterns, o)
	if err != nil {
		return nil, err
	}
	src, err := weights.Open(path)
	if err != nil {
		return nil, fault.At("model", "%w", err)
	}
	dev, err := all.Open(o.Device, all.Options{Threads: o.Threads, Fits: engine.Fits(src)})
	if err != nil {
		src.Close()
		return nil, err
	}
	return newBench(dev, src)
}

// newBench loads a model. Device and source are closed with the Bench, or on an error.
func newBench(dev compute.Device, src weights.Source) (b *Bench, err error) {
	b = &Bench{dev: &profiler{Device: dev, ops: map[string]*Op{}}, source: src}
	if b.Model, err = model.Load(b.dev, src); err != nil {
		b.Close()
		return nil, fault.Mark(err, compute.ErrNoMemory)
	}
	return b, nil
}

// Close frees the model and its device.
func (b *Bench) Close() {
	if b.Model != nil {
		b.Model.Free()
	}
	b.dev.Device.Close()
	b.source.Close()
}

// Work is what is measured: Answers or Training.
type Work interface {
	// Check refuses settings that nothing can be measured with.
	Check() error
	// begin makes passes over the work.
	begin(b *Bench) (passes, error)
	// warmUp is how many passes come before those that are measured.
	warmUp(dev compute.Device) int
}

// passes do the work n times, one after another, and tell each. What a pass counted is in its phases, which have no rates yet. What
// each takes is not in the time of any; its error ends the passes.
type passes func(ctx context.Context, n int, each func([]Phase, Trial) error) error

// Options say how often a work is measured.
type Options struct {
	Trials  int           // times to measure
	Delay   time.Duration // wait between trials
	Profile bool          // one more trial, in which each op is timed by itself

	Ready func()               // called when the warm-up is over; may be nil
	Trial func(n int, t Trial) // called after each trial, with n from 1; may be nil
}

// Check refuses settings that nothing can be measured with.
func (o Options) Check() error {
	return atLeast("num_trials", o.Trials, 1)
}

func atLeast(setting fault.Setting, value, least int) error {
	if value < least {
		return fault.Given(setting, value, "must be at least %d", least)
	}
	return nil
}

// A Trial is what one measurement gave; what was not measured is zero.
type Trial struct {
	PromptTPS     float64 `json:"prompt_tps,omitempty"`
	GenerationTPS float64 `json:"generation_tps,omitempty"`
	TrainTPS      float64 `json:"train_tps,omitempty"`
	TrainLoss     float64 `json:"train_loss,omitempty"`
	PeakMemory    float64 `json:"peak_memory"` // GB
	Seconds       float64 `json:"total_time"`
}

// A Phase is a part of the work: reading, writing or learning.
type Phase struct {
	Name      string  `json:"name"`
	Seconds   float64 `json:"seconds"`
	GFLOPS    float64 `json:"gflops"`
	Bandwidth float64 `json:"gigabytes_per_second"`
	Ops       []Op    `json:"ops"`
}

// rates sets what the ops achieved in the phase's time.
func (p *Phase) rates(ops []Op) {
	work := Sum(ops)
	p.GFLOPS, p.Bandwidth = float64(work.FLOPs)/p.Seconds/1e9, float64(work.Bytes)/p.Seconds/1e9
}

// Figures are what a work was measured to take, beside what the device was measured to give.
type Figures struct {
	Device   Device  `json:"device"`
	Trials   []Trial `json:"trials"`
	Averages Trial   `json:"averages"` // without a loss
	Achieved []Phase `json:"achieved"` // averages of all trials; the ops are counted, not timed
	// Idle is the share of the time of training steps in which the device had nothing to do, at most. Nil: it cannot tell.
	Idle    *float64 `json:"idle,omitempty"`
	Profile []Phase  `json:"profile,omitempty"` // of one more trial, op by op
}

// Run warms up, measures a work so many times, and measures the device.
func (b *Bench) Run(ctx context.Context, w Work, o Options) (Figures, error) {
	var f Figures
	if err := w.Check(); err != nil {
		return f, err
	}
	if err := o.Check(); err != nil {
		return f, err
	}
	do, err := w.begin(b)
	if err != nil {
		return f, err
	}
	var counted []Phase
	done, warm := 0, w.warmUp(b.dev.Device)
	b.dev.counting = true // in the first pass: the same work as in the trials
	err = do(ctx, warm+o.Trials, func(phases []Phase, t Trial) error {
		b.dev.counting = false
		if done++; done == 1 {
			counted = phases
		}
		if done > warm {
			return f.trial(ctx, b.dev.Device, phases, t, o)
		}
		if done == warm && o.Ready != nil {
			o.Ready()
		}
		return nil
	})
	b.dev.counting = false
	if err != nil {
		return f, err
	}
	if t, ok := w.(Training); ok {
		if f.Idle, err = t.idle(ctx, b); err != nil {
			return f, err
		}
	}
	for i := range f.Achieved {
		p := &f.Achieved[i]
		p.Ops = counted[i].Ops
		p.rates(p.Ops)
		for k := range p.Ops {
			p.Ops[k].Seconds = 0 // only counted
		}
	}
	if f.Device, err = measure(ctx, b.dev.Device); err != nil || !o.Profile {
		return f, err
	}
	b.dev.timing = true
	err = do(ctx, 1, func(phases []Phase, _ Trial) error {
		f.Profile = phases
		return nil
	})
	b.dev.timing = false
	for i := range f.Profile {
		f.Profile[i].rates(f.Profile[i].Ops)
	}
	return f, err
}

// trial adds a pass to the averages, and waits before the next one.
func (f *Figures) trial(ctx context.Context, dev compute.Device, phases []Phase, t Trial, o Options) error {
	avg, n := &f.Averages, float64(o.Trials)
	t.PeakMemory = float64(engine.PeakMemory(dev)) / 1e9
	f.Trials = append(f.Trials, t)
	if f.Achieved == nil {
		f.Achieved = make([]Phase, len(phases))
	}
	for k, p := range phases {
		f.Achieved[k].Name = p.Name
		f.Achieved[k].Seconds += p.Seconds / n
	}
	avg.PromptTPS += t.PromptTPS / n
	avg.GenerationTPS += t.GenerationTPS / n
	avg.TrainTPS += t.TrainTPS / n
	avg.PeakMemory += t.PeakMemory / n
	avg.Seconds += t.Seconds / n
	if o.Trial != nil {
		o.Trial(len(f.Trials), t)
	}
	if o.Delay > 0 && len(f.Trials) < o.Trials {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(o.Delay):
		}
	}
	return nil
}

// randomTokens are n of the model's vocabulary.
func (b *Bench) randomTokens(random *rand.Rand, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(random.IntN(b.Model.Config.VocabSize))
	}
	return out
}
