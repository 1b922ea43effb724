package computetest

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// cacheFormats are formats of quantized KV caches: every width, every group and every
// type of scales, and the extremes of all three together.
func cacheFormats() []quant.Format {
	all := []quant.Format{affine(2, 32, compute.BF16), affine(4, 32, compute.F16), affine(4, 128, compute.F32), affine(8, 128, compute.F32)}
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		all = append(all, affine(bits, 64, compute.F16))
	}
	return all
}

// cacheCases are the ops of KV caches.
func cacheCases() []testCase {
	var all []testCase
	for i, f := range cacheFormats() {
		w := compute.Weight{Format: f, Rows: []int{1, 5, 40}[i%3], Cols: []int{128, 256, 384}[i%3]}
		from := []compute.DType{compute.F32, compute.F16}[i%2]
		all = append(all, testCase{op: compute.QuantizeRows{Weight: w}, note: fmt.Sprintf("%s %dx%d, from %v", formatNote(f), w.Rows, w.Cols, from), tol: exact,
			inputs: func(g gen) []compute.Array { return []compute.Array{g.toQuantize(from, w.Rows, w.Cols)} }})
	}
	for i, f := range append([]quant.Format{dense(compute.F32), dense(compute.F16), dense(compute.BF16)}, cacheFormats()...) {
		for k, s := range cacheSizes() {
			if f.Kind == quant.Affine && (i+k)%2 == 1 { // all sizes and all formats, not all of both
				continue
			}
			all = append(all, s.store(f), s.attend(f))
		}
	}
	return all
}

// A cacheSize is a pass over the caches of several sequences.
type cacheSize struct {
	note  string
	t     int // rows of the pass
	op    compute.Attention
	spans []compute.Span
	rows  []int // of each cache
}

// cacheSizes are passes of generation: one sequence or several, with few queries and many.
func cacheSizes() []cacheSize {
	window, capped := heads(4, 2, 24), heads(3, 1, 33)
	window.Window, capped.Softcap = 12, 3
	wide := heads(4, 1, 128)
	wide.Window = 90
	return []cacheSize{
		{"decode", 1, heads(8, 2, 64), []compute.Span{{From: 0, To: 1, At: 37, Keys: 38}}, []int{64}},
		{"decode, full cache, odd size", 1, heads(3, 3, 33), []compute.Span{{From: 0, To: 1, At: 129, Keys: 130}}, []int{130}},
		{"chunk, softcap", 7, capped, []compute.Span{{From: 0, To: 7, At: 13, Keys: 20}}, []int{20}},
		{"chunk, window", 30, window, []compute.Span{{From: 0, To: 30, At: 41, Keys: 71}}, []int{80}},
		{"long", 3, heads(2, 1, 64), []compute.Span{{From: 0, To: 3, At: 690, Keys: 693}}, []int{700}},
		{"full ring", 1, heads(4, 2, 32), []compute.Span{{From: 0, To: 1, At: 5, Keys: 16}}, []int{16}},
		{"decode together", 5, heads(4, 2, 32), []compute.Span{{From: 0, To: 1, At: 0, Keys: 1}, {From: 1, To: 2, At: 600, Keys: 601}, {From: 2, To: 3, At: 12, Keys: 13},
			{From: 3, To: 4, At: 3, Keys: 20}, {From: 4, To: 5, At: 19, Keys: 20}}, []int{9, 700, 64, 20, 33}},
		{"prompts and tokens, window", 48, window, []compute.Span{{From: 0, To: 1, At: 30, Keys: 31}, {From: 1, To: 34, At: 7, Keys: 40}, {From: 34, To: 48, At: 0, Keys: 14}}, []int{40, 64, 15}},
		{"prompts, window, size 128", 150, wide, []compute.Span{{From: 0, To: 129, At: 70, Keys: 199}, {From: 129, To: 150, At: 40, Keys: 61}}, []int{256, 64}},
		{"some rows of a pass", 9, heads(2, 2, 32), []compute.Span{{From: 6, To: 8, At: 4, Keys: 6}, {From: 1, To: 2, At: 2, Keys: 3}}, []int{8, 3}},
	}
}

// fit makes heads a multiple of the groups of f.
func (s cacheSize) fit(f quant.Format) compute.Attention {
	op := s.op
	if f.Kind == quant.Affine {
		op.HeadDim = (op.HeadDim + f.Group - 1) / f.Group * f.Group
	}
	op.Scale = float32(1 / math.Sqrt(float64(op.HeadDim)))
	return op
}

func (s cacheSize) store(f quant.Format) testCase {
	op := s.fit(f)
	store := compute.StoreRows{Format: f, Cols: op.KVHeads * op.HeadDim, Rows: s.rows}
	var keeps []int
	for i := range len(s.rows) * len(compute.Weight{Format: f}.Specs()) {
		keeps = append(keeps, i)
	}
	return testCase{op: store, note: s.note + ", " + formatNote(f), tol: exact, keeps: keeps, inputs: func(g gen) []compute.Array {
		x := g.normal(s.t, store.Cols)
		if f.Kind == quant.Affine {
			x = g.toQuantize(compute.F32, s.t, store.Cols)
		}
		return []compute.Array{x, spanArray(s.spans)}
	}}
}

// attend is attention over caches in format f, whose unused rows must not be read.
func (s cacheSize) attend(f quant.Format) testCase {
	op := compute.CacheAttention{Attention: s.fit(f), Format: f}
	longest := 0
	for _, span := range s.spans {
		longest = max(longest, span.Keys)
	}
	uneven := min(1, s.t/128)
	if f.Kind == quant.Affine { // keys and values are rounded for tensor cores
		uneven *= 2
	}
	note := fmt.Sprintf("%s T=%d %dx%d/%d %s", s.note, s.t, op.Heads, op.HeadDim, op.KVHeads, formatNote(f))
	return testCase{op: op, note: note, tol: attended(op.HeadDim, longest), uneven: uneven, keeps: []int{0}, inputs: func(g gen) []compute.Array {
		in := []compute.Array{g.normal(s.t, op.Heads*op.HeadDim), spanArray(s.spans)}
		for i, span := range s.spans {
			for range 2 {
				in = append(in, g.cache(f, s.rows[i], op.KVHeads*op.HeadDim, span.Keys)...)
			}
		}
		return in
	}}
}

// cache is keys or values of which so many are used.
func (g gen) cache(f quant.Format, rows, cols, used int) []compute.Array {
	if f.Kind != quant.Affine {
		x := g.floats(f.DType, 1, rows, cols)
		poison(x, used)
		return []compute.Array{x}
	}
	part := compute.QuantizeRows{Weight: compute.Weight{Format: f, Rows: rows, Cols: cols}}
	x := g.normal(rows, cols)
	poison(x, used) // becomes scales of NaN
	var out []compute.Array
	for _, w := range part.Weight.Specs() {
		out = append(out, zeros(w))
	}
	part.Define(out, []compute.Array{x})
	return out
}

func spanArray(spans []compute.Span) compute.Array {
	a := zeros(spec(compute.I32, len(spans), 4))
	copy(a.I32(), compute.SpanInts(spans...))
	return a
}

// toQuantize is normal values with some hard groups: all equal, all below zero, one value
// far from the others, one not a number.
func (g gen) toQuantize(t compute.DType, rows, cols int) compute.Array {
	a := g.normal(rows, cols)
	v := a.F32()
	for i := range v {
		switch i / 32 % 8 {
		case 1:
			v[i] = 0.375
		case 3:
			v[i] = -float32(math.Abs(float64(v[i])))
		case 5:
			if i%32 == 7 {
				v[i] *= 1000
			}
		}
	}
	if rows > 2 {
		v[2*cols+40] = float32(math.NaN())
	}
	out := zeros(spec(t, rows, cols))
	out.SetFloats(v)
	return out
}

// bytes are random.
func (g gen) bytes(s compute.Spec) compute.Array {
	a := zeros(s)
	for i := range a.Data {
		a.Data[i] = byte(g.Uint32())
	}
	return a
}
