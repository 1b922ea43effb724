package compute

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/fault"
)

// Sampling says how the next token is chosen from its log probabilities. The filters run
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

// Draws is how many keys of a random stream one choice takes: see Key.Split.
func (s Sampling) Draws() int {
	switch {
	case s.Temp == 0:
		return 0
	case s.XTCProbability > 0:
		return 2
	}
	return 1
}

// ArgMax is the token of each row's largest logit, the first of several. A row with a
// logit that is NaN or infinite has none: see Unusable.
//
//	in: logits of a float type [R, V];  out: I32 [R]
type ArgMax struct{}

func (ArgMax) Name() string { return "argmax" }

func (ArgMax) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 1); err != nil {
		return nil, err
	}
	return choices(in)
}

// choices is the rule of ops that choose a token for each row of logits.
func choices(in []Spec) ([]Spec, error) {
	if err := firstErr(want(in, 0, "logits", -1, -1), wantType(in, 0, "logits", floats...)); err != nil {
		return nil, err
	}
	if in[0].Shape[1] == 0 {
		return nil, errors.New("logits of no token")
	}
	return []Spec{{Shape{in[0].Shape[0]}, I32}}, nil
}

func (ArgMax) Cost(in []Spec) Cost {
	return Cost{FLOPs: int64(in[0].Shape.Elems()), Bytes: in[0].Bytes()}
}

func (ArgMax) Define(out, in []Array) {
	logits, v := in[0].Floats(), in[0].Shape[1]
	for i := range out[0].I32() {
		out[0].I32()[i] = Sampling{}.Pick(logits[i*v:(i+1)*v], nil, Key{})
	}
}

// Sample chooses a token for each row. The random numbers of a row are drawn from its key,
// so that the same key gives the same token. A row with a logit that is NaN or infinite
// has no token: see Unusable.
//
//	in: logits of a float type [R, V], keys U32 [R, 2];  out: I32 [R]
type Sample struct{ Rows []Sampling } // of each row, or one for all

func (Sample) Name() string { return "sample" }

func (o Sample) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 2), want(in, 0, "logits", -1, -1), want(in, 1, "keys", dim(in, 0, 0), 2), wantType(in, 1, "keys", U32)); err != nil {
		return nil, err
	}
	if n, rows := len(o.Rows), in[0].Shape[0]; n != 1 && n != rows {
		return nil, fmt.Errorf("%d rows of logits, settings of %d", rows, n)
	}
	return choices(in)
}

func (o Sample) Cost(in []Spec) Cost {
	return Cost{FLOPs: 50 * int64(in[0].Shape.Elems()), Bytes: 4 * in[0].Bytes()}
}

// Row is how row i is chosen.
func (o Sample) Row(i int) Sampling { return o.Rows[i%len(o.Rows)] }

func (o Sample) Define(out, in []Array) {
	logits, keys, v := slices.Clone(in[0].Floats()), in[1].Keys(), in[0].Shape[1]
	weights := make([]float64, v)
	for i := range out[0].I32() {
		out[0].I32()[i] = o.Row(i).Pick(logits[i*v:(i+1)*v], weights, keys[i])
	}
}

// Unusable reports whether a chosen token says that there is none to choose, and the first
// logit that is NaN or infinite. For logit i the token is -1-i, which Embed gives zeros.
func Unusable(token int32) (logit int32, yes bool) { return -1 - token, token < 0 }

// Pick chooses a token from logits [V], which it overwrites unless Temp is 0, with work
// memory for V weights.
func (s Sampling) Pick(logits []float32, weights []float64, key Key) int32 {
	for i, v := range logits {
		if v-v != 0 { // NaN or infinite
			return -1 - int32(i)
		}
	}
	if s.Temp == 0 {
		return int32(largest(logits))
	}
	draw := drawer{s, key}
	logSoftmax(logits)
	draw.filter(logits)
	return draw.categorical(logits, weights)
}

// A drawer chooses with a stream of random numbers.
type drawer struct {
	Sampling
	keys Key
}

// uniform draws one value in [0, 1).
func (s *drawer) uniform() float64 {
	var use Key
	s.keys, use = s.keys.Split()
	return float64(use.Uniform(1, 0, 1)[0])
}

func (s *drawer) filter(p []float32) {
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
func (s *drawer) categorical(p []float32, weights []float64) int32 {
	top := float64(p[largest(p)])
	var total float64
	for i, v := range p {
		weights[i] = 0
		if v != dropped {
			weights[i] = math.Exp((float64(v) - top) / s.Temp)
		}
		total += weights[i]
	}
	at := s.uniform() * total
	last := int32(0)
	var sum float64
	for i, w := range weights[:len(p)] {
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

// largest is the index of the largest value, the first of several.
func largest(v []float32) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

// logSoftmax turns logits into log probabilities in place.
func logSoftmax(v []float32) {
	top := float64(v[largest(v)])
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
	bar := p[largest(p)] + rare
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
	bar := float64(p[largest(p)]) + math.Log(share)
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
