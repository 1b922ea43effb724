package eval

import (
	"math"
	"testing"

	"github.com/lentil-lm/lentil/eval/score"
)

// TestForgetting: the rise of a text is that of its perplexity, whose tokens count alike however long their rows are.
func TestForgetting(t *testing.T) {
	t.Parallel()
	var g GeneralText
	text := score.Text{Loss: make([]float64, 2), Perplexity: make([]float64, 2), Rise: make([]score.Interval, 2)}
	g.fill(&text, 0, []float64{1, 2}, []int{300, 100}, 0)
	g.fill(&text, 1, []float64{1.5, 1.9}, []int{300, 100}, 0)
	const tolerance = 1e-12                        // of a few sums
	before, after := math.Exp(1.25), math.Exp(1.6) // (300·1 + 100·2)/400, (300·1.5 + 100·1.9)/400
	rise := text.Rise[1]
	if text.Tokens != 400 || !(math.Abs(text.Perplexity[0]-before) <= tolerance) || !(math.Abs(text.Perplexity[1]-after) <= tolerance) || !(math.Abs(rise.Mean-(after/before-1)) <= tolerance) {
		t.Errorf("%+v, want perplexities %g and %g", text, before, after)
	}
	if rise.N != 2 || rise.Low > rise.Mean || rise.High < rise.Mean {
		t.Errorf("the interval is %+v", rise)
	}
}
