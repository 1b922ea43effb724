package computetest

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
)

// elementShapes have all remainders of a vector loop, and more than one task.
var elementShapes = [][]int{{1, 1}, {1, 7}, {5, 33}, {3, 64}, {41, 1001}}

func elementCases() []testCase {
	var all []testCase
	for _, shape := range elementShapes {
		two := func(g gen) []compute.Array { return []compute.Array{g.normal(shape...), g.normal(shape...)} }
		one := func(g gen) []compute.Array { return []compute.Array{g.normal(shape...)} }
		// Gates far out, where exp overflows.
		gates := func(g gen) []compute.Array {
			in := []compute.Array{g.floats(compute.F32, 4, shape...), g.normal(shape...), g.normal(shape...)}
			for i, v := range []float32{-200, -90, 90, 0} {
				if i < len(in[0].F32()) {
					in[0].F32()[i] = v
				}
			}
			return in
		}
		size := fmt.Sprint(shape)
		all = append(all,
			testCase{op: compute.SwiGLU{}, note: size, tol: approximated, alias: []map[int]int{{0: 0}, {0: 1}},
				inputs: func(g gen) []compute.Array { return gates(g)[:2] }},
			testCase{op: compute.SwiGLUGrad{}, note: size, tol: approximated, alias: []map[int]int{{0: 0, 1: 1}}, inputs: gates},
			testCase{op: compute.Add{Alpha: 1}, note: size, tol: exact, alias: []map[int]int{{0: 0}}, inputs: two},
			testCase{op: compute.Add{Alpha: -0.3}, note: size + " scaled", tol: rounded, alias: []map[int]int{{0: 0}, {0: 1}}, inputs: two},
			testCase{op: compute.Scale{Alpha: 1.7}, note: size, tol: exact, alias: []map[int]int{{0: 0}}, inputs: one},
			testCase{op: compute.ScaleBy{}, note: size, tol: exact, alias: []map[int]int{{0: 0}},
				inputs: func(g gen) []compute.Array { return append(one(g), floatArray([]float32{-0.3}, 1)) }},
			testCase{op: compute.Fill{Value: -2.5, Shape: shape}, note: size, tol: exact, inputs: func(gen) []compute.Array { return nil }})
		for _, rate := range []float32{0, 0.1, 0.5} {
			all = append(all, testCase{op: compute.Dropout{Rate: rate, Row: 1}, note: fmt.Sprintf("%s rate %g", size, rate),
				tol: rounded, alias: []map[int]int{{0: 0}}, inputs: func(g gen) []compute.Array { return append(one(g), g.keys(3)) }})
		}
	}
	return all
}

// edges begins an array with values that are hard to round to 16 bits: zeros of both
// signs, halfway cases, the smallest and the largest numbers, overflow.
func edges(a compute.Array) compute.Array {
	v := a.Floats()
	copy(v, []float32{
		float32(math.Copysign(0, -1)), 1 + 1.0/(1<<11), 1 + 3.0/(1<<11), 1 + 1.0/(1<<8), 1 + 3.0/(1<<8),
		65504, 65519, 65520, -1e30, 1.0 / (1 << 24), 1.0 / (1 << 25), 1.5 / (1 << 25), 6e-8, -1e-7, 6.1e-5, 1e-40, float32(math.Inf(-1)),
	})
	a.SetFloats(v)
	return a
}

func rowCases() []testCase {
	var all []testCase
	for _, s := range []struct{ t, rows, cols int }{{1, 1, 1}, {3, 3, 33}, {2, 9, 16}, {1, 9, 65}, {40, 64, 128}, {9, 4, 17}} {
		all = append(all, testCase{op: compute.CopyRows{Rows: s.rows, To: compute.U32}, note: fmt.Sprintf("%d of %dx%d packed", s.t, s.rows, s.cols),
			tol: exact, keeps: []int{0}, inputs: func(g gen) []compute.Array { return []compute.Array{g.bytes(spec(compute.U32, s.t, s.cols))} }})
		for _, from := range []compute.DType{compute.F32, compute.F16, compute.BF16} {
			for _, to := range []compute.DType{compute.F32, compute.F16, compute.BF16} {
				all = append(all, testCase{op: compute.CopyRows{Rows: s.rows, To: to}, tol: exact, keeps: []int{0},
					note:   fmt.Sprintf("%d of %dx%d %v to %v", s.t, s.rows, s.cols, from, to),
					inputs: func(g gen) []compute.Array { return []compute.Array{edges(g.floats(from, 100, s.t, s.cols))} }})
			}
		}
	}
	for _, s := range []struct{ rows, picked, cols int }{{1, 1, 1}, {5, 9, 33}, {64, 7, 130}, {3, 40, 16}} {
		note := fmt.Sprintf("%d of %dx%d", s.picked, s.rows, s.cols)
		dy := func(g gen) []compute.Array {
			return []compute.Array{g.normal(s.picked, s.cols), g.ints(s.picked, s.rows)}
		}
		all = append(all,
			testCase{op: compute.GatherRows{}, note: note, tol: exact,
				inputs: func(g gen) []compute.Array {
					return []compute.Array{g.normal(s.rows, s.cols), g.ints(s.picked, s.rows)}
				}},
			testCase{op: compute.ScatterRows{Rows: s.rows}, note: note, tol: summed(s.picked), inputs: dy},
			testCase{op: compute.EmbedGrad{Rows: s.rows}, note: note, tol: summed(s.picked), keeps: []int{0}, inputs: dy})
	}
	return all
}
