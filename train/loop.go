// Package train fine-tunes a model: batches, loss, optimizer, schedule,
// validation, reports and saves, with the defaults and file formats of mlx-lm.
package train

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"time"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

// ErrInterrupted says that a run was stopped on request, after a save.
var ErrInterrupted = errors.New("interrupted")

// A Trainer fine-tunes a model. Model, Train and Options have to be set.
type Trainer struct {
	Model   *model.Model // with an adapter, or layers unfrozen
	Train   Examples
	Valid   Examples // may be empty or nil
	Options Options  // see Defaults

	// From is the state that the run goes on from, to the bit. Run closes it. Nil begins.
	From *State
	// Save keeps a snapshot: what is trained, and what the run needs to go on. Nil saves nothing.
	Save func(Snapshot) (run.Saved, error)
	// SaveBest keeps the weights of the best validation so far. Nil keeps none.
	SaveBest func(Best) error
	// Ask looks at the model, which it leaves as it is: before the first step, every AskEvery
	// iterations, and at the end. done is the number of iterations so far. May be nil.
	Ask      func(ctx context.Context, done int) error
	AskEvery int // 0: not in between
	// PeakMemory tells the most bytes held so far, for reports. May be nil.
	PeakMemory func() int64
	// Abandon ends when the step under way is to be given up: the end of Run's ctx waits
	// for that step. The state before it is saved. Nil never ends.
	Abandon context.Context
	// Reduce joins this worker with others. Nil works alone.
	Reduce Reduce
	// Reporter hears of every step. May be nil.
	Reporter run.Reporter

	params    []nn.Param
	tape      *tensor.Tape
	reference *model.Model // see pass
	safe      state        // the last one to which a step that is given up can go back
	saved     int          // iteration of the last save
	ending    func() bool  // whether Run's ctx has ended
	stopping  bool         // after this step, as a worker wishes
	norm      *norm        // of the gradients
	ahead     *ahead       // nil for none

	store         *frozenStore // nil when nothing is kept
	frozen, valid *frozen      // of the splits

	known, knownValid *references // of the splits
}

// Result sums up a run.
type Result struct {
	Iterations    int
	TrainLoss     float64 // of the last report
	ValLoss       float64 // of the last validation, NaN without one
	TrainedTokens int64
	Best          Best // validation
	Early         bool // ended by EarlyStop

	random numpyRandom // as the run left it
}

// Run trains until Iters, an error or the end of ctx. The end of ctx saves first and
// returns ErrInterrupted.
func (tr *Trainer) Run(ctx context.Context) (Result, error) {
	result, err := tr.run(ctx)
	if tr.together() && err != nil && err != ErrInterrupted {
		tr.Reduce.Leave(err)
	}
	return result, err
}

func (tr *Trainer) run(ctx context.Context) (Result, error) {
	tr.ending, tr.stopping = func() bool { return ctx.Err() != nil }, false
	s, err := tr.prepare()
	if err != nil {
		return Result{}, err
	}
	defer tr.close(s)
	if err := tr.meet(s); err != nil {
		return Result{}, err
	}
	for s.result.Iterations < tr.Options.Iters && !s.result.Early {
		if err := tr.iterate(ctx, s); err != nil {
			if err == ErrInterrupted {
				err = tr.interrupted(s)
			}
			return s.result, err
		}
	}
	if s.skipped > 0 {
		tr.report(run.Warning{Text: fault.Say("the run ends with steps that were skipped: its weights may have diverged. Test them, or begin again with a smaller %v.", fault.Setting("learning_rate"))})
	}
	s.result.random = s.random
	if err := tr.askNow(ctx, s); err != nil {
		if err == ErrInterrupted {
			err = tr.interrupted(s)
		}
		return s.result, err
	}
	return s.result, tr.save(s, false)
}

// iterate does a step, and what is due before and after it.
func (tr *Trainer) iterate(ctx context.Context, s *state) error {
	if tr.stopping || !tr.together() && ctx.Err() != nil {
		return ErrInterrupted
	}
	if err := tr.ask(ctx, s); err != nil {
		return err
	}
	o, it := tr.Options, s.result.Iterations+1
	next := *s // a step that is interrupted leaves s as it was
	m, err := tr.take(&next)
	if err != nil {
		return err
	}
	defer m.free()
	if tr.validates(it) {
		if err := tr.validate(ctx, &next); err != nil {
			return err
		}
	}
	untrained, skipped := s.updates.done == 0, s.skipped
	got, err := tr.step(&next, m)
	if errors.Is(err, ErrInterrupted) {
		tr.giveUp(s, &next)
		return ErrInterrupted
	}
	if err != nil {
		return err
	}
	if got, err = tr.skip(&next, got); err != nil {
		return err
	}
	next.count(got)
	*s = next
	tr.report(run.Step{Iteration: it, Loss: got.loss, Tokens: got.tokens})
	if got.units > 0 {
		tr.watch(s, got.loss, untrained)
	}
	switch w := s.window; {
	case it%o.StepsPerReport == 0:
		tr.sumUp(s)
	case it == o.Iters || s.result.Early:
		tr.sumUp(s)
		s.window = w // who adds iterations later goes on with it
	}
	if s.waiting.units == 0 {
		tr.safe = *s
	}
	if !saveDue(it, o.SaveEvery, skipped) || s.skipped > 0 {
		return nil
	}
	defer s.window.goOn()
	return tr.checkpoint(s)
}

// saveDue tells whether an iteration, or one of those just before it that were skipped, is to be
// saved. Steps without a number may mean that the weights have diverged, and these shall not take
// the place of those saved before: such a save is put off.
func saveDue(iteration, every, skipped int) bool {
	return iteration/every > (iteration-skipped-1)/every
}

// abandoned is the error of a step that is to be given up.
func (tr *Trainer) abandoned() error {
	if tr.Abandon != nil && tr.Abandon.Err() != nil {
		return ErrInterrupted
	}
	return nil
}

// giveUp goes back to s from the step that made next. If that step has touched gradients
// that wait for an update, they are lost: it goes back to where none waited, or to the last
// save.
func (tr *Trainer) giveUp(s, next *state) {
	if next.waiting.units < s.waiting.units || tr.together() {
		*s = tr.safe
	}
}

// watch warns of a loss that rises.
func (tr *Trainer) watch(s *state, loss float64, untrained bool) {
	if untrained {
		s.trend.measured(loss, 1)
		return
	}
	if from, to, risen := s.trend.add(loss, s.result.Iterations == tr.Options.Iters); risen {
		lr := tr.Options.Schedule(s.updates.done - 1)
		tr.report(run.Warning{Text: fault.Say("the loss has risen from %.3f to %.3f: the learning rate of %g is likely too high. Begin again with a smaller %v.",
			from, to, lr, fault.Setting("learning_rate"))})
	}
}

// sumUp reports the steps since the last report.
func (tr *Trainer) sumUp(s *state) {
	var peak int64
	if tr.PeakMemory != nil {
		peak = tr.PeakMemory()
	}
	lr := tr.Options.Schedule(max(s.updates.done-1, 0)) // of the last update, as mlx-lm reports it
	s.result.TrainLoss = s.window.mean()
	tr.report(s.window.report(s.result.Iterations, lr, s.result.TrainedTokens, peak))
	s.window = window{start: time.Now()}
}

// validate measures the loss before the next step.
func (tr *Trainer) validate(ctx context.Context, s *state) error {
	began := time.Now()
	o := EvalOptions{
		Objective: tr.Options.Objective, BatchSize: tr.Options.BatchSize, Batches: tr.Options.ValBatches, MaxSeqLength: tr.Options.MaxSeqLength,
		CompatMLX: tr.Options.CompatMLX, known: tr.knownValid, stop: tr.abandoned, reduce: tr.Reduce,
	}
	batches := 0
	got, err := evaluate(ctx, tr.Model, tr.valid, tr.Valid, o, &s.random, func(done, total int) {
		batches = done
		tr.report(run.Progress{Task: "Calculating loss", Done: done, Total: total})
	})
	switch {
	case err == ErrInterrupted || err != nil && ctx.Err() != nil && !tr.together():
		return ErrInterrupted
	case err != nil:
		return err
	}
	s.result.ValLoss = got.Loss
	if s.updates.done == 0 && got.Tokens > 0 {
		s.trend.measured(got.Loss, batches)
	}
	tr.report(run.Validation{Iteration: s.result.Iterations + 1, Loss: got.Loss, Seconds: time.Since(began).Seconds(), Figures: got.Figures})
	defer s.window.goOn()
	if got.Tokens == 0 {
		return nil
	}
	return tr.compare(s)
}

// validates tells whether a validation comes before an iteration.
func (tr *Trainer) validates(it int) bool {
	return tr.hasValid() && (it == 1 || it%tr.Options.StepsPerEval == 0 || it == tr.Options.Iters)
}

func (tr *Trainer) hasValid() bool {
	return tr.Valid != nil && tr.Valid.Len() > 0 && tr.Options.ValBatches != 0
}

// checkpoint saves on the way.
func (tr *Trainer) checkpoint(s *state) error {
	return tr.orWarn(tr.save(s, true), "iteration", s.result.Iterations)
}

// orWarn warns of a save that failed. A disk that is full now may not be so at the next save: the run goes on.
func (tr *Trainer) orWarn(err error, what string, iteration int) error {
	if err == nil || !ofDisk(err) {
		return err
	}
	tr.report(run.Warning{Text: fault.Say("%s %d could not be saved, the training goes on and tries again at the next save: %v", what, iteration, err)})
	return nil
}

// ofDisk tells an error of the system from one of what was to be saved.
func ofDisk(err error) bool {
	var number syscall.Errno
	var path *fs.PathError
	return errors.As(err, &number) || errors.As(err, &path)
}

func (tr *Trainer) save(s *state, checkpoint bool) error {
	it, kept := s.result.Iterations, s
	if tr.together() {
		// Gradients that wait are not in one place: the state is that before them, whose weights are the same.
		kept = &tr.safe
	}
	keys, err := tr.gatherKeys(kept.keys)
	if err != nil {
		return err
	}
	if rank, _ := tr.rank(); rank == 0 && tr.Save != nil {
		saved, err := tr.Save(Snapshot{Iteration: it, Checkpoint: checkpoint, tr: tr, state: kept, keys: keys})
		if err != nil {
			return err
		}
		tr.report(saved)
	}
	tr.safe, tr.saved = *kept, it
	return nil
}

// interrupted saves what there is before a run ends early, unless that is saved already.
func (tr *Trainer) interrupted(s *state) error {
	if s.result.Iterations == tr.saved {
		return ErrInterrupted
	}
	if err := tr.save(s, true); err != nil {
		return err
	}
	return ErrInterrupted
}

func (tr *Trainer) report(e run.Event) {
	if tr.Reporter != nil {
		tr.Reporter.Report(e)
	}
}

// prepare checks everything that a run needs, so that no mistake ends a long one.
func (tr *Trainer) prepare() (*state, error) {
	o := tr.Options
	if err := o.Check(); err != nil {
		return nil, err
	}
	order, err := tr.check(tr.Train, "training")
	if err != nil {
		return nil, err
	}
	if tr.hasValid() {
		if _, err := tr.check(tr.Valid, "validation"); err != nil {
			return nil, err
		}
	}
	if o.EarlyStop > 0 && !tr.hasValid() {
		return nil, fault.Given("early_stop", o.EarlyStop, "there are no validations that could tell when").Try("Add a validation set, or leave %v out.", fault.Setting("early_stop"))
	}
	u, err := tr.begin()
	if err != nil {
		return nil, err
	}
	s := newState(order, o.Seed, u)
	rank, _ := tr.rank()
	s.keys = dropoutKey(o.Seed, rank)
	if tr.From != nil {
		err := tr.restore(s, tr.From)
		if err = errors.Join(err, tr.From.Close()); err != nil {
			tr.close(s)
			return nil, err
		}
	}
	tr.safe, tr.saved = *s, s.result.Iterations
	tr.keepFrozen()
	return s, nil
}

// check looks at all examples of a split.
func (tr *Trainer) check(examples Examples, split string) (order, error) {
	if examples == nil {
		examples = List(nil)
	}
	o, err := newOrder(examples, split, tr.Options.BatchSize, tr.Options.CompatMLX)
	if err != nil {
		return o, err
	}
	for i := range examples.Len() {
		if _, err := example(tr.Model, tr.Options.objective(), examples, i, tr.Options.MaxSeqLength); err != nil {
			return o, err
		}
	}
	return o, nil
}

// begin finds the parameters and makes what the optimizer keeps of them.
func (tr *Trainer) begin() (*updates, error) {
	tr.params = tr.Model.Trainable()
	if len(tr.params) == 0 {
		return nil, errors.New("nothing to train: no adapter is attached and no layer is unfrozen")
	}
	tr.tape = tensor.NewTape(tr.Model.Device())
	tr.tape.Stop = tr.abandoned
	u, err := newUpdates(tr.Model.Device(), tr.Options.Optimizer, tr.params)
	if err != nil {
		return nil, err
	}
	if tr.reference, err = newReference(tr.Model, tr.Options.objective()); err == nil {
		tr.norm, err = newNorm(tr.Model.Device(), tr.Options.MaxGradNorm)
	}
	if err != nil {
		u.free()
		tr.release()
		return nil, err
	}
	return u, nil
}

// keepFrozen sets up the cache of the frozen layers, for the splits whose examples
// come more than once.
func (tr *Trainer) keepFrozen() {
	o := tr.Options
	tr.store = newFrozenStore(tr.Model.Device(), o.Frozen, func(text string) { tr.report(run.Warning{Text: fault.Say("%s", text)}) })
	again, validAgain := o.Iters > tr.Train.Len()/o.BatchSize, tr.hasValid() && o.Iters > 1
	tr.frozen = newFrozen(tr.Model, tr.store, again)
	tr.valid = newFrozen(tr.Model, tr.store, validAgain)
	tr.known = newReferences(tr.Model, o.objective(), tr.store != nil && again)
	tr.knownValid = newReferences(tr.Model, o.objective(), tr.store != nil && validAgain)
}

func (tr *Trainer) close(s *state) {
	if tr.ahead != nil {
		tr.ahead.free()
		tr.ahead = nil
	}
	tr.frozen.free()
	tr.valid.free()
	tr.store.close()
	s.updates.free()
	for _, p := range tr.params {
		p.FreeGrad()
	}
	tr.release()
}

// release gives back what steps have beside the state.
func (tr *Trainer) release() {
	if tr.reference != nil {
		tr.reference.Free()
		tr.reference = nil
	}
	tr.norm.free()
	tr.norm = nil
}

// DryRun does one step on sequences of the given token counts: on the plan device it
// tells what a step of this run needs. All but the first token of each count in
// the loss, and those that follow each other make up examples.
func (tr *Trainer) DryRun(lengths []int) error {
	if n := tr.Options.MaxSeqLength; n < 2 {
		return fault.Value("max_seq_length", n, "2 or more")
	}
	list := make([]Example, len(lengths))
	for i, n := range lengths {
		list[i] = Example{IDs: make([]int32, n), Loss: [][2]int{{1, n}}, Hold: [][2]int{{1, n}}}
	}
	list = grouped(list, tr.Options.objective().sequences())
	u, err := tr.begin()
	if err != nil {
		return err
	}
	s := newState(order{}, tr.Options.Seed, u)
	defer tr.close(s)
	m := &microStep{batch: pack(list, tr.Options.MaxSeqLength, false)}
	defer m.free()
	if m.queue(tr, s); m.failed == nil && m.left != nil {
		m.failed = tr.update(s, 1, m)
	}
	return m.failed
}

// grouped makes examples of n sequences each; what is left at the end is repeated.
func grouped(list []Example, n int) (out []Example) {
	for ; len(list) > 0; list = list[min(n, len(list)):] {
		e := list[0]
		for i := 1; i < n; i++ {
			e.Others = append(e.Others, list[min(i, len(list)-1)])
		}
		out = append(out, e)
	}
	return out
}
