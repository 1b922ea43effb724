package computetest

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
)

func doraCases() []testCase {
	var all []testCase
	for _, f := range formats() {
		w := compute.Weight{Format: f, Rows: 9, Cols: 512}
		all = append(all, testCase{op: compute.RowSquares{Weight: w}, note: formatNote(f), tol: approximated, // stretches of a row in float32
			inputs: func(g gen) []compute.Array { return []compute.Array{g.weight(w)} }})
	}
	for _, shape := range elementShapes {
		n, size := shape[1], fmt.Sprint(shape)
		for _, rank := range []int{1, 3, 64} {
			all = append(all, testCase{op: compute.UpdatedNorm{Scale: 0.3}, note: fmt.Sprintf("rank %d of %d", rank, n), tol: summed(rank),
				inputs: func(g gen) []compute.Array {
					b, c := g.normal(rank, n), g.normal(rank, n)
					squares := g.positive(n)
					for i := range squares.F32() {
						squares.F32()[i] += float32(8 * rank) // above what the update may take away
					}
					return []compute.Array{squares, b, c}
				}})
		}
		x := func(g gen) []compute.Array {
			norm := g.positive(n)
			for i := range norm.F32() {
				norm.F32()[i] += 0.5
			}
			if n > 1 {
				norm.F32()[n/2] = 0
			}
			return []compute.Array{g.normal(shape...), g.normal(n), norm}
		}
		all = append(all,
			testCase{op: compute.Magnitude{}, note: size, tol: rounded, alias: []map[int]int{{0: 0}}, inputs: x},
			testCase{op: compute.Magnitude{Bias: true}, note: size, tol: rounded, alias: []map[int]int{{0: 0}},
				inputs: func(g gen) []compute.Array { return append(x(g), g.floats(compute.BF16, 1, n)) }},
			testCase{op: compute.MagnitudeGrad{}, note: size, tol: summed(shape[0]), keeps: []int{1}, alias: []map[int]int{{0: 3}},
				inputs: func(g gen) []compute.Array { return append(x(g), g.normal(shape...)) }})
	}
	return all
}
