package compute

import (
	"math"
	"testing"
)

// optimizerTolerance of a parameter after a few updates in float32, against the
// same formulas in float64.
const optimizerTolerance = 1e-6

func near(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	for i, w := range want {
		if math.Abs(float64(got[i])-w) > optimizerTolerance*max(math.Abs(w), 0.1) {
			t.Errorf("%s[%d] is %.9g, want %.9g", what, i, got[i], w)
		}
	}
}

// TestAdamFirstStep was worked out by hand. With m = v = 0 and no bias
// correction the first update is lr·(1-β1)·g / (sqrt(1-β2)·|g| + ε): about
// 3.16 lr for β1 = 0.9, β2 = 0.999, whatever the gradient's size.
func TestAdamFirstStep(t *testing.T) {
	in := []Array{array([]float32{1, -2, 0.5}, 3), array([]float32{0.1, -1e-3, 0}, 3), array(make([]float32, 3), 3), array(make([]float32, 3), 3)}
	op := Adam{LR: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1}
	out := run(t, op, in...)
	step := 0.01 * 0.1 / math.Sqrt(0.001) // 0.0316228
	near(t, "p", out[0].F32(), []float64{1 - step, -2 + step*(1-1e-8/(1e-3*math.Sqrt(0.001))), 0.5})
	near(t, "m", out[1].F32(), []float64{0.01, -1e-4, 0})
	near(t, "v", out[2].F32(), []float64{1e-5, 1e-9, 0})

	// Corrected, the first update is lr·sign(g).
	op.BiasCorrection = true
	near(t, "corrected p", run(t, op, in...)[0].F32(), []float64{0.99, -1.99, 0.5})

	// Decay comes first and does not depend on the gradient.
	op.WeightDecay = 0.1
	near(t, "decayed p", run(t, op, in...)[0].F32(), []float64{0.999 - 0.01, -1.998 + 0.01, 0.4995})
}

// TestAdamRounding: 1-β2 is 0.001 rounded to float32, not 1 less a rounded 0.999.
func TestAdamRounding(t *testing.T) {
	if _, a1, _, a2 := (Adam{Beta1: 0.9, Beta2: 0.999}).Decays(); a1 != 0.1 || a2 != 0.001 {
		t.Errorf("1-β1 = %v, 1-β2 = %v; want 0.1 and 0.001", a1, a2)
	}
}

func TestAdamSteps(t *testing.T) {
	for _, corrected := range []bool{false, true} {
		const lr, b1, b2, e, decay = 0.1, 0.8, 0.95, 1e-6, 0.05
		p, m, v := 1.5, 0.0, 0.0
		state := []Array{array([]float32{1.5}, 1), array([]float32{0}, 1), array([]float32{0}, 1)}
		for n := 1; n <= 5; n++ {
			g := math.Cos(float64(n))
			op := Adam{LR: lr, Beta1: b1, Beta2: b2, Eps: e, WeightDecay: decay, BiasCorrection: corrected, Step: n}
			state = run(t, op, state[0], array([]float32{float32(g)}, 1), state[1], state[2])
			p -= p * lr * decay
			m, v = b1*m+(1-b1)*g, b2*v+(1-b2)*g*g
			mh, vh := m, v
			if corrected {
				mh, vh = m/(1-math.Pow(b1, float64(n))), v/(1-math.Pow(b2, float64(n)))
			}
			p -= lr * mh / (math.Sqrt(vh) + e)
		}
		near(t, "p", state[0].F32(), []float64{p})
	}
}

func TestSGD(t *testing.T) {
	tests := []struct {
		name string
		op   SGD
		p, u float64 // after one step from p = 2, u = 0.5 with g = 0.3
	}{
		{"plain", SGD{LR: 0.1}, 2 - 0.03, 0.5},
		{"decay", SGD{LR: 0.1, WeightDecay: 0.5}, 2 - 0.13, 0.5},
		{"momentum", SGD{LR: 0.1, Momentum: 0.9}, 2 - 0.075, 0.75},
		{"dampening", SGD{LR: 0.1, Momentum: 0.9, Dampening: 0.5}, 2 - 0.06, 0.6},
		{"nesterov", SGD{LR: 0.1, Momentum: 0.9, Nesterov: true}, 2 - 0.1*(0.3+0.9*0.75), 0.75},
		{"decay and momentum", SGD{LR: 0.1, Momentum: 0.9, WeightDecay: 0.5}, 2 - 0.175, 1.75},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := run(t, tt.op, array([]float32{2}, 1), array([]float32{0.3}, 1), array([]float32{0.5}, 1))
			near(t, "p", out[0].F32(), []float64{tt.p})
			near(t, "u", out[1].F32(), []float64{tt.u})
		})
	}
}
