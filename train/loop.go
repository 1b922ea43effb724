// Package train fine-tunes a model: batches, loss, optimiser, schedule,
// validation, reports and saves, with the defaults and file formats of mlx-lm.
package train

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

// Options are the settings of a training run; names and meaning are mlx-lm's.
type Options struct {
	BatchSize             int
	Iters                 int // micro-steps
	ValBatches            int // per validation, -1 for all
	StepsPerReport        int
	StepsPerEval          int
	SaveEvery             int
	GradAccumulationSteps int
	MaxSeqLength          int
	GradCheckpoint        bool
	Seed                  uint64
	Optimizer             OptimizerConfig
	Schedule              Schedule
	// CompatMLX copies mlx-lm's choices that do not help: the pad target in the
	// loss, batches of consecutive rows, a dropped last batch.
	CompatMLX bool
	Frozen    FrozenCache
}

// ErrInterrupted says that a run was stopped on request, after a save.
var ErrInterrupted = errors.New("interrupted")

// Trainer holds the state of one run.
type Trainer struct {
	Model *model.Model
	Train Examples
	Valid Examples // may be empty
	Save  func(iteration int, checkpoint bool) (run.Saved, error)
	// PeakMemory tells the most bytes held so far, for reports.
	PeakMemory func() int64
	Reporter   run.Reporter
	Options    Options

	params []nn.Param
	tape   *tensor.Tape
	opt    *updates
	rng    *numpyRandom

	store         *frozenStore // nil when nothing is kept
	frozen, valid *frozen      // of the splits
}

// Result sums up a run.
type Result struct {
	Iterations    int
	TrainLoss     float64 // of the last report
	ValLoss       float64 // of the last validation, NaN without one
	TrainedTokens int64
}

// Run trains until Iters, an error or the end of ctx; the latter saves first
// and returns ErrInterrupted.
func (tr *Trainer) Run(ctx context.Context) (Result, error) {
	if err := tr.prepare(); err != nil {
		return Result{}, err
	}
	defer tr.close()
	next, stop := iter.Pull(epochs(tr.Train.Len(), tr.Options.BatchSize, tr.Options.CompatMLX, tr.rng))
	defer stop()
	w := window{start: time.Now()}
	result := Result{ValLoss: math.NaN()}
	o := tr.Options
	for it := 1; it <= o.Iters; it++ {
		if ctx.Err() != nil {
			return result, tr.interrupted(it - 1)
		}
		index, _ := next()
		batch, err := load(tr.Train, index, tr.Model.Config.VocabSize, o.MaxSeqLength, o.CompatMLX)
		if err != nil {
			return result, err
		}
		if tr.hasValid() && (it == 1 || it%o.StepsPerEval == 0 || it == o.Iters) {
			if result.ValLoss, err = tr.validate(ctx, it); err != nil {
				if ctx.Err() != nil {
					return result, tr.interrupted(it - 1)
				}
				return result, err
			}
			w.start = time.Now().Add(-w.spent) // validation does not count
		}
		lr := o.Schedule(tr.opt.done)
		if math.IsNaN(lr) || math.IsInf(lr, 0) {
			return result, fault.At("learning_rate", "it is %g at iteration %d", lr, it).Try("Check %v and %v.", fault.Setting("learning_rate"), fault.Setting("lr_schedule"))
		}
		loss, err := tr.step(batch, it, lr)
		if err != nil {
			return result, fmt.Errorf("iteration %d: %w", it, err)
		}
		result.Iterations = it
		result.TrainedTokens += int64(len(batch.rows))
		w.add(loss, len(batch.rows))
		tr.Reporter.Report(run.Step{Iteration: it, Loss: loss, Tokens: len(batch.rows)})
		if it%o.StepsPerReport == 0 || it == o.Iters {
			result.TrainLoss = w.mean()
			used := o.Schedule(max(tr.opt.done-1, 0)) // by the last update, as mlx-lm reports it
			tr.Reporter.Report(w.report(it, used, result.TrainedTokens, tr.PeakMemory()))
			w = window{start: time.Now()}
		}
		if it%o.SaveEvery == 0 {
			if err := tr.save(it, true); err != nil {
				return result, err
			}
			w.start = time.Now().Add(-w.spent)
		}
	}
	return result, tr.save(o.Iters, false)
}

func (tr *Trainer) prepare() error {
	o := tr.Options
	for _, f := range []struct {
		setting      fault.Setting
		value, least int
	}{{"batch_size", o.BatchSize, 1}, {"iters", o.Iters, 1}, {"steps_per_report", o.StepsPerReport, 1}, {"steps_per_eval", o.StepsPerEval, 1},
		{"save_every", o.SaveEvery, 1}, {"grad_accumulation_steps", o.GradAccumulationSteps, 1}, {"max_seq_length", o.MaxSeqLength, 2}} {
		if f.value < f.least {
			return fault.Value(f.setting, f.value, fmt.Sprintf("%d or more", f.least))
		}
	}
	if err := tr.check(tr.Train, "training"); err != nil {
		return err
	}
	if tr.hasValid() {
		if err := tr.check(tr.Valid, "validation"); err != nil {
			return err
		}
	}
	tr.params = tr.Model.Trainable()
	if len(tr.params) == 0 {
		return errors.New("nothing to train: no adapter is attached and no layer is unfrozen")
	}
	tr.rng = newNumpyRandom(uint32(o.Seed))
	tr.tape = tensor.NewTape(tr.Model.Device())
	_, tr.tape.Keys = compute.NewKey(o.Seed ^ 0x6c656e74696c).Split() // dropout's own stream
	tr.keepFrozen()
	var err error
	tr.opt, err = newUpdates(tr.Model.Device(), o.Optimizer, tr.params)
	return err
}

// keepFrozen sets up the cache of the frozen layers, for the splits whose rows
// come more than once.
func (tr *Trainer) keepFrozen() {
	o := tr.Options
	tr.store = newFrozenStore(o.Frozen, func(text string) { tr.Reporter.Report(run.Warning{Text: fault.Say("%s", text)}) })
	tr.frozen = newFrozen(tr.Model, tr.store, o.Iters > tr.Train.Len()/o.BatchSize)
	tr.valid = newFrozen(tr.Model, tr.store, tr.hasValid() && o.Iters > 1)
}

// check looks at all rows now, so that a bad one does not end a long run.
func (tr *Trainer) check(rows Examples, split string) error {
	if err := enough(rows, split, tr.Options.BatchSize, tr.Options.CompatMLX); err != nil {
		return err
	}
	for i := range rows.Len() {
		if _, err := example(rows, i, tr.Model.Config.VocabSize); err != nil {
			return err
		}
	}
	return nil
}

func (tr *Trainer) close() {
	tr.store.close()
	tr.opt.free()
	for _, p := range tr.params {
		p.FreeGrad()
	}
}

func (tr *Trainer) hasValid() bool {
	return tr.Valid != nil && tr.Valid.Len() > 0 && tr.Options.ValBatches != 0
}

// step does one micro-step, and the update at the end of an accumulation.
func (tr *Trainer) step(b packed, it int, lr float64) (float64, error) {
	n := tr.Options.GradAccumulationSteps
	loss, err := tr.gradients(b, n)
	if err != nil {
		return 0, err
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, fault.Advise(fmt.Errorf("the loss is %g: the weights have diverged", loss),
			"Go back to the last saved adapter and use a smaller %v.", fault.Setting("learning_rate"))
	}
	if it%n == 0 {
		return loss, tr.update(lr)
	}
	return loss, nil
}

// update applies the gradients.
func (tr *Trainer) update(lr float64) error {
	if err := tr.opt.apply(lr); err != nil {
		return err
	}
	return tr.Model.RefreshAdapters()
}

// gradients adds the gradients of the batch's mean loss, divided by the
// accumulation steps, and returns that mean.
func (tr *Trainer) gradients(b packed, accumulation int) (float64, error) {
	if len(b.rows) == 0 {
		return 0, nil // nothing to learn from these rows
	}
	weights := make([]float32, len(b.weights))
	for i, w := range b.weights {
		weights[i] = w / float32(accumulation)
	}
	t := tr.tape
	t.Reset(true)
	var losses []float32
	t.Scope(func() *tensor.Tensor {
		x := tr.frozen.forward(t, tr.Model, b, tr.Options.GradCheckpoint)
		losses = t.Read(tr.Model.Loss(t, x, b.rows, b.targets, weights))
		return nil
	})
	if err := t.Err(); err != nil {
		t.Reset(false)
		return 0, err
	}
	return mean(losses), t.Backward()
}

func mean(v []float32) float64 {
	var sum float64
	for _, x := range v {
		sum += float64(x)
	}
	return sum / float64(len(v))
}

func (tr *Trainer) save(it int, checkpoint bool) error {
	saved, err := tr.Save(it, checkpoint)
	if err != nil {
		return err
	}
	tr.Reporter.Report(saved)
	return nil
}

// interrupted saves what there is before a run ends early.
func (tr *Trainer) interrupted(it int) error {
	if it == 0 {
		return ErrInterrupted
	}
	if err := tr.save(it, true); err != nil {
		return err
	}
	return ErrInterrupted
}

func (tr *Trainer) validate(ctx context.Context, it int) (float64, error) {
	began := time.Now()
	o := EvalOptions{BatchSize: tr.Options.BatchSize, Batches: tr.Options.ValBatches, MaxSeqLength: tr.Options.MaxSeqLength, CompatMLX: tr.Options.CompatMLX}
	got, err := evaluate(ctx, tr.Model, tr.valid, tr.Valid, o, tr.rng, func(done, total int) {
		tr.Reporter.Report(run.Progress{Task: "Calculating loss", Done: done, Total: total})
	})
	if err != nil {
		return 0, err
	}
	tr.Reporter.Report(run.Validation{Iteration: it, Loss: got.Loss, Seconds: time.Since(began).Seconds()})
	return got.Loss, nil
}

// window sums up the steps since the last report.
type window struct {
	start  time.Time
	spent  time.Duration
	loss   float64
	tokens int
	steps  int
	learnt int // steps that had a token to learn
}

func (w *window) add(loss float64, tokens int) {
	w.steps++
	w.spent = time.Since(w.start)
	if tokens > 0 {
		w.loss += loss
		w.tokens += tokens
		w.learnt++
	}
}

// mean is the mean loss of the steps, NaN when none had a token to learn.
func (w *window) mean() float64 { return w.loss / float64(w.learnt) }

func (w *window) report(it int, lr float64, trained, peak int64) run.TrainReport {
	s := max(w.spent, time.Nanosecond).Seconds() // some clocks are coarse
	return run.TrainReport{
		Iteration: it, TrainLoss: w.mean(), LearningRate: lr,
		IterationsPerSecond: float64(w.steps) / s, TokensPerSecond: float64(w.tokens) / s,
		TrainedTokens: trained, PeakMemory: float64(peak) / 1e9,
	}
}

// DryRun does one step on the rows of the given token counts: on the plan
// device it tells what a step of this run needs. All but the first token of
// each row count in the loss.
func (tr *Trainer) DryRun(lengths []int) error {
	rows := make([]Example, len(lengths))
	for i, n := range lengths {
		rows[i] = Example{IDs: make([]int32, n), Loss: [][2]int{{1, n}}}
	}
	tr.params = tr.Model.Trainable()
	tr.tape = tensor.NewTape(tr.Model.Device())
	var err error
	if tr.opt, err = newUpdates(tr.Model.Device(), tr.Options.Optimizer, tr.params); err != nil {
		return err
	}
	defer tr.close()
	if _, err := tr.gradients(pack(rows, tr.Options.MaxSeqLength, false), 1); err != nil {
		return err
	}
	return tr.update(1)
}
