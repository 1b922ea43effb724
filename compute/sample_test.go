package compute

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func logs(p []float64) []float32 {
	out := make([]float32, len(p))
	for i, v := range p {
		out[i] = float32(math.Log(v))
	}
	return out
}

// shares are the probabilities of what is left.
func shares(p []float32) []float64 {
	out := make([]float64, len(p))
	var sum float64
	for i, v := range p {
		out[i] = math.Exp(float64(v))
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// TestFilters has the numbers of mlx-lm's own tests.
func TestFilters(t *testing.T) {
	t.Parallel()
	const tolerance = 1e-6 // float32
	third := []float64{.4, .3, .15, .15}
	for _, test := range []struct {
		name string
		s    Sampling
		p    []float64
		want []float64
	}{
		{"top-p .3", Sampling{TopP: .3}, []float64{.9, 0, 0, .1}, []float64{1, 0, 0, 0}},
		{"top-p .6", Sampling{TopP: .6}, []float64{0, .5, .4, .1}, []float64{0, 5. / 9, 4. / 9, 0}},
		{"top-p .4", Sampling{TopP: .4}, []float64{0, .5, .4, .1}, []float64{0, 1, 0, 0}},
		{"top-p .95", Sampling{TopP: .95}, []float64{0, .5, .4, .1}, []float64{0, .5, .4, .1}},
		{"top-p 0 is off", Sampling{}, []float64{.9, 0, 0, .1}, []float64{.9, 0, 0, .1}},
		{"top-p 1 is off", Sampling{TopP: 1}, []float64{.9, 0, 0, .1}, []float64{.9, 0, 0, .1}},
		{"min-p .8", Sampling{MinP: .8}, []float64{.9, 0, 0, .1}, []float64{1, 0, 0, 0}},
		{"min-p .05", Sampling{MinP: .05}, []float64{.9, 0, 0, .1}, []float64{.9, 0, 0, .1}},
		{"min-p keeps two", Sampling{MinP: .8, MinTokensToKeep: 2}, []float64{.8, .05, .05, .1}, []float64{8. / 9, 0, 0, 1. / 9}},
		{"top-k 2", Sampling{TopK: 2}, []float64{.6, 0, .1, .3}, []float64{2. / 3, 0, 0, 1. / 3}},
		{"top-k beyond the vocabulary", Sampling{TopK: 9}, []float64{.6, 0, .1, .3}, []float64{.6, 0, .1, .3}},
		{"xtc .2", Sampling{XTCProbability: 1, XTCThreshold: .2}, third, []float64{0, .5, .25, .25}},
		{"xtc .1", Sampling{XTCProbability: 1, XTCThreshold: .1}, third, []float64{0, 0, .5, .5}},
		{"xtc that keeps 0", Sampling{XTCProbability: 1, XTCThreshold: .1, XTCKeep: []int32{0}}, third, []float64{4. / 7, 0, 1.5 / 7, 1.5 / 7}},
		{"xtc never", Sampling{XTCThreshold: .1}, third, third},
		{"xtc with one above", Sampling{XTCProbability: 1, XTCThreshold: .35}, third, third},
		// After top-p .7 the shares are 4/7 and 3/7: both above .42, which .3 is not.
		{"xtc sees what top-p left", Sampling{TopP: .69, XTCProbability: 1, XTCThreshold: .42}, third, []float64{0, 1, 0, 0}},
	} {
		p := logs(test.p)
		s := drawer{test.s, NewKey(1)}
		s.filter(p)
		for i, got := range shares(p) {
			if !(math.Abs(got-test.want[i]) <= tolerance) {
				t.Errorf("%s: %v, want %v", test.name, shares(p), test.want)
				break
			}
		}
	}
}

// TestFiltersAgainstSorting compares the filters on a large vocabulary with
// their definitions over the whole sorted list.
func TestFiltersAgainstSorting(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, spread := range []float64{0.1, 1, 3, 8} {
		p := make([]float32, 5000)
		for i := range p {
			p[i] = float32(spread * random.NormFloat64())
		}
		logSoftmax(p)
		order := make([]int, len(p))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return int(math.Copysign(1, float64(p[b]-p[a]))) })
		left := func(filter func(p []float32)) int {
			q := slices.Clone(p)
			filter(q)
			n := 0
			for _, v := range q {
				if v != dropped {
					n++
				}
			}
			for i, k := range order { // what is left are the likeliest
				if (q[k] != dropped) != (i < n) || i < n && q[k] != p[k] {
					t.Fatalf("spread %g: %d are left, but the %d. likeliest is wrong", spread, n, i+1)
				}
			}
			return n
		}
		for _, limit := range []float64{0.05, 0.5, 0.9, 0.999, 0.9999999} {
			var sum float64
			want := len(p)
			for i := len(order) - 1; i >= 0; i-- {
				if sum += math.Exp(float64(p[order[i]])); sum > 1-limit {
					want = i + 1
					break
				}
			}
			if got := left(func(p []float32) { topP(p, limit) }); got != max(want, 1) {
				t.Errorf("spread %g: top-p %g leaves %d, want %d", spread, limit, got, want)
			}
		}
		for _, k := range []int{1, 7, 300, 4999} {
			if got := left(func(p []float32) { topK(p, k) }); got != k {
				t.Errorf("spread %g: top-k %d leaves %d", spread, k, got)
			}
			if got := left(func(p []float32) { minP(p, 1, k) }); got != k {
				t.Errorf("spread %g: min-p 1 with %d to keep leaves %d", spread, k, got)
			}
		}
	}
}

func TestCategorical(t *testing.T) {
	t.Parallel()
	const n, sigmas = 20000, 5 // five standard deviations of a share
	p := []float64{.5, 0, .3, .2}
	for _, temp := range []float64{0.5, 1, 2} {
		want := make([]float64, len(p))
		var total float64
		for i, v := range p {
			want[i] = math.Pow(v, 1/temp)
			total += want[i]
		}
		s, key := Sampling{Temp: temp}, NewKey(3)
		count, weights := make([]float64, len(p)), make([]float64, len(p))
		for range n {
			count[s.Pick(logs([]float64{.5, 1e-30, .3, .2}), weights, key)]++
			key = key.After(s.Draws())
		}
		for i := range want {
			share := want[i] / total
			if !(math.Abs(count[i]/n-share) <= sigmas*math.Sqrt(share*(1-share)/n)) {
				t.Errorf("temperature %g: token %d came %g times of %d, want a share of %g", temp, i, count[i], n, share)
			}
		}
	}
	weights := make([]float64, 4)
	if got := (Sampling{}).Pick([]float32{-3, 7, 7, -9}, weights, Key{}); got != 1 {
		t.Errorf("greedy takes %d, want the first of the largest", got)
	}
	if got := (Sampling{Temp: 1e-300}).Pick([]float32{0, 1, 5, 2}, weights, Key{}); got != 2 {
		t.Errorf("near temperature 0 it takes %d", got)
	}
}

// TestUnusable: a logit that is not finite is named, whatever the settings.
func TestUnusable(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, s := range []Sampling{{}, {Temp: 1}} {
		for want, logits := range map[int32][]float32{0: {nan, 1}, 1: {1, -inf, nan}, 2: {3, 3, inf}} {
			got, yes := Unusable(s.Pick(slices.Clone(logits), make([]float64, 3), Key{}))
			if !yes || got != want {
				t.Errorf("%v: logit %d, %v; want %d", logits, got, yes, want)
			}
		}
	}
	if _, yes := Unusable(0); yes {
		t.Error("token 0 is unusable")
	}
}

func TestSamplingCheck(t *testing.T) {
	t.Parallel()
	for _, s := range []Sampling{{}, {Temp: 5, TopP: 1, MinP: 1, TopK: 9, XTCProbability: 1, XTCThreshold: 0.5}} {
		if err := s.Check(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
	for _, s := range []Sampling{{Temp: -1}, {Temp: math.NaN()}, {TopP: 1.1}, {MinP: -0.1}, {TopK: -1}, {XTCProbability: 2}, {XTCThreshold: 0.6}} {
		if s.Check() == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}

func BenchmarkFilters(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	base := make([]float32, 150000)
	for i := range base {
		base[i] = float32(3 * random.NormFloat64())
	}
	p := make([]float32, len(base))
	for name, s := range map[string]Sampling{"greedy": {}, "plain": {Temp: 1}, "top-p": {Temp: 1, TopP: 0.9}, "top-k": {Temp: 1, TopK: 50}} {
		b.Run(name, func(b *testing.B) {
			weights := make([]float64, len(p))
			for b.Loop() {
				copy(p, base)
				s.Pick(p, weights, Key{})
			}
		})
	}
}
