package compute

import (
	"fmt"
	"math"
)

// Adafactor is one update of Shazeer and Stern's optimizer (2018) as MLX computes
// it. It keeps the means r and c of the second moments of rows and columns only:
//
//	r = Beta2·r + (1-Beta2)·mean by row of (g²+Eps);  c likewise by column
//	u = g / sqrt(r/mean(r) · c), for a vector g / sqrt(c)
//	u = u / max(1, rms(u)/Clip) · LR, times max(rms(p), MinScale) when Scaled
//	m = Beta1·m + (1-Beta1)·u and u = m, when Momentum
//	p = p - p·LR·WeightDecay - u, with the LR of u
//
// Beta2 is 1 - Step^DecayRate. With RelativeStep LR is Adafactor's own step size: the
// smaller of 1/√Step and 0.01, or of 1/√Step and Step/1,000,000 with WarmupInit.
//
//	in: p, g F32 [Stack·R, C], r F32 [Stack, R], c F32 [Stack, C];
//	    of a vector p, g F32 [N], c F32 [N];  m F32 as p when Momentum;
//	    rate F32 [2] of LR and Step
//	out: p, r, c, m (the same buffers), as far as they are inputs
//
// Each matrix of a Stack has its own moments; rms(p) and rms(u) are of the whole.
type Adafactor struct {
	Stack        int // of matrices: 1 for an ordinary one
	RelativeStep bool
	WarmupInit   bool
	Scaled       bool
	MinScale     float32
	Eps          float32
	Clip         float32
	DecayRate    float64
	Momentum     bool
	Beta1        float64
	WeightDecay  float32
}

// Adafactor's own step size.
const (
	adafactorStep   = 1e-2
	adafactorWarmup = 1e-6 // of each update
)

// OwnStep is the most that Adafactor's own step size is, and how much of it each update of WarmupInit gives.
func (Adafactor) OwnStep() (most, perStep float32) { return adafactorStep, adafactorWarmup }

// rate is LR, before it is scaled with the parameter's size, and Beta2.
func (o Adafactor) rate(a Array) (lr, beta2 float32) {
	lr, step := a.Rate()
	if o.RelativeStep {
		most := adafactorStep
		if o.WarmupInit {
			most = adafactorWarmup * step
		}
		lr = float32(min(most, 1/math.Sqrt(step)))
	}
	return lr, 1 - float32(math.Pow(step, o.DecayRate))
}

func (Adafactor) Name() string { return "adafactor" }

func (o Adafactor) Infer(in []Spec) ([]Spec, error) {
	if len(in) == 0 {
		return nil, fmt.Errorf("p is missing")
	}
	p := in[0]
	out := []Spec{p, p} // of a vector
	if err := divides(p.Shape.Rows(), o.Stack, "p's number of rows"); err != nil {
		return nil, err
	}
	if len(p.Shape) != 1 {
		if err := want(in, 0, "p", -1, -1); err != nil {
			return nil, err
		}
		out = []Spec{p, {Shape{o.Stack, p.Shape[0] / o.Stack}, F32}, {Shape{o.Stack, p.Shape[1]}, F32}}
	}
	if o.Momentum {
		out = append(out, p)
	}
	if err := firstErr(arity(in, 2+len(out)), rates(in, 1+len(out)), wantType(in, 0, "p", F32), want(in, 1, "g", p.Shape...), wantType(in, 1, "g", F32)); err != nil {
		return nil, err
	}
	for i, s := range out[1:] {
		name := fmt.Sprintf("moment %d", i+1)
		if err := firstErr(want(in, 2+i, name, s.Shape...), wantType(in, 2+i, name, F32)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (o Adafactor) Cost(in []Spec) Cost {
	return Cost{FLOPs: 16 * int64(in[0].Shape.Elems()), Bytes: traffic(in) + in[0].Bytes() + traffic(in[2:])}
}

func (o Adafactor) Define(out, in []Array) {
	if GivenUp(in[len(in)-1], out, append([]Array{in[0]}, in[2:len(in)-1]...)) {
		return
	}
	p, g, p2 := in[0].F32(), in[1].F32(), out[0].F32()
	lr, beta2 := o.rate(in[len(in)-1])
	byRow, byCol := o.factors(out, in, beta2) // u = byRow·byCol·g
	cols, rows := in[0].Shape.Cols(), in[0].Shape.Rows()/o.Stack
	if o.Scaled {
		lr *= max(rms(sumSquares(p), len(p)), o.MinScale)
	}
	var squares float64
	for i := range byRow {
		c := byCol[i/rows*cols:][:cols]
		for j, gv := range g[i*cols:][:cols] {
			u := byRow[i] * c[j] * gv
			squares += float64(u) * float64(u)
		}
	}
	clip := max(1, rms(squares, len(g))/o.Clip)
	decay := o.WeightDecay * lr
	b1, a1 := float32(o.Beta1), float32(1-o.Beta1)
	for i := range byRow {
		c := byCol[i/rows*cols:][:cols]
		for j := range cols {
			k := i*cols + j
			u := lr * (byRow[i] * c[j] * g[k] / clip)
			if o.Momentum {
				u = b1*in[len(in)-2].F32()[k] + a1*u
				out[len(out)-1].F32()[k] = u
			}
			p2[k] = p[k] - p[k]*decay - u
		}
	}
}

// factors updates the second moments and returns the factors of u = byRow·byCol·g:
// byRow [Stack·R], byCol [Stack, C]. A vector is a matrix of one row.
func (o Adafactor) factors(out, in []Array, beta2 float32) (byRow, byCol []float32) {
	g, cols := in[1].F32(), in[0].Shape.Cols()
	total := in[0].Shape.Rows()
	rows := total / o.Stack
	byRow, byCol = make([]float32, total), make([]float32, o.Stack*cols)
	vector := len(in[0].Shape) == 1
	old, kept := in[2], out[1] // the columns' moments
	if !vector {
		old, kept = in[3], out[2]
	}
	for s := range o.Stack {
		sums := make([]float64, cols)
		var mean float64 // of the rows' moments
		for i := s * rows; i < (s+1)*rows; i++ {
			var sum float64
			for j, v := range g[i*cols : (i+1)*cols] {
				square := float64(v*v + o.Eps)
				sum += square
				sums[j] += square
			}
			if !vector {
				byRow[i] = average(beta2, in[2].F32()[i], sum/float64(cols))
				out[1].F32()[i] = byRow[i]
				mean += float64(byRow[i]) / float64(rows)
			}
		}
		for i := s * rows; i < (s+1)*rows; i++ {
			if vector {
				byRow[i] = 1
			} else {
				byRow[i] = inverseRoot(byRow[i] / float32(mean))
			}
		}
		for j, sum := range sums {
			k := s*cols + j
			moment := average(beta2, old.F32()[k], sum/float64(rows))
			kept.F32()[k], byCol[k] = moment, inverseRoot(moment)
		}
	}
	return byRow, byCol
}

// average moves a second moment towards the mean of new squares.
func average(beta2, moment float32, mean float64) float32 {
	return beta2*moment + (1-beta2)*float32(mean)
}

func inverseRoot(x float32) float32 { return float32(1 / math.Sqrt(float64(x))) }

func rms(squares float64, n int) float32 { return float32(math.Sqrt(squares / float64(n))) }
