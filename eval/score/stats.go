package score

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// resamples is how often a bootstrap draws.
const resamples = 2000

// level is the share of intervals that hold the true value, and 1 - level the error that a test may make.
const level = 0.95

// An Interval is a mean with its 95 % interval. The zero value is that of nothing.
type Interval struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Mean gives the mean of scores and its interval by the bootstrap: the 2.5 % and 97.5 % quantiles of the means of
// samples drawn with replacement (Efron, 1979), the same for the same seed. Where all scores are the same 0 or 1, that
// interval has no width, and Clopper and Pearson's (1934) stands in its place.
func Mean(scores []float64, seed uint64) Interval {
	n := len(scores)
	if n == 0 {
		return Interval{}
	}
	sum := 0.0
	for _, s := range scores {
		sum += s
	}
	out := Interval{N: n, Mean: sum / float64(n)}
	if !slices.ContainsFunc(scores, func(s float64) bool { return s != scores[0] }) {
		out.Low, out.High = out.Mean, out.Mean
		edge := 1 - math.Pow((1-level)/2, 1/float64(n))
		switch scores[0] {
		case 0:
			out.High = edge
		case 1:
			out.Low = 1 - edge
		}
		return out
	}
	random := rand.New(rand.NewPCG(seed, 0x1e57))
	means := make([]float64, resamples)
	for i := range means {
		sum := 0.0
		for range n {
			sum += scores[random.IntN(n)]
		}
		means[i] = sum / float64(n)
	}
	slices.Sort(means)
	out.Low, out.High = quantile(means, (1-level)/2), quantile(means, (1+level)/2)
	return out
}

func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// A Verdict says what came of a change.
type Verdict string

// The verdicts.
const (
	Helped     Verdict = "helped"
	Harmed     Verdict = "made it worse"
	DidNotHelp Verdict = "did not help"
	Unclear    Verdict = "cannot be told"
)

// worth is the gain, as a share of the questions, from which on a change counts as help. A change that is shown to gain
// less did not help.
const worth = 0.10

// A Comparison is what two models that answered the same questions show.
type Comparison struct {
	N          int      `json:"n"`
	Won        int      `json:"became_right"` // wrong before, right after
	Lost       int      `json:"became_wrong"`
	Difference Interval `json:"difference"` // of the shares of right answers
	P          float64  `json:"p"`          // of McNemar's exact test, two-sided
	Verdict    Verdict  `json:"verdict"`
	Needed     int      `json:"questions_needed,omitempty"` // about, where it cannot be told
}

// Compare tests whether after is another model than before, right answer by right answer. same says that all answers
// are word for word the same.
//
// "helped" and "made it worse" need McNemar's exact test (1947) at 5 %. "did not help" needs that the upper end of the
// interval of the difference, which is Agresti and Min's (2005) for pairs, is below a gain of 10 of 100 questions. What
// is neither cannot be told with so few questions.
func Compare(before, after []bool, same bool) Comparison {
	c := Comparison{N: len(before)}
	for i := range before {
		switch {
		case !before[i] && after[i]:
			c.Won++
		case before[i] && !after[i]:
			c.Lost++
		}
	}
	c.P = McNemar(c.Won, c.Lost)
	c.Difference = pairs(c.N, c.Won, c.Lost)
	switch {
	case c.N == 0:
		c.Verdict = Unclear
	case same:
		c.Verdict = DidNotHelp
	case c.P < 1-level && c.Won > c.Lost:
		c.Verdict = Helped
	case c.P < 1-level:
		c.Verdict = Harmed
	case c.Difference.High < worth:
		c.Verdict = DidNotHelp
	default:
		c.Verdict, c.Needed = Unclear, c.needed()
	}
	return c
}

// String is the verdict as it is told: "cannot be told with 20 questions".
func (c Comparison) String() string {
	if c.Verdict != Unclear {
		return string(c.Verdict)
	}
	text := fmt.Sprintf("%s with %d question", c.Verdict, c.N)
	if c.N != 1 {
		text += "s"
	}
	if c.Needed > c.N {
		text += fmt.Sprintf(" (about %d would do)", c.Needed)
	}
	return text
}

// needed is how many questions would tell, if they went as these did: those that a test of pairs needs to find the
// difference four times of five (Connor, 1987), or, if there is none so far, to exclude a gain worth having.
func (c Comparison) needed() int {
	const z = 1.96 + 0.84 // normal quantiles of 97.5 % and 80 %
	n, flips, d := float64(max(c.N, 1)), float64(c.Won+c.Lost), float64(c.Won-c.Lost)
	if math.Abs(d)/n >= worth/2 {
		return roundUp(z * z * flips / (d * d) * n)
	}
	return roundUp(z * z * max(flips/n, 1/n) / (worth * worth))
}

// roundUp gives two significant digits.
func roundUp(x float64) int {
	if x < 10 {
		return int(math.Ceil(x))
	}
	unit := math.Pow(10, math.Floor(math.Log10(x))-1)
	return int(min(math.Ceil(x/unit)*unit, 1e9))
}

// McNemar is the two-sided p-value of won against lost changes, where both are as likely: exact, by the binomial.
func McNemar(won, lost int) float64 {
	n, k := won+lost, min(won, lost)
	if n == 0 {
		return 1
	}
	p := 0.0
	for i := 0; i <= k; i++ {
		p += math.Exp(logChoose(n, i) - float64(n)*math.Ln2)
	}
	return min(1, 2*p)
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// pairs is Agresti and Min's interval for the difference of two shares of the same n questions: Wald's, after half a
// question was added to each cell of the table.
func pairs(n, won, lost int) Interval {
	if n == 0 {
		return Interval{}
	}
	const z = 1.959964
	w, l, m := float64(won)+0.5, float64(lost)+0.5, float64(n)+2
	d := (w - l) / m
	half := z * math.Sqrt((w+l)-(w-l)*(w-l)/m) / m
	return Interval{N: n, Mean: float64(won-lost) / float64(n), Low: max(-1, d-half), High: min(1, d+half)}
}

// Detail is the verdict with its figures: "helped (+83 points, +78 to +88; 70 became right, 1 wrong; p < 0.001)".
func (c Comparison) Detail() string { return c.detail(c.String()) }

func (c Comparison) detail(said string) string {
	p := fmt.Sprintf("p = %.2g", c.P)
	if c.P < 0.001 {
		p = "p < 0.001"
	}
	return fmt.Sprintf("%s (%+.0f points, %+.0f to %+.0f; %d became right, %d wrong; %s)", said, 100*c.Difference.Mean, 100*c.Difference.Low, 100*c.Difference.High, c.Won, c.Lost, p)
}

// String writes a share with its interval: "95 % (91–98)".
func (s Interval) String() string {
	return fmt.Sprintf("%.0f %% (%.0f–%.0f)", 100*s.Mean, 100*s.Low, 100*s.High)
}

// Change writes a rise with its interval: "+3.1 % (+2.0 to +4.2)".
func (s Interval) Change() string {
	return fmt.Sprintf("%+.1f %% (%+.1f to %+.1f)", 100*s.Mean, 100*s.Low, 100*s.High)
}
