package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// weight4 is a random 4-bit matrix with weights of about 0.05.
func weight4(rows, cols int) *quant.Matrix {
	r := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	m := &quant.Matrix{Format: quant.Format{Kind: quant.Affine, DType: quant.BF16, Bits: 4, Group: 64}, Rows: rows, Cols: cols,
		Data: make([]byte, rows*cols/2), Scales: make([]byte, rows*cols/32), Biases: make([]byte, rows*cols/32)}
	for i := 0; i < len(m.Data); i += 4 {
		v := r.Uint32()
		m.Data[i], m.Data[i+1], m.Data[i+2], m.Data[i+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	}
	groups := rows * cols / 64
	scales, biases := make([]float32, groups), make([]float32, groups)
	for i := range scales {
		scales[i] = 0.008 + 0.004*r.Float32()
		biases[i] = -8 * scales[i]
	}
	quant.PutFloats(m.Scales, scales, quant.BF16)
	quant.PutFloats(m.Biases, biases, quant.BF16)
	return m
}

// filled is a buffer of random numbers.
func filled(t testing.TB, d *Device, dtype compute.DType, shape ...int) compute.Buffer {
	t.Helper()
	b, err := d.Alloc(shape, dtype)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, b.Spec().Shape.Elems())
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	data := make([]byte, b.Spec().Bytes())
	if dtype == compute.F32 {
		copy(data, compute.FloatBytes(v))
	} else {
		quant.PutFloats(data, v, dtype)
	}
	if err := d.Write(b, data); err != nil {
		t.Fatal(err)
	}
	return b
}

func floats(t testing.TB, d *Device, b compute.Buffer) []float32 {
	t.Helper()
	data := make([]byte, b.Spec().Bytes())
	if err := d.Read(b, data); err != nil {
		t.Fatal(err)
	}
	return compute.Array{Spec: b.Spec(), Data: data}.Floats()
}

// alike compares with a reference, by the root mean square of the difference.
func alike(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	var diff, all, most float64
	for i := range want {
		e := float64(got[i]) - float64(want[i])
		diff, all, most = diff+e*e, all+float64(want[i])*float64(want[i]), max(most, math.Abs(e))
	}
	if r := math.Sqrt(diff / all); !(r < tolerance) || !(most < 40*tolerance*math.Sqrt(all/float64(len(want)))) {
		t.Errorf("%s: relative difference %.2g, largest %.2g", what, r, most)
	}
}

// TestProducts compares the fast kernels with products in float32, over sizes that fill no tile.
func TestProducts(t *testing.T) {
	products(t, card(t, ""), []sizes{{65, 64, 64}, {300, 448, 576}, {256, 512, 1024}, {1000, 136, 320}, {70, 1032, 128}, {513, 4096, 4096}})
}

// sizes are t tokens and a weight [n, k].
type sizes struct{ t, n, k int }

func products(t *testing.T, d *Device, list []sizes) {
	const rank = 8
	for _, c := range list {
		w, err := d.ImportWeight(weight4(c.n, c.k))
		if err != nil {
			t.Fatal(err)
		}
		weight := compute.WeightOf(w.(*buffer).weight)
		x, x32 := filled(t, d, compute.BF16, c.t, c.k), filled(t, d, compute.F32, c.t, c.k)
		bias, u, v := filled(t, d, compute.BF16, c.n), filled(t, d, compute.F32, c.t, rank), filled(t, d, compute.F32, rank, c.n)
		run := func(to compute.DType, x compute.Buffer) []float32 {
			y, err := d.Alloc(compute.Shape{c.t, c.n}, to)
			if err != nil {
				t.Fatal(err)
			}
			op := compute.Linear{Weight: weight, Bias: true, Exact: true, Rank: rank, Scale: 0.5, To: to}
			if err := d.Run(op, []compute.Buffer{y}, []compute.Buffer{x, w, bias, u, v}); err != nil {
				t.Fatal(err)
			}
			return floats(t, d, y)
		}
		want := run(compute.F32, x32)
		name := fmt.Sprintf("%d tokens, [%d, %d]", c.t, c.n, c.k)
		alike(t, name, run(compute.BF16, x), want, 0.006)
		alike(t, name+" to float32", run(compute.F32, x), want, 0.004)

		dy, dy32, down := filled(t, d, compute.BF16, c.t, c.n), filled(t, d, compute.F32, c.t, c.n), filled(t, d, compute.F32, c.k, rank)
		back := func(to compute.DType, dy compute.Buffer) []float32 {
			dx := filled(t, d, to, c.t, c.k)
			op := compute.LinearGradInput{Weight: weight, Accumulate: true, Rank: rank, To: to}
			if err := d.Run(op, []compute.Buffer{dx}, []compute.Buffer{dy, w, u, down}); err != nil {
				t.Fatal(err)
			}
			return floats(t, d, dx)
		}
		alike(t, name+" gradient", back(compute.BF16, dy), back(compute.F32, dy32), 0.008)
	}
}

// TestBatchInvariant demands that rows are, to the bit, what they are in another batch: other tiles of products, other
// neighbours of a segment.
func TestBatchInvariant(t *testing.T) {
	batchInvariant(t, card(t, ""), 1024, 34000) // few tiles, and so many that large ones are taken
}

// batchInvariant takes the widths of products.
func batchInvariant(t *testing.T, d *Device, widths ...int) {
	const rows, few, heads, head = 700, 100, 4, 64
	run := func(op compute.Op, in ...compute.Buffer) []byte {
		specs := make([]compute.Spec, len(in))
		for i := range in {
			specs[i] = in[i].Spec()
		}
		out, err := compute.Infer(op, specs)
		if err != nil {
			t.Fatal(err)
		}
		var bufs []compute.Buffer
		for _, s := range out {
			b, err := d.Alloc(s.Shape, s.DType)
			if err != nil {
				t.Fatal(err)
			}
			bufs = append(bufs, b)
		}
		if err := d.Run(op, bufs, in); err != nil {
			t.Fatal(err)
		}
		data := make([]byte, out[0].Bytes())
		if err := d.Read(bufs[0], data); err != nil {
			t.Fatal(err)
		}
		return data
	}
	part := func(b compute.Buffer, from, n int) compute.Buffer {
		all := make([]byte, b.Spec().Bytes())
		if err := d.Read(b, all); err != nil {
			t.Fatal(err)
		}
		cols := b.Spec().Shape.Cols()
		p, err := d.Alloc(compute.Shape{n, cols}, b.Spec().DType)
		if err != nil {
			t.Fatal(err)
		}
		row := cols * b.Spec().DType.Size()
		if err := d.Write(p, all[from*row:(from+n)*row]); err != nil {
			t.Fatal(err)
		}
		return p
	}
	ints := func(v ...int32) compute.Buffer {
		b, err := d.Alloc(compute.Shape{len(v)}, compute.I32)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Write(b, compute.IntBytes(v)); err != nil {
			t.Fatal(err)
		}
		return b
	}
	const from = 137
	same := func(what string, all, some []byte) {
		t.Helper()
		row := len(some) / few
		if string(all[from*row:(from+few)*row]) != string(some) {
			t.Errorf("%s depends on the rows beside it", what)
		}
	}
	for _, n := range widths {
		w, err := d.ImportWeight(weight4(n, 512))
		if err != nil {
			t.Fatal(err)
		}
		x, op := filled(t, d, compute.BF16, rows, 512), compute.Linear{Weight: compute.WeightOf(w.(*buffer).weight), Exact: true, To: compute.BF16}
		same(fmt.Sprintf("product with [%d, 512]", n), run(op, x, w), run(op, part(x, from, few), w))
	}
	q, k, v := filled(t, d, compute.BF16, rows, heads*head), filled(t, d, compute.BF16, rows, heads*head), filled(t, d, compute.BF16, rows, heads*head)
	op := compute.Attention{Heads: heads, KVHeads: heads, HeadDim: head, Scale: 0.125}
	same("attention", run(op, q, k, v, ints(0, 40, from, from+few, rows)), run(op, part(q, from, few), part(k, from, few), part(v, from, few), ints(0, few)))
	a := filled(t, d, compute.F32, heads*head, 8)
	same("a product with few columns", run(compute.MatMul{Alpha: 1}, q, a), run(compute.MatMul{Alpha: 1}, part(q, from, few), a))
	norm := filled(t, d, compute.BF16, heads*head)
	same("rmsnorm", run(compute.RMSNorm{Eps: 1e-5}, q, norm), run(compute.RMSNorm{Eps: 1e-5}, part(q, from, few), norm))
}

// timed reports and gives how long the card takes for an op, in seconds.
func timed(b *testing.B, d *Device, op compute.Op, out, in []compute.Buffer) float64 {
	const repeat = 20 // so that waiting for the card counts little
	run := func() {
		if err := d.Run(op, out, in); err != nil {
			b.Fatal(err)
		}
	}
	sync := func() {
		if err := d.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	run() // the driver loads a kernel when it is first used
	sync()
	b.ResetTimer()
	for b.Loop() {
		for range repeat {
			run()
		}
		sync()
	}
	s := b.Elapsed().Seconds() / float64(b.N*repeat)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(1e6*s, "us")
	return s
}

// BenchmarkStep times what a training step of the Ministral-8B shape consists of, at 2048 tokens.
func BenchmarkStep(b *testing.B) {
	d := card(b, "")
	const tokens, heads, kv, head = 2048, 32, 8, 128
	bench := func(name string, op compute.Op, in ...compute.Buffer) []compute.Buffer {
		specs := make([]compute.Spec, len(in))
		for i := range in {
			specs[i] = in[i].Spec()
		}
		outs, err := compute.Infer(op, specs)
		if err != nil {
			b.Fatal(err)
		}
		out := make([]compute.Buffer, len(outs))
		for i, s := range outs {
			if out[i], err = d.Alloc(s.Shape, s.DType); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(name, func(b *testing.B) {
			c, s := op.Cost(specs), timed(b, d, op, out, in)
			b.ReportMetric(float64(c.FLOPs)/s/1e12, "TFLOP/s")
			b.ReportMetric(float64(c.Bytes)/s/1e9, "GB/s")
		})
		return out
	}
	act := func(cols int) compute.Buffer { return filled(b, d, compute.BF16, tokens, cols) }
	u := filled(b, d, compute.F32, tokens, 8)
	for _, s := range []struct{ n, k int }{{4096, 4096}, {1024, 4096}, {12288, 4096}, {4096, 12288}} {
		w, err := d.ImportWeight(weight4(s.n, s.k))
		if err != nil {
			b.Fatal(err)
		}
		weight := compute.WeightOf(w.(*buffer).weight)
		x, dy, a, up := act(s.k), act(s.n), filled(b, d, compute.F32, s.k, 8), filled(b, d, compute.F32, 8, s.n)
		name := fmt.Sprintf("[%d,%d]/", s.n, s.k)
		bench(name+"forward", compute.Linear{Weight: weight, Exact: true, To: compute.BF16}, x, w)
		bench(name+"forward+lora", compute.Linear{Weight: weight, Exact: true, To: compute.BF16, Rank: 8, Scale: 2}, x, w, u, up)
		bench(name+"gradient", compute.LinearGradInput{Weight: weight, To: compute.BF16}, dy, w)
		bench(name+"xA", compute.MatMul{Alpha: 1}, x, a)
		bench(name+"dB", compute.MatMul{TransA: true, Alpha: 1}, u, dy)
		bench(name+"dA", compute.MatMul{TransA: true, Alpha: 1}, x, u)
		one := filled(b, d, compute.BF16, 1, s.k)
		bench(name+"decode", compute.Linear{Weight: weight, To: compute.BF16}, one, w)
	}
	q, k, v := act(heads*head), act(kv*head), act(kv*head)
	for _, segments := range [][]int32{{0, 512, 1024, 1536, 2048}, {0, 2048}} {
		bounds, err := d.Alloc(compute.Shape{len(segments)}, compute.I32)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Write(bounds, compute.IntBytes(segments)); err != nil {
			b.Fatal(err)
		}
		op := compute.Attention{Heads: heads, KVHeads: kv, HeadDim: head, Scale: 0.088}
		name := fmt.Sprintf("attention %d/", len(segments)-1)
		y := bench(name+"forward", op, q, k, v, bounds)
		bench(name+"gradient", compute.AttentionGrad{Attention: op}, q, k, v, bounds, y[0], y[1], act(heads*head))
	}
	x, norm := act(4096), filled(b, d, compute.BF16, 4096)
	bench("rmsnorm", compute.RMSNorm{Eps: 1e-5}, x, norm)
	bench("rmsnorm_grad", compute.RMSNormGrad{Eps: 1e-5}, x, norm, act(4096))
	bench("swiglu", compute.SwiGLU{}, act(12288), act(12288))
	bench("swiglu_grad", compute.SwiGLUGrad{}, act(12288), act(12288), act(12288))
	bench("rope", compute.RoPE{HeadDim: head}, q, filled(b, d, compute.F32, tokens, 64), filled(b, d, compute.F32, tokens, 64))
	bench("add", compute.Add{Alpha: 1}, x, act(4096))
	w, err := d.ImportWeight(weight4(131072, 4096))
	if err != nil {
		b.Fatal(err)
	}
	targets, err := d.Alloc(compute.Shape{tokens}, compute.I32)
	if err != nil {
		b.Fatal(err)
	}
	if err := d.Write(targets, make([]byte, 4*tokens)); err != nil {
		b.Fatal(err)
	}
	bench("cross_entropy", compute.CrossEntropy{Weight: compute.WeightOf(w.(*buffer).weight), Grad: true}, x, targets, filled(b, d, compute.F32, tokens), w)
}
