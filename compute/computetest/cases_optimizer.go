package computetest

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
)

func optimizerCases() []testCase {
	adam := compute.Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}
	adamw := adam
	adamw.WeightDecay, adamw.BiasCorrection = 0.1, true
	sgd := compute.SGD{}
	ops := []struct {
		note string
		op   compute.Op
	}{
		{"plain", adam}, {"decay, bias correction", adamw}, {"plain", sgd},
		{"momentum", compute.SGD{Momentum: 0.9}},
		{"momentum, dampening, decay", compute.SGD{Momentum: 0.9, Dampening: 0.3, WeightDecay: 0.1}},
		{"nesterov, decay", compute.SGD{Momentum: 0.9, WeightDecay: 0.1, Nesterov: true}},
	}
	var all []testCase
	for _, shape := range elementShapes {
		for _, o := range ops {
			c := testCase{op: o.op, note: fmt.Sprintf("%v %s", shape, o.note)}
			if _, ok := o.op.(compute.Adam); ok {
				// A square root and a quotient; the moments are of about one size.
				c.tol, c.alias = approximated, []map[int]int{{0: 0, 1: 2, 2: 3}}
				c.inputs = func(g gen) []compute.Array {
					return []compute.Array{g.normal(shape...), g.normal(shape...), g.normal(shape...), g.positive(shape...), floatArray([]float32{1e-2, 7}, 2)}
				}
			} else {
				c.tol, c.alias = rounded, []map[int]int{{0: 0, 1: 2}}
				c.inputs = func(g gen) []compute.Array {
					return []compute.Array{g.normal(shape...), g.normal(shape...), g.normal(shape...), floatArray([]float32{0.1, 1}, 2)}
				}
			}
			all = append(all, c)
		}
		all = append(all, muonCases(shape)...)
		for _, acc := range []bool{false, true} {
			c := testCase{op: compute.SumSquares{Accumulate: acc}, note: fmt.Sprint(shape), tol: summed(shape[0] * shape[1]),
				inputs: func(g gen) []compute.Array { return []compute.Array{g.normal(shape...)} }}
			if acc {
				c.note, c.keeps = c.note+" accumulate", []int{0}
			}
			all = append(all, c)
		}
	}
	for _, squares := range []float32{0, 0.5, 1, 9, 1e30, float32(math.Inf(1))} {
		all = append(all, testCase{op: compute.ClipFactor{Max: 1}, note: fmt.Sprint(squares), tol: rounded,
			inputs: func(gen) []compute.Array { return []compute.Array{floatArray([]float32{squares}, 1)} }})
	}
	return givenUp(append(all, adafactorCases()...))
}

// givenUp has each update a second time with the rate of one that must not happen, and NaN
// for the gradient.
func givenUp(all []testCase) []testCase {
	for _, c := range all {
		if c.alias == nil {
			continue
		}
		in := c.inputs(newGen(c.name()))
		rate := in[len(in)-1]
		if len(in) < 3 || !rate.Shape.Equal(compute.Shape{2}) {
			continue
		}
		inputs := c.inputs
		c.note, c.tol = c.note+" given up", exact
		c.inputs = func(g gen) []compute.Array {
			in := inputs(g)
			for i := range in[1].F32() {
				in[1].F32()[i] = float32(math.NaN())
			}
			in[len(in)-1].F32()[1] = 0
			return in
		}
		all = append(all, c)
	}
	for _, v := range []float32{1, float32(math.NaN()), float32(math.Inf(-1))} {
		all = append(all, testCase{op: compute.Guard{}, note: fmt.Sprint(v), tol: exact, alias: []map[int]int{{0: 1}}, inputs: func(g gen) []compute.Array {
			x := g.normal(33)
			x.F32()[17] = v
			return []compute.Array{x, floatArray([]float32{1e-2, 7}, 2)}
		}})
	}
	return all
}

func muonCases(shape []int) []testCase {
	var all []testCase
	for _, op := range []compute.Momentum{{Beta: 0.95}, {Beta: 0.8, WeightDecay: 0.1}, {Beta: 0.95, WeightDecay: 0.1, Nesterov: true}} {
		all = append(all, testCase{op: op, note: fmt.Sprintf("%v decay %g nesterov %v", shape, op.WeightDecay, op.Nesterov), tol: rounded, alias: []map[int]int{{0: 1, 1: 2}},
			inputs: func(g gen) []compute.Array {
				return []compute.Array{g.normal(shape...), g.normal(shape...), g.normal(shape...), floatArray([]float32{0.1, 3}, 2)}
			}})
	}
	one := func(g gen) []compute.Array { return []compute.Array{g.normal(shape...)} }
	n := shape[0] * shape[1]
	return append(all,
		testCase{op: compute.Descend{Factor: 1.5}, note: fmt.Sprint(shape), tol: rounded, alias: []map[int]int{{0: 0}},
			inputs: func(g gen) []compute.Array {
				return []compute.Array{g.normal(shape...), g.normal(shape...), floatArray([]float32{0.1, 3}, 2)}
			}},
		testCase{op: compute.UnitNorm{Eps: 1e-7}, note: fmt.Sprint(shape), tol: summed(n), alias: []map[int]int{{0: 0}}, inputs: one},
		testCase{op: compute.UnitNorm{Eps: 1e-7}, note: fmt.Sprintf("%v of zeros", shape), tol: exact,
			inputs: func(gen) []compute.Array { return []compute.Array{zeros(spec(compute.F32, shape...))} }},
		testCase{op: compute.Reshape{Shape: compute.Shape{shape[1], 1, shape[0]}}, note: fmt.Sprint(shape), tol: exact, inputs: one})
}

func adafactorCases() []testCase {
	plain := compute.Adafactor{Scaled: true, MinScale: 1e-3, Eps: 1e-30, Clip: 1, DecayRate: -0.8}
	full := plain
	full.Momentum, full.Beta1, full.WeightDecay, full.Clip, full.Eps = true, 0.9, 0.1, 0.3, 1e-3
	unscaled := plain
	unscaled.Scaled, unscaled.RelativeStep, unscaled.WarmupInit = false, true, true
	var all []testCase
	for _, variant := range []struct {
		note string
		op   compute.Adafactor
		step float32
	}{{"plain", plain, 2}, {"momentum, decay", full, 3}, {"unscaled, first", unscaled, 1}} {
		op := variant.op
		for _, s := range []struct{ stack, rows, cols int }{{1, 1, 1}, {1, 5, 33}, {3, 4, 7}, {1, 41, 1001}, {2, 64, 3}, {0, 1, 1}, {0, 1, 33}, {0, 1, 5001}} {
			shape := []int{s.stack * s.rows, s.cols}
			moments := [][]int{{s.stack, s.rows}, {s.stack, s.cols}}
			c := testCase{tol: summed(max(s.rows, s.cols)) + approximated, note: fmt.Sprintf("%d of %dx%d %s", s.stack, s.rows, s.cols, variant.note)}
			if s.stack == 0 {
				shape, moments = []int{s.cols}, [][]int{{s.cols}}
			}
			op.Stack = max(s.stack, 1)
			in := map[int]int{0: 0, 1: 2}
			for i := range moments {
				in[1+i] = 2 + i
			}
			if op.Momentum {
				in[1+len(moments)] = 2 + len(moments)
			}
			c.op, c.alias = op, []map[int]int{in}
			c.inputs = func(g gen) []compute.Array {
				all := []compute.Array{g.normal(shape...), g.normal(shape...)}
				for _, m := range moments {
					all = append(all, g.positive(m...))
				}
				if op.Momentum {
					all = append(all, g.normal(shape...))
				}
				return append(all, floatArray([]float32{1e-2, variant.step}, 2))
			}
			all = append(all, c)
		}
	}
	return all
}
