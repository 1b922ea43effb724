package computetest

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
)

// The forward ops once more, in float64 and written from their formulas, not from their
// definitions. Their central differences are exact to about ten digits.

type floats64 = []float64

// product64 is op(a) op(b) for a [m, k], b [k, n], given as element functions.
func product64(m, n, k int, a, b func(i, j int) float64) floats64 {
	c := make(floats64, m*n)
	for i := range m {
		for j := range n {
			for l := range k {
				c[i*n+j] += a(i, l) * b(l, j)
			}
		}
	}
	return c
}

// at views a flat matrix of the given width as a function, transposed if asked.
func at(x floats64, cols int, transposed bool) func(i, j int) float64 {
	if transposed {
		return func(i, j int) float64 { return x[j*cols+i] }
	}
	return func(i, j int) float64 { return x[i*cols+j] }
}

func linear64(x, w, bias floats64, t, rows, cols int) floats64 {
	y := product64(t, rows, cols, at(x, cols, false), at(w, cols, true))
	for i := range y {
		if bias != nil {
			y[i] += bias[i%rows]
		}
	}
	return y
}

func rmsnorm64(x, w floats64, e float64) floats64 {
	d := len(w)
	y := make(floats64, len(x))
	for r := 0; r < len(x); r += d {
		var mean float64
		for i := range d {
			mean += x[r+i] * x[r+i] / float64(d)
		}
		for i := range d {
			y[r+i] = x[r+i] / math.Sqrt(mean+e) * w[i]
		}
	}
	return y
}

// rope64 turns pairs as complex numbers.
func rope64(x floats64, t int, dim int, angle func(t, i int) float64, half int, scale float64, traditional bool) floats64 {
	y := append(floats64(nil), x...)
	width := len(x) / t
	for r := range t {
		for head := r * width; head < (r+1)*width; head += dim {
			for i := range half {
				a, b := head+i, head+half+i
				if traditional {
					a, b = head+2*i, head+2*i+1
				}
				sin, cos := math.Sincos(angle(r, i))
				z := complex(x[a], x[b]) * complex(cos, sin) * complex(scale, 0)
				y[a], y[b] = real(z), imag(z)
			}
		}
	}
	return y
}

// attention64 goes over all pairs of query and key and masks. The queries are the newest
// of the keys.
func attention64(op compute.Attention, q, k, v floats64, bounds []int32) (o, lse floats64) {
	d := op.HeadDim
	t, s := len(q)/(op.Heads*d), len(k)/(op.KVHeads*d)
	segment := func(key int) int {
		n := 0
		for n+1 < len(bounds) && int(bounds[n+1]) <= key {
			n++
		}
		return n
	}
	o, lse = make(floats64, len(q)), make(floats64, t*op.Heads)
	for i := range t {
		for h := range op.Heads {
			kv, p := h*op.KVHeads/op.Heads, s-t+i
			e, sum := make(floats64, s), 0.0
			for j := range s {
				if j > p || segment(j) != segment(p) || op.Window > 0 && p-j >= op.Window {
					continue
				}
				var dot float64
				for c := range d {
					dot += q[(i*op.Heads+h)*d+c] * k[(j*op.KVHeads+kv)*d+c]
				}
				dot *= float64(op.Scale)
				if op.Softcap > 0 {
					dot = float64(op.Softcap) * math.Tanh(dot/float64(op.Softcap))
				}
				e[j] = math.Exp(dot)
				sum += e[j]
			}
			lse[i*op.Heads+h] = math.Log(sum)
			for j := range s {
				for c := range d {
					if e[j] > 0 {
						o[(i*op.Heads+h)*d+c] += e[j] / sum * v[(j*op.KVHeads+kv)*d+c]
					}
				}
			}
		}
	}
	return o, lse
}

func swiglu64(gate, up floats64) floats64 {
	y := make(floats64, len(gate))
	for i, g := range gate {
		y[i] = g / (1 + math.Exp(-g)) * up[i]
	}
	return y
}

// crossEntropy64 is the loss of each row of logits [r, v].
func crossEntropy64(logits floats64, targets []int32) floats64 {
	v := len(logits) / len(targets)
	loss := make(floats64, len(targets))
	for r, target := range targets {
		var sum float64
		for _, l := range logits[r*v : (r+1)*v] {
			sum += math.Exp(l)
		}
		loss[r] = math.Log(sum) - logits[r*v+int(target)]
	}
	return loss
}
