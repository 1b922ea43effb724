package eval

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/train"
)

// A Perplexity is what Measure found. The zero value is that of no tokens.
type Perplexity struct {
	Tokens int64   // predicted
	Loss   float64 // their mean cross-entropy, in nats
	spread float64 // Σ (loss - Loss)²
}

// Value is the perplexity, exp(Loss).
func (p Perplexity) Value() float64 { return math.Exp(p.Loss) }

// StdErr is the standard error of Value: that of the mean loss, from the sample
// variance of the tokens' losses, carried through the exponential to first order
// as mlx-lm does. It is NaN for fewer than two tokens.
func (p Perplexity) StdErr() float64 {
	n := float64(p.Tokens)
	return p.Value() * math.Sqrt(p.spread/(n-1)/n)
}

// add takes one more token's loss in (Welford, 1962).
func (p *Perplexity) add(loss float64) {
	p.Tokens++
	d := loss - p.Loss
	p.Loss += d / float64(p.Tokens)
	p.spread += d * (loss - p.Loss)
}

// Options choose how Measure works.
type Options struct {
	BatchSize int // rows at a time
	// Rounded computes as answers are by default, with activations rounded to 8 bits
	// for products with 4- and 8-bit weights, instead of float32 throughout.
	Rounded bool
	// Progress hears of finished batches; may be nil.
	Progress func(done, total int)
}

// Measure takes the perplexity of m over rows. Every predicted token counts the
// same, whichever row it is in.
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
		b, at, targets, err := pack(part, m.Config.VocabSize)
		if err != nil {
			return p, err
		}
		for _, loss := range losses(t, m, b, at, targets) {
			p.add(float64(loss))
		}
		if t.Err() != nil {
			return p, t.Err()
		}
		if done++; o.Progress != nil {
			o.Progress(done, total)
		}
	}
	return p, nil
}

// pack lays rows one behind the other. at [R] are the tokens whose output predicts
// targets [R]; the last token of a row predicts nothing and stays out.
func pack(rows []train.Example, vocab int) (b model.Batch, at, targets []int32, err error) {
	b.Bounds = []int32{0}
	for _, row := range rows {
		for i, id := range row.IDs {
			if id < 0 || int(id) >= vocab {
				return b, nil, nil, fmt.Errorf("token %d of a row is %d, but the model's vocabulary has %d: tokenizer and model do not belong together", i, id, vocab)
			}
		}
		if len(row.IDs) < 2 {
			continue
		}
		start := len(b.Tokens)
		last := len(row.IDs) - 1
		b.Tokens = append(b.Tokens, row.IDs[:last]...)
		for i := range last {
			b.Positions = append(b.Positions, int32(i))
		}
		b.Bounds = append(b.Bounds, int32(len(b.Tokens)))
		for _, span := range row.Loss {
			for s := max(span[0], 1); s < min(span[1], len(row.IDs)); s++ {
				at = append(at, int32(start+s-1))
				targets = append(targets, row.IDs[s])
			}
		}
	}
	return b, at, targets, nil
}

// losses is the cross-entropy of each target.
func losses(t *tensor.Tape, m *model.Model, b model.Batch, at, targets []int32) (out []float32) {
	if len(targets) == 0 {
		return nil
	}
	t.Scope(func() *tensor.Tensor {
		in, pass := m.Begin(t, b, nil)
		x := m.Layers(t, in, pass, 0, len(m.Blocks), false)
		out = t.Read(m.Loss(t, x, at, targets, make([]float32, len(targets)))) // weights count in the gradient only
		return nil
	})
	return out
}
