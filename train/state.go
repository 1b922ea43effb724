package train

import (
	"math"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/run"
)

// A state is everything that changes from step to step, apart from the trained
// parameters and the gradients that wait for an update. It and they decide how a run
// with given settings and data goes on.
type state struct {
	order   order        // of the training examples
	random  numpyRandom  // draws that order, and the validations'
	keys    compute.Key  // random numbers of dropout
	updates *updates     // the optimizer with its moments
	waiting accumulation // gradients since the last update
	window  window       // steps since the last report
	trend   trend        // of the loss, since the run began
	worse   int          // validations, one after another up to now, that were not better than the best
	skipped int          // steps, one after another up to now, whose loss was no number
	result  Result       // so far
}

// dropoutStream sets dropout's random numbers apart from those that LoRA matrices
// start with: "lentil".
const dropoutStream = 0x6c656e74696c

func newState(order order, seed uint64, u *updates) *state {
	return &state{
		order: order, random: newNumpyRandom(uint32(seed)), keys: dropoutKey(seed, 0), updates: u,
		window: window{start: time.Now()}, result: Result{ValLoss: math.NaN()},
	}
}

// count adds a step to the figures.
func (s *state) count(m measure) {
	s.result.Iterations++
	s.result.TrainedTokens += int64(m.tokens)
	s.window.add(m)
}

// window sums up the steps since the last report.
type window struct {
	start   time.Time
	spent   time.Duration
	loss    float64     // sum of the steps'
	figures run.Figures // sums of the steps'
	tokens  int
	steps   int
	learnt  int     // steps that had something to learn
	norms   float64 // sum of the norms of gradients ...
	updates int     // ... of so many updates
}

func (w *window) add(m measure) {
	w.steps++
	w.spent = time.Since(w.start)
	if m.units > 0 {
		w.loss += m.loss
		w.figures = w.figures.Plus(m.figures, 1)
		w.tokens += m.tokens
		w.learnt++
	}
	if m.norm > 0 {
		w.norms += m.norm
		w.updates++
	}
}

// goOn does not count the time since the last step.
func (w *window) goOn() { w.start = time.Now().Add(-w.spent) }

// mean is the mean loss of the steps, NaN when none had something to learn.
func (w *window) mean() float64 { return w.loss / float64(w.learnt) }

// gigabyte is the unit of memory in reports, as in mlx-lm's.
const gigabyte = 1e9

func (w *window) report(it int, lr float64, trained, peak int64) run.TrainReport {
	s := max(w.spent, time.Nanosecond).Seconds() // some clocks are coarse
	figures := w.figures.Over(float64(w.learnt))
	if w.updates > 0 {
		figures = append(figures, run.Figure{Name: "grad_norm", Value: w.norms / float64(w.updates)})
	}
	return run.TrainReport{
		Iteration: it, TrainLoss: w.mean(), LearningRate: lr,
		IterationsPerSecond: float64(w.steps) / s, TokensPerSecond: float64(w.tokens) / s,
		TrainedTokens: trained, PeakMemory: float64(peak) / gigabyte, Figures: figures,
	}
}
