package cuda

import (
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// BenchmarkLowRankBack times the low-rank products of a layer's backward pass, of the Ministral-8B shape at rank 8, as the tape runs
// them: for all results dz = dy Bᵀ, then dB = zᵀ dy, then dA = xᵀ dz. Those of gate and up but for dA are made with SwiGLU's gradient. TB/s
// counts each matrix of activations once. Several layers take turns, so that little of them lies in the cache of the card.
func BenchmarkLowRankBack(b *testing.B) {
	const layers, tokens, hidden, kv, inner, rank = 4, 2048, 4096, 1024, 12288, 8
	d := card(b, "")
	array := func(dtype compute.DType, shape ...int) compute.Buffer {
		x, err := d.Alloc(shape, dtype) // whatever is there: the time does not depend on it
		if err != nil {
			b.Fatal(err)
		}
		return x
	}
	type run func()
	product := func(op compute.MatMul, out, x, y compute.Buffer) run {
		return func() {
			if err := d.Run(op, []compute.Buffer{out}, []compute.Buffer{x, y}); err != nil {
				b.Fatal(err)
			}
		}
	}
	// back is the products of results dy of the widths, made of one x; given says that dz and dB are there.
	back := func(in int, given bool, widths ...int) []run {
		var dzs, dbs, das []run
		x := array(compute.BF16, tokens, in)
		for _, w := range widths {
			z, dz := array(compute.F32, tokens, rank), array(compute.F32, tokens, rank)
			if !given {
				dy := array(compute.BF16, tokens, w)
				dzs = append(dzs, product(compute.MatMul{TransB: true, Alpha: 2}, dz, dy, array(compute.F32, rank, w)))
				dbs = append(dbs, product(compute.MatMul{TransA: true, Alpha: 2}, array(compute.F32, rank, w), z, dy))
			}
			das = append(das, product(compute.MatMul{TransA: true, Alpha: 1}, array(compute.F32, in, rank), x, dz))
		}
		return append(append(dzs, dbs...), das...)
	}
	parts := []struct {
		name    string
		columns int
		runs    [layers][]run
	}{{name: "down", columns: inner + hidden}, {name: "gate up", columns: hidden}, {name: "o", columns: 2 * hidden}, {name: "qkv", columns: 2*hidden + 2*kv}}
	for i := range layers {
		parts[0].runs[i] = back(inner, false, hidden)
		parts[1].runs[i] = back(hidden, true, inner, inner)
		parts[2].runs[i] = back(hidden, false, hidden)
		parts[3].runs[i] = back(hidden, false, hidden, kv, kv)
	}
	bench := func(name string, columns, from, to int) {
		b.Run(name, func(b *testing.B) {
			all := func() {
				for i := range layers {
					for _, p := range parts[from:to] {
						for _, f := range p.runs[i] {
							f()
						}
						launches(d)
					}
				}
			}
			sync := func() {
				if err := d.Sync(); err != nil {
					b.Fatal(err)
				}
			}
			all()
			sync()
			for b.Loop() {
				for range 10 {
					all()
				}
				sync()
			}
			s := b.Elapsed().Seconds() / float64(b.N*10*layers)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(1e6*s, "us")
			b.ReportMetric(float64(2*tokens*columns)/s/1e12, "TB/s")
		})
	}
	all := 0
	for i, p := range parts {
		bench(p.name, p.columns, i, i+1)
		all += p.columns
	}
	bench("a layer", all, 0, len(parts))
}
