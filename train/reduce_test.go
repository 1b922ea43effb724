package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/run"
)

// workersTolerance of losses, relative: sums in another order, which updates pass on.
const workersTolerance = 1e-6

// workers run trainers of one model together, each on a device of its own.
type workers struct {
	trainers []*Trainer
	logs     []*log
	results  []Result
	errors   []error
}

// runTogether makes and runs size workers; change is given each before it runs.
func runTogether(t *testing.T, ctx context.Context, size int, o Options, change func(rank int, tr *Trainer, l *log)) *workers {
	t.Helper()
	w := &workers{results: make([]Result, size), errors: make([]error, size)}
	group := Group(size)
	for rank := range size {
		tr, l := newTrainer(t, newCPU(t), o)
		withoutDropout(t, tr)
		if tr.Reduce = group[rank]; size == 1 {
			tr.Reduce = nil
		}
		if change != nil {
			change(rank, tr, l)
		}
		w.trainers, w.logs = append(w.trainers, tr), append(w.logs, l)
	}
	var all sync.WaitGroup
	for rank, tr := range w.trainers {
		all.Go(func() { w.results[rank], w.errors[rank] = tr.Run(ctx) })
	}
	all.Wait()
	return w
}

// lossesOf are all losses that a log tells, in order, with what they are of.
func lossesOf(l *log) (names []string, losses []float64) {
	for _, e := range l.events {
		switch e := e.(type) {
		case run.Step:
			names, losses = append(names, fmt.Sprintf("step %d, %d tokens", e.Iteration, e.Tokens)), append(losses, e.Loss)
		case run.TrainReport:
			names, losses = append(names, fmt.Sprintf("report %d, %d tokens", e.Iteration, e.TrainedTokens)), append(losses, e.TrainLoss)
		case run.Validation:
			names, losses = append(names, fmt.Sprintf("validation %d", e.Iteration)), append(losses, e.Loss)
		}
	}
	return names, losses
}

// TestWorkers: two and three workers give the losses and weights of one. All of them hear of all losses, to the same bits,
// and only the first saves.
func TestWorkers(t *testing.T) {
	t.Parallel()
	silent := Example{IDs: ids(9, 1)} // nothing to learn
	for name, test := range map[string]struct {
		size   int
		change func(*Options)
		rows   rowList
	}{
		"two":                  {2, func(*Options) {}, someRows(12)},
		"a last batch of one":  {2, func(o *Options) { o.BatchSize = 4 }, someRows(9)},
		"three, accumulation":  {3, func(o *Options) { o.GradAccumulationSteps = 3 }, someRows(12)},
		"rows without loss":    {2, func(o *Options) { o.BatchSize, o.GradAccumulationSteps = 2, 2 }, slices.Concat(someRows(5), rowList{silent, silent, silent, silent})},
		"only rows of that":    {2, func(*Options) {}, rowList{silent, silent, silent}},
		"pairs":                {2, func(o *Options) { o.Objective, o.GradAccumulationSteps = DPO{Beta: 0.02}, 2 }, somePairs(11, 3, false)},
		"adafactor, more rows": {2, func(o *Options) { o.Optimizer.Name, o.BatchSize = "adafactor", 12 }, someRows(12)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options()
			o.Schedule = Constant(1e-3)
			test.change(&o)
			saves := make([]int, test.size)
			change := func(rank int, tr *Trainer, _ *log) {
				tr.Train = test.rows
				if o.Objective != nil {
					tr.Valid = somePairs(5, 4, false)
				}
				save := tr.Save
				tr.Save = func(s Snapshot) (run.Saved, error) {
					saves[rank]++
					return save(s)
				}
			}
			one := runTogether(t, t.Context(), 1, o, change)
			saved := saves[0]
			clear(saves)
			many := runTogether(t, t.Context(), test.size, o, change)
			if err := errors.Join(append(many.errors, one.errors...)...); err != nil {
				t.Fatal(err)
			}
			names, want := lossesOf(one.logs[0])
			for rank, l := range many.logs {
				got, losses := lossesOf(l)
				if !slices.Equal(got, names) {
					t.Fatalf("worker %d tells\n%s\nwant\n%s", rank, strings.Join(got, "\n"), strings.Join(names, "\n"))
				}
				for i, loss := range losses {
					if !(math.Abs(loss-want[i]) <= workersTolerance*math.Abs(want[i])) && !(math.IsNaN(loss) && math.IsNaN(want[i])) {
						t.Errorf("worker %d, %s: loss %v, of one worker %v", rank, names[i], loss, want[i])
					}
				}
				if _, first := lossesOf(many.logs[0]); fmt.Sprint(first) != fmt.Sprint(losses) {
					t.Errorf("worker %d has other losses than the first", rank)
				}
				if rank > 0 && saves[rank] > 0 || saves[0] != saved {
					t.Errorf("saves %v, of one worker %d", saves, saved)
				}
				if a, b := trained(t, many.trainers[rank]), trained(t, many.trainers[0]); !slices.EqualFunc(a, b, slices.Equal[[]float32]) {
					t.Errorf("worker %d has other weights than the first", rank)
				}
			}
		})
	}
}

// TestWorkersAsMLX: under mlx-lm's rules the gradients and losses are means of the workers' means, and a batch is parted evenly.
func TestWorkersAsMLX(t *testing.T) {
	t.Parallel()
	o := options()
	o.CompatMLX, o.Iters, o.ValBatches = true, 1, 0
	w := runTogether(t, t.Context(), 2, o, nil)
	if err := errors.Join(w.errors...); err != nil {
		t.Fatal(err)
	}
	tr, _ := newTrainer(t, newCPU(t), o)
	withoutDropout(t, tr)
	s, err := tr.prepare()
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close(s)
	index := s.order.next(&s.random)
	var want float64
	for rank := range 2 {
		b, err := load(tr.Model, CrossEntropy{}, tr.Train, []int{index[rank], index[rank+2]}, o.MaxSeqLength, true)
		if err != nil {
			t.Fatal(err)
		}
		left, err := tr.gradients(s, &b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tr.measure(&b, left)
		if err != nil {
			t.Fatal(err)
		}
		want += got.loss / 2
	}
	if got := eventsOf[run.Step](w.logs[1])[0].Loss; !(math.Abs(got-want) <= workersTolerance*want) {
		t.Errorf("loss %v, want %v", got, want)
	}
	o.BatchSize = 3
	w = runTogether(t, t.Context(), 2, o, nil)
	if err := w.errors[0]; fault.SettingOf(err) != "batch_size" || !strings.Contains(err.Error(), "a multiple of the 2 workers") {
		t.Errorf("an odd batch: %v", err)
	}
}

// TestWorkersEnd: an error, an interrupt or a wish to give a step up of one worker ends all, none waits for ever, and what was
// trained by all is saved by the first.
func TestWorkersEnd(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		of     int // the worker that it happens to
		change func(tr *Trainer, l *log, cancel func())
		want   error // of that worker
		others error
	}{
		"an error in the rows": {1, func(tr *Trainer, _ *log, _ func()) { tr.Train = brokenRows{someRows(12)} }, nil, ErrWorker},
		"one later":            {1, func(tr *Trainer, _ *log, _ func()) { tr.Train = &lateRows{someRows(12), 20} }, nil, ErrWorker},
		"a mistake":            {0, func(tr *Trainer, _ *log, _ func()) { tr.Options.Iters = 0 }, nil, ErrWorker},
		"another model":        {1, func(tr *Trainer, _ *log, _ func()) { newAdapter(t, tr, 3) }, nil, nil},
		"other data":           {0, func(tr *Trainer, _ *log, _ func()) { tr.Train = someRows(11) }, nil, nil},
		"a save": {0, func(tr *Trainer, _ *log, _ func()) {
			tr.Save = func(Snapshot) (run.Saved, error) { return run.Saved{}, broken }
		}, broken, ErrWorker},
		"an interrupt":          {1, func(_ *Trainer, l *log, cancel func()) { atStep(l, 5, cancel) }, ErrInterrupted, ErrInterrupted},
		"in its validation":     {1, func(_ *Trainer, l *log, cancel func()) { atProgress(l, 4, cancel) }, ErrInterrupted, ErrInterrupted},
		"a step that is broken": {1, func(tr *Trainer, l *log, cancel func()) { giveUpAt(t, tr, l, 6, cancel) }, ErrInterrupted, ErrInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options()
			o.GradAccumulationSteps, o.SaveEvery = 2, 3
			dir := t.TempDir()
			ctxs := make([]context.Context, 2)
			group := Group(2)
			var results [2]Result
			var failed [2]error
			var all sync.WaitGroup
			for rank := range 2 {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ctxs[rank] = ctx
				tr, l := newTrainer(t, newCPU(t), o)
				tr.Reduce = group[rank]
				keepStates(tr, dir)
				if rank == test.of {
					test.change(tr, l, cancel)
				}
				all.Go(func() { results[rank], failed[rank] = tr.Run(ctx) })
			}
			all.Wait()
			other := 1 - test.of
			if failed[test.of] == nil || failed[other] == nil || test.want != nil && !errors.Is(failed[test.of], test.want) || test.others != nil && !errors.Is(failed[other], test.others) {
				t.Fatalf("%v; the other worker: %v", failed[test.of], failed[other])
			}
			if test.want != ErrInterrupted {
				return
			}
			if results[0].Iterations != results[1].Iterations {
				t.Errorf("stopped after %d and %d iterations", results[0].Iterations, results[1].Iterations)
			}
			s, err := OpenState(filepath.Join(dir, "state"))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if done := s.Result().Iterations; done%2 > 0 || done > results[0].Iterations || done < results[0].Iterations-1 {
				t.Errorf("the state of %d iterations is saved, %d were done", done, results[0].Iterations)
			}
		})
	}
}

// TestWorkersGoOn: two workers that were stopped go on to the bits of two that were not, with dropout of their own.
func TestWorkersGoOn(t *testing.T) {
	t.Parallel()
	o := options()
	o.GradAccumulationSteps = 2
	dropout := func(rank int, tr *Trainer) { newAdapter(t, tr, 2) }
	whole := runTogether(t, t.Context(), 2, o, func(rank int, tr *Trainer, _ *log) { dropout(rank, tr) })
	if err := errors.Join(whole.errors...); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runTogether(t, ctx, 2, o, func(rank int, tr *Trainer, l *log) {
		dropout(rank, tr)
		keepStates(tr, dir)
		if rank == 1 {
			atStep(l, 5, cancel)
		}
	})
	rest := runTogether(t, t.Context(), 2, o, func(rank int, tr *Trainer, _ *log) {
		dropout(rank, tr)
		tr.From = openState(t, dir)
	})
	if err := errors.Join(rest.errors...); err != nil {
		t.Fatal(err)
	}
	for rank := range 2 {
		want, got := eventsOf[run.Step](whole.logs[rank]), eventsOf[run.Step](rest.logs[rank])
		if len(got) == 0 || !slices.Equal(got, want[len(want)-len(got):]) {
			t.Errorf("worker %d: %v, want %v", rank, got, want)
		}
		if a, b := trained(t, rest.trainers[rank]), trained(t, whole.trainers[0]); !slices.EqualFunc(a, b, slices.Equal[[]float32]) {
			t.Errorf("worker %d has other weights", rank)
		}
	}
	tr, _ := newTrainer(t, newCPU(t), o)
	tr.From = openState(t, dir)
	if _, err := tr.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "it is that of 2 workers") {
		t.Errorf("alone: %v", err)
	}
}

// TestDropoutKeys: each worker has its own random numbers, and the first those of one that is alone.
func TestDropoutKeys(t *testing.T) {
	t.Parallel()
	seen := map[compute.Key]bool{}
	for rank := range 5 {
		seen[dropoutKey(7, rank)] = true
	}
	if len(seen) != 5 || dropoutKey(7, 0) != newState(order{}, 7, nil).keys {
		t.Errorf("keys %v", seen)
	}
}

// lateRows break after some have been read.
type lateRows struct {
	rowList
	left int
}

func (r *lateRows) Example(i int) (Example, error) {
	if r.left--; r.left < 0 {
		return Example{}, errors.New("the disk is gone")
	}
	return r.rowList.Example(i)
}

func newAdapter(t *testing.T, tr *Trainer, rank int) {
	t.Helper()
	if _, err := adapter.New(tr.Model, adapter.Config{Rank: rank, Scale: 4, Dropout: 0.1}, compute.NewKey(0)); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, tr.Model, 0.1)
}

func atStep(l *log, iteration int, do func()) {
	l.do = func(e run.Event) {
		if s, ok := e.(run.Step); ok && s.Iteration == iteration {
			do()
		}
	}
}

// atProgress does something in the first validation after a step.
func atProgress(l *log, iteration int, do func()) {
	steps := 0
	l.do = func(e run.Event) {
		switch e.(type) {
		case run.Step:
			steps++
		case run.Progress:
			if steps == iteration {
				do()
			}
		}
	}
}

// giveUpAt gives up the step after another one, in its second half.
func giveUpAt(t *testing.T, tr *Trainer, l *log, iteration int, cancel func()) {
	hurry, abandon := context.WithCancel(t.Context())
	tr.Abandon = hurry
	atStep(l, iteration, func() { cancel(); abandon() })
}
