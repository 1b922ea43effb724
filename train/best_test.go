package train

import (
	"fmt"
	"math"
	"slices"
	"syscall"
	"testing"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/run"
)

// TestBest: the weights of each validation that is better than those before it are kept, as they were validated, and a
// run ends after so many that were not. What waits for an update then is applied, as at any end.
func TestBest(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for name, test := range map[string]struct {
		other int32 // added to the tokens that the validation set predicts: none of them is learnt
		early int
	}{"learning": {0, 2}, "rising": {5, 2}, "rising, patient": {5, 3}, "rising, to the end": {5, 0}} {
		o := options()
		o.Iters, o.StepsPerEval, o.StepsPerReport, o.SaveEvery, o.EarlyStop, o.Schedule = 20, 2, 5, 100, test.early, Constant(2e-2)
		o.GradAccumulationSteps = 3
		valid := someRows(12)
		for i := range valid {
			valid[i].Loss = [][2]int{{3, 4}}
			valid[i].IDs[3] = (valid[i].IDs[3] + test.other) % modeltest.Vocab
		}
		trainer := func(o Options) (*Trainer, *log) {
			tr, l := newTrainer(t, dev, o)
			tr.Valid = valid
			return tr, l
		}
		tr, l := trainer(o)
		var kept []int
		var weights [][]float32
		tr.SaveBest = func(b Best) error {
			kept = append(kept, b.Iteration)
			weights = trained(t, tr)
			return nil
		}
		result, err := tr.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var want []int
		best, worse, ends := math.Inf(1), 0, o.Iters
		for _, v := range eventsOf[run.Validation](l) {
			if worse++; v.Loss < best {
				best, worse, want = v.Loss, 0, append(want, v.Iteration)
			}
			if worse == test.early && test.early > 0 {
				ends = v.Iteration
				break // that is the last one
			}
		}
		if test.other > 0 && test.early > 0 && ends == o.Iters || name == "learning" && len(want) < 3 {
			t.Errorf("%s: ends at %d, best at %v: this tests nothing", name, ends, want)
		}
		if !slices.Equal(kept, want) || result.Best != (Best{want[len(want)-1], best}) || result.Iterations != ends || result.Early != (ends < o.Iters) {
			t.Errorf("%s: kept %v, want %v; %+v, %v; ended after %d, want %d", name, kept, want, result.Best, result.Early, result.Iterations, ends)
		}
		if last := eventsOf[run.TrainReport](l); last[len(last)-1].Iteration != ends {
			t.Errorf("%s: the last report is of iteration %d", name, last[len(last)-1].Iteration)
		}
		// The kept weights give the loss.
		for i, p := range tr.Model.Trainable() {
			write(t, dev, p.Tensor, weights[i])
		}
		again, err := Evaluate(t.Context(), tr.Model, tr.Valid, EvalOptions{BatchSize: o.BatchSize, Batches: -1, MaxSeqLength: o.MaxSeqLength}, nil)
		if err != nil || !(math.Abs(again.Loss-best) <= 1e-6*best) { // batches in another order
			t.Errorf("%s: the best weights have a loss of %v, not %v, %v", name, again.Loss, best, err)
		}
		// A run of as many iterations leaves the same.
		o.Iters, o.EarlyStop = ends, 0
		short, _ := trainer(o)
		o.Iters, o.EarlyStop = 20, test.early
		early, _ := trainer(o)
		if _, err := short.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := early.Run(t.Context()); err != nil || !slices.EqualFunc(trained(t, short), trained(t, early), slices.Equal[[]float32]) {
			t.Errorf("%s: other weights than after %d iterations, %v", name, ends, err)
		}
	}
}

// TestBestMistakes: without validations there is none that could end a run; a disk that is full does not end it.
func TestBestMistakes(t *testing.T) {
	t.Parallel()
	o := options()
	o.EarlyStop = 1
	tr, _ := newTrainer(t, newCPU(t), o)
	tr.Valid = nil
	if _, err := tr.Run(t.Context()); fault.SettingOf(err) != "early_stop" {
		t.Errorf("no validation set: %v", err)
	}
	tr, l := newTrainer(t, newCPU(t), o) // no validation gives a number
	s := &state{}
	s.result.ValLoss = math.NaN()
	if err := tr.compare(s); err != nil || !s.result.Early {
		t.Errorf("NaN: %v, %+v", err, s.result)
	}
	if told := eventsOf[run.Message](l); len(told) != 1 || told[0].Text.String() != "This is the last step: of the validations so far (1), none had a loss that is a number." {
		t.Errorf("NaN: %v", told)
	}
	o.EarlyStop = 0
	tr, l = newTrainer(t, newCPU(t), o)
	tr.SaveBest = func(Best) error { return fmt.Errorf("best: %w", syscall.ENOSPC) }
	if _, err := tr.Run(t.Context()); err != nil || len(eventsOf[run.Warning](l)) == 0 {
		t.Errorf("a full disk: %v, %v", err, eventsOf[run.Warning](l))
	}
}
