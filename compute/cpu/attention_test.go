package cpu

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// attentionTolerance is looser than sumTolerance: an error in a score is one in
// an exponent.
const attentionTolerance = 1e-4

func TestAttention(t *testing.T) {
	cases := []struct {
		op     compute.Attention
		t      int
		bounds []int32
	}{
		{compute.Attention{Heads: 3, KVHeads: 1, HeadDim: 64}, 300, []int32{0, 300}},
		{compute.Attention{Heads: 2, KVHeads: 2, HeadDim: 20, Window: 37}, 211, []int32{0, 211}},
		{compute.Attention{Heads: 4, KVHeads: 2, HeadDim: 33, Softcap: 2}, 190, []int32{0, 100, 101, 101, 130, 190}},
		{compute.Attention{Heads: 8, KVHeads: 1, HeadDim: 16, Window: 5}, 170, []int32{0, 3, 90, 200}},
		{compute.Attention{Heads: 16, KVHeads: 16, HeadDim: 8}, 90, []int32{0, 40, 90}},
		{compute.Attention{Heads: 5, KVHeads: 1, HeadDim: 12}, 8, []int32{0, 3, 8}},
	}
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(8)
		for i, c := range cases {
			o := c.op
			o.Scale = 0.2
			q := random(r, compute.F32, c.t, o.Heads*o.HeadDim)
			k, v := random(r, compute.F32, c.t, o.KVHeads*o.HeadDim), random(r, compute.F32, c.t, o.KVHeads*o.HeadDim)
			in := []compute.Array{q, k, v, ints(c.bounds...)}
			check(t, d, o, nil, in, attentionTolerance)
			fwd := defined(t, o, nil, in)
			in = append(in, fwd[0], fwd[1], random(r, compute.F32, c.t, o.Heads*o.HeadDim))
			check(t, d, compute.AttentionGrad{Attention: o}, nil, in, attentionTolerance)
			if t.Failed() {
				t.Fatalf("case %d", i)
			}
		}
		bad := []compute.Array{random(r, compute.F32, 2, 4), random(r, compute.F32, 2, 4), random(r, compute.F32, 2, 4), ints(0, 5, 1)}
		if _, err := d.newAttend(compute.Attention{Heads: 1, KVHeads: 1, HeadDim: 4}, bad); err == nil {
			t.Error("falling bounds passed")
		}
	})
}

// TestAttentionOfPackedSegments demands the same bits for a segment wherever it
// is packed: the trainer keeps what frozen layers gave for a row.
func TestAttentionOfPackedSegments(t *testing.T) {
	lengths := []int{31, 200, 9, 140}
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(10)
		for _, o := range []compute.Attention{{Heads: 4, KVHeads: 2, HeadDim: 16}, {Heads: 3, KVHeads: 1, HeadDim: 20, Window: 37}} {
			o.Scale = 0.3
			total, bounds := 0, []int32{0}
			for _, n := range lengths {
				total += n
				bounds = append(bounds, int32(total))
			}
			in := []compute.Array{random(r, compute.F32, total, o.Heads*o.HeadDim),
				random(r, compute.F32, total, o.KVHeads*o.HeadDim), random(r, compute.F32, total, o.KVHeads*o.HeadDim), ints(bounds...)}
			packed := run(t, d, o, nil, in)[0].F32()
			for i, n := range lengths {
				lo, hi := int(bounds[i]), int(bounds[i+1])
				alone := []compute.Array{cutRows(in[0], lo, hi), cutRows(in[1], lo, hi), cutRows(in[2], lo, hi), ints(0, int32(n))}
				if got := run(t, d, o, nil, alone)[0].F32(); !slices.Equal(got, packed[lo*o.Heads*o.HeadDim:hi*o.Heads*o.HeadDim]) {
					t.Errorf("%+v: segment %d of %d tokens differs from the same one alone", o, i, n)
				}
			}
		}
	})
}

func BenchmarkAttention(b *testing.B) {
	for _, k := range families() {
		if k == generic {
			continue
		}
		d := newDevice(b, 0, k.name)
		r := newRand(9)
		for _, n := range []int{256, 2048} {
			o := compute.Attention{Heads: 9, KVHeads: 3, HeadDim: 64, Scale: 0.125}
			in := []compute.Array{random(r, compute.F32, n, 576), random(r, compute.F32, n, 192), random(r, compute.F32, n, 192), ints(0, int32(n))}
			bench(b, d, fmt.Sprintf("%s/forward/%d", k.name, n), o, in)
			in = append(in, random(r, compute.F32, n, 576), random(r, compute.F32, n, 9), random(r, compute.F32, n, 576))
			bench(b, d, fmt.Sprintf("%s/grad/%d", k.name, n), compute.AttentionGrad{Attention: o}, in)
		}
		o := compute.CacheAttention{Attention: compute.Attention{Heads: 32, KVHeads: 8, HeadDim: 64, Scale: 0.125}, Format: quant.Format{Kind: quant.Dense, DType: compute.F16}}
		in := []compute.Array{random(r, compute.F32, 1, 2048), spans(compute.Span{From: 0, To: 1, At: 1023, Keys: 1024}), random(r, compute.F16, 1024, 512), random(r, compute.F16, 1024, 512)}
		bench(b, d, k.name+"/decode/1024", o, in)
	}
}
