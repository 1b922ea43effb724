package computetest

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
)

// pairSizes are numbers of rows of the segments of pairs, and of those in front of answers.
var pairSizes = []struct{ rows, prompts []int }{
	{[]int{1, 1}, []int{0, 0}},
	{[]int{5, 3}, []int{2, 0}},
	{[]int{17, 40, 1, 2, 300, 33}, []int{16, 3, 0, 0, 33, 0}},
}

// inPairs are the inputs of DPO, or of ORPO.
func inPairs(g gen, rows, prompts []int, orpo bool) []compute.Array {
	bounds, answers := zeros(spec(compute.I32, len(rows)+1)), zeros(spec(compute.I32, len(rows)))
	for i, n := range rows {
		bounds.I32()[i+1] = bounds.I32()[i] + int32(n)
		answers.I32()[i] = bounds.I32()[i] + int32(prompts[i])
	}
	nll := g.positive(int(bounds.I32()[len(rows)]))
	third := answers
	if !orpo {
		third = g.positive(len(rows))
		for i, n := range rows { // of the size of the sums
			third.F32()[i] *= float32(n)
		}
	}
	return []compute.Array{nll, bounds, third, g.positive(len(rows) / 2)}
}

func preferenceCases() []testCase {
	var all []testCase
	for _, s := range pairSizes {
		most := 0
		for _, n := range s.rows {
			most = max(most, n)
		}
		// An error of a sum is a relative error of the gradient.
		note, tol := fmt.Sprint(s.rows), 4*summed(most)+approximated
		all = append(all,
			testCase{op: compute.SegmentSums{}, note: note, tol: summed(most), inputs: func(g gen) []compute.Array { return inPairs(g, s.rows, s.prompts, false)[:2] }},
			testCase{op: compute.DPO{Beta: 0.1}, note: note, tol: tol, inputs: func(g gen) []compute.Array { return inPairs(g, s.rows, s.prompts, false) }},
			testCase{op: compute.ORPO{Beta: 0.5}, note: note, tol: tol, inputs: func(g gen) []compute.Array { return inPairs(g, s.rows, s.prompts, true) }})
	}
	for _, s := range [][]int{{1, 1}, {3, 33}, {70, 128}} {
		all = append(all, testCase{op: compute.ScaleRows{}, note: fmt.Sprint(s), tol: exact, alias: []map[int]int{{0: 0}},
			inputs: func(g gen) []compute.Array { return []compute.Array{g.normal(s...), g.normal(s[0])} }})
	}
	return all
}
