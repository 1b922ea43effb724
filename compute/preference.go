package compute

import (
	"fmt"
	"math"
)

// Rows that belong together are told by bounds, I32 [S+1]: segment s of x is rows
// [bounds[s], bounds[s+1]), and each row is in one segment.

// SegmentSums are the sums of x over segments of its rows.
//
//	in: x F32 [R], bounds I32 [S+1];  out: F32 [S]
type SegmentSums struct{}

func (SegmentSums) Name() string { return "segment_sums" }

func (SegmentSums) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 2), want(in, 0, "x", -1), wantType(in, 0, "x", F32), want(in, 1, "bounds", -1), wantType(in, 1, "bounds", I32)); err != nil {
		return nil, err
	}
	n := in[1].Shape[0] - 1
	if n < 0 {
		return nil, fmt.Errorf("bounds has no number; the first is the start")
	}
	return []Spec{{Shape{n}, F32}}, nil
}

func (SegmentSums) Cost(in []Spec) Cost { return elementCost(in, 1, 0) }

func (SegmentSums) Define(out, in []Array) {
	x, bounds := in[0].F32(), in[1].I32()
	for s := range out[0].F32() {
		out[0].F32()[s] = float32(sumOf(x[bounds[s]:bounds[s+1]]))
	}
}

func sumOf(x []float32) (sum float64) {
	for _, v := range x {
		sum += float64(v)
	}
	return sum
}

// ScaleRows multiplies each row of x by a number of its own. The output may be x.
//
//	in: x float [R, D], s F32 [R];  out: as x
type ScaleRows struct{}

func (ScaleRows) Name() string { return "scale_rows" }

func (ScaleRows) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 2), want(in, 0, "x", -1, -1), wantActivation(in, 0, "x"), want(in, 1, "s", dim(in, 0, 0)), wantType(in, 1, "s", F32)); err != nil {
		return nil, err
	}
	return in[:1], nil
}

func (ScaleRows) Cost(in []Spec) Cost { return elementCost(in, 1, 1) }

func (ScaleRows) Define(out, in []Array) {
	x, d := in[0].Floats(), in[0].Shape[1]
	y, put := out[0].working()
	defer put()
	for r, s := range in[1].F32() {
		for i := r * d; i < (r+1)*d; i++ {
			y[i] = s * x[i]
		}
	}
}

// PairFigures is how many numbers DPO and ORPO tell of a pair.
const PairFigures = 5

// DPO is the loss of direct preference optimization (Rafailov et al., 2023) over pairs of a
// chosen and a rejected answer:
//
//	margin = log p(chosen)/p'(chosen) - log p(rejected)/p'(rejected)
//	loss = -log σ(Beta·margin)
//
// log p of an answer is the sum over its tokens; p' is that of the reference model.
//
//	in: nll F32 [R] of the tokens, bounds I32 [2P+1] of the answers, chosen and rejected in
//	    turn, reference F32 [2P], the sums of the reference's nll, weight F32 [P]
//	out: pairs F32 [P, 5]: loss, log p of chosen and rejected, log p' of chosen and rejected;
//	    dnll F32 [R]: gradient of Σ weight·loss
type DPO struct{ Beta float32 }

func (DPO) Name() string { return "dpo" }

func (DPO) Infer(in []Spec) ([]Spec, error) {
	return pairs(in, firstErr(want(in, 2, "reference", dim(in, 1, 0)-1), wantType(in, 2, "reference", F32)))
}

func (DPO) Cost(in []Spec) Cost { return elementCost(in, 2, 1) }

func (o DPO) Define(out, in []Array) {
	nll, bounds, reference, weight := in[0].F32(), in[1].I32(), in[2].F32(), in[3].F32()
	dnll := out[1].F32()
	for p, w := range weight {
		from, mid, to := bounds[2*p], bounds[2*p+1], bounds[2*p+2]
		chosen, rejected := -sumOf(nll[from:mid]), -sumOf(nll[mid:to])
		chosenWas, rejectedWas := -float64(reference[2*p]), -float64(reference[2*p+1])
		margin := float64(o.Beta) * ((chosen - chosenWas) - (rejected - rejectedWas))
		copy(out[0].F32()[p*PairFigures:], []float32{float32(softplus(-margin)), float32(chosen), float32(rejected), float32(chosenWas), float32(rejectedWas)})
		d := w * o.Beta * float32(sigmoid64(-margin))
		fill(dnll[from:mid], d)
		fill(dnll[mid:to], -d)
	}
}

// ORPO is the loss of odds ratio preference optimization (Hong et al., 2024), which needs no
// reference model, as TRL computes it over pairs of a chosen and a rejected answer:
//
//	odds = p/(1-p) with log p, the mean over the tokens of an answer
//	loss = nll - Beta·log σ(log odds(chosen)/odds(rejected))
//
// nll is that of all rows of the chosen one, which may have tokens of the prompt in front of
// the answer's. Its mean over the pairs is the mean over the tokens of all of them.
//
//	in: nll F32 [R] of the tokens, bounds I32 [2P+1] of the sequences, chosen and rejected in
//	    turn, answers I32 [2P], the first row of each that is of the answer, weight F32 [P]
//	out: pairs F32 [P, 5]: loss, log p of chosen and rejected, nll, log of the odds' ratio;
//	    dnll F32 [R]: gradient of Σ weight·loss
type ORPO struct{ Beta float32 }

func (ORPO) Name() string { return "orpo" }

func (ORPO) Infer(in []Spec) ([]Spec, error) {
	return pairs(in, firstErr(want(in, 2, "answers", dim(in, 1, 0)-1), wantType(in, 2, "answers", I32)))
}

func (ORPO) Cost(in []Spec) Cost { return elementCost(in, 2, 1) }

// Surest is the largest mean of log p that ORPO tells from certainty, whose odds are infinite.
const Surest = -1e-6

func (o ORPO) Define(out, in []Array) {
	nll, bounds, answers, weight := in[0].F32(), in[1].I32(), in[2].I32(), in[3].F32()
	dnll := out[1].F32()
	tokens := int32(0) // of all chosen ones
	for p := range weight {
		tokens += bounds[2*p+1] - bounds[2*p]
	}
	share := float64(len(weight)) / float64(tokens)
	// logOdds gives the mean of log p, its log odds and their derivative by it.
	logOdds := func(x []float32) (logP, odds, slope float64) {
		logP = -sumOf(x) / float64(len(x))
		p := min(logP, Surest)
		q := -math.Expm1(p) // 1 - p
		return logP, p - math.Log(q), 1 / q
	}
	for p, w := range weight {
		from, mid, to := bounds[2*p], bounds[2*p+1], bounds[2*p+2]
		chosenAt, rejectedAt := answers[2*p], answers[2*p+1]
		chosen, chosenOdds, chosenSlope := logOdds(nll[chosenAt:mid])
		rejected, rejectedOdds, rejectedSlope := logOdds(nll[rejectedAt:to])
		ratio, mean := chosenOdds-rejectedOdds, share*sumOf(nll[from:mid])
		loss := mean + float64(o.Beta)*softplus(-ratio)
		copy(out[0].F32()[p*PairFigures:], []float32{float32(loss), float32(chosen), float32(rejected), float32(mean), float32(ratio)})
		d := float64(w) * float64(o.Beta) * sigmoid64(-ratio)
		fill(dnll[from:chosenAt], w*float32(share))
		fill(dnll[chosenAt:mid], float32(float64(w)*share+d*chosenSlope/float64(mid-chosenAt)))
		fill(dnll[mid:rejectedAt], 0)
		fill(dnll[rejectedAt:to], float32(-d*rejectedSlope/float64(to-rejectedAt)))
	}
}

// pairs is the shape rule of a loss over pairs; third is what is wrong with its input 2.
func pairs(in []Spec, third error) ([]Spec, error) {
	if err := firstErr(arity(in, 4), want(in, 0, "nll", -1), wantType(in, 0, "nll", F32), want(in, 1, "bounds", -1), wantType(in, 1, "bounds", I32)); err != nil {
		return nil, err
	}
	n := in[1].Shape[0]
	if n%2 == 0 {
		return nil, fmt.Errorf("bounds has %d numbers, want an odd one: two segments a pair", n)
	}
	if err := firstErr(third, want(in, 3, "weight", n/2), wantType(in, 3, "weight", F32)); err != nil {
		return nil, err
	}
	return []Spec{{Shape{n / 2, PairFigures}, F32}, in[0]}, nil
}

// softplus is log(1 + exp(x)), which is -log σ(-x).
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func sigmoid64(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}
