package compute

import (
	"math"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/quant"
)

// TestRoutePicks: the largest comes first, the lower index where logits are equal, and
// ids are good whatever the logits.
func TestRoutePicks(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, tt := range []struct {
		name   string
		logits []float32
		want   []int32
		finite bool
	}{
		{"order", []float32{1, 4, 2, 3}, []int32{1, 3, 2}, true},
		{"ties", []float32{2, 5, 2, 5, 2}, []int32{1, 3, 0}, true},
		{"zeros of both signs", []float32{float32(math.Copysign(0, -1)), 0, -1}, []int32{0, 1, 2}, true},
		{"all", []float32{-1, 0, 1}, []int32{2, 1, 0}, true},
		{"large", []float32{3e38, -3e38, 2.9e38, 0}, []int32{0, 2, 3}, true},
		{"NaN last", []float32{nan, 1, nan, 2}, []int32{3, 1, 0}, false},
		{"all NaN", []float32{nan, nan, nan, nan}, []int32{0, 1, 2}, false},
		{"infinite", []float32{-inf, inf, inf, -inf}, []int32{1, 2, 0}, false},
		{"minus infinite", []float32{-inf, -inf, -inf}, []int32{0, 1, 2}, false},
	} {
		for _, normalize := range []bool{false, true} {
			out := run(t, Route{K: len(tt.want), Normalize: normalize}, array(tt.logits, 1, len(tt.logits)))
			if got := out[0].I32(); !slices.Equal(got, tt.want) {
				t.Errorf("%s: picked %v, want %v", tt.name, got, tt.want)
			}
			var sum float64
			for _, s := range out[1].F32() {
				sum += float64(s)
			}
			if tt.finite != (sum > 0 && sum < 1.001) {
				t.Errorf("%s, normalize %v: scores %v", tt.name, normalize, out[1].F32())
			}
			if tt.finite && normalize && !(math.Abs(sum-1) <= 1e-6) { // a few roundings
				t.Errorf("%s: scores %v add up to %v", tt.name, out[1].F32(), sum)
			}
		}
	}
}

// TestExpertsNobodyPicked: experts that nobody picked have no gradient and keep what was there.
func TestExpertsNobodyPicked(t *testing.T) {
	ids := Array{Spec: Spec{Shape{2, 1}, I32}, Data: IntBytes([]int32{2, 0})}
	dy, x := array([]float32{1, 2, 3, 4}, 2, 2), array([]float32{5, 7}, 2, 1)
	got := array([]float32{9, 9, 9, 9, 9, 9}, 6, 1)
	in := []Array{dy, x, ids}
	ExpertGradWeight{Experts: 3, Alpha: 10, Accumulate: true}.Define([]Array{got}, in)
	if want := []float32{219, 289, 9, 9, 59, 109}; !slices.Equal(got.F32(), want) {
		t.Errorf("accumulated %v, want %v", got.F32(), want)
	}
	ExpertGradWeight{Experts: 3, Alpha: 10}.Define([]Array{got}, in)
	if want := []float32{210, 280, 0, 0, 50, 100}; !slices.Equal(got.F32(), want) {
		t.Errorf("gradient %v, want %v", got.F32(), want)
	}
}

func expertInferCases() []inferCase {
	w := Weight{quant.Format{Kind: quant.Dense, DType: F32}, 6, 64}
	affine := Weight{affineWeight.Format, 6, 64}
	stack := f32(6, 64)
	return []inferCase{
		{"good", ExpertLinear{Weight: w, Experts: 3}, []Spec{f32(5, 64), i32(5, 2), stack}, "", []Spec{f32(10, 2)}},
		{"good own", ExpertLinear{Weight: w, Experts: 3, Own: true}, []Spec{f32(10, 64), i32(5, 2), stack}, "", []Spec{f32(10, 2)}},
		{"good affine", ExpertLinear{Weight: affine, Experts: 2}, []Spec{f32(5, 64), i32(5, 2), {Shape{6, 40}, U8}}, "", []Spec{f32(10, 3)}},
		{"good input gradient", ExpertGradInput{Weight: w, Experts: 3}, []Spec{f32(10, 2), i32(5, 2), stack}, "", []Spec{f32(5, 64)}},
		{"good own input gradient", ExpertGradInput{Weight: w, Experts: 3, Own: true}, []Spec{f32(10, 2), i32(5, 2), stack}, "", []Spec{f32(10, 64)}},
		{"good weight gradient", ExpertGradWeight{Experts: 3}, []Spec{f32(10, 2), f32(5, 64), i32(5, 2)}, "", []Spec{stack}},
		{"uneven stack", ExpertLinear{Weight: w, Experts: 4}, []Spec{f32(5, 64), i32(5, 2), stack}, "6 rows do not divide among 4 experts", nil},
		{"no experts", ExpertGradInput{Weight: w}, []Spec{f32(5, 2), i32(5, 1), stack}, "0 experts", nil},
		{"ids of other rows", ExpertLinear{Weight: w, Experts: 3}, []Spec{f32(5, 64), i32(4, 2), stack}, "ids has shape", nil},
		{"no ids", ExpertLinear{Weight: w, Experts: 3}, []Spec{f32(5, 64), i32(5, 0), stack}, "at least one column", nil},
		{"float ids", ExpertLinear{Weight: w, Experts: 3}, []Spec{f32(5, 64), f32(5, 2), stack}, "ids has type", nil},
		{"rows of tokens, not pairs", ExpertLinear{Weight: w, Experts: 3, Own: true}, []Spec{f32(5, 64), i32(5, 2), stack}, "x has shape", nil},
		{"dy of tokens", ExpertGradWeight{Experts: 3}, []Spec{f32(5, 2), f32(5, 64), i32(5, 2)}, "dy has shape", nil},
		{"good route", Route{K: 2}, []Spec{f32(5, 8)}, "", []Spec{i32(5, 2), f32(5, 2)}},
		{"more than there are", Route{K: 9}, []Spec{f32(5, 8)}, "9 experts to pick of 8", nil},
		{"none to pick", Route{}, []Spec{f32(5, 8)}, "0 experts to pick", nil},
		{"good route gradient", RouteGrad{}, []Spec{f32(5, 8), i32(5, 2), f32(5, 2)}, "", []Spec{f32(5, 8)}},
		{"dscores of another shape", RouteGrad{}, []Spec{f32(5, 8), i32(5, 2), f32(5, 3)}, "dscores has shape", nil},
		{"good combine", Combine{}, []Spec{f32(10, 7), f32(5, 2)}, "", []Spec{f32(5, 7)}},
		{"rows without a score", Combine{}, []Spec{f32(9, 7), f32(5, 2)}, "y has shape", nil},
		{"no scores", Combine{}, []Spec{f32(0, 7), f32(5, 0)}, "one expert for each row", nil},
		{"good combine gradient", CombineGrad{}, []Spec{f32(5, 7), f32(10, 7), f32(5, 2)}, "", []Spec{f32(10, 7), f32(5, 2)}},
		{"dout of pairs", CombineGrad{}, []Spec{f32(10, 7), f32(10, 7), f32(5, 2)}, "dout has shape", nil},
	}
}

// TestExpertCost: a token costs the matrices of its experts, not the whole stack.
func TestExpertCost(t *testing.T) {
	w := Weight{quant.Format{Kind: quant.Dense, DType: F32}, 800, 64}
	one := ExpertLinear{Weight: w, Experts: 8}.Cost([]Spec{f32(1, 64), i32(1, 2), f32(800, 64)})
	if want := (Cost{FLOPs: 2 * 2 * 100 * 64, Bytes: 2*100*64*4 + 4*64 + 4*200}); one != want {
		t.Errorf("one token: %+v, want %+v", one, want)
	}
	many := ExpertLinear{Weight: w, Experts: 8}.Cost([]Spec{f32(50, 64), i32(50, 2), f32(800, 64)})
	if want := (Cost{FLOPs: 2 * 100 * 100 * 64, Bytes: 800*64*4 + 50*4*64 + 100*4*100}); many != want {
		t.Errorf("many tokens: %+v, want %+v", many, want)
	}
}
