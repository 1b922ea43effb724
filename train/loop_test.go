package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/compute/cuda"
	"github.com/lentil-lm/lentil/compute/cuda/emulate"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

func newCPU(t testing.TB) *cpu.Device {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.(*cpu.Device).Close() })
	return dev.(*cpu.Device)
}

func used(dev *cpu.Device) int64 {
	n, _ := dev.Memory()
	return n
}

// someRows are n rows of different lengths; the last tokens of each are learnt.
func someRows(n int) rowList {
	var out rowList
	for i := range n {
		row := Example{IDs: make([]int32, 6+i%5)}
		for k := range row.IDs {
			row.IDs[k] = int32((i + k*k*3 + 7*k) % modeltest.Vocab)
		}
		row.Loss = [][2]int{{3, len(row.IDs)}}
		out = append(out, row)
	}
	return out
}

// options are those of a short run.
func options() Options {
	return Options{
		BatchSize: 4, Iters: 10, ValBatches: -1, StepsPerReport: 4, StepsPerEval: 5, SaveEvery: 4, GradAccumulationSteps: 1, MaxSeqLength: 64,
		Optimizer: OptimizerConfig{Name: "adam"}, Schedule: Constant(1e-2),
	}
}

// log keeps what is reported and does what a test wants at some event.
type log struct {
	events []run.Event
	do     func(run.Event)
}

func (l *log) Report(e run.Event) {
	l.events = append(l.events, e)
	if l.do != nil {
		l.do(e)
	}
}

func eventsOf[E run.Event](l *log) (out []E) {
	for _, e := range l.events {
		if v, ok := e.(E); ok {
			out = append(out, v)
		}
	}
	return out
}

// newTrainer makes a trainer of a LoRA on a tiny model; saves are only counted.
func newTrainer(t testing.TB, dev compute.Device, o Options) (*Trainer, *log) {
	t.Helper()
	m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama", Bits: 4})
	if _, err := adapter.New(m, adapter.Config{Rank: 2, Scale: 4, Dropout: 0.1}, compute.NewKey(0)); err != nil {
		t.Fatal(err)
	}
	l := &log{}
	return &Trainer{
		Model: m, Train: someRows(12), Valid: someRows(5), Reporter: l, Options: o,
		PeakMemory: func() int64 { return 3e9 },
		Save: func(s Snapshot) (run.Saved, error) {
			saved := run.Saved{Iteration: s.Iteration, Path: "adapters"}
			if s.Checkpoint {
				saved.Checkpoint = fmt.Sprint(s.Iteration)
			}
			return saved, nil
		},
	}, l
}

func TestReportsAndSaves(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	o := options()
	o.Schedule = func(t int) float64 { return 1e-3 * float64(t) }
	o.GradAccumulationSteps = 2
	tr, l := newTrainer(t, dev, o)
	before := used(dev)
	result, err := tr.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after := used(dev); after != before {
		t.Errorf("%d bytes held after the run, %d before", after, before)
	}
	steps, reports := eventsOf[run.Step](l), eventsOf[run.TrainReport](l)
	if len(steps) != o.Iters || len(reports) != 3 {
		t.Fatalf("%d steps, %d reports", len(steps), len(reports))
	}
	var trained int64
	for i, end := range []int{4, 8, 10} {
		begin := 4 * i
		var loss float64
		for _, s := range steps[begin:end] {
			loss += s.Loss
			trained += int64(s.Tokens)
		}
		r := reports[i]
		if want := loss / float64(end-begin); r.Iteration != end || !(math.Abs(r.TrainLoss-want) <= 1e-12) || r.TrainedTokens != trained || r.PeakMemory != 3 {
			t.Errorf("report %+v: want iteration %d, loss %g, %d tokens", r, end, want, trained)
		}
		if want := 1e-3 * float64(end/2-1); !(math.Abs(r.LearningRate-want) <= 1e-15) {
			t.Errorf("iteration %d: learning rate %g, want that of the last update, %g", end, r.LearningRate, want)
		}
		if !(r.IterationsPerSecond > 0) || !(r.TokensPerSecond > r.IterationsPerSecond) {
			t.Errorf("speed %g it/s, %g tok/s", r.IterationsPerSecond, r.TokensPerSecond)
		}
	}
	if result.Iterations != 10 || result.TrainedTokens != trained || result.TrainLoss != reports[2].TrainLoss {
		t.Errorf("result %+v", result)
	}
	var validated []int
	for _, v := range eventsOf[run.Validation](l) {
		validated = append(validated, v.Iteration)
		result.ValLoss -= v.Loss * map[bool]float64{true: 1}[v.Iteration == 10]
	}
	if !slices.Equal(validated, []int{1, 5, 10}) || result.ValLoss != 0 {
		t.Errorf("validated at %v", validated)
	}
	var saved []string
	for _, s := range eventsOf[run.Saved](l) {
		saved = append(saved, fmt.Sprintf("%d/%s", s.Iteration, s.Checkpoint))
	}
	if !slices.Equal(saved, []string{"4/4", "8/8", "10/"}) {
		t.Errorf("saved at %v", saved)
	}
}

// losses are those of all steps of a run.
func losses(t *testing.T, dev compute.Device, change func(*Trainer)) (out []float64) {
	t.Helper()
	tr, l := newTrainer(t, dev, options())
	change(tr)
	if _, err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range eventsOf[run.Step](l) {
		out = append(out, s.Loss)
	}
	return out
}

func TestSameRunSameLosses(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	first := losses(t, dev, func(*Trainer) {})
	for name, change := range map[string]func(*Trainer){
		"again":                  func(*Trainer) {},
		"with checkpoints":       func(tr *Trainer) { tr.Options.GradCheckpoint = true },
		"other reports":          func(tr *Trainer) { tr.Options.StepsPerReport = 1 },
		"constant lr as a curve": func(tr *Trainer) { tr.Options.Schedule = func(int) float64 { return 1e-2 } },
	} {
		if got := losses(t, dev, change); !slices.Equal(got, first) {
			t.Errorf("%s: losses %v, want %v", name, got, first)
		}
	}
	for name, change := range map[string]func(*Trainer){
		"another seed":  func(tr *Trainer) { tr.Options.Seed = 1 },
		"mlx's batches": func(tr *Trainer) { tr.Options.CompatMLX = true },
		"sgd":           func(tr *Trainer) { tr.Options.Optimizer.Name = "sgd" },
		"DoRA":          asDoRA(t),
	} {
		if got := losses(t, dev, change); slices.Equal(got, first) {
			t.Errorf("%s changes nothing", name)
		}
	}
}

// asDoRA puts a DoRA in the place of the trainer's LoRA.
func asDoRA(t *testing.T) func(*Trainer) {
	return func(tr *Trainer) {
		if _, err := adapter.New(tr.Model, adapter.Config{Rank: 2, Scale: 4, Dropout: 0.1, DoRA: true}, compute.NewKey(0)); err != nil {
			t.Fatal(err)
		}
	}
}

// A DoRA learns, with checkpoints as without, and its norms always belong to the
// current matrices.
func TestDoRA(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	steps := func(checkpoint bool) ([]float64, *Trainer) {
		var trainer *Trainer
		return losses(t, dev, func(tr *Trainer) {
			trainer = tr
			asDoRA(t)(tr)
			tr.Options.Iters, tr.Options.BatchSize, tr.Options.GradCheckpoint = 30, 12, checkpoint
		}), trainer
	}
	first, tr := steps(false)
	if last := first[len(first)-1]; !(last < 0.8*first[0]) {
		t.Errorf("the loss went from %g to %g", first[0], last)
	}
	if again, _ := steps(true); !slices.Equal(again, first) {
		t.Errorf("with checkpoints: losses %v, want %v", again, first)
	}
	loss := func() float64 {
		got, err := Evaluate(t.Context(), tr.Model, tr.Valid, EvalOptions{BatchSize: 2, Batches: -1, MaxSeqLength: 64}, func(int, int) {})
		if err != nil {
			t.Fatal(err)
		}
		return got.Loss
	}
	want := loss()
	if err := tr.Model.RefreshAdapters(); err != nil {
		t.Fatal(err)
	}
	if got := loss(); got != want {
		t.Errorf("loss %g, with norms computed anew %g", want, got)
	}
	fresh := modeltest.Load(t, dev, modeltest.Spec{Type: "llama", Bits: 4})
	defer fresh.Free()
	asDoRA(t)(&Trainer{Model: fresh})
	before := fresh.Trainable()
	for i, p := range tr.Model.Trainable() {
		was, err1 := tensor.ReadFloats(dev, before[i].Tensor)
		is, err2 := tensor.ReadFloats(dev, p.Tensor)
		if err1 != nil || err2 != nil || before[i].Name != p.Name || slices.Equal(was, is) {
			t.Errorf("%s was not trained (%v, %v)", p.Name, err1, err2)
		}
	}
}

func TestTrainingLearns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		c  OptimizerConfig
		lr float64
	}{
		{OptimizerConfig{"adam", map[string]any{"bias_correction": true}}, 1e-2}, {OptimizerConfig{Name: "adamw"}, 2e-3},
		{OptimizerConfig{"sgd", map[string]any{"momentum": 0.5}}, 1e-2}, {OptimizerConfig{Name: "muon"}, 1e-2},
		{OptimizerConfig{"adafactor", map[string]any{"relative_step": false, "scale_parameter": false}}, 1e-2},
	} {
		got := losses(t, newCPU(t), func(tr *Trainer) {
			tr.Options.Iters, tr.Options.BatchSize, tr.Options.Optimizer, tr.Options.Schedule = 30, 12, test.c, Constant(test.lr)
		})
		if last := got[len(got)-1]; !(last < 0.8*got[0]) {
			t.Errorf("%s: the loss went from %g to %g", test.c.Name, got[0], last)
		}
	}
}

// TestSavesThatFail: a disk that is full at a checkpoint does not end a run, at the last save it does; and neither does
// what cannot be saved on any disk.
func TestSavesThatFail(t *testing.T) {
	t.Parallel()
	full := fmt.Errorf("adapters: the disk is full: %w", syscall.ENOSPC)
	broken := &fs.PathError{Op: "write", Path: "adapters", Err: errors.New("broken")}
	diverged := errors.New("diverged")
	for _, test := range []struct {
		name       string
		fail       map[int]error // by iteration
		want       error
		done, warn int
		saved      []int
	}{
		{"full once", map[int]error{2: full}, nil, 6, 1, []int{4, 6, 6}},
		{"broken twice", map[int]error{2: broken, 4: broken}, nil, 6, 2, []int{6, 6}},
		{"full to the end", map[int]error{4: full, 6: full}, syscall.ENOSPC, 6, 2, []int{2}},
		{"diverged", map[int]error{4: diverged}, diverged, 4, 0, []int{2}},
	} {
		o := options()
		o.Iters, o.SaveEvery = 6, 2
		tr, l := newTrainer(t, newCPU(t), o)
		save := tr.Save
		tr.Save = func(s Snapshot) (run.Saved, error) {
			if err := test.fail[s.Iteration]; err != nil {
				return run.Saved{}, err
			}
			return save(s)
		}
		result, err := tr.Run(t.Context())
		if !errors.Is(err, test.want) || result.Iterations != test.done {
			t.Errorf("%s: %d iterations, error %v", test.name, result.Iterations, err)
		}
		var saved []int
		for _, s := range eventsOf[run.Saved](l) {
			saved = append(saved, s.Iteration)
		}
		if warnings := eventsOf[run.Warning](l); !slices.Equal(saved, test.saved) || len(warnings) != test.warn {
			t.Errorf("%s: saved %v, warned %v", test.name, saved, warnings)
		}
	}
}

func TestInterruption(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		at    func(run.Event) bool
		done  int
		saved int // checkpoint, 0 for none
	}{
		{"after a step", func(e run.Event) bool { s, ok := e.(run.Step); return ok && s.Iteration == 3 }, 3, 3},
		{"in the first validation", func(e run.Event) bool { _, ok := e.(run.Progress); return ok }, 0, 0},
		{"in a later validation", func(e run.Event) bool { v, ok := e.(run.Step); return ok && v.Iteration == 4 }, 4, 4},
	} {
		tr, l := newTrainer(t, newCPU(t), options())
		ctx, cancel := context.WithCancel(t.Context())
		l.do = func(e run.Event) {
			if test.at(e) {
				cancel()
			}
		}
		result, err := tr.Run(ctx)
		cancel()
		if !errors.Is(err, ErrInterrupted) || result.Iterations != test.done {
			t.Errorf("%s: %d iterations, error %v", test.name, result.Iterations, err)
		}
		saved := eventsOf[run.Saved](l)
		if test.saved == 0 {
			if len(saved) > 0 {
				t.Errorf("%s: saved %v", test.name, saved)
			}
		} else if len(saved) == 0 || saved[len(saved)-1].Iteration != test.saved || saved[len(saved)-1].Checkpoint == "" {
			t.Errorf("%s: saved %v", test.name, saved)
		}
	}
}

// TestInterruptedStep: a step that was interrupted in its validation has not
// happened. Data order and random numbers stand where they stood, and going on gives
// the losses of a run that was never stopped.
func TestInterruptedStep(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	o := options()
	o.Iters, o.StepsPerEval = 9, 3
	whole, l := newTrainer(t, dev, o)
	want, err := whole.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{1, 3, 6, 9} {
		tr, got := newTrainer(t, dev, o)
		s, err := tr.prepare()
		if err != nil {
			t.Fatal(err)
		}
		for s.result.Iterations < o.Iters {
			if s.result.Iterations+1 == at {
				before := *s
				ctx, cancel := context.WithCancel(t.Context())
				got.do = func(run.Event) { cancel() } // validation tells its progress
				if err := tr.iterate(ctx, s); err != ErrInterrupted {
					t.Fatalf("step %d: %v", at, err)
				}
				if got.do = nil; before.random != s.random || before.order.at != s.order.at || before.keys != s.keys || s.result.Iterations != at-1 {
					t.Errorf("step %d was interrupted and changed the state", at)
				}
			}
			if err := tr.iterate(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		s.result.random = s.random // as Run does at its end
		if a, b := eventsOf[run.Step](got), eventsOf[run.Step](l); !slices.Equal(a, b) || s.result != want {
			t.Errorf("interrupted at step %d: %v, train loss %v; want %v, %v", at, a, s.result.TrainLoss, b, want.TrainLoss)
		}
		tr.close(s)
	}
}

// TestBareTrainer: what a Trainer tells and keeps is optional.
func TestBareTrainer(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	o := Defaults()
	o.Iters, o.SaveEvery = 3, 1
	tr, _ := newTrainer(t, dev, o)
	want, err := tr.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	full, _ := newTrainer(t, dev, o)
	bare := &Trainer{Model: full.Model, Train: full.Train, Valid: full.Valid, Options: o}
	if got, err := bare.Run(t.Context()); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bare.Run(ctx); !errors.Is(err, ErrInterrupted) {
		t.Errorf("interrupted: %v", err)
	}
	bare.Valid = nil
	if got, err := bare.Run(t.Context()); err != nil || !math.IsNaN(got.ValLoss) {
		t.Errorf("without validation: %+v, %v", got, err)
	}
}

// TestOptionsCheck: options that were not set are told by name.
func TestOptionsCheck(t *testing.T) {
	t.Parallel()
	if err := Defaults().Check(); err != nil {
		t.Error(err)
	}
	for setting, unset := range map[fault.Setting]func(*Options){
		"batch_size":              func(o *Options) { o.BatchSize = 0 },
		"iters":                   func(o *Options) { o.Iters = 0 },
		"steps_per_report":        func(o *Options) { o.StepsPerReport = 0 },
		"steps_per_eval":          func(o *Options) { o.StepsPerEval = -1 },
		"save_every":              func(o *Options) { o.SaveEvery = 0 },
		"grad_accumulation_steps": func(o *Options) { o.GradAccumulationSteps = 0 },
		"max_seq_length":          func(o *Options) { o.MaxSeqLength = 1 },
		"learning_rate":           func(o *Options) { o.Schedule = nil },
		"early_stop":              func(o *Options) { o.EarlyStop = -1 },
		"max_grad_norm":           func(o *Options) { o.MaxGradNorm = math.NaN() },
		"optimizer":               func(o *Options) { o.Optimizer = OptimizerConfig{} },
		"optimizer_config":        func(o *Options) { o.Optimizer.Options = map[string]any{"eps": 0} },
	} {
		o := Defaults()
		unset(&o)
		if err := o.Check(); fault.SettingOf(err) != setting {
			t.Errorf("%s: %v", setting, err)
		}
	}
	for _, norm := range []float64{-1, 1e-300, 1e300, math.Inf(1)} { // as float32 they are none, or no bound
		o := Defaults()
		o.MaxGradNorm = norm
		if err := o.Check(); fault.SettingOf(err) != "max_grad_norm" {
			t.Errorf("max_grad_norm %g: %v", norm, err)
		}
	}
	tr, _ := newTrainer(t, newCPU(t), Options{})
	if _, err := tr.Run(t.Context()); fault.SettingOf(err) != "batch_size" {
		t.Errorf("no options: %v", err)
	}
	if err := tr.DryRun([]int{4}); fault.SettingOf(err) != "max_seq_length" {
		t.Errorf("planning without options: %v", err)
	}
}

func TestRunErrors(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	noSpace := errors.New("disk full")
	for _, test := range []struct {
		name   string
		change func(*Trainer)
		want   []string
	}{
		{"divergence", func(tr *Trainer) { tr.Options.Schedule = Constant(1e38) }, []string{"iteration 4", "loss is NaN", "a smaller learning_rate"}},
		{"learning rate", func(tr *Trainer) { tr.Options.Schedule = Constant(math.NaN()) }, []string{"learning_rate: it is NaN at iteration 1", "lr_schedule"}},
		{"token beyond the vocabulary", func(tr *Trainer) {
			rows := someRows(12)
			rows[7].IDs[2] = modeltest.Vocab
			tr.Train = rows
		}, []string{"rows.jsonl:8", "token 2 is 48", "vocabulary has 48"}},
		{"negative token", func(tr *Trainer) {
			rows := someRows(5)
			rows[0].IDs[0] = -1
			tr.Valid = rows
		}, []string{"rows.jsonl:1", "token 0 is -1"}},
		{"no rows", func(tr *Trainer) { tr.Train = rowList{} }, []string{"training set", "no rows"}},
		{"too few rows", func(tr *Trainer) { tr.Train, tr.Options.CompatMLX = someRows(3), true }, []string{"batch_size=4", "only has 3"}},
		{"batch size", func(tr *Trainer) { tr.Options.BatchSize = 0 }, []string{"batch_size 0: expected 1 or more"}},
		{"length", func(tr *Trainer) { tr.Options.MaxSeqLength = 1 }, []string{"max_seq_length 1: expected 2 or more"}},
		{"nothing to train", func(tr *Trainer) { tr.Model.Detach() }, []string{"nothing to train"}},
		{"optimizer", func(tr *Trainer) { tr.Options.Optimizer.Name = "lion" }, []string{"optimizer lion", "adam, adamw, muon, sgd or adafactor"}},
		{"betas", func(tr *Trainer) { tr.Options.Optimizer.Options = map[string]any{"betas": []any{0.9, 1}} }, []string{"optimizer_config: adam: number 2 of betas is 1, expected a number, 0 or more and less than 1"}},
		{"saving", func(tr *Trainer) {
			tr.Save = func(Snapshot) (run.Saved, error) { return run.Saved{}, noSpace }
		}, []string{"disk full"}},
		{"a row", func(tr *Trainer) { tr.Train = brokenRows{someRows(12)} }, []string{"row 5 is broken"}},
	} {
		tr, _ := newTrainer(t, dev, options())
		before := used(dev)
		detached := test.name == "nothing to train"
		test.change(tr)
		_, err := tr.Run(t.Context())
		if err == nil {
			t.Errorf("%s: no error", test.name)
			continue
		}
		for _, part := range test.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %q does not say %q", test.name, err, part)
			}
		}
		if after := used(dev); after != before && !detached {
			t.Errorf("%s: %d bytes held after the error, %d before", test.name, after, before)
		}
	}
}

type brokenRows struct{ rowList }

func (b brokenRows) Example(i int) (Example, error) {
	if i == 5 {
		return Example{}, errors.New("row 5 is broken")
	}
	return b.rowList.Example(i)
}

// Rows without loss are skipped: in the losses, in the mean, in validation.
func TestRowsWithoutLoss(t *testing.T) {
	t.Parallel()
	o := options()
	o.BatchSize, o.Iters, o.StepsPerReport = 1, 3, 3
	tr, l := newTrainer(t, newCPU(t), o)
	silent := Example{IDs: ids(8, 1)}
	tr.Train, tr.Valid = rowList{silent, someRows(1)[0], silent}, rowList{silent, someRows(1)[0]}
	if _, err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var learnt []float64
	for _, s := range eventsOf[run.Step](l) {
		if s.Tokens > 0 {
			learnt = append(learnt, s.Loss)
		}
	}
	if r := eventsOf[run.TrainReport](l)[0]; len(learnt) != 1 || r.TrainLoss != learnt[0] {
		t.Errorf("losses %v, report %+v", learnt, r)
	}
	eval := EvalOptions{BatchSize: 1, Batches: -1, MaxSeqLength: 64}
	if _, err := Evaluate(t.Context(), tr.Model, rowList{silent}, eval, nil); err == nil || !strings.Contains(err.Error(), "no token") && !strings.Contains(err.Error(), "token to predict") {
		t.Errorf("evaluating rows without loss gives %v", err)
	}
	both, err := Evaluate(t.Context(), tr.Model, tr.Valid, eval, nil)
	if err != nil {
		t.Fatal(err)
	}
	if one, err := Evaluate(t.Context(), tr.Model, someRows(1), eval, nil); err != nil || one.Loss != both.Loss || one.Tokens != both.Tokens {
		t.Errorf("with a silent row %+v, without %+v, %v", both, one, err)
	}
}

// TestEvaluate weighs by tokens, whatever the batches.
func TestEvaluate(t *testing.T) {
	t.Parallel()
	const tolerance = 1e-5 // sums in another order
	tr, _ := newTrainer(t, newCPU(t), options())
	rows := someRows(7)
	var sum float64
	var tokens int64
	for _, r := range rows {
		e, err := Evaluate(t.Context(), tr.Model, rowList{r}, EvalOptions{BatchSize: 1, Batches: -1, MaxSeqLength: 64}, nil)
		if err != nil {
			t.Fatal(err)
		}
		sum += e.Loss * float64(e.Tokens)
		tokens += e.Tokens
	}
	for _, size := range []int{1, 2, 3, 7, 50} {
		calls := 0
		e, err := Evaluate(t.Context(), tr.Model, rows, EvalOptions{BatchSize: size, Batches: -1, MaxSeqLength: 64}, func(done, total int) {
			if calls++; done != calls || total != (7+size-1)/size {
				t.Errorf("progress %d of %d", done, total)
			}
		})
		if err != nil || e.Tokens != tokens || !(math.Abs(e.Loss-sum/float64(tokens)) <= tolerance*e.Loss) {
			t.Errorf("batches of %d: %+v, %v; want %g over %d tokens", size, e, err, sum/float64(tokens), tokens)
		}
		if !(math.Abs(e.Perplexity()-math.Exp(e.Loss)) <= 1e-9) {
			t.Errorf("perplexity %g of loss %g", e.Perplexity(), e.Loss)
		}
	}
	few, err := Evaluate(t.Context(), tr.Model, rows, EvalOptions{BatchSize: 2, Batches: 1, MaxSeqLength: 64}, nil)
	if err != nil || few.Tokens >= tokens {
		t.Errorf("one batch: %+v, %v", few, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Evaluate(ctx, tr.Model, rows, EvalOptions{BatchSize: 2, Batches: -1, MaxSeqLength: 64}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestOutOfMemory refuses one allocation after the other.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	f := &failing{Device: dev, at: -1}
	o := options()
	o.Iters, o.GradCheckpoint = 1, true
	tr, _ := newTrainer(t, f, o)
	before := used(dev)
	for at := 0; ; at++ {
		f.at, f.calls = at, 0
		_, err := tr.Run(t.Context())
		if after := used(dev); after != before {
			t.Fatalf("allocation %d refused: %d bytes held, %d before", at, after, before)
		}
		if f.calls <= at {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if !errors.Is(err, compute.ErrNoMemory) {
			t.Fatalf("allocation %d refused: %v", at, err)
		}
		at += at / 8 // all of the beginning, samples of the rest
	}
}

// failing refuses the allocation numbered at.
type failing struct {
	compute.Device
	at, calls int
}

func (f *failing) Alloc(s compute.Shape, t compute.DType) (compute.Buffer, error) {
	if f.calls++; f.calls-1 == f.at {
		return nil, compute.ErrNoMemory
	}
	return f.Device.Alloc(s, t)
}

// TestDryRunTellsThePeak compares the plan with what the CPU takes. The plan
// does not know of the work areas of kernels, so it may be a bit low.
func TestDryRunTellsThePeak(t *testing.T) {
	t.Parallel()
	const most, least = 1.02, 0.75
	spec := modeltest.Spec{Type: "llama", Config: map[string]any{"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "vocab_size": 300}}
	lengths := []int{60, 64, 57, 64}
	for _, test := range []struct {
		name       string
		checkpoint bool
		layers     int
		full, dora bool
		optimizer  string
	}{
		{"lora", false, 2, false, false, "adam"}, {"lora with checkpoints", true, 3, false, false, "adam"},
		{"full", false, 2, true, false, "adam"}, {"dora", false, 2, false, true, "adam"},
		{"full with muon", false, 2, true, false, "muon"}, {"full with adafactor", false, 2, true, false, "adafactor"},
	} {
		dry := func(dev compute.Device) {
			m := modeltest.Load(t, dev, spec)
			var err error
			if test.full {
				err = m.Unfreeze(test.layers, true)
			} else {
				_, err = adapter.New(m, adapter.Config{Rank: 4, Scale: 1, NumLayers: test.layers, DoRA: test.dora}, compute.NewKey(0))
			}
			if err != nil {
				t.Fatal(err)
			}
			o := options()
			o.GradCheckpoint, o.Optimizer.Name = test.checkpoint, test.optimizer
			tr := &Trainer{Model: m, Options: o}
			if err := tr.DryRun(lengths); err != nil {
				t.Fatal(err)
			}
		}
		real := newCPU(t)
		planned := plan.New(plan.For(real))
		dry(planned)
		dry(real)
		_, peak := real.Memory()
		report := planned.Report()
		t.Logf("%s: planned %d bytes, the CPU took %d", test.name, report.PeakBytes, peak)
		if ratio := float64(report.PeakBytes) / float64(peak); ratio > most || ratio < least {
			t.Errorf("%s: planned %d bytes, the CPU took %d", test.name, report.PeakBytes, peak)
		}
		if report.FLOPs == 0 || report.CurrentBytes != used(real) {
			t.Errorf("%s: %d FLOPs planned; %d bytes held after, on the CPU %d", test.name, report.FLOPs, report.CurrentBytes, used(real))
		}
		if !testing.Short() || test.name == "lora" {
			planCard(t, test.name, dry)
		}
	}
}

// planCard compares the plan for a card, which knows the work areas of its kernels, with what it takes.
func planCard(t *testing.T, name string, dry func(compute.Device)) {
	t.Helper()
	const tolerance = 0.1
	card, err := cuda.New(cuda.Options{Driver: emulate.Driver(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer card.Close()
	planned := plan.New(plan.For(fallback.New(card)))
	dry(planned)
	dry(fallback.New(card))
	report := planned.Report()
	_, peak := card.Memory()
	t.Logf("%s: planned %d bytes, the card took %d", name, report.HeldBytes+report.WeightBytes, peak)
	if ratio := float64(report.HeldBytes+report.WeightBytes) / float64(peak); !(math.Abs(ratio-1) <= tolerance) {
		t.Errorf("%s: planned %d bytes and %d of weights, the card took %d", name, report.HeldBytes, report.WeightBytes, peak)
	}
}

// TestEvaluateAfter: a measurement after a training draws its batches from where the
// training's random numbers stand, as mlx-lm's does, and not from the seed again.
func TestEvaluateAfter(t *testing.T) {
	t.Parallel()
	o := options()
	o.Iters, o.ValBatches = 3, 0 // one epoch: its order is drawn once
	tr, _ := newTrainer(t, newCPU(t), o)
	tr.Valid = nil
	result, err := tr.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	random := newNumpyRandom(0)
	random.Permutation(12)
	eval := EvalOptions{BatchSize: 1, Batches: 1, MaxSeqLength: 64}
	rows := someRows(40)
	want, err := evaluate(t.Context(), tr.Model, nil, rows, eval, &random, nil)
	if err != nil {
		t.Fatal(err)
	}
	seeded, err := Evaluate(t.Context(), tr.Model, rows, eval, nil)
	if err != nil {
		t.Fatal(err)
	}
	eval.After = &result
	if got, err := Evaluate(t.Context(), tr.Model, rows, eval, nil); err != nil || got.Loss != want.Loss || got.Tokens != want.Tokens || got.Loss == seeded.Loss {
		t.Errorf("after the training %+v, %v; want %+v, not %+v", got, err, want, seeded)
	}
}
