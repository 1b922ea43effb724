package cpu

import (
	"math/rand/v2"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// randomCache are keys or values of a quantized cache.
func randomCache(r *rand.Rand, f quant.Format, rows, cols int) []compute.Array {
	op := compute.QuantizeRows{Weight: compute.Weight{Format: f, Rows: rows, Cols: cols}}
	var out []compute.Array
	for _, s := range op.Weight.Specs() {
		out = append(out, compute.Array{Spec: s, Data: make([]byte, s.Bytes())})
	}
	op.Define(out, []compute.Array{random(r, compute.F32, rows, cols)})
	return out
}

// TestQuantizedAttention takes rows so wide that a chunk of keys is several tiles, and
// queries with windows that begin in different tiles and chunks.
func TestQuantizedAttention(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(41)
		for i, op := range []compute.Attention{
			{Heads: 16, KVHeads: 8, HeadDim: 128, Offset: 700},
			{Heads: 8, KVHeads: 8, HeadDim: 128, Offset: 500, Window: 200, Softcap: 3},
			{Heads: 6, KVHeads: 3, HeadDim: 64, Offset: 260, Window: 30},
			{Heads: 2, KVHeads: 1, HeadDim: 32},
		} {
			f := quant.Format{Kind: quant.Affine, DType: compute.F16, Bits: []int{4, 3, 8, 5}[i], Group: 32}
			op.Scale = 0.1
			lengths := []int{1, 7, 40}
			if testing.Short() {
				lengths = lengths[:2]
			}
			for _, tokens := range lengths {
				keys := op.Offset + tokens
				in := []compute.Array{random(r, compute.F32, tokens, op.Heads*op.HeadDim)}
				in = append(append(in, randomCache(r, f, keys+3, op.KVHeads*op.HeadDim)...), randomCache(r, f, keys+3, op.KVHeads*op.HeadDim)...)
				in = append(in, ints(0, int32(keys)))
				check(t, d, compute.QuantizedAttention{Attention: op, Format: f}, nil, in, attentionTolerance)
				if tokens > 1 {
					checkQueriesAlone(t, d, compute.QuantizedAttention{Attention: op, Format: f}, in)
				}
			}
		}
	})
}

// checkQueriesAlone demands that each query gives the same bits with RowWise as alone.
func checkQueriesAlone(t *testing.T, d *Device, op compute.QuantizedAttention, in []compute.Array) {
	t.Helper()
	together := op
	together.RowWise = true
	got := run(t, d, together, nil, in)[0]
	for i := range got.Shape[0] {
		single := op
		single.Offset += i
		one := append([]compute.Array{rowOf(in[0], i)}, in[1:]...)
		checkRow(t, "quantized attention", got, i, run(t, d, single, nil, one)[0])
	}
}
