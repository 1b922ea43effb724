package generate

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/compute"
)

// Sampling chooses the next token from its log probabilities. The filters run
// in mlx-lm's order, top_p, min_p, XTC, top_k, on the probabilities at
// temperature 1; the temperature comes last. Zero values filter nothing, and a
// Temp of 0 takes the likeliest token.
type Sampling struct {
	Temp            float64
	TopP            float64 // keeps the likeliest tokens that sum up to it; 0 and 1 keep all
	MinP            float64 // keeps tokens of at least this share of the likeliest one's probability
	MinTokensToKeep int     // of MinP
	TopK            int
	XTCProbability  float64 // chance of dropping all but the least likely token above the threshold
	XTCThreshold    float64
	XTCKeep         []int32 // tokens that XTC never drops
}

// Check reports settings that make no sense, by their flag.
func (s Sampling) Check() error {
	for _, f := range []struct {
		flag     string
		v        float64
		low, top float64
	}{{"--temp", s.Temp, 0, math.Inf(1)}, {"--top-p", s.TopP, 0, 1}, {"--min-p", s.MinP, 0, 1}, {"--top-k", float64(s.TopK), 0, math.Inf(1)},
		{"--xtc-probability", s.XTCProbability, 0, 1}, {"--xtc-threshold", s.XTCThreshold, 0, 0.5}} {
		if !(f.v >= f.low && f.v <= f.top) {
			return fmt.Errorf("%s is %g, expected a value from %g to %g", f.flag, f.v, f.low, f.top)
		}
	}
	return nil
}

// sampler draws tokens with a random stream of its own.
type sampler struct {
	Sampling
	keys compute.Key
}

// uniform draws one value in [0, 1).
func (s *sampler) uniform() float64 {
	var use compute.Key
	s.keys, use = s.keys.Split()
	return float64(use.Uniform(1, 0, 1)[0])
}

// pick returns the next token for logits [vocab], which it overwrites.
func (s *sampler) pick(logits []float32) int32 {
	if s.Temp == 0 {
		return argmax(logits)
	}
	logSoftmax(logits)
	s.filter(logits)
	return s.categorical(logits)
}

func (s *sampler) filter(p []float32) {
	if s.TopP > 0 && s.TopP < 1 {
		topP(p, s.TopP)
	}
	if s.MinP > 0 {
		minP(p, s.MinP, max(1, s.MinTokensToKeep))
	}
	if s.XTCProbability > 0 && s.uniform() < s.XTCProbability {
		xtc(p, s.XTCThreshold, s.XTCKeep)
	}
	if s.TopK > 0 && s.TopK < len(p) {
		topK(p, s.TopK)
	}
}

// categorical draws from exp(p/Temp) by the inverse of the cumulative sum.
func (s *sampler) categorical(p []float32) int32 {
	top := float64(p[argmax(p)])
	var total float64
	for _, v := range p {
		total += math.Exp((float64(v) - top) / s.Temp)
	}
	at := s.uniform() * total
	last := int32(0)
	var sum float64
	for i, v := range p {
		w := math.Exp((float64(v) - top) / s.Temp)
		if w == 0 {
			continue
		}
		last = int32(i)
		if sum += w; sum > at {
			break
		}
	}
	return last
}

var dropped = float32(math.Inf(-1))

// argmax is the first of the largest values.
func argmax(v []float32) int32 {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return int32(best)
}

// logSoftmax turns logits into log probabilities in place.
func logSoftmax(v []float32) {
	top := float64(v[argmax(v)])
	var sum float64
	for _, x := range v {
		sum += math.Exp(float64(x) - top)
	}
	lse := top + math.Log(sum)
	for i, x := range v {
		v[i] = float32(float64(x) - lse)
	}
}

// ascending lists the tokens by rising log probability.
func ascending(p []float32) []int {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	return order
}

// topP keeps the tokens whose cumulative probability, from the least likely
// up, is above 1-limit.
func topP(p []float32, limit float64) {
	order := ascending(p)
	var sum float64
	for i, k := range order {
		sum += math.Exp(float64(p[k]))
		if sum > 1-limit || i == len(order)-1 {
			return
		}
		p[k] = dropped
	}
}

// minP drops what is less likely than share times the likeliest, but keeps keep tokens.
func minP(p []float32, share float64, keep int) {
	bar := float64(p[argmax(p)]) + math.Log(share)
	order := ascending(p)
	for _, k := range order[:max(0, len(order)-keep)] {
		if float64(p[k]) < bar {
			p[k] = dropped
		}
	}
}

// xtc drops every token above the threshold but the least likely of them.
func xtc(p []float32, threshold float64, keep []int32) {
	least := math.Inf(1)
	for _, v := range p {
		if q := math.Exp(float64(v)); q > threshold {
			least = min(least, q)
		}
	}
	for i, v := range p {
		if math.Exp(float64(v)) > least && !slices.Contains(keep, int32(i)) {
			p[i] = dropped
		}
	}
}

// topK keeps the k likeliest.
func topK(p []float32, k int) {
	order := ascending(p)
	for _, i := range order[:len(order)-k] {
		p[i] = dropped
	}
}
