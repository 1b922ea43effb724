package cuda

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// TestEmulatedGrouped and TestGrouped compare attention of several sequences with the kernel that reads keys once for each
// head, and demand that a sequence gets the same bits in other company.
func TestEmulatedGrouped(t *testing.T) {
	for _, cores := range []string{"132", "20", "7"} { // blocks have one part of a sequence, two of three, or all
		t.Run(cores, func(t *testing.T) { testGrouped(t, emulated(t, "capability=90,cores="+cores)) })
	}
}
func TestGrouped(t *testing.T) { testGrouped(t, card(t, "")) }

func testGrouped(t *testing.T, d *Device) {
	for _, o := range []compute.Attention{
		{Heads: 8, KVHeads: 2, HeadDim: 128, Scale: 0.1}, {Heads: 3, KVHeads: 3, HeadDim: 72, Scale: 0.1, Softcap: 2},
		{Heads: 16, KVHeads: 2, HeadDim: 64, Scale: 0.1, Window: 300}, {Heads: 10, KVHeads: 5, HeadDim: 40, Scale: 0.1, Window: 5},
	} {
		spans := []compute.Span{{From: 0, To: 1, At: 640, Keys: 641}, {From: 1, To: 2, At: 0, Keys: 1}, {From: 2, To: 2, At: 7, Keys: 7},
			{From: 2, To: 4, At: 255, Keys: 257}, {From: 4, To: 5, At: 255, Keys: 256}}
		rooms := []int{700, 256, 64, 600, 256}
		q := filled(t, d, compute.BF16, 5, o.Heads*o.HeadDim)
		var caches []compute.Buffer
		for _, n := range rooms {
			caches = append(caches, filled(t, d, compute.BF16, n, o.KVHeads*o.HeadDim), filled(t, d, compute.BF16, n, o.KVHeads*o.HeadDim))
		}
		op := compute.CacheAttention{Attention: o, Format: quant.Format{Kind: quant.Dense, DType: quant.BF16}}
		run := func(which []int, with func(y, q, at *buffer, keys, values []array)) []float32 {
			var list []compute.Span
			in := []compute.Buffer{q, nil}
			for _, i := range which {
				list, in = append(list, spans[i]), append(in, caches[2*i], caches[2*i+1])
			}
			at, err := d.Alloc(compute.Shape{len(list), 4}, compute.I32)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Write(at, compute.IntBytes(compute.SpanInts(list...))); err != nil {
				t.Fatal(err)
			}
			in[1] = at
			y := filled(t, d, compute.BF16, 5, o.Heads*o.HeadDim)
			if with == nil {
				err = d.Run(op, []compute.Buffer{y}, in)
			} else {
				d.enter()
				var keys, values []array
				for i := 2; i < len(in); i += 2 {
					keys, values = append(keys, in[i].(*buffer).array), append(values, in[i+1].(*buffer).array)
				}
				with(y.(*buffer), q.(*buffer), at.(*buffer), keys, values)
				d.freeAreas()
				err = d.take()
				d.leave()
			}
			if err != nil {
				t.Fatal(err)
			}
			return floats(t, d, y)
		}
		all := []int{0, 1, 2, 3, 4}
		name := fmt.Sprintf("%+v", o)
		got := run(all, nil)
		alike(t, name, got, run(all, func(y, q, at *buffer, keys, values []array) {
			d.fewQueries(o, y.array, q.array, at.array, keys, values)
		}), 0.008)
		head := flashHead(o, compute.BF16)
		some := run([]int{1, 3}, func(y, q, at *buffer, keys, values []array) {
			d.groupedQueries(o, head, y.array, q.array, at.array, keys, values)
		})
		if from, to := o.Heads*o.HeadDim, 4*o.Heads*o.HeadDim; !slices.Equal(got[from:to], some[from:to]) {
			t.Errorf("%s: what a sequence gets depends on the others", name)
		}
	}
}

// BenchmarkGrouped times attention of 32 sequences with 640 keys each, of the Ministral-8B shape.
func BenchmarkGrouped(b *testing.B) {
	d := card(b, "")
	const n, keys = 32, 640
	o := compute.CacheAttention{Attention: compute.Attention{Heads: 32, KVHeads: 8, HeadDim: 128, Scale: 0.088}, Format: quant.Format{Kind: quant.Dense, DType: quant.BF16}}
	q, y := filled(b, d, compute.BF16, n, 4096), filled(b, d, compute.BF16, n, 4096)
	at, err := d.Alloc(compute.Shape{n, 4}, compute.I32)
	if err != nil {
		b.Fatal(err)
	}
	var spans []compute.Span
	in := []compute.Buffer{q, at}
	for i := range n {
		spans = append(spans, compute.Span{From: i, To: i + 1, At: keys - 1, Keys: keys})
		in = append(in, filled(b, d, compute.BF16, 768, 1024), filled(b, d, compute.BF16, 768, 1024))
	}
	if err := d.Write(at, compute.IntBytes(compute.SpanInts(spans...))); err != nil {
		b.Fatal(err)
	}
	step := func() {
		for range 20 {
			if err := d.Run(o, []compute.Buffer{y}, in); err != nil {
				b.Fatal(err)
			}
		}
		if err := d.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	for range 3 { // the third time is replayed
		step()
	}
	for b.Loop() {
		step()
	}
	s := b.Elapsed().Seconds() / float64(20*b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(1e6*s, "us")
	b.ReportMetric(2*2*n*keys*1024/s/1e9, "GB/s")
}
