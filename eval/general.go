package eval

import (
	"context"
	_ "embed"
	"math"

	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/train"
)

// GeneralProse is a text on everyday matters, written for the project: what a fine-tuning on something else should leave alone.
//
//go:embed general/prose.txt
var GeneralProse string

// generalQuestions are questions of general knowledge, written for the project.
//
//go:embed general/questions.jsonl
var generalQuestions []byte

// OwnQuestions are questions of general knowledge that come with Lentil.
func OwnQuestions() ([]score.Question, error) {
	return score.Parse("general/questions.jsonl", generalQuestions)
}

// measure takes the mean loss of each row, and counts its predicted tokens.
func (g *GeneralText) measure(ctx context.Context, m *model.Model, progress func(done, total int)) (losses []float64, tokens []int, err error) {
	t := tensor.NewTape(m.Device())
	t.Exact = true
	for i, row := range g.Rows {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		of, err := train.Losses(t, m, []train.Example{row})
		if err != nil {
			return nil, nil, err
		}
		sum := 0.0
		for _, l := range of {
			sum += float64(l)
		}
		losses, tokens = append(losses, sum/float64(max(len(of), 1))), append(tokens, len(of))
		progress(i+1, len(g.Rows))
	}
	return losses, tokens, nil
}

// fill puts the losses of column c into a text's results. The rise over the base comes from the differences by row, so that
// rows that are hard for both do not widen its interval.
func (g *GeneralText) fill(text *score.Text, c int, losses []float64, tokens []int, seed uint64) {
	sum, n := 0.0, 0
	for i, l := range losses {
		sum, n = sum+l*float64(tokens[i]), n+tokens[i]
	}
	text.Tokens = int64(n)
	loss := sum / float64(max(n, 1))
	if c == 0 {
		text.Loss[0], text.Perplexity[0] = finite(loss), finite(math.Exp(loss))
		g.base = losses
		return
	}
	text.Loss[c], text.Perplexity[c] = finite(loss), finite(math.Exp(loss))
	differences := make([]float64, len(losses))
	for i := range losses {
		differences[i] = finite((losses[i] - g.base[i]) * float64(tokens[i]) * float64(len(losses)) / float64(max(n, 1)))
	}
	rise := score.Mean(differences, seed)
	text.Rise[c] = score.Interval{N: rise.N, Mean: finite(math.Expm1(rise.Mean)), Low: finite(math.Expm1(rise.Low)), High: finite(math.Expm1(rise.High))}
}

// finite bounds a loss of a model that is out of order, as JSON has no word for infinity.
func finite(x float64) float64 {
	const most = 1e300
	if math.IsNaN(x) {
		return most
	}
	return max(-most, min(most, x))
}
