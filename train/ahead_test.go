package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/run"
)

// hooked is a device that calls before and after each op.
type hooked struct {
	compute.Device
	before func(op compute.Op)
	after  func(op compute.Op, out []compute.Buffer)
}

func (d *hooked) Run(op compute.Op, out, in []compute.Buffer) error {
	if d.before != nil {
		d.before(op)
	}
	err := d.Device.Run(op, out, in)
	if err == nil && d.after != nil {
		d.after(op, out)
	}
	return err
}

// A trial is a run on a device that works at once, or beside the host.
type trial struct {
	name    string
	change  func(t *testing.T, o *Options, tr *Trainer)
	lossNaN []int  // losses that the device makes no numbers, from 1
	gradNaN []int  // of these losses, the gradients
	goes    int    // steps that begin ahead, on a device that works beside the host
	tells   string // something of what it tells
}

// A story is all that a run tells and leaves.
type story struct {
	events []string
	params [][]float32
	files  map[string][]byte // of the last state that was saved
	failed string
	ops    []string // in the device's order
	ahead  int      // steps whose gradients were queued when the loss before was told
}

var seconds = regexp.MustCompile(`"spent": ?\d+`)

// A stopper hears of each event and of each op that the host queues, and may end the run, or have its step given up as well.
type stopper func(what any, end, giveUp func())

// run does the trial. With a stopper, which may be nil, a run that was ended goes on from what it saved.
func (c trial) run(t *testing.T, async bool, stop stopper) (got story) {
	t.Helper()
	cpu := newCPU(t)
	host, sync := &hooked{Device: &hooked{Device: cpu, after: c.device(t, cpu, &got)}}, func() error { return nil }
	if async {
		beside := computetest.NewAsync(host.Device)
		host.Device, sync = beside, beside.Sync
	}
	dir := t.TempDir()
	err := ErrInterrupted
	for from := (*State)(nil); errors.Is(err, ErrInterrupted); {
		o := options()
		tr, l := newTrainer(t, host, o)
		if c.change != nil {
			c.change(t, &o, tr)
		}
		tr.Options, tr.From = o, from
		keepStates(tr, dir)
		if err := sync(); err != nil {
			t.Fatal(err)
		}
		before := used(cpu)
		err = got.hear(t, tr, l, host, stop)
		if err := sync(); err != nil {
			t.Fatal(err)
		}
		if after := used(cpu); after != before {
			t.Errorf("the run has left %d bytes on the device", after-before)
		}
		if errors.Is(err, ErrInterrupted) {
			from = openState(t, dir)
		}
		got.params = trained(t, tr)
	}
	if err != nil {
		got.failed = err.Error()
	}
	got.files = map[string][]byte{}
	for _, name := range StateFiles() {
		data, err := os.ReadFile(filepath.Join(dir, "state", name))
		if err != nil && got.failed == "" {
			t.Fatal(err)
		}
		got.files[name] = seconds.ReplaceAll(data, nil)
	}
	return got
}

// device notes the ops that the device does, and makes numbers none.
func (c trial) device(t *testing.T, dev compute.Device, got *story) func(op compute.Op, out []compute.Buffer) {
	losses := 0
	return func(op compute.Op, out []compute.Buffer) {
		got.ops = append(got.ops, op.Name())
		if op.Name() != "cross_entropy" {
			return
		}
		losses++
		for i, list := range [][]int{c.lossNaN, c.gradNaN} {
			if !slices.Contains(list, losses) {
				continue
			}
			none := slices.Repeat([]float32{float32(math.NaN())}, out[i].Spec().Shape.Elems())
			if err := dev.Write(out[i], compute.FloatBytes(none)); err != nil {
				t.Error(err)
			}
		}
	}
}

// hear runs a trainer and notes what it tells.
func (s *story) hear(t *testing.T, tr *Trainer, l *log, host *hooked, stop stopper) error {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	hurry, abandon := context.WithCancel(t.Context())
	defer abandon()
	tr.Abandon = hurry
	hear := func(what any) {
		if stop != nil {
			stop(what, end, func() { end(); abandon() })
		}
	}
	host.before = func(op compute.Op) { hear(op) }
	defer func() { host.before = nil }()
	l.do = func(e run.Event) {
		switch e := e.(type) {
		case run.Step, run.Warning, run.Message:
			s.events = append(s.events, fmt.Sprint(e))
		case run.Validation:
			s.events = append(s.events, fmt.Sprintf("val %d %v", e.Iteration, e.Loss))
		case run.TrainReport:
			s.events = append(s.events, fmt.Sprintf("train %d %v %v %d %v", e.Iteration, e.TrainLoss, e.LearningRate, e.TrainedTokens, e.Figures))
		}
		if _, ok := e.(run.Step); ok && tr.ahead != nil && tr.ahead.queued {
			s.ahead++
		}
		hear(e)
	}
	_, err := tr.Run(ctx)
	return err
}

// differ tells what of two stories is not the same to the bit.
func (s story) differ(o story) string {
	switch {
	case !slices.Equal(s.events, o.events):
		return fmt.Sprintf("told\n%s\nwant\n%s", strings.Join(s.events, "\n"), strings.Join(o.events, "\n"))
	case s.failed != o.failed:
		return fmt.Sprintf("error %q, want %q", s.failed, o.failed)
	case !slices.EqualFunc(s.params, o.params, func(a, b []float32) bool {
		return slices.Equal(compute.FloatBytes(a), compute.FloatBytes(b))
	}):
		return "other weights"
	case len(s.files) != len(o.files):
		return "other files"
	}
	for name, data := range s.files {
		if string(data) != string(o.files[name]) {
			return "another " + name
		}
	}
	return ""
}

// sickRows fail at one row once the run has begun.
type sickRows struct {
	rowList
	sick *bool
}

func (r sickRows) Example(i int) (Example, error) {
	if *r.sick && i == 5 {
		return Example{}, errors.New("row 5 has gone")
	}
	return r.rowList.Example(i)
}

func trials() []trial {
	quiet := func(o *Options) { o.ValBatches, o.SaveEvery = 0, 100 }
	plain := func(change func(o *Options)) func(*testing.T, *Options, *Trainer) {
		return func(_ *testing.T, o *Options, _ *Trainer) { change(o) }
	}
	return []trial{
		{name: "validations and saves", goes: 6},
		{name: "nothing between", change: plain(quiet), goes: 9},
		{name: "a save after each", change: plain(func(o *Options) { o.SaveEvery = 1 })},
		{name: "clip", change: plain(func(o *Options) { o.MaxGradNorm = 0.01; quiet(o) }), goes: 9},
		{name: "accumulation", change: plain(func(o *Options) { o.GradAccumulationSteps = 2; quiet(o) }), goes: 4},
		{name: "mlx", change: plain(func(o *Options) { o.CompatMLX, o.GradAccumulationSteps = true, 3; quiet(o) }), goes: 3},
		{name: "schedule, adamw", change: plain(func(o *Options) {
			o.Optimizer = OptimizerConfig{Name: "adamw", Options: map[string]any{"bias_correction": true}}
			o.Schedule = func(n int) float64 { return 1e-2 / float64(1+n) }
			quiet(o)
		}), goes: 9, lossNaN: []int{4}, tells: "iteration 4: the loss is NaN: the step is skipped"},
		{name: "loss NaN", change: plain(quiet), goes: 9, lossNaN: []int{4}, tells: "iteration 4: the loss is NaN: the step is skipped"},
		{name: "losses NaN, at a save", change: plain(func(o *Options) { o.ValBatches = 0 }), goes: 6, lossNaN: []int{3, 4, 9}, tells: "iteration 4: the loss is NaN: the step is skipped"},
		{name: "gradients NaN", change: plain(quiet), goes: 9, gradNaN: []int{3, 4}, tells: "iteration 4: the norm of the gradients is NaN: the step is skipped"},
		{name: "gradients NaN, clip", change: plain(func(o *Options) { o.MaxGradNorm = 0.01; quiet(o) }), goes: 9, gradNaN: []int{3, 4}, tells: "iteration 4: the norm of the gradients is NaN: the step is skipped"},
		{name: "loss NaN in accumulations", change: plain(func(o *Options) { o.GradAccumulationSteps = 2; quiet(o) }), goes: 4, lossNaN: []int{2, 5}, tells: "iteration 5: the loss is NaN: the step is skipped"},
		{name: "diverged", change: plain(quiet), goes: 5, lossNaN: []int{4, 5, 6}, tells: "iteration 6: the loss is NaN, 3 times in a row: the weights have diverged"},
		{name: "rate NaN", change: plain(func(o *Options) {
			o.Schedule = func(n int) float64 {
				if n == 5 {
					return math.NaN()
				}
				return 1e-2
			}
			quiet(o)
		}), goes: 5, tells: "learning_rate: it is NaN at iteration 6"},
		{name: "early", change: plain(func(o *Options) { o.Iters, o.EarlyStop, o.StepsPerEval, o.Schedule = 30, 1, 3, Constant(0.3) }), goes: 1, tells: "This is the last step"},
		{name: "asks", change: func(_ *testing.T, o *Options, tr *Trainer) {
			quiet(o)
			tr.AskEvery = 3
			tr.Ask = func(_ context.Context, done int) error {
				tr.report(run.Message{Text: fault.Say("asked after %d", done)})
				return nil
			}
		}, goes: 6, tells: "asked after 3"},
		{name: "a row gone", change: func(_ *testing.T, o *Options, tr *Trainer) {
			quiet(o)
			sick := false
			tr.Train = sickRows{tr.Train.(rowList), &sick}
			tr.Ask = func(_ context.Context, done int) error { sick = done == 0; return nil }
		}, goes: 1, tells: "row 5 has gone"},
		{name: "rows without loss", change: func(_ *testing.T, o *Options, tr *Trainer) {
			quiet(o)
			o.BatchSize = 1
			rows := slices.Clone(tr.Train.(rowList))
			for i := range rows[:6] {
				rows[i].Loss = nil
			}
			tr.Train = rows
		}, goes: 9},
		{name: "pairs", change: pairsTrial(FrozenCache{}), goes: 9},
		{name: "pairs whose references are kept", change: pairsTrial(FrozenCache{Memory: 1 << 20})},
		{name: "frozen layers on the device", change: frozenTrial(FrozenCache{Device: 1 << 20}), goes: 9},
		{name: "frozen layers in memory", change: frozenTrial(FrozenCache{Memory: 1 << 20}), goes: 6},
		{name: "frozen layers on disk", change: frozenTrial(FrozenCache{Device: 30_000, Disk: 1 << 20}), goes: 1},
	}
}

func frozenTrial(limits FrozenCache) func(*testing.T, *Options, *Trainer) {
	return func(t *testing.T, o *Options, tr *Trainer) {
		m := modeltest.Load(t, tr.Model.Device(), modeltest.Spec{Type: "llama", Bits: 4, Config: map[string]any{"num_hidden_layers": 6}})
		if err := lora(m); err != nil {
			t.Fatal(err)
		}
		tr.Model, tr.Train = m, longRows(13, 1)
		o.Frozen, o.ValBatches, o.SaveEvery, o.MaxSeqLength = limits, 0, 100, 140
	}
}

func pairsTrial(limits FrozenCache) func(*testing.T, *Options, *Trainer) {
	return func(t *testing.T, o *Options, tr *Trainer) {
		other, _ := newPairTrainer(t, tr.Model.Device(), DPO{Beta: 0.1}, 1)
		tr.Model, tr.Train, o.Objective = other.Model, other.Train, DPO{Beta: 0.1}
		o.Frozen, o.ValBatches, o.SaveEvery = limits, 0, 100
	}
}

// TestAhead: a run whose steps begin before the one before is known tells and leaves, to the bit, what it would on a device that
// works at once, in the same order of ops, and nothing on the device.
func TestAhead(t *testing.T) {
	t.Parallel()
	for _, c := range trials() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want, got := c.run(t, false, nil), c.run(t, true, nil)
			if text := got.differ(want); text != "" {
				t.Error(text)
			}
			if want.ahead != 0 || got.ahead != c.goes {
				t.Errorf("%d and %d steps began ahead, want 0 and %d", want.ahead, got.ahead, c.goes)
			}
			if want.failed == "" && !slices.Equal(got.ops, want.ops) {
				t.Errorf("%d ops in another order, want %d", len(got.ops), len(want.ops))
			}
			if all := strings.Join(append(want.events, want.failed), "\n"); !strings.Contains(all, c.tells) {
				t.Errorf("the run does not tell %q:\n%s", c.tells, all)
			}
		})
	}
}

// TestAheadInterrupted: a run that is stopped, or whose step is given up, while the next one is under way, and that goes on from
// what it saved, comes to the same.
func TestAheadInterrupted(t *testing.T) {
	t.Parallel()
	for _, c := range trials() {
		if !slices.Contains([]string{"validations and saves", "nothing between", "clip", "accumulation", "mlx"}, c.name) {
			continue
		}
		for _, how := range []string{"stopped after a step", "given up at the loss ahead", "given up at the first gradient ahead"} {
			t.Run(c.name+", "+how, func(t *testing.T) {
				t.Parallel()
				want := c.run(t, false, nil)
				stops, updated, begun := 0, false, 0 // begun: losses ahead since the last step was told
				got := c.run(t, true, func(what any, end, giveUp func()) {
					give := false
					switch what := what.(type) {
					case run.Step:
						updated, begun = false, 0
						if how == "stopped after a step" {
							stops++
							end()
						}
					case compute.Op:
						switch what.Name() {
						case "adam":
							updated = true
						case "cross_entropy":
							if updated {
								begun++
							}
							give = begun == 1 && how == "given up at the loss ahead"
						default:
							give = begun == 1 && how == "given up at the first gradient ahead"
						}
					}
					if give {
						begun++
						stops++
						giveUp()
					}
				})
				if text := got.differ(want); text != "" {
					t.Error(text)
				}
				if stops < 3 {
					t.Errorf("stopped %d times", stops)
				}
			})
		}
	}
}

// TestAheadIsTold: the loss of a step is told while the device has not come to the next one.
func TestAheadIsTold(t *testing.T) {
	t.Parallel()
	for name, frozen := range map[string]FrozenCache{"": {}, "frozen layers on the device": {Device: 1 << 20}, "in memory": {Memory: 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told, updated := make(chan bool, 100), false
			dev := computetest.NewAsync(&hooked{Device: newCPU(t), before: func(op compute.Op) {
				switch {
				case op.Name() == "adam":
					updated = true
				case updated: // the first op of the next step
					updated = false
					select {
					case <-told:
					case <-time.After(10 * time.Second):
						t.Error("the loss of a step is not told before the next one is at work")
					}
				}
			}})
			o := options()
			tr, l := newTrainer(t, dev, o)
			frozenTrial(frozen)(t, &o, tr)
			tr.Options = o
			l.do = func(e run.Event) {
				if _, ok := e.(run.Step); ok {
					told <- true
				}
			}
			if _, err := tr.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestAheadOutOfMemory refuses one allocation after the other: a step that has its loss is told before the one that fails, and
// nothing is left.
func TestAheadOutOfMemory(t *testing.T) {
	t.Parallel()
	attempt := func(async bool, at int) (steps int, asked bool, err error) {
		cpu := newCPU(t)
		f, sync := &failing{Device: cpu, at: -1}, func() error { return nil }
		if async {
			dev := computetest.NewAsync(cpu)
			f.Device, sync = dev, dev.Sync
		}
		o := options()
		o.Iters, o.ValBatches, o.SaveEvery = 3, 0, 100
		tr, l := newTrainer(t, f, o)
		before := used(cpu)
		f.at, f.calls = at, 0
		_, err = tr.Run(t.Context())
		if err := sync(); err != nil {
			t.Fatal(err)
		}
		if after := used(cpu); after != before {
			t.Errorf("allocation %d refused: %d bytes held, %d before", at, after, before)
		}
		return len(eventsOf[run.Step](l)), f.calls > at, err
	}
	for at := 100; ; at += 53 {
		want, asked, wantErr := attempt(false, at)
		got, _, err := attempt(true, at)
		if got != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("allocation %d refused: %d steps and %v, want %d and %v", at, got, err, want, wantErr)
		}
		if !asked {
			break
		}
		if !errors.Is(err, compute.ErrNoMemory) {
			t.Errorf("allocation %d refused: %v", at, err)
		}
	}
}
