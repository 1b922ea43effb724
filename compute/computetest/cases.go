package computetest

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// cases is the table: every op with every attribute. Shapes are small enough for the
// definition to be quick, and odd enough to have all remainders.
func cases() []testCase {
	var all []testCase
	for _, part := range [][]testCase{
		linearCases(), matmulCases(), normCases(), ropeCases(), attentionCases(), cacheCases(),
		elementCases(), rowCases(), lossCases(), optimizerCases(), doraCases(), expertCases(), sampleCases(),
	} {
		all = append(all, part...)
	}
	return all
}

func dense(t compute.DType) quant.Format { return quant.Format{Kind: quant.Dense, DType: t} }

func affine(bits, group int, t compute.DType) quant.Format {
	return quant.Format{Kind: quant.Affine, DType: t, Bits: bits, Group: group}
}

// fp is the format of one of MLX's modes with small floats.
func fp(mode string) quant.Format {
	f, err := quant.ParseMode(mode)
	if err != nil {
		panic(err)
	}
	return f
}

// formats are all weight formats.
func formats() []quant.Format {
	all := []quant.Format{dense(compute.F32), dense(compute.F16), dense(compute.BF16), {Kind: quant.Q4K}, {Kind: quant.Q6K},
		fp("mxfp4"), fp("nvfp4"), fp("mxfp8")}
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		for _, group := range []int{32, 64, 128} {
			for _, t := range []compute.DType{compute.F32, compute.F16, compute.BF16} {
				all = append(all, affine(bits, group, t))
			}
		}
	}
	return all
}

// commonFormats has one format for each kernel.
func commonFormats() []quant.Format {
	return []quant.Format{
		dense(compute.F32), dense(compute.BF16), dense(compute.F16), {Kind: quant.Q4K}, {Kind: quant.Q6K},
		affine(4, 64, compute.BF16), affine(8, 64, compute.F16), affine(3, 128, compute.F32), affine(4, 32, compute.F16),
		fp("mxfp4"), fp("nvfp4"),
	}
}

// formatNote names a format with the type of its scales.
func formatNote(f quant.Format) string {
	if f.Kind == quant.Affine {
		return fmt.Sprintf("%v %v", f, f.DType)
	}
	return f.String()
}

func linearCases() []testCase {
	var all []testCase
	for _, f := range formats() {
		for _, t := range []int{1, 5} {
			all = append(all, products(f, t, 9, 256)...)
		}
		all = append(all, embeds(f)...)
	}
	for _, f := range commonFormats() {
		for _, s := range [][3]int{{1, 257, 512}, {2, 1, 256}, {3, 64, 256}, {33, 130, 768}} {
			all = append(all, products(f, s[0], s[1], s[2])...)
		}
	}
	for _, f := range []quant.Format{dense(compute.F32), dense(compute.BF16), dense(compute.F16)} {
		for _, s := range [][3]int{{1, 1, 1}, {7, 13, 33}, {2, 3, 100}} {
			all = append(all, products(f, s[0], s[1], s[2])...)
		}
	}
	for _, f := range []quant.Format{dense(compute.F32), affine(4, 64, compute.BF16)} {
		all = append(all, products(f, 70, 320, 1024)...) // several tiles in every direction
	}
	return all
}

// products are Linear and its gradient for t rows and one weight.
func products(f quant.Format, t, rows, cols int) []testCase {
	w := compute.Weight{Format: f, Rows: rows, Cols: cols}
	note := fmt.Sprintf("%s T=%d %dx%d", formatNote(f), t, rows, cols)
	forward := func(bias *compute.DType) func(g gen) []compute.Array {
		return func(g gen) []compute.Array {
			in := []compute.Array{g.normal(t, cols), g.weight(w)}
			if bias != nil {
				in = append(in, g.floats(*bias, 1, rows))
			}
			return in
		}
	}
	f32, bf16 := compute.F32, compute.BF16
	backward := func(g gen) []compute.Array { return []compute.Array{g.normal(t, rows), g.weight(w)} }
	all := []testCase{
		{op: compute.Linear{Weight: w, Exact: true}, note: note, inputs: forward(nil), tol: summed(cols)},
		{op: compute.Linear{Weight: w, Exact: true, Bias: true}, note: note + " bias", inputs: forward(&f32), tol: summed(cols)},
		{op: compute.LinearGradInput{Weight: w}, note: note, inputs: backward, tol: summed(rows)},
		{op: compute.LinearGradInput{Weight: w, Accumulate: true}, note: note + " accumulate", inputs: backward, tol: summed(rows), keeps: []int{0}},
	}
	if t == 5 {
		all = append(all, testCase{op: compute.Linear{Weight: w, Exact: true, Bias: true}, note: note + " bf16 bias", inputs: forward(&bf16), tol: summed(cols)})
	}
	if t != 5 { // with a low-rank update
		const rank, scale = 3, -2.5
		update := func(inputs func(g gen) []compute.Array, v ...int) func(g gen) []compute.Array {
			return func(g gen) []compute.Array { return append(inputs(g), g.normal(t, rank), g.normal(v...)) }
		}
		all = append(all,
			testCase{op: compute.Linear{Weight: w, Exact: true, Rank: rank, Scale: scale}, note: note + " update", inputs: update(forward(nil), rank, rows), tol: summed(cols)},
			testCase{op: compute.Linear{Weight: w, Exact: true, Bias: true, Rank: rank, Scale: scale}, note: note + " bias update", inputs: update(forward(&bf16), rank, rows), tol: summed(cols)},
			testCase{op: compute.LinearGradInput{Weight: w, Accumulate: true, Rank: rank}, note: note + " accumulate update", inputs: update(backward, cols, rank), tol: summed(rows), keeps: []int{0}})
	}
	if f.Kind != quant.Dense && !f.Kind.IsFP() { // 8 bits are off by a share of the terms; some sums of small floats are far smaller
		tol := summed(cols) + int8Activations
		all = append(all,
			testCase{op: compute.Linear{Weight: w}, note: note + " inexact", inputs: forward(nil), tol: tol},
			testCase{op: compute.Linear{Weight: w, Bias: true}, note: note + " inexact bias", inputs: forward(&f32), tol: tol},
			testCase{op: compute.Linear{Weight: w, Rank: 2, Scale: 1}, note: note + " inexact update", tol: tol,
				inputs: func(g gen) []compute.Array { return append(forward(nil)(g), g.normal(t, 2), g.normal(2, rows)) }})
	}
	return all
}

func embeds(f quant.Format) []testCase {
	w := compute.Weight{Format: f, Rows: 11, Cols: 256}
	tol := rounded // scale·q + bias, fused or not
	if f.Kind == quant.Dense {
		tol = exact
	}
	var all []testCase
	for _, t := range []int{1, 6} {
		all = append(all, testCase{op: compute.Embed{Weight: w}, note: fmt.Sprintf("%s T=%d", formatNote(f), t), tol: tol,
			inputs: func(g gen) []compute.Array {
				ids := g.ints(t, w.Rows)
				if t > 1 {
					ids.I32()[1] = -3 // no token
				}
				return []compute.Array{ids, g.weight(w)}
			}})
	}
	return all
}

func matmulCases() []testCase {
	var all []testCase
	for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {1, 8, 257}, {64, 48, 128}, {17, 33, 65}, {130, 8, 257}, {8, 257, 130}, {65, 100, 8}} {
		for variant := range 8 {
			m, n, k := s[0], s[1], s[2]
			op := compute.MatMul{TransA: variant&1 != 0, TransB: variant&2 != 0, Accumulate: variant&4 != 0, Alpha: 1}
			note := fmt.Sprintf("%dx%dx%d", m, n, k)
			a, b := []int{m, k}, []int{k, n}
			if op.TransA {
				a, note = []int{k, m}, note+" transA"
			}
			if op.TransB {
				b, note = []int{n, k}, note+" transB"
			}
			c := testCase{tol: summed(k), inputs: func(g gen) []compute.Array { return []compute.Array{g.normal(a...), g.normal(b...)} }}
			if op.Accumulate {
				op.Alpha, c.keeps, note = -2.5, []int{0}, note+" accumulate"
			}
			c.op, c.note = op, note
			all = append(all, c)
		}
	}
	all = append(all, lowRankCases()...)
	for _, s := range [][2]int{{1, 1}, {7, 33}, {1, 64}, {130, 65}} {
		for _, acc := range []bool{false, true} {
			c := testCase{op: compute.SumRows{Accumulate: acc}, note: fmt.Sprintf("%dx%d", s[0], s[1]), tol: summed(s[0]),
				inputs: func(g gen) []compute.Array { return []compute.Array{g.normal(s[0], s[1])} }}
			if acc {
				c.note, c.keeps = c.note+" accumulate", []int{0}
			}
			all = append(all, c)
		}
	}
	return all
}

// lowRankCases have rows of several adapters, and of none.
func lowRankCases() []testCase {
	var all []testCase
	for _, s := range []struct {
		t, in, out int
		rows       []int32
		ranks      []int
	}{
		{1, 64, 48, []int32{0, 1}, []int{8}},
		{16, 96, 130, []int32{0, 1, 1, 6, 6, 6, 9, 16}, []int{8, 16, 8, 3}},
		{7, 33, 5, []int32{4, 7, 0, 2}, []int{1, 8}},
		{60, 300, 33, []int32{0, 3, 3, 60}, []int{8, 64}},
	} {
		op := compute.LowRankRows{}
		for i := range s.ranks {
			op.Scales = append(op.Scales, []float32{1, -2.5}[i%2])
		}
		all = append(all, testCase{op: op, note: fmt.Sprintf("%dx%dx%d, ranks %v", s.t, s.in, s.out, s.ranks), tol: summed(s.in), keeps: []int{0}, inputs: func(g gen) []compute.Array {
			rows := zeros(spec(compute.I32, len(s.ranks), 2))
			copy(rows.I32(), s.rows)
			in := []compute.Array{g.normal(s.t, s.in), rows}
			for _, r := range s.ranks {
				in = append(in, g.floats(compute.F32, 0.1, s.in, r), g.floats(compute.F32, 0.1, r, s.out))
			}
			return in
		}})
	}
	return all
}

func lossCases() []testCase {
	var all []testCase
	type size struct {
		f             quant.Format
		r, rows, cols int
	}
	sizes := []size{
		{dense(compute.F32), 1, 1, 1}, {dense(compute.F32), 3, 7, 5}, {dense(compute.F32), 33, 257, 96}, {dense(compute.BF16), 5, 100, 64},
		{affine(4, 64, compute.BF16), 9, 1031, 256},
	}
	for _, f := range commonFormats() {
		sizes = append(sizes, size{f, 5, 67, 256})
	}
	for _, s := range sizes {
		w := compute.Weight{Format: s.f, Rows: s.rows, Cols: s.cols}
		inputs := func(g gen) []compute.Array {
			rowWeight := g.positive(s.r)
			if s.r > 2 {
				rowWeight.F32()[1] = 0
			}
			return []compute.Array{g.normal(s.r, s.cols), g.ints(s.r, s.rows), rowWeight, g.weight(w)}
		}
		// Errors of the logits are relative errors of the probabilities.
		tol := 4*summed(s.cols) + summed(s.rows) + approximated
		note := fmt.Sprintf("%s R=%d %dx%d", formatNote(s.f), s.r, s.rows, s.cols)
		all = append(all,
			testCase{op: compute.CrossEntropy{Weight: w}, note: note, inputs: inputs, tol: tol},
			testCase{op: compute.CrossEntropy{Weight: w, Grad: true}, note: note + " grad", inputs: inputs, tol: tol})
		if s.f == dense(compute.F32) {
			all = append(all, testCase{op: compute.CrossEntropy{Weight: w, Grad: true, GradWeight: true}, note: note + " grad weight", inputs: inputs, tol: tol, keeps: []int{2}})
		}
	}
	all = append(all, preferenceCases()...)
	for _, s := range [][2]int{{1, 1}, {3, 33}, {7, 1030}} {
		all = append(all, testCase{op: compute.CrossEntropyLogits{}, note: fmt.Sprintf("%dx%d", s[0], s[1]), tol: summed(s[1]) + approximated, alias: []map[int]int{{1: 0}},
			inputs: func(g gen) []compute.Array {
				return []compute.Array{g.floats(compute.F32, 3, s[0], s[1]), g.ints(s[0], s[1]), g.positive(s[0])}
			}})
	}
	return all
}
