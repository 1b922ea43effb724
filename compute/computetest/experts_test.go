package computetest

import (
	"fmt"
	"math"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// expertLinear64 goes over all pairs of token and expert.
func expertLinear64(x, w floats64, ids []int32, s expertSize, own bool) floats64 {
	y := make(floats64, len(ids)*s.rows)
	for i, e := range ids {
		row := i
		if !own {
			row /= s.k
		}
		copy(y[i*s.rows:], linear64(x[row*s.cols:(row+1)*s.cols], w[int(e)*s.rows*s.cols:(int(e)+1)*s.rows*s.cols], nil, 1, s.rows, s.cols))
	}
	return y
}

// route64 is the scores of the experts that ids say.
func route64(logits floats64, ids []int32, e, k int, normalize bool) floats64 {
	scores := make(floats64, len(ids))
	for t := range len(ids) / k {
		var all, some float64
		for _, v := range logits[t*e : (t+1)*e] {
			all += math.Exp(v)
		}
		for i := t * k; i < (t+1)*k; i++ {
			scores[i] = math.Exp(logits[t*e+int(ids[i])])
			some += scores[i]
		}
		if normalize {
			all = some
		}
		for i := t * k; i < (t+1)*k; i++ {
			scores[i] /= all
		}
	}
	return scores
}

func combine64(y, scores floats64, k int) floats64 {
	d := len(y) / len(scores)
	sum := make(floats64, len(y)/k)
	for i, s := range scores {
		for j := range d {
			sum[i/k*d+j] += s * y[i*d+j]
		}
	}
	return sum
}

func expertPairs(t *testing.T) []pair {
	s := expertSize{6, 2, 5, 3, 7}
	var all []pair
	for _, own := range []bool{false, true} {
		g := newGen("expert_linear")
		w := compute.Weight{Format: dense(compute.F32), Rows: s.e * s.rows, Cols: s.cols}
		ids := s.ids(g)
		all = append(all, pair{
			name: fmt.Sprintf("expert_linear x, weight own=%v", own), x: []compute.Array{g.normal(s.rowsOf(own), s.cols), g.normal(w.Rows, w.Cols)},
			reference: func(x []floats64) floats64 { return expertLinear64(x[0], x[1], ids.I32(), s, own) },
			forward: func(x []compute.Array) compute.Array {
				return define(t, compute.ExpertLinear{Weight: w, Experts: s.e, Own: own, Exact: true}, x[0], ids, x[1])[0]
			},
			backward: func(x []compute.Array, _, dy compute.Array) []compute.Array {
				return []compute.Array{
					define(t, compute.ExpertGradInput{Weight: w, Experts: s.e, Own: own}, dy, ids, x[1])[0],
					define(t, compute.ExpertGradWeight{Experts: s.e, Alpha: 1, Own: own}, dy, x[0], ids)[0],
				}
			},
		})
	}
	for _, normalize := range []bool{false, true} {
		g := newGen("route")
		const tokens, e, k = 5, 9, 3
		logits := g.floats(compute.F32, 2, tokens, e)
		op := compute.Route{K: k, Normalize: normalize}
		ids := define(t, op, logits)[0]
		all = append(all, pair{
			name: fmt.Sprintf("route normalize=%v", normalize), x: []compute.Array{logits},
			reference: func(x []floats64) floats64 { return route64(x[0], ids.I32(), e, k, normalize) },
			forward:   func(x []compute.Array) compute.Array { return define(t, op, x...)[1] },
			backward: func(x []compute.Array, _, dy compute.Array) []compute.Array {
				return define(t, compute.RouteGrad{Normalize: normalize}, x[0], ids, dy)
			},
		})
	}
	g := newGen("combine")
	return append(all, pair{
		name: "combine", x: []compute.Array{g.normal(12, 5), g.normal(4, 3)},
		reference: func(x []floats64) floats64 { return combine64(x[0], x[1], 3) },
		forward:   func(x []compute.Array) compute.Array { return define(t, compute.Combine{}, x...)[0] },
		backward: func(x []compute.Array, _, dy compute.Array) []compute.Array {
			return define(t, compute.CombineGrad{}, dy, x[0], x[1])
		},
	})
}
