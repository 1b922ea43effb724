package computetest

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// benchCases are the ops at the sizes of a model of about one billion weights:
// 2048 wide, 5632 in the middle, rows of 256 tokens, decoding of one.
func benchCases() []testCase {
	const tokens, width, middle = 256, 2048, 5632
	var all []testCase
	add := func(op compute.Op, note string, inputs func(g gen) []compute.Array) {
		all = append(all, testCase{op: op, note: note, inputs: inputs})
	}
	for _, f := range []quant.Format{
		dense(compute.F32), dense(compute.F16), dense(compute.BF16), {Kind: quant.Q4K}, {Kind: quant.Q6K},
		affine(4, 64, compute.BF16), affine(8, 64, compute.BF16), affine(3, 64, compute.BF16), affine(4, 32, compute.F16),
	} {
		w := compute.Weight{Format: f, Rows: width, Cols: width}
		product := func(t int) func(g gen) []compute.Array {
			return func(g gen) []compute.Array { return []compute.Array{g.normal(t, width), g.weight(w)} }
		}
		if f.Kind != quant.Dense {
			add(compute.Linear{Weight: w}, formatNote(f)+" T=1 inexact", product(1))
		}
		add(compute.Linear{Weight: w, Exact: true}, formatNote(f)+" T=1", product(1))
		add(compute.Linear{Weight: w, Exact: true}, fmt.Sprintf("%s T=%d", formatNote(f), tokens), product(tokens))
		add(compute.LinearGradInput{Weight: w}, fmt.Sprintf("%s T=%d", formatNote(f), tokens), product(tokens))
		add(compute.RowSquares{Weight: w}, formatNote(f), func(g gen) []compute.Array { return []compute.Array{g.weight(w)} })
	}
	all = append(all, expertBenchCases()...)
	matrices := func(shapes ...[2]int) func(g gen) []compute.Array {
		return func(g gen) []compute.Array {
			var in []compute.Array
			for _, s := range shapes {
				in = append(in, g.normal(s[0], s[1]))
			}
			return in
		}
	}
	row := [2]int{tokens, width}
	add(compute.MatMul{Alpha: 1}, "low rank down", matrices(row, [2]int{width, 8}))
	add(compute.MatMul{Alpha: 20, Accumulate: true}, "low rank up", matrices([2]int{tokens, 8}, [2]int{8, width}))
	add(compute.MatMul{Alpha: 1, TransB: true}, "low rank back", matrices([2]int{tokens, 8}, [2]int{width, 8}))
	add(compute.MatMul{Alpha: 1, TransA: true}, "low rank gradient", matrices(row, [2]int{tokens, 8}))
	add(compute.MatMul{Alpha: 1, TransA: true}, "weight gradient", matrices(row, row))
	add(compute.MatMul{Alpha: 1}, "square", matrices([2]int{512, 512}, [2]int{512, 512}))
	add(compute.SumRows{}, "row", matrices(row))
	norm := func(g gen) []compute.Array { return []compute.Array{g.normal(tokens, width), g.normal(width)} }
	add(compute.RMSNorm{Eps: 1e-5}, "row", norm)
	add(compute.Magnitude{}, "row", func(g gen) []compute.Array { return append(norm(g), g.normal(width)) })
	add(compute.RMSNormGrad{Eps: 1e-5}, "row", func(g gen) []compute.Array { return append(norm(g), g.normal(tokens, width)) })
	add(compute.RoPE{HeadDim: 64}, "row", func(g gen) []compute.Array {
		return []compute.Array{g.normal(tokens, width), g.normal(tokens, 32), g.normal(tokens, 32)}
	})
	for _, s := range []attentionSize{
		{"training", 512, heads(32, 8, 64), []int32{0, 512}},
		{"packed", 512, heads(32, 8, 64), []int32{0, 100, 230, 400, 512}},
	} {
		add(s.op, s.note, s.inputs)
		add(compute.AttentionGrad{Attention: s.op}, s.note, s.gradInputs)
	}
	decode := cacheSize{"decode", 1, heads(32, 8, 64), []compute.Span{{From: 0, To: 1, At: 2047, Keys: 2048}}, []int{2048}}
	together := cacheSize{note: "decode of 16", t: 16, op: decode.op}
	for i := range together.t {
		together.spans = append(together.spans, compute.Span{From: i, To: i + 1, At: 128*i + 100, Keys: 128*i + 101})
		together.rows = append(together.rows, 2048)
	}
	for _, s := range []cacheSize{decode, together} {
		for _, f := range []quant.Format{dense(compute.F16), affine(4, 64, compute.F16), affine(8, 64, compute.F16)} {
			c := s.attend(f)
			add(c.op, c.note, c.inputs)
		}
	}
	store := together.store(dense(compute.F16))
	add(store.op, store.note, store.inputs)
	add(compute.QuantizeRows{Weight: compute.Weight{Format: affine(4, 64, compute.F16), Rows: tokens, Cols: width}}, "4 bits, row", matrices(row))
	wide := [2]int{tokens, middle}
	add(compute.SwiGLU{}, "row", matrices(wide, wide))
	add(compute.SwiGLUGrad{}, "row", matrices(wide, wide, wide))
	add(compute.Add{Alpha: 1}, "row", matrices(row, row))
	add(compute.Dropout{Rate: 0.1}, "row", func(g gen) []compute.Array { return append(matrices(row)(g), g.keys(1)) })
	add(compute.CopyRows{Rows: tokens, To: compute.F16}, "row", matrices(row))
	head := compute.Weight{Format: affine(4, 64, compute.BF16), Rows: 32000, Cols: 1024}
	add(compute.CrossEntropy{Weight: head, Grad: true}, "4-bit 64x32000x1024", func(g gen) []compute.Array {
		return []compute.Array{g.normal(64, head.Cols), g.ints(64, head.Rows), g.positive(64), g.weight(head)}
	})
	one := func(g gen) []compute.Array { return []compute.Array{g.floats(compute.F32, 3, 1, head.Rows)} }
	add(compute.ArgMax{}, "1x32000", one)
	add(compute.Sample{Rows: []compute.Sampling{{Temp: 0.7, TopP: 0.9}}}, "1x32000 top-p", func(g gen) []compute.Array { return append(one(g), g.keys(1)) })
	add(compute.Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}, "row", func(g gen) []compute.Array {
		return []compute.Array{g.normal(tokens, width), g.normal(tokens, width), g.normal(tokens, width), g.positive(tokens, width), floatArray([]float32{1e-5, 1}, 2)}
	})
	return all
}
