package cpu

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

func spans(list ...compute.Span) compute.Array {
	return compute.Array{Spec: compute.Spec{Shape: compute.Shape{len(list), 4}, DType: compute.I32}, Data: compute.IntBytes(compute.SpanInts(list...))}
}

// randomCache are keys or values of a cache.
func randomCache(r *rand.Rand, f quant.Format, rows, cols int) []compute.Array {
	if f.Kind == quant.Dense {
		return []compute.Array{random(r, f.DType, rows, cols)}
	}
	op := compute.QuantizeRows{Weight: compute.Weight{Format: f, Rows: rows, Cols: cols}}
	var out []compute.Array
	for _, s := range op.Weight.Specs() {
		out = append(out, compute.Array{Spec: s, Data: make([]byte, s.Bytes())})
	}
	op.Define(out, []compute.Array{random(r, compute.F32, rows, cols)})
	return out
}

// cacheFormats are all kinds of formats of caches.
func cacheFormats() []quant.Format {
	return []quant.Format{{Kind: quant.Dense, DType: compute.F32}, {Kind: quant.Dense, DType: compute.F16}, {Kind: quant.Dense, DType: compute.BF16},
		{Kind: quant.Affine, DType: compute.F16, Bits: 4, Group: 32}, {Kind: quant.Affine, DType: compute.F16, Bits: 3, Group: 32}}
}

// TestCacheAttention takes rows so wide that a chunk of quantized keys is several tiles, and
// queries with windows that begin in different tiles and chunks. The sequences together
// give what each gives alone, to the bit, and with RowWise what each query gives alone.
func TestCacheAttention(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(41)
		for i, a := range []compute.Attention{
			{Heads: 16, KVHeads: 8, HeadDim: 128},
			{Heads: 8, KVHeads: 8, HeadDim: 128, Window: 200, Softcap: 3},
			{Heads: 6, KVHeads: 3, HeadDim: 64, Window: 30},
			{Heads: 2, KVHeads: 1, HeadDim: 32},
		} {
			a.Scale = 0.1
			for j, f := range cacheFormats() {
				if testing.Short() && (i+j)%2 == 1 {
					continue
				}
				op := compute.CacheAttention{Attention: a, Format: f}
				in := []compute.Array{random(r, compute.F32, 1+7+40+1, a.Heads*a.HeadDim), spans(
					compute.Span{From: 0, To: 1, At: 700, Keys: 701}, compute.Span{From: 1, To: 8, At: 253, Keys: 260},
					compute.Span{From: 8, To: 48, At: 120, Keys: 160}, compute.Span{From: 48, To: 49, At: 3, Keys: 9})}
				for _, s := range compute.Spans(in[1]) {
					for range 2 {
						in = append(in, randomCache(r, f, s.Keys+3, a.KVHeads*a.HeadDim)...)
					}
				}
				check(t, d, op, nil, in, attentionTolerance)
				together := run(t, d, op, nil, in)[0]
				op.RowWise = true
				byRow := run(t, d, op, nil, in)[0]
				op.RowWise = false
				for k, s := range compute.Spans(in[1]) {
					one := func(from, to int) compute.Array {
						parts := 2 * len(compute.Weight{Format: f}.Specs())
						alone := []compute.Array{cutRows(in[0], from, to), spans(compute.Span{From: 0, To: to - from, Keys: s.Keys - (s.To - to)})}
						return run(t, d, op, nil, append(alone, in[2+k*parts:2+(k+1)*parts]...))[0]
					}
					if got := cutRows(together, s.From, s.To).F32(); !slices.Equal(got, one(s.From, s.To).F32()) {
						t.Errorf("%+v, %v: sequence %d differs from the same one alone", a, f, k)
					}
					for q := s.From; q < s.To; q++ {
						checkRow(t, f.String(), byRow, q, one(q, q+1))
					}
				}
				if t.Failed() {
					return
				}
			}
		}
	})
}

// TestSpansAreChecked: numbers that would reach beyond a buffer are refused, in both ops.
func TestSpansAreChecked(t *testing.T) {
	d := newDevice(t, 1, "generic")
	r := newRand(42)
	f := quant.Format{Kind: quant.Dense, DType: compute.F16}
	for _, c := range []struct {
		span compute.Span
		err  string
	}{
		{compute.Span{From: 0, To: 2, At: 3, Keys: 5}, ""},
		{compute.Span{From: 0, To: 3, At: 0, Keys: 5}, "rows 0 to 3 of 2"},
		{compute.Span{From: -1, To: 1, At: 0, Keys: 5}, "rows -1 to 1"},
		{compute.Span{From: 2, To: 1, At: 0, Keys: 5}, "rows 2 to 1"},
		{compute.Span{From: 0, To: 2, At: 4, Keys: 5}, "rows 4 to 6 of a cache of 5"},
		{compute.Span{From: 0, To: 2, At: -1, Keys: 5}, "rows -1 to 1 of a cache"},
		{compute.Span{From: 0, To: 2, At: 0, Keys: 6}, "6 keys for 2 queries, in a cache of 5"},
		{compute.Span{From: 0, To: 2, At: 0, Keys: 1}, "1 keys for 2 queries"},
	} {
		x, k := random(r, compute.F32, 2, 8), random(r, compute.F16, 5, 8)
		at := spans(c.span)
		stored := d.dispatch(compute.StoreRows{Format: f, Cols: 8, Rows: []int{5}}, []compute.Array{k}, []compute.Array{x, at})
		attended := d.dispatch(compute.CacheAttention{Attention: compute.Attention{Heads: 2, KVHeads: 2, HeadDim: 4}, Format: f}, []compute.Array{random(r, compute.F32, 2, 8)}, []compute.Array{x, at, k, k})
		d.scratch.release()
		for _, err := range []error{stored, attended} {
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v: %v, want %q", c.span, err, c.err)
			}
		}
	}
}
