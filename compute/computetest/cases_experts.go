package computetest

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// An expertSize is t tokens that go to k of e experts of [rows, cols] each.
type expertSize struct{ t, k, e, rows, cols int }

func (s expertSize) String() string {
	return fmt.Sprintf("T=%d K=%d E=%d %dx%d", s.t, s.k, s.e, s.rows, s.cols)
}

// ids picks k different experts for each token. If there are more than k, nobody picks
// the last one.
func (s expertSize) ids(g gen) compute.Array {
	a := zeros(spec(compute.I32, s.t, s.k))
	for t := range s.t {
		for k, e := range g.Perm(max(s.e-1, s.k))[:s.k] {
			a.I32()[t*s.k+k] = int32(e)
		}
	}
	return a
}

// rowsOf is how many rows the input of a product has.
func (s expertSize) rowsOf(own bool) int {
	if own {
		return s.t * s.k
	}
	return s.t
}

func (s expertSize) note(own bool) string {
	if own {
		return s.String() + " own"
	}
	return s.String()
}

func expertCases() []testCase {
	var all []testCase
	for i, f := range formats() {
		all = append(all, expertProducts(f, expertSize{1, 2, 5, 9, 256}, i%2 == 0)...)
		all = append(all, expertProducts(f, expertSize{7, 2, 4, 5, 256}, i%2 != 0)...)
	}
	for i, f := range commonFormats() {
		for j, s := range []expertSize{{1, 1, 1, 33, 256}, {3, 1, 2, 1, 256}, {1, 4, 4, 40, 256}, {40, 3, 3, 17, 256}, {20, 1, 4, 17, 256}, {70, 2, 5, 66, 768}} {
			all = append(all, expertProducts(f, s, (i+j)%2 == 0)...)
		}
	}
	for _, s := range []expertSize{{1, 1, 1, 1, 1}, {1, 3, 8, 1, 17}, {5, 2, 6, 8, 33}, {65, 2, 3, 3, 100}} { // narrow matrices, as of low-rank updates
		for _, own := range []bool{false, true} {
			all = append(all, expertProducts(dense(compute.F32), s, own)...)
			all = append(all, expertWeights(s, own)...)
		}
	}
	for _, s := range []expertSize{{33, 2, 5, 40, 130}, {130, 3, 4, 8, 257}, {1, 2, 5, 64, 48}} {
		all = append(all, expertWeights(s, false)...)
		all = append(all, expertWeights(s, true)...)
	}
	return append(all, routeCases()...)
}

// expertProducts are ExpertLinear and the gradient of its input.
func expertProducts(f quant.Format, s expertSize, own bool) []testCase {
	w := compute.Weight{Format: f, Rows: s.e * s.rows, Cols: s.cols}
	note := formatNote(f) + " " + s.note(own)
	forward := func(g gen) []compute.Array {
		return []compute.Array{g.normal(s.rowsOf(own), s.cols), s.ids(g), g.weight(w)}
	}
	backward := func(g gen) []compute.Array {
		return []compute.Array{g.normal(s.t*s.k, s.rows), s.ids(g), g.weight(w)}
	}
	tol := summed(s.rows * s.k)
	all := []testCase{
		{op: compute.ExpertLinear{Weight: w, Experts: s.e, Own: own, Exact: true}, note: note, inputs: forward, tol: summed(s.cols)},
		{op: compute.ExpertGradInput{Weight: w, Experts: s.e, Own: own}, note: note, inputs: backward, tol: tol},
		{op: compute.ExpertGradInput{Weight: w, Experts: s.e, Own: own, Accumulate: true}, note: note + " accumulate", inputs: backward, tol: tol, keeps: []int{0}},
	}
	if f.Kind != quant.Dense {
		all = append(all, testCase{op: compute.ExpertLinear{Weight: w, Experts: s.e, Own: own}, note: note + " inexact", inputs: forward, tol: summed(s.cols) + int8Activations})
	}
	return all
}

func expertWeights(s expertSize, own bool) []testCase {
	in := func(g gen) []compute.Array {
		return []compute.Array{g.normal(s.t*s.k, s.rows), g.normal(s.rowsOf(own), s.cols), s.ids(g)}
	}
	return []testCase{
		{op: compute.ExpertGradWeight{Experts: s.e, Alpha: 1, Own: own}, note: s.note(own), inputs: in, tol: summed(s.t)},
		{op: compute.ExpertGradWeight{Experts: s.e, Alpha: -2.5, Own: own, Accumulate: true}, note: s.note(own) + " accumulate", inputs: in, tol: summed(s.t), keeps: []int{0}},
	}
}

func routeCases() []testCase {
	var all []testCase
	for _, s := range []expertSize{{t: 1, k: 1, e: 1}, {t: 3, k: 2, e: 8}, {t: 5, k: 7, e: 7}, {t: 1, k: 8, e: 128}, {t: 300, k: 8, e: 60}} {
		for _, normalize := range []bool{false, true} {
			note := fmt.Sprintf("T=%d %d of %d normalize=%v", s.t, s.k, s.e, normalize)
			// Two logits of each row are equal.
			logits := func(g gen) compute.Array {
				a := g.floats(compute.F32, 2, s.t, s.e)
				for t := range s.t {
					a.F32()[t*s.e+s.e/2] = a.F32()[t*s.e]
				}
				return a
			}
			all = append(all,
				testCase{op: compute.Route{K: s.k, Normalize: normalize}, note: note, tol: summed(s.e) + approximated,
					inputs: func(g gen) []compute.Array { return []compute.Array{logits(g)} }},
				testCase{op: compute.RouteGrad{Normalize: normalize}, note: note, tol: 4*summed(s.e) + approximated,
					inputs: func(g gen) []compute.Array { return []compute.Array{logits(g), s.ids(g), g.normal(s.t, s.k)} }})
		}
	}
	for _, s := range []expertSize{{t: 1, k: 1, cols: 1}, {t: 3, k: 2, cols: 33}, {t: 5, k: 8, cols: 100}, {t: 40, k: 4, cols: 257}} {
		note := fmt.Sprintf("T=%d K=%d D=%d", s.t, s.k, s.cols)
		all = append(all,
			testCase{op: compute.Combine{}, note: note, tol: summed(s.k),
				inputs: func(g gen) []compute.Array { return []compute.Array{g.normal(s.t*s.k, s.cols), g.normal(s.t, s.k)} }},
			testCase{op: compute.CombineGrad{}, note: note, tol: summed(s.cols), alias: []map[int]int{{0: 1}},
				inputs: func(g gen) []compute.Array {
					return []compute.Array{g.normal(s.t, s.cols), g.normal(s.t*s.k, s.cols), g.normal(s.t, s.k)}
				}})
	}
	return all
}

// expertBenchCases are experts of the size of Qwen3-30B-A3B's,
// with an ordinary product of as many operations beside each.
func expertBenchCases() []testCase {
	const hidden, k, experts = 2048, 8, 128
	var all []testCase
	for _, f := range []quant.Format{affine(4, 64, compute.BF16), {Kind: quant.Q4K}} {
		for _, t := range []int{1, 4, 512} {
			s := expertSize{t, k, experts, 768, hidden}
			w := compute.Weight{Format: f, Rows: experts * s.rows, Cols: hidden}
			dense := compute.Weight{Format: f, Rows: k * s.rows, Cols: hidden}
			note := fmt.Sprintf("%s %v", formatNote(f), s)
			all = append(all,
				testCase{op: compute.ExpertLinear{Weight: w, Experts: experts}, note: note + " inexact",
					inputs: func(g gen) []compute.Array {
						return []compute.Array{g.normal(t, hidden), s.ids(g), g.weight(w)}
					}},
				testCase{op: compute.Linear{Weight: dense}, note: note + " inexact, one matrix",
					inputs: func(g gen) []compute.Array { return []compute.Array{g.normal(t, hidden), g.weight(dense)} }})
			if t < 512 {
				continue
			}
			all = append(all,
				testCase{op: compute.ExpertLinear{Weight: w, Experts: experts, Exact: true}, note: note,
					inputs: func(g gen) []compute.Array {
						return []compute.Array{g.normal(t, hidden), s.ids(g), g.weight(w)}
					}},
				testCase{op: compute.Linear{Weight: dense, Exact: true}, note: note + ", one matrix",
					inputs: func(g gen) []compute.Array { return []compute.Array{g.normal(t, hidden), g.weight(dense)} }},
				testCase{op: compute.ExpertGradInput{Weight: w, Experts: experts}, note: note,
					inputs: func(g gen) []compute.Array {
						return []compute.Array{g.normal(t*k, s.rows), s.ids(g), g.weight(w)}
					}},
				testCase{op: compute.LinearGradInput{Weight: dense}, note: note + ", one matrix",
					inputs: func(g gen) []compute.Array {
						return []compute.Array{g.normal(t, dense.Rows), g.weight(dense)}
					}})
		}
	}
	for _, t := range []int{1, 512} {
		all = append(all, testCase{op: compute.Route{K: k}, note: fmt.Sprintf("T=%d 8 of 128", t), inputs: func(g gen) []compute.Array { return []compute.Array{g.normal(t, 128)} }})
	}
	return all
}
