package train

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
)

// muon replaces the averaged gradient of a matrix by the nearest matrix with
// orthogonal rows or columns (Jordan et al., 2024). As in MLX, a stack of experts is
// one matrix with a row for each expert, and vectors are not changed.
type muon struct {
	momentum float64
	decay    float64 // added to the gradient
	nesterov bool
	steps    int // of the Newton-Schulz iteration
}

const (
	muonMostSteps = 100
	muonEps       = 1e-7 // added to the gradient's norm
)

// muonPolynomial holds a, b, c of a·x + b·x³ + c·x⁵. The iteration applies it to the
// singular values: a number below 1 gets near 1 in a few steps.
var muonPolynomial = [3]float32{3.4445, -4.7750, 2.0315}

func newMuon(a *arguments) muon {
	return muon{
		momentum: a.number("momentum", 0.95, belowOne),
		decay:    a.number("weight_decay", 0.01, notNegative),
		nesterov: a.truth("nesterov", true),
		steps:    a.whole("ns_steps", 5, muonMostSteps),
	}
}

func (o muon) state(p nn.Param) []compute.Shape { return []compute.Shape{p.Shape()} }

func (o muon) update(u update) error {
	w := &workspace{dev: u.dev}
	defer w.free()
	p, step, v, factor := u.param.Buffer(), u.grad, u.state[0], float32(1)
	w.run(compute.Momentum{Beta: o.momentum, WeightDecay: float32(o.decay), Nesterov: o.nesterov}, bufs(step, v), bufs(p, step, v, u.rate))
	if s := u.param.FileShape(); len(s) > 1 {
		factor = float32(math.Sqrt(max(1, float64(s[len(s)-2])/float64(s.Cols()))))
		if flat := (compute.Shape{s[0], s.Elems() / s[0]}); len(s) == 2 {
			step = o.orthogonal(w, step, flat)
		} else {
			x := w.alloc(flat)
			w.run(compute.Reshape{Shape: flat}, bufs(x), bufs(step))
			w.run(compute.Reshape{Shape: u.param.Shape()}, bufs(step), bufs(o.orthogonal(w, x, flat)))
		}
	}
	w.run(compute.Descend{Factor: factor}, bufs(p), bufs(p, step, u.rate))
	return w.err
}

// orthogonal moves the singular values of x [R, C] near 1. The result is in x or in a
// buffer of w. A step of the iteration is X = a·X + B X with A = X Xᵀ and
// B = b·A + c·A²; if X is tall, the same for its transpose.
func (o muon) orthogonal(w *workspace, x compute.Buffer, shape compute.Shape) compute.Buffer {
	tall := shape[0] > shape[1]
	square := compute.Shape{min(shape[0], shape[1]), min(shape[0], shape[1])}
	a, b, y := w.alloc(square), w.alloc(square), w.alloc(shape)
	p := muonPolynomial
	w.run(compute.UnitNorm{Eps: muonEps}, bufs(x), bufs(x))
	for range o.steps {
		w.run(compute.MatMul{TransA: tall, TransB: !tall, Alpha: 1}, bufs(a), bufs(x, x))
		w.run(compute.Scale{Alpha: p[1]}, bufs(b), bufs(a))
		w.run(compute.MatMul{Alpha: p[2], Accumulate: true}, bufs(b), bufs(a, a))
		w.run(compute.Scale{Alpha: p[0]}, bufs(y), bufs(x))
		factors := bufs(b, x)
		if tall {
			factors = bufs(x, b) // (B Xᵀ)ᵀ: B is symmetric
		}
		w.run(compute.MatMul{Alpha: 1, Accumulate: true}, bufs(y), factors)
		x, y = y, x
	}
	return x
}

func bufs(b ...compute.Buffer) []compute.Buffer { return b }

// A workspace holds the buffers of one update. After the first error it does nothing.
type workspace struct {
	dev  compute.Device
	held []compute.Buffer
	err  error
}

func (w *workspace) alloc(shape compute.Shape) compute.Buffer {
	if w.err != nil {
		return nil
	}
	b, err := w.dev.Alloc(shape, compute.F32)
	if err != nil {
		w.err = err
		return nil
	}
	w.held = append(w.held, b)
	return b
}

func (w *workspace) run(op compute.Op, out, in []compute.Buffer) {
	if w.err == nil {
		w.err = w.dev.Run(op, out, in)
	}
}

func (w *workspace) free() {
	for _, b := range w.held {
		b.Free()
	}
}
