package train

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

// DPO makes the chosen answer of a pair likelier than the rejected one, as compared with the
// model without its adapter: see compute.DPO. Its loss is the mean over pairs.
type DPO struct{ Beta float64 }

// ORPO makes the chosen answer of a pair likely, and likelier than the rejected one: see
// compute.ORPO. Its loss is the mean over pairs; that of several batches weighs each
// by its pairs.
type ORPO struct{ Beta float64 }

// perPair is a chosen and a rejected answer.
const perPair = 2

func (o DPO) check() error  { return checkBeta(o.Beta) }
func (o ORPO) check() error { return checkBeta(o.Beta) }

func checkBeta(beta float64) error {
	if !(beta > 0) || math.IsInf(beta, 0) {
		return fault.Value("beta", beta, "a number above 0")
	}
	return nil
}

func (DPO) sequences() int  { return perPair }
func (ORPO) sequences() int { return perPair }

func (DPO) reference() bool  { return true }
func (ORPO) reference() bool { return false }

func (DPO) units(b *packed) int  { return len(b.answers) / perPair }
func (ORPO) units(b *packed) int { return len(b.answers) / perPair }

func (o DPO) loss(p *pass, b *packed, share float32) *tensor.Tensor {
	t := p.tape
	return t.Scope(func() *tensor.Tensor {
		x, pass, done := p.unchanged(b)
		bounds := t.Ints(b.segments)
		reference := t.Constant(func() *tensor.Tensor { // [2P]
			if sums := p.known.load(b); sums != nil {
				return t.Floats(sums)
			}
			y := p.reference.Layers(t, x, pass, done, len(p.reference.Blocks), false)
			return t.SegmentSums(p.reference.TokenLosses(t, y, b.rows, b.targets), bounds)
		})
		losses := p.model.TokenLosses(t, p.above(x, pass, done), b.rows, b.targets)
		return t.Preference(compute.DPO{Beta: float32(o.Beta)}, losses, bounds, reference, t.Floats(b.ofPairs(share)))
	})
}

func (o ORPO) loss(p *pass, b *packed, share float32) *tensor.Tensor {
	t := p.tape
	return t.Scope(func() *tensor.Tensor {
		losses := p.model.TokenLosses(t, p.forward(b), b.rows, b.targets)
		return t.Preference(compute.ORPO{Beta: float32(o.Beta)}, losses, t.Ints(b.segments), t.Ints(b.answers), t.Floats(b.ofPairs(share)))
	})
}

// ofPairs gives each pair of the batch a weight.
func (p *packed) ofPairs(weight float32) []float32 {
	w := make([]float32, len(p.answers)/perPair)
	for i := range w {
		w[i] = weight
	}
	return w
}

func (o DPO) measure(b *packed, pairs []float32) measure {
	m := ofPairs(b, pairs, func(p []float32) (chosen, rejected float64) {
		return o.Beta * (float64(p[1]) - float64(p[3])), o.Beta * (float64(p[2]) - float64(p[4]))
	})
	for p := range m.units {
		m.references = append(m.references, -pairs[p*compute.PairFigures+3], -pairs[p*compute.PairFigures+4])
	}
	return m
}

func (o ORPO) measure(b *packed, pairs []float32) measure {
	m := ofPairs(b, pairs, func(p []float32) (chosen, rejected float64) { return o.Beta * float64(p[1]), o.Beta * float64(p[2]) })
	var nll, ratio, odds float64
	for p := 0; p < len(pairs); p += compute.PairFigures {
		x := float64(pairs[p+4])
		nll, odds = nll+float64(pairs[p+3]), odds+x
		ratio -= max(-x, 0) + math.Log1p(math.Exp(-math.Abs(x))) // log σ
	}
	n := float64(m.units)
	m.figures = append(m.figures, run.Figures{{Name: "nll_loss", Value: nll / n}, {Name: "log_odds_ratio", Value: ratio / n}, {Name: "log_odds_chosen", Value: odds / n}}...)
	return m
}

// ofPairs sums up pairs [P, 5]: see compute.DPO and ORPO. reward is that of a pair's answers.
func ofPairs(b *packed, pairs []float32, reward func(pair []float32) (chosen, rejected float64)) measure {
	n := len(pairs) / compute.PairFigures
	var loss, chosen, rejected, right, logChosen, logRejected float64
	for i := range n {
		p := pairs[i*compute.PairFigures:][:compute.PairFigures]
		c, r := reward(p)
		loss, chosen, rejected = loss+float64(p[0]), chosen+c, rejected+r
		logChosen, logRejected = logChosen+float64(p[1]), logRejected+float64(p[2])
		if c > r {
			right++
		}
	}
	f := run.Figures{
		{Name: run.RewardsChosen, Value: chosen}, {Name: run.RewardsRejected, Value: rejected}, {Name: run.RewardsMargins, Value: chosen - rejected},
		{Name: run.RewardsAccuracies, Value: right}, {Name: run.LogpsChosen, Value: logChosen}, {Name: run.LogpsRejected, Value: logRejected},
	}
	return measure{loss: loss / float64(n), units: n, tokens: len(b.rows), figures: f.Over(float64(n))}
}

// checkSequences refuses an example that is not of the objective's kind, or of which a side
// has nothing to learn.
func checkSequences(o Objective, e Example, maxLen int) error {
	n := o.sequences()
	if len(e.Others) != n-1 {
		return fmt.Errorf("the objective takes %d sequences an example, found %d", n, 1+len(e.Others))
	}
	if n == 1 {
		return nil
	}
	for i, s := range append([]Example{e}, e.Others...) {
		learnt := 0
		for _, span := range s.Loss {
			learnt += max(0, min(span[1], len(s.IDs), maxLen)-max(span[0], s.Offset, 1))
		}
		if learnt == 0 {
			return fault.Of("the %s answer has no token within %v %d", []string{"chosen", "rejected"}[i], fault.Setting("max_seq_length"), maxLen).
				Try("Raise it, or leave the pair out.")
		}
	}
	return nil
}
