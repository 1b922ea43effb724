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
		if !(math.Abs(float64(got[i])-w) <= optimizerTolerance*max(math.Abs(w), 0.1)) {
			t.Errorf("%s[%d] is %.9g, want %.9g", what, i, got[i], w)
		}
	}
}

// rate is the input of that name.
func rate(lr float32, step int) Array { return array([]float32{lr, float32(step)}, 2) }

// TestAdamFirstStep was worked out by hand. With m = v = 0 and no bias
// correction the first update is lr·(1-β1)·g / (sqrt(1-β2)·|g| + ε): about
// 3.16 lr for β1 = 0.9, β2 = 0.999, whatever the gradient's size.
func TestAdamFirstStep(t *testing.T) {
	in := []Array{array([]float32{1, -2, 0.5}, 3), array([]float32{0.1, -1e-3, 0}, 3), array(make([]float32, 3), 3), array(make([]float32, 3), 3), rate(0.01, 1)}
	op := Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}
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
			op := Adam{Beta1: b1, Beta2: b2, Eps: e, WeightDecay: decay, BiasCorrection: corrected}
			state = run(t, op, state[0], array([]float32{float32(g)}, 1), state[1], state[2], rate(lr, n))
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
		{"plain", SGD{}, 2 - 0.03, 0.5},
		{"decay", SGD{WeightDecay: 0.5}, 2 - 0.13, 0.5},
		{"momentum", SGD{Momentum: 0.9}, 2 - 0.075, 0.75},
		{"dampening", SGD{Momentum: 0.9, Dampening: 0.5}, 2 - 0.06, 0.6},
		{"nesterov", SGD{Momentum: 0.9, Nesterov: true}, 2 - 0.1*(0.3+0.9*0.75), 0.75},
		{"decay and momentum", SGD{Momentum: 0.9, WeightDecay: 0.5}, 2 - 0.175, 1.75},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := run(t, tt.op, array([]float32{2}, 1), array([]float32{0.3}, 1), array([]float32{0.5}, 1), rate(0.1, 1))
			near(t, "p", out[0].F32(), []float64{tt.p})
			near(t, "u", out[1].F32(), []float64{tt.u})
		})
	}
}

func TestMomentum(t *testing.T) {
	for _, tt := range []struct {
		name string
		op   Momentum
		u, v float64 // after one step at p = 2, v = 0.5 with g = 0.3
	}{
		{"plain", Momentum{Beta: 0.9}, 0.48, 0.48},
		{"decay", Momentum{Beta: 0.9, WeightDecay: 0.5}, 0.58, 0.58},
		{"nesterov", Momentum{Beta: 0.9, Nesterov: true}, 0.03 + 0.9*0.48, 0.48},
		{"nesterov and decay", Momentum{Beta: 0.9, Nesterov: true, WeightDecay: 0.5}, 0.13 + 0.9*0.58, 0.58},
	} {
		out := run(t, tt.op, array([]float32{2}, 1), array([]float32{0.3}, 1), array([]float32{0.5}, 1), rate(0.1, 1))
		near(t, tt.name+" u", out[0].F32(), []float64{tt.u})
		near(t, tt.name+" v", out[1].F32(), []float64{tt.v})
	}
}

func TestDescend(t *testing.T) {
	near(t, "p", run(t, Descend{Factor: 3}, array([]float32{2, -1}, 2), array([]float32{0.5, 4}, 2), rate(0.1, 9))[0].F32(), []float64{1.85, -2.2})
}

func TestClipFactor(t *testing.T) {
	for squares, want := range map[float32]float64{0: 1, 3.9: 1, 16: 0.5, 400: 0.1} {
		near(t, "factor", run(t, ClipFactor{Max: 2}, array([]float32{squares}, 1))[0].F32(), []float64{want})
	}
}

func TestUnitNorm(t *testing.T) {
	near(t, "y", run(t, UnitNorm{}, array([]float32{3, 0, -4, 12}, 2, 2))[0].F32(), []float64{3. / 13, 0, -4. / 13, 12. / 13})
	near(t, "y", run(t, UnitNorm{Eps: 5}, array([]float32{3, 4}, 2))[0].F32(), []float64{0.3, 0.4})
}

// adafactor64 is the update of a stack of matrices in float64, element by element
// from the paper's formulas; rows are 1 for a vector, whose row moments do not count.
type adafactor64 struct {
	stack, rows, cols int
	p, row, col, m    []float64
}

func (s *adafactor64) step(o Adafactor, lr, b2 float64, g []float64) {
	size := s.rows * s.cols
	mean := func(n int, at func(i int) float64) (sum float64) {
		for i := range n {
			sum += at(i) / float64(n)
		}
		return sum
	}
	if o.Scaled {
		lr *= max(float64(o.MinScale), math.Sqrt(mean(len(s.p), func(i int) float64 { return s.p[i] * s.p[i] })))
	}
	u := make([]float64, len(g))
	for k := range s.stack {
		square := func(i, j int) float64 { v := g[k*size+i*s.cols+j]; return v*v + float64(o.Eps) }
		row, col := s.row[k*s.rows:(k+1)*s.rows], s.col[k*s.cols:(k+1)*s.cols]
		for i := range row {
			row[i] = b2*row[i] + (1-b2)*mean(s.cols, func(j int) float64 { return square(i, j) })
		}
		for j := range col {
			col[j] = b2*col[j] + (1-b2)*mean(s.rows, func(i int) float64 { return square(i, j) })
		}
		whole := mean(s.rows, func(i int) float64 { return row[i] })
		for i := range row {
			for j := range col {
				at := k*size + i*s.cols + j
				u[at] = g[at] / math.Sqrt(row[i]*col[j]/whole)
			}
		}
	}
	clip := max(1, math.Sqrt(mean(len(u), func(i int) float64 { return u[i] * u[i] }))/float64(o.Clip))
	for i := range u {
		by := lr * u[i] / clip
		if o.Momentum {
			s.m[i] = o.Beta1*s.m[i] + (1-o.Beta1)*by
			by = s.m[i]
		}
		s.p[i] -= s.p[i]*lr*float64(o.WeightDecay) + by
	}
}

func TestAdafactorSteps(t *testing.T) {
	plain := Adafactor{DecayRate: -0.8, Eps: 1e-30, Clip: 1, MinScale: 1e-3}
	full := Adafactor{DecayRate: -0.6, Eps: 0.01, Clip: 0.3, MinScale: 2, Scaled: true, Momentum: true, Beta1: 0.7, WeightDecay: 0.2}
	for _, s := range []adafactor64{{stack: 1, rows: 1, cols: 5}, {stack: 1, rows: 3, cols: 4}, {stack: 2, rows: 3, cols: 2}, {stack: 1, rows: 1, cols: 1}} {
		for i, op := range []Adafactor{plain, full} {
			op.Stack = s.stack
			n := s.stack * s.rows * s.cols
			shape, vector := []int{s.stack * s.rows, s.cols}, s.rows == 1
			state := []Array{array(make([]float32, n), shape...), array(make([]float32, s.stack*s.rows), s.stack, s.rows), array(make([]float32, s.stack*s.cols), s.stack, s.cols)}
			if vector {
				state = []Array{array(make([]float32, n), n), array(make([]float32, n), n)}
				shape = []int{n}
			}
			if op.Momentum {
				state = append(state, array(make([]float32, n), shape...))
			}
			s.p, s.row, s.col, s.m = make([]float64, n), make([]float64, s.stack*s.rows), make([]float64, s.stack*s.cols), make([]float64, n)
			for k := range n {
				s.p[k] = math.Cos(float64(k))
				state[0].F32()[k] = float32(s.p[k])
			}
			for step := 1; step <= 4; step++ {
				g, g32 := make([]float64, n), make([]float32, n)
				for k := range n {
					g32[k] = float32(math.Sin(float64(3*k + 2*step + i)))
					g[k] = float64(g32[k])
				}
				s.step(op, 0.1, 1-math.Pow(float64(step), op.DecayRate), g)
				state = run(t, op, append(append([]Array{state[0], array(g32, shape...)}, state[1:]...), rate(0.1, step))...)
			}
			near(t, "p", state[0].F32(), s.p)
			if op.Momentum {
				near(t, "m", state[len(state)-1].F32(), s.m)
			}
			if !vector {
				near(t, "r", state[1].F32(), s.row)
				near(t, "c", state[2].F32(), s.col)
			}
		}
	}
}

// TestAdafactorRate has the step sizes of MLX's Adafactor._compute_learning_rate.
func TestAdafactorRate(t *testing.T) {
	own, warm := Adafactor{RelativeStep: true, DecayRate: -0.8}, Adafactor{RelativeStep: true, WarmupInit: true, DecayRate: -0.8}
	for _, tt := range []struct {
		op        Adafactor
		step      int
		lr, beta2 float64
	}{
		{Adafactor{DecayRate: -1}, 4, 0.5, 0.75}, {own, 1, 0.01, 0}, {own, 40000, 0.005, 1 - math.Pow(40000, -0.8)},
		{warm, 1, 1e-6, 0}, {warm, 500, 5e-4, 1 - math.Pow(500, -0.8)}, {warm, 40000, 0.005, 1 - math.Pow(40000, -0.8)},
	} {
		lr, beta2 := tt.op.rate(rate(0.5, tt.step))
		if !(math.Abs(float64(lr)/tt.lr-1) <= optimizerTolerance) || !(math.Abs(float64(beta2)-tt.beta2) <= optimizerTolerance) {
			t.Errorf("%+v at update %d: rate %g and β2 %g, want %g and %g", tt.op, tt.step, lr, beta2, tt.lr, tt.beta2)
		}
	}
}
