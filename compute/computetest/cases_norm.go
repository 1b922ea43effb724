package computetest

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
)

func normCases() []testCase {
	var all []testCase
	for _, s := range []struct{ t, heads, dim int }{{1, 1, 1}, {1, 1, 64}, {5, 1, 33}, {3, 4, 16}, {7, 3, 80}, {40, 1, 1024}} {
		for _, wt := range []compute.DType{compute.F32, compute.BF16} {
			x := func(g gen) []compute.Array {
				return []compute.Array{g.normal(s.t, s.heads*s.dim), g.floats(wt, 1, s.dim)}
			}
			note := fmt.Sprintf("%dx%dx%d %v", s.t, s.heads, s.dim, wt)
			// Roots of sums of squares; dw sums over all rows and heads.
			tol := summed(s.dim) + approximated
			all = append(all, testCase{op: compute.RMSNorm{Eps: 1e-5}, note: note, inputs: x, tol: tol})
			if wt != compute.F32 {
				continue
			}
			for variant := range 4 {
				op := compute.RMSNormGrad{Eps: 1e-6, Accumulate: variant&1 != 0, Weight: variant&2 != 0}
				if s.dim == 1 {
					// The gradient's two terms differ by epsilon's share alone. If
					// that were small, only rounding would be left, and a fused
					// multiply-add changes it.
					op.Eps = 0.5
				}
				c := testCase{note: note, tol: 2*tol + summed(s.t*s.heads), inputs: func(g gen) []compute.Array {
					return append(x(g), g.normal(s.t, s.heads*s.dim))
				}}
				if op.Accumulate {
					c.note, c.keeps = c.note+" accumulate", []int{0}
				}
				if op.Weight {
					c.note, c.keeps = c.note+" weight", append(c.keeps, 1)
				}
				c.op = op
				all = append(all, c)
			}
		}
	}
	return all
}

// frequencies are those of base 10000.
func frequencies(half int) compute.Array {
	a := zeros(spec(compute.F32, half))
	for i := range a.F32() {
		a.F32()[i] = float32(math.Pow(10000, -float64(i)/float64(half)))
	}
	return a
}

func ropeCases() []testCase {
	var all []testCase
	for _, scale := range []float32{1, 1.25} {
		for _, s := range [][2]int{{1, 1}, {9, 16}, {5, 7}, {33, 64}} {
			all = append(all, testCase{op: compute.RopeTable{Scale: scale}, note: fmt.Sprintf("%dx%d scale %g", s[0], s[1], scale), tol: approximated,
				inputs: func(g gen) []compute.Array { return []compute.Array{g.ints(s[0], 40000), frequencies(s[1])} }})
		}
	}
	for _, s := range []struct{ t, heads, dim, half int }{{1, 1, 2, 1}, {5, 3, 16, 8}, {3, 2, 80, 16}, {4, 2, 13, 5}, {33, 4, 64, 32}} {
		for variant := range 4 {
			op := compute.RoPE{HeadDim: s.dim, Traditional: variant&1 != 0, Inverse: variant&2 != 0}
			note := fmt.Sprintf("%dx%dx%d turns %d", s.t, s.heads, s.dim, 2*s.half)
			if op.Traditional {
				note += " traditional"
			}
			if op.Inverse {
				note += " inverse"
			}
			all = append(all, testCase{op: op, note: note, tol: rounded, alias: []map[int]int{{0: 0}}, inputs: func(g gen) []compute.Array {
				table := []compute.Array{zeros(spec(compute.F32, s.t, s.half)), zeros(spec(compute.F32, s.t, s.half))}
				compute.RopeTable{Scale: 1.1}.Define(table, []compute.Array{g.ints(s.t, 500), frequencies(s.half)})
				return append([]compute.Array{g.normal(s.t, s.heads*s.dim)}, table...)
			}})
		}
	}
	return all
}

// An attentionSize is an attention op with its shapes and bounds.
type attentionSize struct {
	note   string
	t      int
	op     compute.Attention
	bounds []int32
}

func heads(h, kv, dim int) compute.Attention {
	return compute.Attention{Heads: h, KVHeads: kv, HeadDim: dim, Scale: float32(1 / math.Sqrt(float64(dim)))}
}

// trainingSizes are those that have a gradient: no cache.
func trainingSizes() []attentionSize {
	windowed, capped, both := heads(4, 2, 32), heads(2, 1, 16), heads(6, 2, 24)
	windowed.Window = 7
	capped.Softcap, capped.Scale = 3, 1
	both.Window, both.Softcap = 5, 20
	long, soft := heads(2, 1, 128), heads(2, 2, 128)
	long.Window = 80
	soft.Softcap = 4
	return []attentionSize{
		{"one token", 1, heads(1, 1, 1), []int32{0, 1}},
		{"odd size", 9, heads(3, 1, 13), []int32{0, 9}},
		{"packed", 35, heads(4, 4, 16), []int32{0, 1, 9, 33, 35}},
		{"grouped, size 80", 21, heads(4, 2, 80), []int32{0, 10, 21}},
		{"window", 33, windowed, []int32{0, 20, 33}},
		{"softcap", 17, capped, []int32{0, 17}},
		{"window, softcap, packed", 40, both, []int32{0, 3, 4, 31, 40}},
		{"bounds beyond the row", 6, heads(2, 2, 8), []int32{0, 4, 4, 100, 200}},
		{"many tiles", 150, heads(4, 2, 64), []int32{0, 70, 150}},
		{"eight heads of one key head", 140, heads(8, 1, 64), []int32{0, 3, 136, 140}},
		{"size 96", 70, heads(2, 1, 96), []int32{0, 1, 70}},
		{"packed, size 128", 300, heads(4, 1, 128), []int32{0, 1, 2, 131, 300}},
		{"window, size 128", 290, long, []int32{0, 290}},
		{"softcap, size 128", 135, soft, []int32{0, 5, 135}},
	}
}

func (s attentionSize) inputs(g gen) []compute.Array {
	kv := []int{s.t, s.op.KVHeads * s.op.HeadDim}
	k, v := g.normal(kv...), g.normal(kv...)
	return []compute.Array{g.normal(s.t, s.op.Heads*s.op.HeadDim), k, v, intArray(s.bounds...)}
}

// gradInputs are the inputs of the gradient: inputs and outputs of the forward op, and
// the gradient of its first output. Queries and keys are numbers of BF16 on every device, so
// that the outputs are theirs: no probability is above 1.
func (s attentionSize) gradInputs(g gen) []compute.Array {
	in := s.inputs(g)
	for _, a := range in[:2] {
		short := zeros(spec(compute.BF16, a.Shape...))
		short.SetFloats(a.Floats())
		a.SetFloats(short.Floats())
	}
	out := []compute.Array{zeros(in[0].Spec), zeros(spec(compute.F32, s.t, s.op.Heads))}
	s.op.Define(out, in)
	return append(append(in, out...), g.normal(in[0].Shape...))
}

func attentionCases() []testCase {
	var all []testCase
	for _, s := range trainingSizes() {
		note := fmt.Sprintf("%s T=%d %dx%d/%d", s.note, s.t, s.op.Heads, s.op.HeadDim, s.op.KVHeads)
		tol, uneven := attended(s.op.HeadDim, s.t), min(1, s.t/128)
		all = append(all, testCase{op: s.op, note: note, tol: tol, uneven: uneven, inputs: s.inputs},
			// The difference of two dot products of dim terms, summed over keys.
			testCase{op: compute.AttentionGrad{Attention: s.op}, note: note, tol: 4 * tol, uneven: uneven, inputs: s.gradInputs})
	}
	return all
}
