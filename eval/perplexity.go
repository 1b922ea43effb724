package eval

import (
	"context"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/train"
)

// A Perplexity is the result of Measure. The zero value is that of no tokens.
type Perplexity struct {
	Tokens int64   // predicted
	Loss   float64 // their mean cross-entropy, in nats
	spread float64 // Σ (loss - Loss)²
}

// Value is the perplexity, exp(Loss).
func (p Perplexity) Value() float64 { return math.Exp(p.Loss) }

// StdErr is the standard error of Value, as mlx-lm computes it: the standard error of
// the mean loss times Value. It is NaN for fewer than two tokens.
func (p Perplexity) StdErr() float64 {
	n := float64(p.Tokens)
	return p.Value() * math.Sqrt(p.spread/(n-1)/n)
}

// add includes the loss of one more token (Welford, 1962).
func (p *Perplexity) add(loss float64) {
	p.Tokens++
	d := loss - p.Loss
	p.Loss += d / float64(p.Tokens)
	p.spread += d * (loss - p.Loss)
}

// Options choose how Measure works.
type Options struct {
	BatchSize int // rows at a time
	// Rounded computes as answers are computed by default: activations are rounded to
	// 8 bits for products with 4- and 8-bit weights. Otherwise all is float32.
	Rounded bool
	// Progress is called after each batch. It may be nil.
	Progress func(done, total int)
}

// Measure takes the perplexity of m over rows. Every predicted token has the same
// weight, whichever row it is in.
func Measure(ctx context.Context, m *model.Model, rows []train.Example, o Options) (Perplexity, error) {
	var p Perplexity
	if o.BatchSize < 1 {
		return p, fault.Value("batch_size", o.BatchSize, "1 or more")
	}
	t := tensor.NewTape(m.Device())
	t.Exact = !o.Rounded
	total := (len(rows) + o.BatchSize - 1) / o.BatchSize
	done := 0
	for part := range slices.Chunk(rows, o.BatchSize) {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		losses, err := train.Losses(t, m, part)
		if err != nil {
			return p, err
		}
		for _, loss := range losses {
			p.add(float64(loss))
		}
		if done++; o.Progress != nil {
			o.Progress(done, total)
		}
	}
	return p, nil
}
