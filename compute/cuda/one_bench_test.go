package cuda

import (
	"fmt"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// replayed times passes of ops as decoding runs them: each is a sequence of launches that is replayed as a graph. bytes is
// what a pass reads at least, parts how many equal parts it has.
func replayed(b *testing.B, d *Device, bytes int64, parts int, pass func()) {
	const repeat = 20
	turn := func() {
		pass()
		d.enter()
		defer d.leave()
		d.flush()
	}
	for range 3 { // the second time makes the graph
		turn()
	}
	if err := d.Sync(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		for range repeat {
			turn()
		}
		if err := d.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	s := b.Elapsed().Seconds() / float64(b.N*repeat)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(1e6*s/float64(parts), "us")
	b.ReportMetric(float64(bytes)/s/1e9, "GB/s")
}

// BenchmarkOneToken times products of one token of the Ministral-8B shape, matrices one after another so that none is left
// in the card's cache; a layer's parts and the layer, as replayed, behind 768 keys; and the head with the choice of a token.
func BenchmarkOneToken(b *testing.B) {
	d := card(b, "")
	const hidden, between, heads, kv, head, vocab, room, layers = 4096, 12288, 32, 8, 128, 131072, 1024, 4
	run := func(op compute.Op, out, in []compute.Buffer) {
		if err := d.Run(op, out, in); err != nil {
			b.Fatal(err)
		}
	}
	type matrix struct {
		compute.Buffer
		weight compute.Weight
		bytes  int64
	}
	weight := func(rows, cols int) matrix {
		m := weight4(rows, cols)
		w, err := d.ImportWeight(m)
		if err != nil {
			b.Fatal(err)
		}
		return matrix{w, compute.WeightOf(m), int64(len(m.Data) + len(m.Scales) + len(m.Biases))}
	}
	vector := func(n int) compute.Buffer { return filled(b, d, compute.BF16, 1, n) }
	linear := func(y, x compute.Buffer, w matrix) {
		run(compute.Linear{Weight: w.weight, To: y.Spec().DType}, []compute.Buffer{y}, []compute.Buffer{x, w.Buffer})
	}
	x, n, wide := vector(hidden), vector(hidden), vector(between)
	for _, s := range []struct {
		name       string
		rows, cols int
	}{{"k", kv * head, hidden}, {"o", hidden, hidden}, {"up", between, hidden}, {"down", hidden, between}} {
		var ws []matrix
		var ys []compute.Buffer
		var bytes int64
		for bytes < 400<<20 {
			w := weight(s.rows, s.cols)
			ws, ys, bytes = append(ws, w), append(ys, vector(s.rows)), bytes+w.bytes
		}
		in := []compute.Buffer{x, n} // taking turns, so that no two products go together
		if s.cols == between {
			in = []compute.Buffer{wide, vector(between)}
		}
		b.Run(fmt.Sprintf("%s [%d,%d]", s.name, s.rows, s.cols), func(b *testing.B) {
			replayed(b, d, bytes, len(ws), func() {
				for i, w := range ws {
					linear(ys[i], in[i%2], w)
				}
			})
		})
		for _, w := range ws {
			w.Free()
		}
	}

	norm, h, ffn := vector(hidden), vector(hidden), vector(hidden)
	q, k, v, a, o, gate, up, act := vector(heads*head), vector(kv*head), vector(kv*head), vector(heads*head), vector(hidden), vector(between), vector(between), vector(between)
	cos, sin := filled(b, d, compute.F32, 1, head/2), filled(b, d, compute.F32, 1, head/2)
	norms, err := d.Alloc(compute.Shape{hidden}, compute.BF16)
	if err != nil {
		b.Fatal(err)
	}
	spans, err := d.Alloc(compute.Shape{1, 4}, compute.I32)
	if err == nil {
		err = d.Write(spans, compute.IntBytes([]int32{0, 1, 767, 768}))
	}
	if err != nil {
		b.Fatal(err)
	}
	type layer struct {
		q, k, v, o, gate, up, down matrix
		keys, values               compute.Buffer
	}
	var all []layer
	for range layers {
		all = append(all, layer{weight(heads*head, hidden), weight(kv*head, hidden), weight(kv*head, hidden), weight(hidden, heads*head),
			weight(between, hidden), weight(between, hidden), weight(hidden, between),
			filled(b, d, compute.BF16, room, kv*head), filled(b, d, compute.BF16, room, kv*head)})
	}
	dense := quant.Format{Kind: quant.Dense, DType: compute.BF16}
	op := compute.Attention{Heads: heads, KVHeads: kv, HeadDim: head, Scale: 0.088}
	first := func(l layer) {
		run(compute.RMSNorm{Eps: 1e-5}, []compute.Buffer{n}, []compute.Buffer{x, norms})
		linear(q, n, l.q)
		linear(k, n, l.k)
		linear(v, n, l.v)
	}
	turn := func(l layer) {
		for _, t := range []compute.Buffer{q, k} {
			run(compute.RoPE{HeadDim: head}, []compute.Buffer{t}, []compute.Buffer{t, cos, sin})
		}
		store := compute.StoreRows{Format: dense, Cols: kv * head, Rows: []int{room}}
		run(store, []compute.Buffer{l.keys}, []compute.Buffer{k, spans})
		run(store, []compute.Buffer{l.values}, []compute.Buffer{v, spans})
	}
	attend := func(l layer) {
		run(compute.CacheAttention{Attention: op, Format: dense}, []compute.Buffer{a}, []compute.Buffer{q, spans, l.keys, l.values})
	}
	second := func(l layer) {
		linear(o, a, l.o)
		run(compute.Add{Alpha: 1}, []compute.Buffer{h}, []compute.Buffer{x, o})
	}
	third := func(l layer) {
		run(compute.RMSNorm{Eps: 1e-5}, []compute.Buffer{norm}, []compute.Buffer{h, norms})
		linear(gate, norm, l.gate)
		linear(up, norm, l.up)
		run(compute.SwiGLU{}, []compute.Buffer{act}, []compute.Buffer{gate, up})
	}
	last := func(l layer) {
		linear(ffn, act, l.down)
		run(compute.Add{Alpha: 1}, []compute.Buffer{x}, []compute.Buffer{h, ffn})
	}
	each := func(name string, bytes func(l layer) int64, parts ...func(layer)) {
		b.Run(name, func(b *testing.B) {
			const repeat = 8 // so that a graph is long enough
			var sum int64
			for _, l := range all {
				sum += repeat * bytes(l)
			}
			replayed(b, d, sum, repeat*layers, func() {
				for range repeat {
					for _, l := range all {
						for _, p := range parts {
							p(l)
						}
					}
				}
			})
		})
	}
	cache := func(layer) int64 { return 2 * 768 * kv * head * 2 }
	qkv := func(l layer) int64 { return l.q.bytes + l.k.bytes + l.v.bytes }
	gated := func(l layer) int64 { return l.gate.bytes + l.up.bytes }
	each("norm, q, k, v", qkv, first)
	each("turn, store", func(layer) int64 { return 0 }, turn)
	each("attention", cache, attend)
	each("o, add", func(l layer) int64 { return l.o.bytes }, second)
	each("norm, gate, up, swiglu", gated, third)
	each("down, add", func(l layer) int64 { return l.down.bytes }, last)
	whole := func(l layer) int64 { return qkv(l) + cache(l) + l.o.bytes + gated(l) + l.down.bytes }
	each("layer", whole, first, turn, attend, second, third, last)

	w, logits := weight(vocab, hidden), filled(b, d, compute.F32, 1, vocab)
	token, err := d.Alloc(compute.Shape{1}, compute.I32)
	if err != nil {
		b.Fatal(err)
	}
	const times = 8
	b.Run("head, argmax", func(b *testing.B) {
		replayed(b, d, times*w.bytes, times, func() {
			for range times {
				linear(logits, x, w)
				run(compute.ArgMax{}, []compute.Buffer{token}, []compute.Buffer{logits})
			}
		})
	})
}
