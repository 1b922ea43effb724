package score

import (
	"math"
	"math/rand/v2"
	"testing"
)

// exactTolerance is for sums of a few float64.
const exactTolerance = 1e-12

func TestMcNemar(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		won, lost int
		want      float64
	}{
		{0, 0, 1}, {1, 0, 1}, {5, 0, 2. / 32}, {6, 0, 2. / 64}, {0, 6, 2. / 64}, {3, 3, 1},
		{8, 2, 2 * (1 + 10 + 45) / 1024.}, {10, 1, 2 * 12 / 2048.},
	} {
		if got := McNemar(tt.won, tt.lost); !(math.Abs(got-tt.want) <= exactTolerance) {
			t.Errorf("%d against %d: p %v, want %v", tt.won, tt.lost, got, tt.want)
		}
	}
}

func TestMean(t *testing.T) {
	t.Parallel()
	scores := make([]float64, 200)
	for i := range 60 {
		scores[i] = 1
	}
	got := Mean(scores, 1)
	// The normal interval of a share of 0.3 in 200 is 0.3 ± 0.0635; the bootstrap's is within a step of 1/200.
	if got.Mean != 0.3 || !(math.Abs(got.Low-0.2365) <= 0.011) || !(math.Abs(got.High-0.3635) <= 0.011) {
		t.Errorf("%+v", got)
	}
	if again := Mean(scores, 1); again != got {
		t.Errorf("%+v and %+v of one seed", got, again)
	}
	if got := Mean([]float64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 1); got.High != 1 || !(math.Abs(got.Low-math.Pow(0.025, 0.1)) <= exactTolerance) {
		t.Errorf("ten of ten: %+v", got)
	}
	if got := Mean(nil, 1); got != (Interval{}) {
		t.Errorf("none: %+v", got)
	}
}

// answers draws n right and wrong answers of two models: the first is right with p, the second changes a wrong one into
// a right one with gain and a right one into a wrong one with loss.
func answers(random *rand.Rand, n int, p, gain, loss float64) (before, after []bool) {
	for range n {
		b := random.Float64() < p
		a := b
		if b && random.Float64() < loss || !b && random.Float64() < gain {
			a = !b
		}
		before, after = append(before, b), append(after, a)
	}
	return before, after
}

// TestVerdicts draws answers with effects that are known.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	const seeds = 400
	for _, tt := range []struct {
		name       string
		n          int
		gain, loss float64
		want       Verdict
		share      float64 // of the seeds
	}{
		{"a large gain", 100, 0.5, 0.02, Helped, 0.99},
		{"a large gain, few questions", 6, 0.3, 0, Unclear, 0.8},
		{"noise without a gain", 300, 0.06, 0.06, DidNotHelp, 0.95},
		{"nothing changes", 40, 0, 0, DidNotHelp, 1},
		{"nothing changes, few questions", 8, 0, 0, Unclear, 1},
		{"a loss", 100, 0, 0.4, Harmed, 0.99},
	} {
		found := map[Verdict]int{}
		for seed := range uint64(seeds) {
			before, after := answers(rand.New(rand.NewPCG(seed, 7)), tt.n, 0.5, tt.gain, tt.loss)
			found[Compare(before, after, false).Verdict]++
		}
		if float64(found[tt.want]) < tt.share*seeds {
			t.Errorf("%s: %v, want %q in a share of %g", tt.name, found, tt.want, tt.share)
		}
	}
	// Noise is told to be help in 2.5 % of the cases at most, whatever there is of it.
	for _, flips := range []float64{0.02, 0.1, 0.3} {
		helped := 0
		for seed := range uint64(seeds) {
			before, after := answers(rand.New(rand.NewPCG(seed, 8)), 60, 0.5, flips, flips)
			if Compare(before, after, false).Verdict == Helped {
				helped++
			}
		}
		// 10 expected of 400; 20 is more than three standard deviations off.
		if helped > 20 {
			t.Errorf("noise of %g helped in %d of %d seeds", flips, helped, seeds)
		}
	}
	if c := Compare(make([]bool, 5), make([]bool, 5), true); c.Verdict != DidNotHelp {
		t.Errorf("the same answers: %s", c)
	}
}

func TestComparisonText(t *testing.T) {
	t.Parallel()
	before, after := make([]bool, 20), make([]bool, 20)
	after[0], after[1], after[2] = true, true, true
	c := Compare(before, after, false)
	if c.String() != "cannot be told with 20 questions (about 53 would do)" {
		t.Error(c)
	}
	if c := Compare([]bool{false}, []bool{true}, false); c.Verdict != Unclear || c.Difference.High > 1 {
		t.Errorf("%+v", c)
	}
}
