package cpu

import (
	"math"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// vectorTolerance bounds sums of a few hundred float32 terms in another order
// and fused multiply-adds, as a share of the largest value.
const vectorTolerance = 2e-6

func TestVectors(t *testing.T) {
	for _, kn := range families() {
		t.Run(kn.name, func(t *testing.T) {
			r := newRand(10)
			for _, n := range []int{1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 63, 100, 259} {
				v := make([][]float32, 7)
				for i := range v {
					v[i] = random(r, compute.F32, n).F32()
				}
				a, b, c, d := v[0], v[1], v[2], v[3]
				for i := range d {
					d[i] *= d[i]
				}
				step := &adamStep{0.1, 1.1, 1e-3, 0.9, 0.9, 0.1, 0.99, 0.01}
				for name, f := range map[string]func(k *vectors, y, z, w []float32) float32{
					"dot":        func(k *vectors, _, _, _ []float32) float32 { return k.dot(a, b) },
					"dot3":       func(k *vectors, _, _, _ []float32) float32 { return k.dot3(a, b, c) },
					"max":        func(k *vectors, _, _, _ []float32) float32 { return k.max(a) },
					"addScaled":  func(k *vectors, y, _, _ []float32) float32 { k.addScaled(y, a, 1.5, b); return 0 },
					"scale":      func(k *vectors, y, _, _ []float32) float32 { k.scale(y, 1.5, a); return 0 },
					"scaleMul":   func(k *vectors, y, _, _ []float32) float32 { k.scaleMul(y, 1.5, a, b); return 0 },
					"mulAdd":     func(k *vectors, y, _, _ []float32) float32 { k.mulAdd(y, 1.5, a, b); return 0 },
					"normGrad":   func(k *vectors, y, _, _ []float32) float32 { k.normGrad(y, a, b, c, 1.5, 0.3, false); return 0 },
					"normGrad+":  func(k *vectors, y, _, _ []float32) float32 { k.normGrad(y, a, b, c, 1.5, 0.3, true); return 0 },
					"expSum":     func(k *vectors, y, _, _ []float32) float32 { return k.expSum(y, a, 0.5, 2) },
					"swiglu":     func(k *vectors, y, _, _ []float32) float32 { k.swiglu(y, a, b); return 0 },
					"swigluGrad": func(k *vectors, y, z, _ []float32) float32 { k.swigluGrad(y, z, a, b, c); return 0 },
					"rotate":     func(k *vectors, y, z, _ []float32) float32 { k.rotate(y, z, a, b, c, d); return 0 },
					"adam":       func(k *vectors, y, z, w []float32) float32 { k.adam(y, z, w, a, b, c, d, step); return 0 },
				} {
					out := func(k *vectors) []float32 {
						y := append(append(append([]float32(nil), v[4]...), v[5]...), v[6]...)
						return append(y, f(k, y[:n], y[n:2*n], y[2*n:]))
					}
					got, want := out(&kn.vectors), out(&genericVectors)
					if diff := difference(got, want); !(diff <= vectorTolerance) {
						t.Errorf("%s of %d: off by %g", name, n, diff)
					}
				}
				f16, bf16 := make([]byte, 4*n), make([]byte, 4*n)
				for i, special := range []float32{float32(math.Inf(1)), float32(math.NaN()), 70000, 1e-7, -65519.99, 65520} {
					if i < n {
						a[i] = special
					}
				}
				kn.narrowF16(f16[:2*n], a)
				narrowF16Generic(f16[2*n:], a)
				kn.narrowBF16(bf16[:2*n], a)
				narrowBF16Generic(bf16[2*n:], a)
				if string(f16[:2*n]) != string(f16[2*n:]) || string(bf16[:2*n]) != string(bf16[2*n:]) {
					t.Errorf("narrow of %d differs", n)
				}
			}
		})
	}
}

// expTolerance is 2 units in the last place, the stated error of exp.
const expTolerance = 2.4e-7

func TestExp(t *testing.T) {
	for _, kn := range families() {
		t.Run(kn.name, func(t *testing.T) {
			var x, y []float32
			for v := float32(-87.3); v < 88.3; v += 0.00917 {
				x = append(x, v)
			}
			y = make([]float32, len(x))
			kn.expSum(y, x, 0, 1)
			for i, v := range x {
				want := math.Exp(float64(v))
				if !(math.Abs(float64(y[i])/want-1) <= expTolerance) {
					t.Fatalf("exp(%v) = %v, want %v", v, y[i], want)
				}
			}
			inf := float32(math.Inf(1))
			x = []float32{0, -88, -inf, -1e30, 89, inf, float32(math.NaN()), 1, 0}
			y = make([]float32, len(x))
			kn.expSum(y, x, 0, 1)
			top := exp(expHigh)
			for i, want := range []float32{1, 0, 0, 0, top, top, float32(math.NaN()), math.E} {
				if want == want && !(math.Abs(float64(y[i]-want)) <= expTolerance*float64(want)) || (want != want) != (y[i] != y[i]) {
					t.Errorf("exp(%v) = %v, want %v", x[i], y[i], want)
				}
			}
		})
	}
}
