package cuda

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// TestNorms holds norms of long rows, and a norm behind a sum, to their definitions.
func TestNorms(t *testing.T) { onCards(t, testNorms) }

func testNorms(t *testing.T, d *Device) {
	r := rand.New(rand.NewPCG(7, 8))
	const rows = 3
	defined := func(op compute.Op, spec compute.Spec, in ...[]float32) []float32 {
		y := make([]float32, spec.Shape.Elems())
		var arrays []compute.Array
		for _, v := range in {
			s := compute.Spec{Shape: spec.Shape, DType: compute.F32}
			if len(v) != len(y) {
				s.Shape = compute.Shape{len(v)}
			}
			arrays = append(arrays, compute.Array{Spec: s, Data: compute.FloatBytes(v)})
		}
		out := compute.Array{Spec: compute.Spec{Shape: spec.Shape, DType: compute.F32}, Data: compute.FloatBytes(y)}
		if g, ok := op.(compute.RMSNormGrad); ok && g.Accumulate {
			copy(y, in[3])
			arrays = arrays[:3]
		}
		op.Define([]compute.Array{out}, arrays)
		return y
	}
	run := func(op compute.Op, y compute.Buffer, in ...compute.Buffer) {
		t.Helper()
		if err := d.Run(op, []compute.Buffer{y}, in); err != nil {
			t.Fatal(err)
		}
	}
	for _, width := range []int{1032, 2048, 2056, 4096, 4104, 8192, 8200} {
		name := fmt.Sprintf("rows of %d", width)
		make2 := func() compute.Buffer { return random(t, d, r, compute.BF16, rows, width) }
		a, b, x, y, dx, w := make2(), make2(), make2(), make2(), make2(), random(t, d, r, compute.F32, width)
		norm, add := compute.RMSNorm{Eps: 1e-5}, compute.Add{Alpha: -0.5}

		run(norm, y, a, w)
		alike(t, name, floats(t, d, y), defined(norm, y.Spec(), floats(t, d, a), floats(t, d, w)), 0.003)

		grad := compute.RMSNormGrad{Eps: 1e-5, Accumulate: true}
		want := defined(grad, dx.Spec(), floats(t, d, a), floats(t, d, w), floats(t, d, b), floats(t, d, dx))
		run(grad, dx, a, w, b)
		alike(t, name+", gradient added", floats(t, d, dx), want, 0.003)
		grad.Accumulate = false
		run(grad, dx, a, w, b)
		alike(t, name+", gradient", floats(t, d, dx), defined(grad, dx.Spec(), floats(t, d, a), floats(t, d, w), floats(t, d, b)), 0.003)

		run(add, x, a, b)
		launches(d) // the norm comes on its own
		run(norm, y, x, w)
		wantX, wantY := floats(t, d, x), floats(t, d, y)
		for _, to := range []compute.Buffer{make2(), a} { // also in place
			before := launches(d)
			run(add, to, a, b)
			run(norm, y, to, w)
			if n := launches(d) - before; (n == 1) != (width <= 8192) {
				t.Errorf("%s: a sum and its norm take %d launches", name, n)
			}
			if !slices.Equal(floats(t, d, to), wantX) || !slices.Equal(floats(t, d, y), wantY) {
				t.Errorf("%s: a sum and its norm differ from each alone", name)
			}
		}
	}
}

// TestTurns holds rotations of queries and keys, in one launch, to their definition, there and back.
func TestTurns(t *testing.T) { onCards(t, testTurns) }

func testTurns(t *testing.T, d *Device) {
	r := rand.New(rand.NewPCG(9, 10))
	const rows = 5
	for _, head := range []int{16, 24, 128} {
		cos, sin := random(t, d, r, compute.F32, rows, head/2), random(t, d, r, compute.F32, rows, head/2)
		q, k, other := random(t, d, r, compute.BF16, rows, 6*head), random(t, d, r, compute.BF16, rows, 2*head), random(t, d, r, compute.BF16, rows, 3*head)
		for _, op := range []compute.RoPE{{HeadDim: head}, {HeadDim: head, Inverse: true}} {
			list := []compute.Buffer{q, k, other}
			if op.Inverse {
				list = []compute.Buffer{k, q, other}
			}
			var want [][]float32
			for _, x := range list {
				f := func(b compute.Buffer) compute.Array {
					return compute.Array{Spec: compute.Spec{Shape: b.Spec().Shape, DType: compute.F32}, Data: compute.FloatBytes(floats(t, d, b))}
				}
				y := f(x)
				op.Define([]compute.Array{y}, []compute.Array{y, f(cos), f(sin)})
				want = append(want, y.F32())
			}
			before := launches(d)
			for _, x := range list {
				if err := d.Run(op, []compute.Buffer{x}, []compute.Buffer{x, cos, sin}); err != nil {
					t.Fatal(err)
				}
			}
			if n := launches(d) - before; n != 2 && head%16 == 0 {
				t.Errorf("heads of %d: three rotations take %d launches, want 2", head, n)
			}
			for i, x := range list {
				alike(t, fmt.Sprintf("heads of %d, %+v, %v", head, op, x.Spec()), floats(t, d, x), want[i], 0.004)
			}
		}
	}
}

// BenchmarkRows times the ops over rows of a training step of the Ministral-8B shape that go together. Several matrices take
// turns, so that little of them lies in the cache of the card.
func BenchmarkRows(b *testing.B) {
	const turns, hidden, kv, head = 4, 4096, 1024, 128
	d := card(b, "")
	for _, tokens := range []int{2048, 8192} {
		act := func(cols int) compute.Buffer {
			x, err := d.Alloc(compute.Shape{tokens, cols}, compute.BF16) // whatever is there: the time does not depend on it
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(x.Free)
			return x
		}
		w := filled(b, d, compute.F32, hidden)
		cos, sin := filled(b, d, compute.F32, tokens, head/2), filled(b, d, compute.F32, tokens, head/2)
		type runner = func(op compute.Op, out compute.Buffer, in ...compute.Buffer)
		bench := func(name string, columns int, make func() func(runner)) {
			run := func(op compute.Op, out compute.Buffer, in ...compute.Buffer) {
				if err := d.Run(op, []compute.Buffer{out}, in); err != nil {
					b.Fatal(err)
				}
			}
			var list [turns]func(runner)
			for i := range list {
				list[i] = make()
			}
			b.Run(fmt.Sprintf("%d tokens/%s", tokens, name), func(b *testing.B) {
				all := func(n int) {
					for range n {
						for _, f := range list {
							f(run)
							launches(d)
						}
					}
					if err := d.Sync(); err != nil {
						b.Fatal(err)
					}
				}
				all(1)
				for b.Loop() {
					all(5)
				}
				s := b.Elapsed().Seconds() / float64(b.N*5*turns)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(1e6*s, "us")
				b.ReportMetric(float64(2*tokens*columns)/s/1e9, "GB/s")
			})
		}
		bench("sum and norm", 4*hidden, func() func(runner) {
			x, y, sum, n := act(hidden), act(hidden), act(hidden), act(hidden)
			return func(run runner) {
				run(compute.Add{Alpha: 1}, sum, x, y)
				run(compute.RMSNorm{Eps: 1e-5}, n, sum, w)
			}
		})
		bench("norm", 2*hidden, func() func(runner) {
			x, n := act(hidden), act(hidden)
			return func(run runner) { run(compute.RMSNorm{Eps: 1e-5}, n, x, w) }
		})
		bench("gradient of norm, added", 4*hidden, func() func(runner) {
			x, dy, dx := act(hidden), act(hidden), act(hidden)
			return func(run runner) { run(compute.RMSNormGrad{Eps: 1e-5, Accumulate: true}, dx, x, w, dy) }
		})
		bench("rotations", 2*(hidden+kv), func() func(runner) {
			q, k := act(hidden), act(kv)
			return func(run runner) {
				run(compute.RoPE{HeadDim: head}, q, q, cos, sin)
				run(compute.RoPE{HeadDim: head}, k, k, cos, sin)
			}
		})
	}
}
