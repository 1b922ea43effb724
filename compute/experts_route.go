package compute

import (
	"fmt"
	"math"
)

// Route picks the experts of each token: those with the K largest logits, the largest
// first, and the lower index first where logits are equal. Their scores are the softmax
// of the logits of all experts, as in Qwen3 MoE. With Normalize they are divided by
// their sum: this is the softmax of the picked experts, as in Mixtral (Jiang et al.,
// 2024). A NaN counts as the smallest logit, so that ids are always good, and makes the
// scores NaN.
//
//	in: logits float [T, E];  out: ids I32 [T, K], scores F32 [T, K]
type Route struct {
	K         int
	Normalize bool
}

func (Route) Name() string { return "route" }

func (o Route) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 1), want(in, 0, "logits", -1, -1), wantActivation(in, 0, "logits")); err != nil {
		return nil, err
	}
	if e := in[0].Shape[1]; o.K < 1 || o.K > e {
		return nil, fmt.Errorf("%d experts to pick of %d", o.K, e)
	}
	picked := Shape{in[0].Shape[0], o.K}
	return []Spec{{picked, I32}, {picked, F32}}, nil
}

func (o Route) Cost(in []Spec) Cost {
	return Cost{FLOPs: int64(3+o.K) * int64(in[0].Shape.Elems()), Bytes: in[0].Bytes() + 8*int64(in[0].Shape[0])*int64(o.K)}
}

func (o Route) Define(out, in []Array) {
	logits, ids, scores, e := in[0].Floats(), out[0].I32(), out[1].F32(), in[0].Shape[1]
	for t := range in[0].Shape[0] {
		o.Pick(ids[t*o.K:(t+1)*o.K], scores[t*o.K:(t+1)*o.K], logits[t*e:(t+1)*e])
	}
}

// Pick routes one token.
func (o Route) Pick(ids []int32, scores, logits []float32) {
	have := 0
	for i, v := range logits {
		at := have
		for at > 0 && above(v, logits[ids[at-1]]) {
			at--
		}
		if at < len(ids) {
			have = min(have+1, len(ids))
			copy(ids[at+1:have], ids[at:])
			ids[at] = int32(i)
		}
	}
	largest := logits[ids[0]]
	var sum float32
	for k, i := range ids {
		scores[k] = exp(logits[i] - largest)
		sum += scores[k]
	}
	if !o.Normalize {
		sum = 0
		for _, v := range logits {
			sum += exp(v - largest)
		}
	}
	for k := range scores {
		scores[k] /= sum
	}
}

// above reports whether a comes before b, given that b has the lower index.
func above(a, b float32) bool { return a > b || b != b && a == a }

func exp(x float32) float32 { return float32(math.Exp(float64(x))) }

// RouteGrad is the gradient of Route's scores. The choice counts as given.
//
//	in: logits float [T, E], ids I32 [T, K], dscores F32 [T, K];  out: as logits
type RouteGrad struct{ Normalize bool }

func (RouteGrad) Name() string { return "route_grad" }

func (o RouteGrad) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 3), want(in, 0, "logits", -1, -1), wantActivation(in, 0, "logits")); err != nil {
		return nil, err
	}
	k, err := expertIDs(in, 1, in[0].Shape[0])
	if err := firstErr(err, want(in, 2, "dscores", in[0].Shape[0], k), wantType(in, 2, "dscores", F32)); err != nil {
		return nil, err
	}
	return []Spec{in[0]}, nil
}

func (o RouteGrad) Cost(in []Spec) Cost {
	return Cost{FLOPs: 6 * int64(in[0].Shape.Elems()), Bytes: 2*in[0].Bytes() + traffic(in[1:])}
}

func (o RouteGrad) Define(out, in []Array) {
	logits, ids, ds := in[0].Floats(), in[1].I32(), in[2].F32()
	dl, put := out[0].working()
	defer put()
	e, k := in[0].Shape[1], in[1].Shape[1]
	for t := range in[0].Shape[0] {
		o.Row(dl[t*e:(t+1)*e], logits[t*e:(t+1)*e], ids[t*k:(t+1)*k], ds[t*k:(t+1)*k])
	}
}

// Row is the gradient of one token: p·(dp - Σ dp·p), where p is the softmax of the
// logits that took part and dp is 0 for experts that were not picked.
func (o RouteGrad) Row(dl, logits []float32, ids []int32, ds []float32) {
	clear(dl)
	largest := logits[ids[0]]
	var sum, mean float32
	for k, i := range ids {
		p := exp(logits[i] - largest)
		dl[i] = p
		sum += p
		mean += p * ds[k]
	}
	if !o.Normalize {
		sum = 0
		for i, v := range logits {
			dl[i] = exp(v - largest)
			sum += dl[i]
		}
	}
	mean /= sum
	for i := range dl {
		dl[i] *= -mean / sum
	}
	for k, i := range ids {
		dl[i] += exp(logits[i]-largest) / sum * ds[k]
	}
}

// Combine adds up the results of a token's experts, times their scores.
//
//	in: y float [T·K, D], scores F32 [T, K];  out: [T, D] of y's type
type Combine struct{}

func (Combine) Name() string { return "combine" }

func (Combine) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2); err != nil {
		return nil, err
	}
	if err := checkScores(in, 0, 1); err != nil {
		return nil, err
	}
	return []Spec{{Shape{in[1].Shape[0], in[0].Shape[1]}, in[0].DType}}, nil
}

// checkScores checks y, input i, and the scores, input j.
func checkScores(in []Spec, i, j int) error {
	if err := firstErr(want(in, j, "scores", -1, -1), wantType(in, j, "scores", F32)); err != nil {
		return err
	}
	if in[j].Shape[1] == 0 {
		return fmt.Errorf("scores are %v, expected one expert for each row or more", in[j].Shape)
	}
	return firstErr(want(in, i, "y", in[j].Shape.Elems(), -1), wantActivation(in, i, "y"))
}

func (Combine) Cost(in []Spec) Cost {
	return Cost{FLOPs: 2 * int64(in[0].Shape.Elems()), Bytes: traffic(in) + int64(in[1].Shape[0])*int64(in[0].Shape[1]*in[0].DType.Size())}
}

func (Combine) Define(out, in []Array) {
	y, scores, d, k := in[0].Floats(), in[1].F32(), in[0].Shape[1], in[1].Shape[1]
	sum, put := out[0].working()
	defer put()
	clear(sum)
	for i, s := range scores {
		t := i / k
		axpy(sum[t*d:(t+1)*d], s, y[i*d:(i+1)*d])
	}
}

// CombineGrad is the gradient of Combine. dy may be y.
//
//	in: dout float [T, D], y [T·K, D] of dout's type, scores F32 [T, K]
//	out: dy as y, dscores as scores
type CombineGrad struct{}

func (CombineGrad) Name() string { return "combine_grad" }

func (CombineGrad) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 3); err != nil {
		return nil, err
	}
	if err := firstErr(checkScores(in, 1, 2), want(in, 0, "dout", dim(in, 2, 0), dim(in, 1, 1)), wantType(in, 0, "dout", in[1].DType)); err != nil {
		return nil, err
	}
	return []Spec{in[1], in[2]}, nil
}

func (CombineGrad) Cost(in []Spec) Cost {
	return Cost{FLOPs: 3 * int64(in[1].Shape.Elems()), Bytes: traffic(in, in[1:])}
}

func (CombineGrad) Define(out, in []Array) {
	dout, y, scores := in[0].Floats(), in[1].Floats(), in[2].F32()
	ds, d, k := out[1].F32(), in[1].Shape[1], in[2].Shape[1]
	dy, put := out[0].working()
	defer put()
	for i, s := range scores {
		from := dout[i/k*d : (i/k+1)*d]
		ds[i] = dot(from, y[i*d:(i+1)*d])
		for j, v := range from {
			dy[i*d+j] = s * v
		}
	}
}
