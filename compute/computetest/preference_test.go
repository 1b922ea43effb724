package computetest

import (
	"math"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// preferencePairs compare the losses over pairs with the formulas of the papers in float64.
func preferencePairs(t *testing.T) []pair {
	const beta = 0.3
	g := newGen("preference")
	size := pairSizes[2]
	segment := func(x floats64, bounds, answers []int32, s int) (all, answer floats64) {
		return x[bounds[s]:bounds[s+1]], x[answers[s]:bounds[s+1]]
	}
	sum := func(x floats64) (y float64) {
		for _, v := range x {
			y += v
		}
		return y
	}
	logSigmoid := func(x float64) float64 { return math.Log(1 / (1 + math.Exp(-x))) }
	make := func(name string, op compute.Op, orpo bool, loss func(nll floats64, in []compute.Array, p int) float64) pair {
		in := inPairs(g, size.rows, size.prompts, orpo)
		weight := in[3].F32()
		return pair{name: name, ones: true, x: in[:1],
			reference: func(x []floats64) (y floats64) {
				for p, w := range weight {
					y = append(y, float64(w)*loss(x[0], in, p))
				}
				return y
			},
			forward: func(x []compute.Array) compute.Array {
				pairs := define(t, op, append(x[:1:1], in[1:]...)...)[0].F32()
				y := zeros(spec(compute.F32, len(weight)))
				for p, w := range weight {
					y.F32()[p] = w * pairs[p*compute.PairFigures]
				}
				return y
			},
			backward: func(x []compute.Array, _, _ compute.Array) []compute.Array {
				return define(t, op, append(x[:1:1], in[1:]...)...)[1:]
			}}
	}
	return []pair{
		make("dpo", compute.DPO{Beta: beta}, false, func(nll floats64, in []compute.Array, p int) float64 {
			bounds, reference := in[1].I32(), wide(in[2])
			ratio := func(s int) float64 { all, _ := segment(nll, bounds, bounds, s); return reference[s] - sum(all) }
			return -logSigmoid(float64(float32(beta)) * (ratio(2*p) - ratio(2*p+1)))
		}),
		make("orpo", compute.ORPO{Beta: beta}, true, func(nll floats64, in []compute.Array, p int) float64 {
			bounds, answers := in[1].I32(), in[2].I32()
			odds := func(s int) float64 {
				_, answer := segment(nll, bounds, answers, s)
				prob := math.Exp(-sum(answer) / float64(len(answer)))
				return prob / (1 - prob)
			}
			tokens, n := 0, len(bounds)/2
			for q := range n {
				tokens += int(bounds[2*q+1] - bounds[2*q])
			}
			chosen, _ := segment(nll, bounds, answers, 2*p)
			return sum(chosen)/float64(tokens)*float64(n) - float64(float32(beta))*logSigmoid(math.Log(odds(2*p)/odds(2*p+1)))
		}),
	}
}

// TestSureAnswers: losses of an answer that is certain, or next to impossible, are numbers.
func TestSureAnswers(t *testing.T) {
	ints := func(v ...int32) compute.Array {
		a := zeros(spec(compute.I32, len(v)))
		copy(a.I32(), v)
		return a
	}
	for _, nll := range [][]float32{{0, 0}, {0, 1e4}, {1e4, 0}, {1e-9, 1e-9}} {
		x, w := floatArray(nll, 2), floatArray([]float32{1}, 1)
		for _, out := range [][]compute.Array{
			define(t, compute.DPO{Beta: 1}, x, ints(0, 1, 2), floatArray([]float32{1, 1}, 2), w), define(t, compute.ORPO{Beta: 1}, x, ints(0, 1, 2), ints(0, 1), w),
		} {
			for _, a := range out {
				for _, v := range a.F32() {
					if v-v != 0 {
						t.Errorf("nll %v: %v", nll, a.F32())
					}
				}
			}
		}
	}
}
