package train

import (
	"context"
	"errors"
	"math"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

// EvalOptions choose what Evaluate measures.
type EvalOptions struct {
	Objective    Objective // nil for CrossEntropy
	BatchSize    int
	Batches      int // -1 for all
	MaxSeqLength int
	Seed         uint64 // of the order, which matters when Batches is a limit
	CompatMLX    bool
	After        *Result // of a training: its random numbers go on in place of Seed's; may be nil

	known  *references  // of the examples; may be nil
	stop   func() error // asked before each op; its error ends the measurement. Nil: never
	reduce Reduce       // with other workers; may be nil
}

// Evaluation is an objective's loss over a set: the mean over all its units.
type Evaluation struct {
	Loss    float64
	Tokens  int64       // predicted
	Figures run.Figures // what else the objective tells, as means
}

// Perplexity is exp(Loss) of CrossEntropy, and NaN of objectives that tell figures: their loss
// is no mean over tokens.
func (e Evaluation) Perplexity() float64 {
	if len(e.Figures) > 0 {
		return math.NaN()
	}
	return math.Exp(e.Loss)
}

// Evaluate measures the loss over examples; progress may be nil. A set in which no
// example has a token to predict is an error.
func Evaluate(ctx context.Context, m *model.Model, examples Examples, o EvalOptions, progress func(done, total int)) (Evaluation, error) {
	random := newNumpyRandom(uint32(o.Seed))
	if o.After != nil {
		random = o.After.random
	}
	e, err := evaluate(ctx, m, nil, examples, o, &random, progress)
	if err == nil && e.Tokens == 0 {
		err = fault.Of("evaluation set: none of the rows measured has a token to predict").
			Try("Raise %v, or measure more batches.", fault.Setting("max_seq_length"))
	}
	return e, err
}

// evaluate gives a loss of NaN when there was no token to predict. f and progress may be nil. With other workers it
// measures this one's share, and all come to the end: they are stopped together.
func evaluate(ctx context.Context, m *model.Model, f *frozen, examples Examples, o EvalOptions, random *numpyRandom, progress func(done, total int)) (Evaluation, error) {
	got, err := evaluateShare(ctx, m, f, examples, o, random, progress)
	if _, size := rankOf(o.reduce); size > 1 {
		stopped := err != nil && (ctx.Err() != nil || errors.Is(err, ErrInterrupted))
		if err != nil && !stopped {
			return Evaluation{}, err
		}
		var wished []bool
		if got, wished, err = sumMeasure(o.reduce, got, false, stopped); err == nil && wished[0] {
			err = ErrInterrupted
		}
	}
	if got.units == 0 {
		got.loss = math.NaN()
	}
	return Evaluation{Loss: got.loss, Tokens: int64(got.tokens), Figures: got.figures}, err
}

func evaluateShare(ctx context.Context, m *model.Model, f *frozen, examples Examples, o EvalOptions, random *numpyRandom, progress func(done, total int)) (all measure, err error) {
	order, err := newOrder(examples, "evaluation", o.BatchSize, o.CompatMLX)
	if err != nil {
		return all, err
	}
	total := order.batches()
	if o.Batches >= 0 {
		total = min(total, o.Batches)
	}
	t := tensor.NewTape(m.Device())
	t.Exact, t.Stop = true, o.stop
	objective := objectiveOr(o.Objective)
	reference, err := newReference(m, objective)
	if err != nil {
		return all, err
	}
	if reference != nil {
		defer reference.Free()
	}
	for done := range total {
		if err := ctx.Err(); err != nil {
			return all, err
		}
		b, err := load(m, objective, examples, share(order.next(random), o.reduce), o.MaxSeqLength, o.CompatMLX)
		if err != nil {
			return all, err
		}
		if n := objective.units(&b); n > 0 {
			var left []float32
			t.Scope(func() *tensor.Tensor {
				left = t.Read(objective.loss(&pass{tape: t, model: m, reference: reference, known: o.known, frozen: f}, &b, 1/float32(n)))
				return nil
			})
			if t.Err() != nil {
				return all, t.Err()
			}
			got := objective.measure(&b, left)
			o.known.keep(&b, got.references)
			all.loss += got.loss * float64(n)
			all.figures = all.figures.Plus(got.figures, float64(n))
			all.units += n
			all.tokens += got.tokens
		}
		if progress != nil {
			progress(done+1, total)
		}
	}
	all.loss, all.figures = all.loss/float64(all.units), all.figures.Over(float64(all.units))
	return all, nil
}

func mean(v []float32) float64 {
	var sum float64
	for _, x := range v {
		sum += float64(x)
	}
	return sum / float64(len(v))
}
