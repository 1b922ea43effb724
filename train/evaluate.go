package train

import (
	"context"
	"math"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tensor"
)

// EvalOptions choose what Evaluate measures.
type EvalOptions struct {
	BatchSize    int
	Batches      int // -1 for all
	MaxSeqLength int
	Seed         uint64 // of the order, which matters when Batches is a limit
	CompatMLX    bool
}

// Evaluation is a loss over a set, weighted by tokens.
type Evaluation struct {
	Loss   float64
	Tokens int64
}

// Perplexity is exp(Loss).
func (e Evaluation) Perplexity() float64 { return math.Exp(e.Loss) }

// Evaluate measures the loss over rows; progress may be nil. Rows without a
// token to predict are an error when there are no others.
func Evaluate(ctx context.Context, m *model.Model, rows Examples, o EvalOptions, progress func(done, total int)) (Evaluation, error) {
	e, err := evaluate(ctx, m, nil, rows, o, newNumpyRandom(uint32(o.Seed)), progress)
	if err == nil && e.Tokens == 0 {
		err = fault.Of("evaluation set: none of the rows measured has a token to predict").
			Try("Raise %v, or measure more batches.", fault.Setting("max_seq_length"))
	}
	return e, err
}

// evaluate gives a loss of NaN when there was no token to predict. f may be nil.
func evaluate(ctx context.Context, m *model.Model, f *frozen, rows Examples, o EvalOptions, rng *numpyRandom, progress func(done, total int)) (Evaluation, error) {
	if err := enough(rows, "evaluation", o.BatchSize, o.CompatMLX); err != nil {
		return Evaluation{}, err
	}
	list := batches(rows.Len(), o.BatchSize, o.CompatMLX, rng)
	if o.Batches >= 0 && o.Batches < len(list) {
		list = list[:o.Batches]
	}
	t := tensor.NewTape(m.Device())
	t.Exact = true
	var sum float64
	var e Evaluation
	for i, index := range list {
		if err := ctx.Err(); err != nil {
			return e, err
		}
		b, err := load(rows, index, m.Config.VocabSize, o.MaxSeqLength, o.CompatMLX)
		if err != nil {
			return e, err
		}
		if len(b.rows) > 0 {
			sum += batchLoss(t, m, f, b) * float64(len(b.rows))
			e.Tokens += int64(len(b.rows))
		}
		if t.Err() != nil {
			return e, t.Err()
		}
		if progress != nil {
			progress(i+1, len(list))
		}
	}
	e.Loss = sum / float64(e.Tokens)
	return e, nil
}

// batchLoss is the mean loss of one batch.
func batchLoss(t *tensor.Tape, m *model.Model, f *frozen, b packed) (loss float64) {
	t.Scope(func() *tensor.Tensor {
		x := f.forward(t, m, b, false)
		loss = mean(t.Read(m.Loss(t, x, b.rows, b.targets, b.weights)))
		return nil
	})
	return loss
}
