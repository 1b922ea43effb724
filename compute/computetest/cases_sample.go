package computetest

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
)

// keys are n keys of a random stream.
func (g gen) keys(n int) compute.Array {
	a := zeros(spec(compute.U32, n, 2))
	for i := range a.Keys() {
		a.Keys()[i] = compute.NewKey(g.Uint64())
	}
	return a
}

// logits are of a float type, with ties, and in the last row one that is not finite.
func (g gen) logits(t compute.DType, r, v int, last float64) compute.Array {
	a := g.floats(t, 3, r, v)
	x := a.Floats()
	for i := range r {
		x[i*v+g.IntN(v)] = x[i*v+g.IntN(v)]
	}
	if last != 0 && v > 1 {
		x[(r-1)*v+1+g.IntN(v-1)] = float32(last) // not the first, whose mark is what checks fill outputs with
	}
	a.SetFloats(x)
	return a
}

func sampleCases() []testCase {
	var all []testCase
	shapes := [][2]int{{1, 1}, {3, 33}, {1, 9001}, {7, 1030}}
	argmax := func(r, v int, t compute.DType, last float64) {
		all = append(all, testCase{op: compute.ArgMax{}, note: fmt.Sprintf("%dx%d %v, last %g", r, v, t, last), tol: exact,
			inputs: func(g gen) []compute.Array { return []compute.Array{g.logits(t, r, v, last)} }})
	}
	for _, s := range shapes {
		argmax(s[0], s[1], compute.F32, 0)
		argmax(s[0], s[1], compute.F32, math.NaN())
	}
	argmax(3, 50, compute.BF16, math.Inf(1))
	argmax(1, 20001, compute.F16, math.Inf(-1))
	for _, how := range []compute.Sampling{
		{}, {Temp: 1}, {Temp: 0.7, TopP: 0.9}, {Temp: 0.8, MinP: 0.05, MinTokensToKeep: 3}, {Temp: 1, TopK: 20},
		{Temp: 1.5, XTCProbability: 0.5, XTCThreshold: 0.02, XTCKeep: []int32{0, 5}},
		{Temp: 1.2, TopP: 0.95, MinP: 0.01, TopK: 7, XTCProbability: 0.9, XTCThreshold: 0.1},
	} {
		for _, s := range shapes {
			all = append(all, sampleCase(s[0], s[1], compute.F32, 0, how))
		}
	}
	warm := compute.Sampling{Temp: 1}
	return append(all, sampleCase(3, 50, compute.BF16, 0, warm), sampleCase(2, 50, compute.F32, math.NaN(), warm),
		sampleCase(3, 50, compute.F16, math.Inf(-1), warm, compute.Sampling{}, compute.Sampling{Temp: 1, TopK: 3}))
}

func sampleCase(r, v int, t compute.DType, last float64, how ...compute.Sampling) testCase {
	return testCase{op: compute.Sample{Rows: how}, note: fmt.Sprintf("%dx%d %v, last %g, %+v", r, v, t, last, how), tol: exact,
		inputs: func(g gen) []compute.Array { return []compute.Array{g.logits(t, r, v, last), g.keys(r)} }}
}
