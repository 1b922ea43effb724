package computetest

import (
	"fmt"
	"math"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

const (
	// step of the central differences. The method is off by its square, rounding by
	// float64's eps over it; both are far below float32.
	step = 1e-5
	// gradientTolerance of a directional derivative, relative to the norm of the
	// gradient: float32 sums of up to a few hundred terms, see summed.
	gradientTolerance = 1e-5
	// directions drawn for each input of an op. One wrong element of a gradient shows
	// in each of them.
	directions = 6
)

// A pair is a differentiable function and the ops that compute it and its
// gradient.
type pair struct {
	name string
	// x are the inputs to differentiate by.
	x []compute.Array
	// reference is the function in float64, flat in and out.
	reference func(x []floats64) floats64
	// forward is the op's definition of it.
	forward func(x []compute.Array) compute.Array
	// backward gives the gradient of Σ dy·y for every x; dy has y's spec.
	backward func(x []compute.Array, y, dy compute.Array) []compute.Array
	// ones makes dy all ones: for losses, whose gradient op takes no dy.
	ones bool
}

// define runs op's definition on fresh outputs, zeros that may be added to.
func define(t *testing.T, op compute.Op, in ...compute.Array) []compute.Array {
	t.Helper()
	specs, err := compute.Infer(op, specsOf(in))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]compute.Array, len(specs))
	for i, s := range specs {
		out[i] = zeros(s)
	}
	op.Define(out, in)
	return out
}

func wide(a compute.Array) floats64 {
	out := make(floats64, a.Shape.Elems())
	for i, v := range a.Floats() {
		out[i] = float64(v)
	}
	return out
}

func (p pair) check(t *testing.T) {
	g := newGen(p.name)
	x := make([]floats64, len(p.x))
	for i, a := range p.x {
		x[i] = wide(a)
	}
	y := p.forward(p.x)
	exactY := p.reference(x)
	want := make([]float32, len(exactY))
	for i, v := range exactY {
		want[i] = float32(v)
	}
	if i := summed(256).worst(y.Floats(), want); i >= 0 {
		t.Fatalf("forward: element %d is %v, float64 says %v", i, y.Floats()[i], want[i])
	}
	dy := g.normal(y.Shape...)
	if p.ones {
		for i := range dy.F32() {
			dy.F32()[i] = 1
		}
	}
	value := func() float64 {
		var sum float64
		for i, v := range p.reference(x) {
			sum += v * float64(dy.F32()[i])
		}
		return sum
	}
	for i, grad := range p.backward(p.x, y, dy) {
		if !grad.Shape.Equal(p.x[i].Shape) {
			t.Fatalf("gradient %d has shape %v, input %v", i, grad.Shape, p.x[i].Shape)
		}
		dx, base := wide(grad), x[i]
		for n := range directions {
			u := wide(g.normal(len(base)))
			x[i] = moved(base, u, step)
			up := value()
			x[i] = moved(base, u, -step)
			numeric := (up - value()) / (2 * step)
			x[i] = base
			var analytic, norm float64
			for j, d := range dx {
				analytic += d * u[j]
				norm += d * d
			}
			limit := gradientTolerance * max(math.Sqrt(norm), math.Abs(numeric), 1e-3)
			if !(math.Abs(analytic-numeric) <= limit) {
				t.Errorf("input %d, direction %d: gradient op gives %.9g, finite differences %.9g (|gradient| %.3g)", i, n, analytic, numeric, math.Sqrt(norm))
			}
		}
	}
}

func moved(x, u floats64, by float64) floats64 {
	out := make(floats64, len(x))
	for i := range x {
		out[i] = x[i] + by*u[i]
	}
	return out
}

// TestGradients compares every gradient op with finite differences in float64.
func TestGradients(t *testing.T) {
	var all []pair
	for _, part := range [][]pair{linearPairs(t), shapePairs(t), normPairs(t), attentionPairs(t), lossPairs(t), preferencePairs(t), doraPairs(t), expertPairs(t)} {
		all = append(all, part...)
	}
	for _, p := range all {
		t.Run(p.name, p.check)
	}
}

func linearPairs(t *testing.T) []pair {
	var all []pair
	for _, f := range []quant.Format{dense(compute.F32), dense(compute.BF16), affine(4, 64, compute.BF16), {Kind: quant.Q4K}, {Kind: quant.Q6K}} {
		g := newGen("linear" + f.String())
		w := compute.Weight{Format: f, Rows: 7, Cols: 256}
		weight, tokens := g.weight(w), 5
		frozen := make(floats64, 0, w.Rows*w.Cols)
		for _, v := range w.Of(weight).Floats() {
			frozen = append(frozen, float64(v))
		}
		all = append(all, pair{
			name: "linear x " + f.String(), x: []compute.Array{g.normal(tokens, w.Cols)},
			reference: func(x []floats64) floats64 { return linear64(x[0], frozen, nil, tokens, w.Rows, w.Cols) },
			forward: func(x []compute.Array) compute.Array {
				return define(t, compute.Linear{Weight: w}, x[0], weight)[0]
			},
			backward: func(x []compute.Array, _, dy compute.Array) []compute.Array {
				return define(t, compute.LinearGradInput{Weight: w}, dy, weight)
			},
		})
	}
	g := newGen("linear")
	w := compute.Weight{Format: dense(compute.F32), Rows: 6, Cols: 11}
	all = append(all, pair{
		name: "linear x, weight, bias", x: []compute.Array{g.normal(4, 11), g.normal(6, 11), g.normal(6)},
		reference: func(x []floats64) floats64 { return linear64(x[0], x[1], x[2], 4, 6, 11) },
		forward: func(x []compute.Array) compute.Array {
			return define(t, compute.Linear{Weight: w, Bias: true, Exact: true}, x...)[0]
		},
		backward: func(x []compute.Array, _, dy compute.Array) []compute.Array {
			return []compute.Array{
				define(t, compute.LinearGradInput{Weight: w}, dy, x[1])[0],
				define(t, compute.MatMul{TransA: true, Alpha: 1}, dy, x[0])[0],
				define(t, compute.SumRows{}, dy)[0],
			}
		},
	})
	for variant := range 4 {
		op := compute.MatMul{TransA: variant&1 != 0, TransB: variant&2 != 0, Alpha: 1.5}
		const m, n, k = 5, 7, 4
		a, b := []int{m, k}, []int{k, n}
		if op.TransA {
			a = []int{k, m}
		}
		if op.TransB {
			b = []int{n, k}
		}
		g := newGen("matmul")
		all = append(all, pair{
			name: fmt.Sprintf("matmul %v %v", op.TransA, op.TransB), x: []compute.Array{g.normal(a...), g.normal(b...)},
			reference: func(x []floats64) floats64 {
				y := product64(m, n, k, at(x[0], a[1], op.TransA), at(x[1], b[1], op.TransB))
				for i := range y {
					y[i] *= 1.5
				}
				return y
			},
			forward: func(x []compute.Array) compute.Array { return define(t, op, x...)[0] },
			// For c = a b: da = dc bᵀ, db = aᵀ dc, and their transposes.
			backward: func(x []compute.Array, _, dc compute.Array) []compute.Array {
				da := define(t, compute.MatMul{TransB: !op.TransB, Alpha: 1.5}, dc, x[1])
				if op.TransA {
					da = define(t, compute.MatMul{TransA: op.TransB, TransB: true, Alpha: 1.5}, x[1], dc)
				}
				db := define(t, compute.MatMul{TransA: !op.TransA, Alpha: 1.5}, x[0], dc)
				if op.TransB {
					db = define(t, compute.MatMul{TransA: true, TransB: op.TransA, Alpha: 1.5}, dc, x[0])
				}
				return []compute.Array{da[0], db[0]}
			},
		})
	}
	return all
}

// shapePairs are the ops that move rows or work element by element.
func shapePairs(t *testing.T) []pair {
	g := newGen("shape")
	const rows, cols = 6, 9
	picked := intArray(2, 0, 5, 2, 2)
	take := func(x floats64) floats64 {
		var y floats64
		for _, r := range picked.I32() {
			y = append(y, x[int(r)*cols:int(r+1)*cols]...)
		}
		return y
	}
	drop, keys := compute.Dropout{Rate: 0.3}, g.keys(1)
	mask := wide(define(t, drop, floatArray(ones(rows*cols), rows, cols), keys)[0])
	embedding := compute.Weight{Format: dense(compute.F32), Rows: rows, Cols: cols}
	matrix := func() compute.Array { return g.normal(rows, cols) }
	return []pair{
		{name: "embed", x: []compute.Array{matrix()},
			reference: func(x []floats64) floats64 { return take(x[0]) },
			forward: func(x []compute.Array) compute.Array {
				return define(t, compute.Embed{Weight: embedding}, picked, x[0])[0]
			},
			backward: func(_ []compute.Array, _, dy compute.Array) []compute.Array {
				return define(t, compute.EmbedGrad{Rows: rows}, dy, picked)
			}},
		{name: "gather_rows", x: []compute.Array{matrix()},
			reference: func(x []floats64) floats64 { return take(x[0]) },
			forward:   func(x []compute.Array) compute.Array { return define(t, compute.GatherRows{}, x[0], picked)[0] },
			backward: func(_ []compute.Array, _, dy compute.Array) []compute.Array {
				return define(t, compute.ScatterRows{Rows: rows}, dy, picked)
			}},
		{name: "swiglu", x: []compute.Array{matrix(), matrix()},
			reference: func(x []floats64) floats64 { return swiglu64(x[0], x[1]) },
			forward:   func(x []compute.Array) compute.Array { return define(t, compute.SwiGLU{}, x...)[0] },
			backward: func(x []compute.Array, _, dy compute.Array) []compute.Array {
				return define(t, compute.SwiGLUGrad{}, x[0], x[1], dy)
			}},
		{name: "dropout", x: []compute.Array{matrix()},
			reference: func(x []floats64) floats64 {
				y := append(floats64(nil), x[0]...)
				for i := range y {
					y[i] *= mask[i]
				}
				return y
			},
			forward: func(x []compute.Array) compute.Array { return define(t, drop, x[0], keys)[0] },
			backward: func(_ []compute.Array, _, dy compute.Array) []compute.Array {
				return define(t, drop, dy, keys)
			}},
		{name: "add", x: []compute.Array{matrix(), matrix()},
			reference: func(x []floats64) floats64 { return moved(x[0], x[1], float64(float32(-0.7))) },
			forward:   func(x []compute.Array) compute.Array { return define(t, compute.Add{Alpha: -0.7}, x...)[0] },
			backward: func(_ []compute.Array, _, dy compute.Array) []compute.Array {
				return []compute.Array{define(t, compute.Scale{Alpha: 1}, dy)[0], define(t, compute.Scale{Alpha: -0.7}, dy)[0]}
			}},
	}
}

func ones(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 1
	}
	return v
}

func normPairs(t *testing.T) []pair {
	var all []pair
	for _, s := range []struct{ t, heads, dim int }{{5, 1, 12}, {3, 4, 8}, {1, 1, 64}} {
		g := newGen("rmsnorm")
		const e = float32(1e-3) // large enough to matter
		all = append(all, pair{
			name: fmt.Sprintf("rmsnorm %v", s), x: []compute.Array{g.normal(s.t, s.heads*s.dim), g.normal(s.dim)},
			reference: func(x []floats64) floats64 { return rmsnorm64(x[0], x[1], float64(e)) },
			forward:   func(x []compute.Array) compute.Array { return define(t, compute.RMSNorm{Eps: e}, x...)[0] },
			backward: func(x []compute.Array, _, dy compute.Array) []compute.Array {
				return define(t, compute.RMSNormGrad{Eps: e, Weight: true}, x[0], x[1], dy)
			},
		})
	}
	for _, traditional := range []bool{false, true} {
		g := newGen("rope")
		const tokens, dim, half = 5, 10, 4
		const scale = float32(1.25)
		positions, freq := g.ints(tokens, 50), frequencies(half)
		table := define(t, compute.RopeTable{Scale: scale}, positions, freq)
		angle := func(t, i int) float64 { return float64(positions.I32()[t]) * float64(freq.F32()[i]) }
		turn := func(inverse bool, x compute.Array) []compute.Array {
			return define(t, compute.RoPE{HeadDim: dim, Traditional: traditional, Inverse: inverse}, x, table[0], table[1])
		}
		all = append(all, pair{
			name: fmt.Sprintf("rope traditional=%v", traditional), x: []compute.Array{g.normal(tokens, 3*dim)},
			reference: func(x []floats64) floats64 {
				return rope64(x[0], tokens, dim, angle, half, float64(scale), traditional)
			},
			forward:  func(x []compute.Array) compute.Array { return turn(false, x[0])[0] },
			backward: func(_ []compute.Array, _, dy compute.Array) []compute.Array { return turn(true, dy) },
		})
	}
	return all
}

func attentionPairs(t *testing.T) []pair {
	var all []pair
	for _, s := range trainingSizes() {
		if s.t > 50 {
			continue // a tiling matter, which the definition does not have
		}
		bounds := intArray(s.bounds...)
		all = append(all, pair{
			name: "attention " + s.note, x: s.inputs(newGen(s.note))[:3],
			reference: func(x []floats64) floats64 {
				o, _ := attention64(s.op, x[0], x[1], x[2], s.bounds)
				return o
			},
			forward: func(x []compute.Array) compute.Array { return define(t, s.op, append(x[:3:3], bounds)...)[0] },
			backward: func(x []compute.Array, _, dy compute.Array) []compute.Array {
				in := append(x[:3:3], bounds)
				return define(t, compute.AttentionGrad{Attention: s.op}, append(append(in, define(t, s.op, in...)...), dy)...)
			},
		})
	}
	return all
}

func lossPairs(t *testing.T) []pair {
	g := newGen("loss")
	const r, v, d = 5, 13, 9
	targets, rowWeight := g.ints(r, v), g.positive(r)
	w := compute.Weight{Format: dense(compute.F32), Rows: v, Cols: d}
	weighted := func(loss floats64) floats64 {
		for i, x := range rowWeight.F32() {
			loss[i] *= float64(x)
		}
		return loss
	}
	// The ops give the loss unweighted and its gradient weighted.
	scaled := func(loss compute.Array) compute.Array {
		for i, x := range rowWeight.F32() {
			loss.F32()[i] *= x
		}
		return loss
	}
	return []pair{
		{name: "cross_entropy", ones: true, x: []compute.Array{g.normal(r, d), g.normal(v, d)},
			reference: func(x []floats64) floats64 {
				return weighted(crossEntropy64(linear64(x[0], x[1], nil, r, v, d), targets.I32()))
			},
			forward: func(x []compute.Array) compute.Array {
				return scaled(define(t, compute.CrossEntropy{Weight: w}, x[0], targets, rowWeight, x[1])[0])
			},
			backward: func(x []compute.Array, _, _ compute.Array) []compute.Array {
				return define(t, compute.CrossEntropy{Weight: w, Grad: true, GradWeight: true}, x[0], targets, rowWeight, x[1])[1:]
			}},
		{name: "cross_entropy_logits", ones: true, x: []compute.Array{g.floats(compute.F32, 2, r, v)},
			reference: func(x []floats64) floats64 { return weighted(crossEntropy64(x[0], targets.I32())) },
			forward: func(x []compute.Array) compute.Array {
				return scaled(define(t, compute.CrossEntropyLogits{}, x[0], targets, rowWeight)[0])
			},
			backward: func(x []compute.Array, _, _ compute.Array) []compute.Array {
				return define(t, compute.CrossEntropyLogits{}, x[0], targets, rowWeight)[1:]
			}},
	}
}

// TestAttentionDefinition checks both outputs in all forms.
func TestAttentionDefinition(t *testing.T) {
	for _, s := range trainingSizes() {
		in := s.inputs(newGen(s.note))
		got := define(t, s.op, in...)
		o, lse := attention64(s.op, wide(in[0]), wide(in[1]), wide(in[2]), s.bounds)
		alike(t, s.note, got[0].F32(), o, attended(s.op.HeadDim, s.t))
		alike(t, s.note+", lse", got[1].F32(), lse, attended(s.op.HeadDim, s.t))
	}
}

// TestCacheAttentionDefinition checks each span by itself.
func TestCacheAttentionDefinition(t *testing.T) {
	for _, s := range cacheSizes() {
		c := s.attend(dense(compute.F16))
		op := c.op.(compute.CacheAttention)
		in := c.inputs(newGen(s.note))
		y := zeros(in[0].Spec)
		op.Define([]compute.Array{y}, in)
		width, cols := op.Heads*op.HeadDim, op.KVHeads*op.HeadDim
		for i, span := range s.spans {
			keys := func(a compute.Array) floats64 { return wide(a)[:span.Keys*cols] }
			q := wide(in[0])[span.From*width : span.To*width]
			o, _ := attention64(op.Attention, q, keys(in[2+2*i]), keys(in[3+2*i]), []int32{0, 1 << 30})
			alike(t, fmt.Sprintf("%s, span %d", s.note, i), y.F32()[span.From*width:span.To*width], o, attended(op.HeadDim, span.Keys))
		}
	}
}

// alike compares a definition's output with float64's.
func alike(t *testing.T, what string, got []float32, exact floats64, tol tolerance) {
	t.Helper()
	want := make([]float32, len(exact))
	for j, v := range exact {
		want[j] = float32(v)
	}
	if j := tol.worst(got, want); j >= 0 {
		t.Errorf("%s: element %d is %v, float64 says %v", what, j, got[j], want[j])
	}
}
