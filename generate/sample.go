package generate

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
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

// Check reports a setting that makes no sense.
func (s Sampling) Check() error {
	for _, f := range []struct {
		setting fault.Setting
		v, most float64
	}{{"temp", s.Temp, math.Inf(1)}, {"top_p", s.TopP, 1}, {"min_p", s.MinP, 1}, {"top_k", float64(s.TopK), math.Inf(1)},
		{"xtc_probability", s.XTCProbability, 1}, {"xtc_threshold", s.XTCThreshold, 0.5}} {
		switch {
		case f.v >= 0 && f.v <= f.most:
		case math.IsInf(f.most, 1):
			return fault.Value(f.setting, f.v, "0 or more")
		default:
			return fault.Value(f.setting, f.v, fmt.Sprintf("0 to %g", f.most))
		}
	}
	return nil
}

// sampler draws tokens with a random stream of its own.
type sampler struct {
	Sampling
	keys    compute.Key
	weights []float64 // memory of categorical
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
		return Argmax(logits)
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
	if s.TopK > 0 {
		topK(p, s.TopK)
	}
}

// categorical draws from exp(p/Temp) by the inverse of the cumulative sum.
func (s *sampler) categorical(p []float32) int32 {
	top := float64(p[Argmax(p)])
	s.weights = slices.Grow(s.weights[:0], len(p))[:len(p)]
	var total float64
	for i, v := range p {
		s.weights[i] = 0
		if v != dropped {
			s.weights[i] = math.Exp((float64(v) - top) / s.Temp)
		}
		total += s.weights[i]
	}
	at := s.uniform() * total
	last := int32(0)
	var sum float64
	for i, w := range s.weights {
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

// Argmax is the token of the largest logit, the first of several: what a
// temperature of 0 takes.
func Argmax(v []float32) int32 {
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
	top := float64(v[Argmax(v)])
	var sum float64
	for _, x := range v {
		sum += math.Exp(float64(x) - top)
	}
	lse := top + math.Log(sum)
	for i, x := range v {
		v[i] = float32(float64(x) - lse)
	}
}

// likeliest lists the k likeliest tokens, the likeliest first; of equal ones the first.
func likeliest(p []float32, k int) []int {
	byRank := func(a, b int) int { return cmp.Or(cmp.Compare(p[b], p[a]), a-b) }
	best := make([]int, 0, k)
	for i := range p {
		if len(best) == k {
			if p[i] <= p[best[k-1]] {
				continue
			}
			best = best[:k-1]
		}
		at, _ := slices.BinarySearchFunc(best, i, byRank)
		best = slices.Insert(best, at, i)
	}
	return best
}

// keepOnly drops all tokens that are not listed.
func keepOnly(p []float32, tokens []int) {
	kept := make([]float32, len(tokens))
	for i, k := range tokens {
		kept[i] = p[k]
	}
	for i := range p {
		p[i] = dropped
	}
	for i, k := range tokens {
		p[k] = kept[i]
	}
}

// rare is a log probability relative to the likeliest token's. topP adds up the
// probabilities of tokens below it without sorting them.
const rare = -12

// topP keeps the tokens whose cumulative probability, from the least likely
// up, is above 1-limit.
func topP(p []float32, limit float64) {
	bar := p[Argmax(p)] + rare
	var sum float64
	var order []int
	for i, v := range p {
		if v < bar {
			sum += math.Exp(float64(v))
		} else {
			order = append(order, i)
		}
	}
	if sum > 1-limit { // some of the rare ones are kept: sort them all
		sum, order = 0, order[:0]
		for i := range p {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(p[a], p[b]), a-b) })
	first := 0
	for ; first < len(order)-1; first++ {
		if sum += math.Exp(float64(p[order[first]])); sum > 1-limit {
			break
		}
	}
	keepOnly(p, order[first:])
}

// minP drops tokens less likely than share times the likeliest one. The keep likeliest
// ones always stay.
func minP(p []float32, share float64, keep int) {
	bar := float64(p[Argmax(p)]) + math.Log(share)
	above := 0
	for _, v := range p {
		if float64(v) >= bar {
			above++
		}
	}
	if above < keep {
		topK(p, keep)
		return
	}
	for i, v := range p {
		if float64(v) < bar {
			p[i] = dropped
		}
	}
}

// xtc drops every token above the threshold but the least likely of them. Probabilities
// are those among the tokens that other filters left.
func xtc(p []float32, threshold float64, keep []int32) {
	var total float64
	for _, v := range p {
		total += math.Exp(float64(v))
	}
	bar := math.Log(threshold) + math.Log(total)
	least := float32(math.Inf(1))
	for _, v := range p {
		if float64(v) > bar {
			least = min(least, v)
		}
	}
	for i, v := range p {
		if v > least && !slices.Contains(keep, int32(i)) {
			p[i] = dropped
		}
	}
}

// topK keeps the k likeliest tokens.
func topK(p []float32, k int) {
	if k < len(p) {
		keepOnly(p, likeliest(p, k))
	}
}
