package nn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

const (
	in, out, rank, tokens = 64, 24, 3, 5
	scale                 = float32(2.5)

	// doraTolerance is relative to the largest output: float32 sums over 64 columns,
	// in the product and in the norm.
	doraTolerance = 5e-6
)

func random(r *rand.Rand, n int, size float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(size * r.NormFloat64())
	}
	return v
}

// doraLinear is a linear with a bias and a new DoRA, and its dequantized weight.
func doraLinear(t *testing.T, dev compute.Device, bits int) (*Linear, *LoRA, []float32) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(bits), 1))
	values := random(r, out*in, 0.2)
	clear(values[7*in : 8*in]) // a row without a direction
	m := &quant.Matrix{Format: quant.Format{Kind: quant.Dense, DType: quant.F32}, Rows: out, Cols: in, Data: compute.FloatBytes(values)}
	if bits > 0 {
		var err error
		if m, err = quant.QuantizeAffine(values, out, in, bits, 32, quant.F16, quant.RuleMetal); err != nil {
			t.Fatal(err)
		}
	}
	w, err := tensor.ImportWeight(dev, m)
	if err != nil {
		t.Fatal(err)
	}
	bias, err := tensor.NewFloats(dev, compute.Shape{out}, random(r, out, 1))
	if err != nil {
		t.Fatal(err)
	}
	l := &Linear{Name: "proj", Weight: w, Bias: bias}
	lora, err := NewLoRA(dev, l, rank, scale, 0, random(r, in*rank, 0.3), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := lora.AddMagnitude(dev, l); err != nil {
		t.Fatal(err)
	}
	l.Adapter = lora
	t.Cleanup(func() {
		lora.Free()
		bias.Free()
		w.Free()
		if used, _ := dev.(*cpu.Device).Memory(); used != 0 {
			t.Errorf("%d bytes were not freed", used)
		}
	})
	return l, lora, m.Floats()
}

func newCPU(t *testing.T) compute.Device {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.(*cpu.Device).Close() })
	return dev
}

// forward is l's output for x, as in training or not.
func forward(t *testing.T, dev compute.Device, l *Linear, x []float32, training bool) []float32 {
	t.Helper()
	tape := tensor.NewTape(dev)
	tape.Exact = true
	tape.Reset(training)
	var y []float32
	tape.Scope(func() *tensor.Tensor { y = tape.Read(l.Forward(tape, tape.Floats(x, tokens, in))); return nil })
	if err := tape.Err(); err != nil {
		t.Fatal(err)
	}
	tape.Reset(false) // what was recorded is freed
	return y
}

// A DoRA is x Vᵀ · m/‖V‖ + bias with V = W + scale·(A B)ᵀ as a whole; a new one is
// the base, of any format.
func TestDoRA(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{0, 2, 3, 4, 5, 6, 8} {
		dev := newCPU(t)
		l, lora, w := doraLinear(t, dev, bits)
		r := rand.New(rand.NewPCG(9, 9))
		x := random(r, tokens*in, 1)
		first := forward(t, dev, l, x, false)
		l.Adapter = nil
		base := forward(t, dev, l, x, false)
		l.Adapter = lora
		if at, worst := furthest(first, base); !(worst <= doraTolerance*largest(base)) {
			t.Errorf("%d bits: a new DoRA moves output %d by %g", bits, at, worst)
		}

		params := map[string]*tensor.Tensor{}
		for _, p := range lora.Params() {
			params[p.Name] = p.Tensor
		}
		a, b, m := read(t, dev, lora.A), random(r, rank*out, 0.2), random(r, out, 1)
		write(t, dev, params["proj.lora_b"], b)
		write(t, dev, params["proj.m"], m)
		tape := tensor.NewTape(dev)
		lora.Refresh(tape, l)
		if err := tape.Err(); err != nil {
			t.Fatal(err)
		}
		want := make([]float32, tokens*out)
		bias := read(t, dev, l.Bias)
		for o := range out {
			v, squares := make([]float64, in), 0.0
			for i := range in {
				v[i] = float64(w[o*in+i])
				for k := range rank {
					v[i] += float64(scale) * float64(a[i*rank+k]) * float64(b[k*out+o])
				}
				squares += v[i] * v[i]
			}
			for i := range tokens {
				var sum float64
				for k, v := range v {
					sum += v * float64(x[i*in+k])
				}
				want[i*out+o] = float32(sum*float64(m[o])/math.Sqrt(squares) + float64(bias[o]))
			}
		}
		for _, training := range []bool{false, true} {
			got := forward(t, dev, l, x, training)
			if at, worst := furthest(got, want); !(worst <= doraTolerance*largest(want)) {
				t.Errorf("%d bits, training %v: output %d is %g, expected %g", bits, training, at, got[at], want[at])
			}
		}
		if at, moved := furthest(first, want); moved < 0.1 {
			t.Errorf("%d bits: the DoRA moves output %d by %g only: too little to tell", bits, at, moved)
		}
	}
}

// A row of zeros stays what it is, and is no reason for NaN.
func TestDoRAOfZeros(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	l, _, _ := doraLinear(t, dev, 0)
	y := forward(t, dev, l, random(rand.New(rand.NewPCG(9, 9)), tokens*in, 1), false)
	bias := read(t, dev, l.Bias)
	for i := range tokens {
		if got := y[i*out+7]; got != bias[7] {
			t.Errorf("token %d: output 7 is %g, expected the bias %g", i, got, bias[7])
		}
	}
}

func read(t *testing.T, dev compute.Device, x *tensor.Tensor) []float32 {
	t.Helper()
	v, err := tensor.ReadFloats(dev, x)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func write(t *testing.T, dev compute.Device, x *tensor.Tensor, v []float32) {
	t.Helper()
	if err := dev.Write(x.Buffer(), compute.FloatBytes(v)); err != nil {
		t.Fatal(err)
	}
}

func furthest(a, b []float32) (at int, worst float64) {
	for i := range a {
		if d := math.Abs(float64(a[i] - b[i])); !(d <= worst) {
			at, worst = i, d
		}
	}
	return at, worst
}

func largest(v []float32) float64 {
	return float64(max(slices.Max(v), -slices.Min(v)))
}
