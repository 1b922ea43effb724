package cuda

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// wgLayers are linears of one input, with buffers of what products of them take.
type wgLayers struct {
	t     testing.TB
	d     *Device
	ranks []int
	list  []wgLayer
}

type wgLayer struct {
	weight          compute.Weight
	w, bias         compute.Buffer // bias nil for none
	u, v, a         compute.Buffer // the update, and that of the gradient: nil for none
	dy, dy32, y, to compute.Buffer // in bf16 and float32
}

func newWgLayers(t testing.TB, d *Device, tokens, cols int, rows, ranks []int) *wgLayers {
	t.Helper()
	s := &wgLayers{t: t, d: d, ranks: ranks}
	for i, n := range rows {
		w, err := d.ImportWeight(weight4(n, cols))
		if err != nil {
			t.Fatal(err)
		}
		l := wgLayer{w: w, weight: compute.WeightOf(w.(*buffer).weight)}
		if i%2 == 1 {
			l.bias = filled(t, d, compute.BF16, n)
		}
		if r := ranks[i]; r > 0 {
			l.u, l.v, l.a = filled(t, d, compute.F32, tokens, r), filled(t, d, compute.F32, r, n), filled(t, d, compute.F32, cols, r)
		}
		l.dy, l.dy32 = filled(t, d, compute.BF16, tokens, n), filled(t, d, compute.F32, tokens, n)
		l.y, l.to = filled(t, d, compute.BF16, tokens, n), filled(t, d, compute.F32, tokens, n)
		s.list = append(s.list, l)
	}
	return s
}

func (s *wgLayers) run(op compute.Op, out compute.Buffer, in ...compute.Buffer) {
	s.t.Helper()
	if err := s.d.Run(op, []compute.Buffer{out}, in); err != nil {
		s.t.Fatal(err)
	}
}

// forward is layer i of x, in bf16 or float32.
func (s *wgLayers) forward(i int, x compute.Buffer, to compute.DType) compute.Buffer {
	l := s.list[i]
	op, in, y := compute.Linear{Weight: l.weight, Exact: true, Rank: s.ranks[i], Scale: 0.5, To: to}, []compute.Buffer{x, l.w}, l.y
	if l.bias != nil {
		op.Bias, in = true, append(in, l.bias)
	}
	if l.u != nil {
		in = append(in, l.u, l.v)
	}
	if to == compute.F32 {
		y = l.to
	}
	s.run(op, y, in...)
	return y
}

// back adds the gradient of layer i's input to dx, or begins it.
func (s *wgLayers) back(i int, dx compute.Buffer, accumulate bool) {
	l := s.list[i]
	op, in := compute.LinearGradInput{Weight: l.weight, Accumulate: accumulate, Rank: s.ranks[i], To: dx.Spec().DType}, []compute.Buffer{l.dy, l.w}
	if op.To == compute.F32 {
		in[0] = l.dy32
	}
	if l.u != nil {
		in = append(in, l.u, l.a)
	}
	s.run(op, dx, in...)
}

func (s *wgLayers) launches() int {
	s.d.enter()
	defer s.d.leave()
	s.d.emit()
	return len(s.d.trace.now)
}

// buffers are all of them.
func (s *wgLayers) buffers() (list []compute.Buffer) {
	for _, l := range s.list {
		for _, b := range []compute.Buffer{l.w, l.bias, l.u, l.v, l.a, l.dy, l.dy32, l.y, l.to} {
			if b != nil {
				list = append(list, b)
			}
		}
	}
	return list
}

// TestWgmma compares Hopper's products with those in float32: alone, together forward, and as one sum back.
func TestWgmma(t *testing.T) {
	d := emulated(t, "capability=90,cores=2")
	for _, c := range []struct {
		tokens, cols int
		rows, ranks  []int
		launches     int // of all of them
	}{
		{70, 64, []int{64}, []int{0}, 1},
		{300, 192, []int{136, 64, 72}, []int{8, 0, 3}, 1},
		{1100, 64, []int{72, 264}, []int{16, 20}, 1},
		{70, 320, []int{128, 128, 8, 256}, []int{8, 8, 64, 24}, 2}, // the fourth is beyond what a launch takes
	} {
		name := fmt.Sprintf("%d tokens, %d columns, rows %v", c.tokens, c.cols, c.rows)
		s := newWgLayers(t, d, c.tokens, c.cols, c.rows, c.ranks)
		x, x32 := filled(t, d, compute.BF16, c.tokens, c.cols), filled(t, d, compute.F32, c.tokens, c.cols)
		var alone [][]float32
		for i := range s.list {
			alone = append(alone, floats(t, d, s.forward(i, x, compute.BF16)))
			alike(t, fmt.Sprintf("%s: %d", name, i), alone[i], floats(t, d, s.forward(i, x32, compute.F32)), 0.006)
		}
		zero, zero32 := zeros(t, d, x), zeros(t, d, x32) // what is left is the update, which is not rounded to bf16
		for i, rank := range c.ranks {
			if rank > 0 {
				alike(t, fmt.Sprintf("%s: update of %d", name, i), floats(t, d, s.forward(i, zero, compute.F32)), floats(t, d, s.forward(i, zero32, compute.F32)), 1e-5)
			}
			floats(t, d, s.forward(i, zero, compute.BF16)) // y is another one before what follows
		}
		before := s.launches()
		for i := range s.list {
			s.forward(i, x, compute.BF16)
		}
		if n := s.launches() - before; n != c.launches {
			t.Errorf("%s: %d launches forward, want %d", name, n, c.launches)
		}
		for i, l := range s.list {
			got := floats(t, d, l.y)
			if !slices.Equal(got, alone[i]) {
				t.Errorf("%s: product %d is another one beside others", name, i)
			}
		}

		for _, accumulate := range []bool{false, true} {
			dx, dx32 := filled(t, d, compute.BF16, c.tokens, c.cols), filled(t, d, compute.F32, c.tokens, c.cols)
			before := s.launches()
			for i := range s.list {
				s.back(i, dx, accumulate || i > 0)
			}
			if n := s.launches() - before; n != c.launches {
				t.Errorf("%s: %d launches back, want %d", name, n, c.launches)
			}
			for i := range s.list {
				s.back(i, dx32, accumulate || i > 0)
			}
			alike(t, fmt.Sprintf("%s: gradient, added %v", name, accumulate), floats(t, d, dx), floats(t, d, dx32), 0.006)
		}
	}
}

// zeros is a buffer like another one, of zeros.
func zeros(t testing.TB, d *Device, like compute.Buffer) compute.Buffer {
	t.Helper()
	b, err := d.Alloc(like.Spec().Shape, like.Spec().DType)
	if err == nil {
		err = d.Write(b, make([]byte, b.Spec().Bytes()))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// BenchmarkProducts times the products of a layer of the Ministral-8B shape on a card, with updates of rank 8: what is
// multiplied together is one number.
func BenchmarkProducts(b *testing.B) {
	d := card(b, "")
	if !d.image.Hopper {
		b.Skip("these kernels are Hopper's")
	}
	for _, tokens := range []int{2048, 8192} {
		for _, c := range []struct {
			name string
			cols int
			rows []int
		}{{"qkv", 4096, []int{4096, 1024, 1024}}, {"o", 4096, []int{4096}}, {"gate+up", 4096, []int{12288, 12288}}, {"down", 12288, []int{4096}}} {
			x, dx := noise(b, d, compute.BF16, tokens, c.cols), noise(b, d, compute.BF16, tokens, c.cols)
			var list []wgLayer
			var flops float64
			for _, n := range c.rows {
				w, err := d.ImportWeight(weight4(n, c.cols))
				if err != nil {
					b.Fatal(err)
				}
				const r = 8
				list = append(list, wgLayer{w: w, weight: compute.WeightOf(w.(*buffer).weight), u: noise(b, d, compute.F32, tokens, r), v: noise(b, d, compute.F32, r, n),
					a: noise(b, d, compute.F32, c.cols, r), dy: noise(b, d, compute.BF16, tokens, n), y: noise(b, d, compute.BF16, tokens, n)})
				flops += 2 * float64(tokens) * float64(n) * float64(c.cols+r)
			}
			s := &wgLayers{t: b, d: d, ranks: []int{8, 8, 8}, list: list}
			measure := func(name string, once func()) {
				b.Run(fmt.Sprintf("%d/%s/%s", tokens, c.name, name), func(b *testing.B) {
					const repeat = 10
					n := 0
					for b.Loop() {
						for range repeat {
							once()
						}
						if err := d.Sync(); err != nil {
							b.Fatal(err)
						}
						n += repeat
					}
					seconds := b.Elapsed().Seconds() / float64(n)
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(1e6*seconds, "us")
					b.ReportMetric(flops/seconds/1e12, "TFLOP/s")
				})
			}
			forward := func() {
				for i := range list {
					s.forward(i, x, compute.BF16)
				}
			}
			back := func() {
				for i := range list {
					s.back(i, dx, i > 0)
				}
			}
			measure("forward", forward)
			measure("back", back)
			for _, buf := range append([]compute.Buffer{x, dx}, s.buffers()...) {
				buf.Free()
			}
		}
	}
}

// noise is a buffer that begins as filled and goes on so, made quickly.
func noise(b *testing.B, d *Device, dtype compute.DType, shape ...int) compute.Buffer {
	b.Helper()
	buf, err := d.Alloc(shape, dtype)
	if err != nil {
		b.Fatal(err)
	}
	part := filled(b, d, dtype, 1<<16)
	some, all := make([]byte, part.Spec().Bytes()), make([]byte, buf.Spec().Bytes())
	if err := d.Read(part, some); err != nil {
		b.Fatal(err)
	}
	part.Free()
	for at := 0; at < len(all); at += len(some) {
		copy(all[at:], some)
	}
	if err := d.Write(buf, all); err != nil {
		b.Fatal(err)
	}
	return buf
}
