package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/all"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// A SelfTest is what a device was found to do, for a report of someone whose machine we do not have.
type SelfTest struct {
	Device   Device            `json:"device"`
	Cases    int               `json:"cases"` // of ops that were compared with their definition
	AllCases int               `json:"all_cases"`
	Problems []string          `json:"problems"`
	Curves   []Curve           `json:"curves"`
	Speeds   []Speed           `json:"speeds"`
	Kernels  []string          `json:"kernels,omitempty"` // of our own that ran
	Failed   map[string]string `json:"failed_kernels,omitempty"`
	Seconds  float64           `json:"seconds"`
}

// A Curve is the losses of a tiny model's training on the device, beside those on the processor.
type Curve struct {
	Model     string    `json:"model"`
	Losses    []float64 `json:"losses"`
	Processor []float64 `json:"losses_on_the_processor"`
	Furthest  float64   `json:"furthest"` // as a share of the loss
	Allowed   float64   `json:"allowed"`
}

// A Speed is that of a phase of work, beside what the machine was measured to give.
type Speed struct {
	Work      string  `json:"work"`
	TPS       float64 `json:"tokens_per_second"`
	GFLOPS    float64 `json:"gflops"`
	Bandwidth float64 `json:"gigabytes_per_second"`
	// Idle is Figures.Idle.
	Idle *float64 `json:"idle,omitempty"`
}

const (
	selfTestCases = 40 * time.Second // for comparing ops
	selfTestSpeed = 8 * time.Second  // that a work should take about
	selfTestSteps = 20
	// Float32 on both sides, sums in another order, amplified by 20 steps; other types round to 8 or 11 bits.
	sameCurve, roundedCurve = 1e-3, 3e-2
)

// kernelTeller is a device with kernels that its library may not take.
type kernelTeller interface {
	Kernels() (ran []string, failed map[string]error)
}

// RunSelfTest compares a device's ops with their definitions and its losses with the processor's, and measures it: in
// about two minutes. say tells what comes next.
func RunSelfTest(ctx context.Context, name string, threads int, say func(string)) (r SelfTest, err error) {
	start := time.Now()
	say("how fast the device is")
	if r.Device, err = OneDevice(ctx, name, threads, false); err != nil {
		return r, err
	}
	if err := r.compareOps(ctx, name, threads, say); err != nil {
		return r, err
	}
	for _, s := range samples {
		say(fmt.Sprintf("%d steps of a tiny model (%s) here and on the processor", selfTestSteps, s.name))
		c, err := s.curve(ctx, name, threads)
		if err != nil {
			return r, err
		}
		r.Curves = append(r.Curves, c)
		if !(c.Furthest <= c.Allowed) {
			r.Problems = append(r.Problems, fmt.Sprintf("losses of a tiny model (%s) are off by %.1e, allowed are %.1e", c.Model, c.Furthest, c.Allowed))
		}
	}
	err = r.measure(ctx, name, threads, say)
	r.Seconds = time.Since(start).Seconds()
	return r, err
}

// compareOps runs the suite, as far as there is time.
func (r *SelfTest) compareOps(ctx context.Context, name string, threads int, say func(string)) error {
	const nth = 3 // of the cases
	dev, err := all.Open(name, all.Options{Threads: threads})
	if err != nil {
		return err
	}
	defer dev.Close()
	say("every op, beside its definition")
	limited, cancel := context.WithTimeout(ctx, selfTestCases)
	defer cancel()
	r.Cases, r.AllCases = computetest.Check(limited, dev, nth, func(text string) { r.Problems = append(r.Problems, text) })
	inner := dev
	if f, ok := dev.(*fallback.Device); ok {
		inner = f.Device
	}
	if k, ok := inner.(kernelTeller); ok {
		ran, failed := k.Kernels()
		r.Kernels = ran
		for name, err := range failed {
			if r.Failed == nil {
				r.Failed = map[string]string{}
			}
			r.Failed[name] = err.Error()
		}
	}
	return ctx.Err()
}

// curve trains a tiny model on the device and on the processor.
func (s Shape) curve(ctx context.Context, name string, threads int) (Curve, error) {
	c := Curve{Model: s.name, Allowed: sameCurve}
	for _, side := range []struct {
		device string
		losses *[]float64
	}{{name, &c.Losses}, {"cpu", &c.Processor}} {
		dev, err := all.Open(side.device, all.Options{Threads: threads})
		if err != nil {
			return c, err
		}
		if t := dev.Info().Activations; t != 0 && t != compute.F32 {
			c.Allowed = roundedCurve
		}
		if *side.losses, err = s.train(ctx, dev); err != nil {
			return c, err
		}
	}
	for i, want := range c.Processor {
		if d := math.Abs(c.Losses[i]-want) / want; !(d <= c.Furthest) { // NaN too
			c.Furthest = d
		}
	}
	return c, nil
}

// lossList hears the losses of steps.
type lossList []float64

func (l *lossList) Report(e run.Event) {
	if step, ok := e.(run.Step); ok {
		*l = append(*l, step.Loss)
	}
}

// train gives the losses of a few steps on a device, which it closes.
func (s Shape) train(ctx context.Context, dev compute.Device) ([]float64, error) {
	b, err := s.load(dev)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if _, err := adapter.New(b.Model, adapter.Config{Rank: 8, Scale: 20, NumLayers: -1}, compute.NewKey(0)); err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(1, 2))
	var rows train.List
	for i := range 8 {
		n := 20 + 5*i
		rows = append(rows, train.Example{IDs: b.randomTokens(random, n), Loss: [][2]int{{1, n}}})
	}
	o := train.Defaults()
	o.BatchSize, o.Iters, o.MaxSeqLength, o.Schedule = 4, selfTestSteps, 64, train.Constant(1e-4)
	var losses lossList
	if _, err := (&train.Trainer{Model: b.Model, Train: rows, Reporter: &losses, Options: o}).Run(ctx); err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	return losses, nil
}

// measure trains and answers with a model of a known shape, as much of it as there is time for.
func (r *SelfTest) measure(ctx context.Context, name string, threads int, say func(string)) error {
	const shape, parameters = "smollm2-135m", 135e6
	s, err := FindShape(shape)
	if err != nil {
		return err
	}
	// A third of the peak is what a small model may reach.
	rows := r.Device.GFLOPS * 1e9 / 3 * selfTestSpeed.Seconds() / (6 * parameters)
	tokens := r.Device.Bandwidth * 1e9 / 3 * selfTestSpeed.Seconds() / (parameters * bytesOf4Bits)
	within := func(n, least, most float64) int { return int(min(max(n/3, least), most)) } // there are passes to warm up, too
	works := []struct {
		name string
		Work
	}{
		{"training", Training{Rows: []int{within(rows, 16, 512)}, NumLayers: 16}},
		{"answers", Answers{Prompt: within(rows, 16, 256), Generate: within(tokens, 8, 128), Batch: 1, PrefillStep: 512}},
	}
	for _, w := range works {
		say(fmt.Sprintf("%s, in the shape of %s", w.name, shape))
		dev, err := all.Open(name, all.Options{Threads: threads})
		if err != nil {
			return err
		}
		b, err := s.load(dev)
		if err != nil {
			return err
		}
		f, err := b.Run(ctx, w.Work, Options{Trials: 1})
		b.Close()
		if err != nil {
			return err
		}
		rates := map[string]float64{"training": f.Averages.TrainTPS, "prompt": f.Averages.PromptTPS, "generation": f.Averages.GenerationTPS}
		for _, p := range f.Achieved {
			r.Speeds = append(r.Speeds, Speed{p.Name, rates[p.Name], p.GFLOPS, p.Bandwidth, f.Idle})
		}
	}
	slices.SortFunc(r.Problems, cmp.Compare)
	return nil
}

// bytesOf4Bits is what a weight of 4 bits takes, with its share of a scale and a bias.
const bytesOf4Bits = 4.5 / 8
