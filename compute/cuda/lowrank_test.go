package cuda

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// A thinCase is a product of a low-rank update on a device.
type thinCase struct {
	op     compute.MatMul
	in     []compute.Buffer
	before []float32 // what lies in the output
}

// output is a buffer for the result.
func (c thinCase) output(t testing.TB, d *Device) compute.Buffer {
	t.Helper()
	out, err := compute.Infer(c.op, []compute.Spec{c.in[0].Spec(), c.in[1].Spec()})
	if err != nil {
		t.Fatal(err)
	}
	y, err := d.Alloc(out[0].Shape, compute.F32)
	if err != nil {
		t.Fatal(err)
	}
	if c.before != nil {
		c.reset(t, d, y)
	}
	return y
}

// reset writes what lies in the output before.
func (c thinCase) reset(t testing.TB, d *Device, y compute.Buffer) {
	t.Helper()
	if err := d.Write(y, compute.FloatBytes(c.before[:y.Spec().Shape.Elems()])); err != nil {
		t.Fatal(err)
	}
}

func (c thinCase) run(t testing.TB, d *Device, y compute.Buffer) {
	t.Helper()
	if err := d.Run(c.op, []compute.Buffer{y}, c.in); err != nil {
		t.Fatal(err)
	}
}

// want is the case by its definition.
func (c thinCase) want(t testing.TB, d *Device, got compute.Buffer) []float32 {
	t.Helper()
	arrays := func(b compute.Buffer) compute.Array {
		v := floats(t, d, b)
		return compute.Array{Spec: compute.Spec{Shape: b.Spec().Shape, DType: compute.F32}, Data: compute.FloatBytes(v)}
	}
	y := arrays(got)
	copy(y.F32(), c.before[:len(y.F32())])
	c.op.Define([]compute.Array{y}, []compute.Array{arrays(c.in[0]), arrays(c.in[1])})
	return y.F32()
}

// random is a matrix of random numbers, no two of which are the same.
func random(t testing.TB, d *Device, r *rand.Rand, dtype compute.DType, shape ...int) compute.Buffer {
	t.Helper()
	b, err := d.Alloc(shape, dtype)
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, b.Spec().Shape.Elems())
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	data := make([]byte, b.Spec().Bytes())
	quant.PutFloats(data, v, dtype)
	if err := d.Write(b, data); err != nil {
		t.Fatal(err)
	}
	return b
}

// thinCases are products for one launch, of which some share the activations.
func thinCases(t testing.TB, d *Device, rows int, tall bool) []thinCase {
	r := rand.New(rand.NewPCG(3, uint64(rows)))
	before := floats(t, d, random(t, d, r, compute.F32, rows+1096, 64))
	var xs []compute.Buffer
	for _, many := range []int{1096, 256, 520} {
		xs = append(xs, random(t, d, r, compute.BF16, rows, many))
	}
	var list []thinCase
	for i, c := range []struct{ x, few int }{{0, 8}, {1, 3}, {0, 20}, {2, 16}, {0, 1}, {1, 33}} {
		x, many := xs[c.x], xs[c.x].Spec().Shape[1]
		k := thinCase{op: compute.MatMul{Alpha: 0.5 + float32(i), Accumulate: i%3 == 1}, before: before}
		turned := i%2 == 1
		switch {
		case tall && turned: // xᵀ s
			k.op.TransA, k.in = true, []compute.Buffer{x, random(t, d, r, compute.F32, rows, c.few)}
		case tall: // sᵀ x
			k.op.TransA, k.in = true, []compute.Buffer{random(t, d, r, compute.F32, rows, c.few), x}
		case turned:
			k.op.TransB, k.in = true, []compute.Buffer{x, random(t, d, r, compute.F32, c.few, many)}
		default:
			k.in = []compute.Buffer{x, random(t, d, r, compute.F32, many, c.few)}
		}
		list = append(list, k)
	}
	return list
}

// TestThin holds the products of low-rank updates to their definition, over sizes that fill no tile. Together, in one launch,
// they give what each gives alone.
func TestThin(t *testing.T) { onCards(t, testThin) }

func testThin(t *testing.T, d *Device) {
	for _, tall := range []bool{false, true} {
		for _, rows := range []int{1, 70, 600} {
			name := fmt.Sprintf("tall %v, %d rows", tall, rows)
			list := thinCases(t, d, rows, tall)
			var alone, got [][]float32
			var ys []compute.Buffer
			for _, c := range list {
				y := c.output(t, d)
				c.run(t, d, y)
				alone = append(alone, floats(t, d, y))
				alike(t, name, alone[len(alone)-1], c.want(t, d, y), 1e-5)
				ys = append(ys, c.output(t, d))
			}
			before := launches(d)
			for _, i := range []int{4, 0, 5, 2, 3, 1} {
				list[i].run(t, d, ys[i])
			}
			if n := launches(d) - before; n != 1 {
				t.Errorf("%s: %d products take %d launches, want 1", name, len(list), n)
			}
			for _, y := range ys {
				got = append(got, floats(t, d, y))
			}
			if !slices.EqualFunc(got, alone, slices.Equal) {
				t.Errorf("%s: products together differ from those alone", name)
			}
		}
	}
}

// TestThinInOrder: a product that needs the result of one before it, or adds to it, waits for it.
func TestThinInOrder(t *testing.T) { onCards(t, testThinInOrder) }

func testThinInOrder(t *testing.T, d *Device) {
	r := rand.New(rand.NewPCG(5, 6))
	zeros := make([]float32, 264*8)
	x := random(t, d, r, compute.BF16, 264, 264)
	first := thinCase{op: compute.MatMul{Alpha: 1}, in: []compute.Buffer{x, random(t, d, r, compute.F32, 264, 8)}, before: zeros}
	z, y := first.output(t, d), first.output(t, d)
	second := thinCase{op: compute.MatMul{Alpha: 1}, in: []compute.Buffer{x, z}, before: zeros}
	first.run(t, d, z)
	second.run(t, d, y)
	alike(t, "a product of a product", floats(t, d, y), second.want(t, d, y), 1e-5)

	grad := thinCase{op: compute.MatMul{TransA: true, Alpha: 1, Accumulate: true}, in: []compute.Buffer{x, z}, before: zeros}
	g := grad.output(t, d)
	grad.run(t, d, g)
	grad.run(t, d, g)
	want := grad.want(t, d, g)
	for i := range want {
		want[i] *= 2
	}
	alike(t, "a gradient added twice", floats(t, d, g), want, 1e-5)
}

// TestGated: the gradient of a SwiGLU and the low-rank products of what it makes are one launch, and one more where sums have parts:
// itself to the bit as alone, and products with bits of their own, the same each time. Ranks above eight come behind it.
func TestGated(t *testing.T) { onCards(t, testGated) }

func testGated(t *testing.T, d *Device) {
	for _, c := range []struct{ rows, width, rank, launches, from, to int }{
		{70, 256, 8, 1, 0, 4}, {70, 264, 8, 2, 0, 4}, {300, 520, 3, 2, 0, 4}, {200, 8200, 8, 2, 0, 4}, {70, 264, 16, 3, 0, 4}, {200, 256, 8, 2, 1, 3}, {70, 264, 8, 2, 0, 1},
	} {
		r := rand.New(rand.NewPCG(9, uint64(c.rows)))
		act := func() compute.Buffer { return random(t, d, r, compute.BF16, c.rows, c.width) }
		gate, up, dy := act(), act(), act()
		before := floats(t, d, random(t, d, r, compute.F32, c.rows+c.width, c.rank))
		name := fmt.Sprintf("%+v", c)
		ys, in := []compute.Buffer{act(), act()}, []compute.Buffer{gate, up, dy}
		var list []thinCase
		for _, y := range ys { // those of the second result before those of the first
			narrow := thinCase{compute.MatMul{TransB: true, Alpha: 2}, []compute.Buffer{y, random(t, d, r, compute.F32, c.rank, c.width)}, before}
			tall := thinCase{compute.MatMul{TransA: true, Alpha: 3, Accumulate: true}, []compute.Buffer{random(t, d, r, compute.F32, c.rows, c.rank), y}, before}
			list = append(slices.Insert(list, 0, narrow), tall)
		}
		list = list[c.from:c.to]
		gated := func() {
			t.Helper()
			if err := d.Run(compute.SwiGLUGrad{}, ys, in); err != nil {
				t.Fatal(err)
			}
		}
		var zs []compute.Buffer
		for _, p := range list {
			zs = append(zs, p.output(t, d))
		}
		var together, first [][]float32
		for again := range 2 {
			from := launches(d)
			gated()
			for i, p := range list {
				p.run(t, d, zs[i])
			}
			if n := launches(d) - from; n != c.launches {
				t.Errorf("%s: %d launches, want %d", name, n, c.launches)
			}
			together = nil
			for _, y := range slices.Concat(ys, zs) {
				together = append(together, floats(t, d, y))
			}
			if first == nil {
				first = together
			}
			for i, p := range list {
				if again == 0 && p.op.Accumulate {
					p.reset(t, d, zs[i])
				}
			}
		}
		if !slices.EqualFunc(together, first, slices.Equal) {
			t.Errorf("%s: another run has other bits", name)
		}
		gated()
		launches(d)
		for i, y := range ys {
			if !slices.Equal(floats(t, d, y), together[i]) {
				t.Errorf("%s: result %d differs from what it is alone", name, i)
			}
		}
		for i, p := range list {
			alike(t, fmt.Sprint(name, ", product ", i), together[len(ys)+i], p.want(t, d, zs[i]), 1e-5)
		}
	}
}

// TestGatedForward: a SwiGLU and the low-rank product of its result are one launch, both to the bit as alone. Other products come behind it.
func TestGatedForward(t *testing.T) { onCards(t, testGatedForward) }

func testGatedForward(t *testing.T, d *Device) {
	for _, c := range []struct {
		rows, width, rank, launches int
		turned                      bool
	}{{70, 264, 8, 1, false}, {1, 520, 3, 1, true}, {200, 1096, 1, 1, false}, {70, 264, 16, 2, false}} {
		r := rand.New(rand.NewPCG(11, uint64(c.rows)))
		act := func() compute.Buffer { return random(t, d, r, compute.BF16, c.rows, c.width) }
		gate, up, other, y := act(), act(), act(), act()
		before := floats(t, d, random(t, d, r, compute.F32, c.rows, c.rank))
		s := random(t, d, r, compute.F32, c.width, c.rank)
		if c.turned {
			s = random(t, d, r, compute.F32, c.rank, c.width)
		}
		product := func(x compute.Buffer, accumulate bool) thinCase {
			return thinCase{compute.MatMul{TransB: c.turned, Alpha: 2, Accumulate: accumulate}, []compute.Buffer{x, s}, before}
		}
		pass := func(list []thinCase, cut bool) (all [][]float32, n int) {
			t.Helper()
			var zs []compute.Buffer
			for _, p := range list {
				zs = append(zs, p.output(t, d))
			}
			n = -launches(d)
			if err := d.Run(compute.SwiGLU{}, []compute.Buffer{y}, []compute.Buffer{gate, up}); err != nil {
				t.Fatal(err)
			}
			for i, p := range list {
				if cut {
					launches(d)
				}
				p.run(t, d, zs[i])
			}
			n += launches(d)
			for _, b := range append(zs, y) {
				all = append(all, floats(t, d, b))
			}
			return all, n
		}
		for i, k := range []struct {
			list []thinCase
			more int // launches
		}{
			{[]thinCase{product(y, true)}, 0},
			{[]thinCase{product(y, false), product(y, true)}, 1}, // one product is taken
			{[]thinCase{product(other, false)}, 2 - c.launches},
			{nil, 1 - c.launches},
		} {
			name := fmt.Sprintf("%+v, case %d", c, i)
			alone, _ := pass(k.list, true)
			for range 2 { // the second time in the opposite order of threads and blocks
				together, n := pass(k.list, false)
				if n != c.launches+k.more && (i != 1 || c.launches == 1) {
					t.Errorf("%s: %d launches, want %d", name, n, c.launches+k.more)
				}
				if !slices.EqualFunc(together, alone, slices.Equal) {
					t.Errorf("%s: together they differ from each alone", name)
				}
			}
		}
	}
}

// BenchmarkGated times SwiGLU and its gradient of the Ministral-8B shape, alone and with low-rank products. GB/s counts what goes in and
// comes out once.
func BenchmarkGated(b *testing.B) {
	const tokens, width, rank, turns = 2048, 12288, 8, 3
	d := card(b, "")
	act := func() (list [turns]compute.Buffer) { // several, so that little of them lies in the cache of the card
		for i := range list {
			var err error
			if list[i], err = d.Alloc(compute.Shape{tokens, width}, compute.BF16); err != nil { // whatever is there: the time does not depend on it
				b.Fatal(err)
			}
		}
		return list
	}
	gate, up, dy, y0, y1 := act(), act(), act(), act(), act()
	back, down := filled(b, d, compute.F32, rank, width), filled(b, d, compute.F32, width, rank)
	z, narrow, tall := filled(b, d, compute.F32, tokens, rank), filled(b, d, compute.F32, tokens, rank), filled(b, d, compute.F32, rank, width)
	narrow2, tall2 := filled(b, d, compute.F32, tokens, rank), filled(b, d, compute.F32, rank, width)
	for _, c := range []struct {
		name  string
		bytes int
		run   func(i int) error
	}{
		{"swiglu", 3, func(i int) error { return d.Run(compute.SwiGLU{}, y0[i:i+1], []compute.Buffer{gate[i], up[i]}) }},
		{"swiglu, then x A", 3, func(i int) error {
			err := d.Run(compute.SwiGLU{}, y0[i:i+1], []compute.Buffer{gate[i], up[i]})
			launches(d)
			return errors.Join(err, d.Run(compute.MatMul{Alpha: 1}, []compute.Buffer{narrow}, []compute.Buffer{y0[i], down}))
		}},
		{"swiglu, x A", 3, func(i int) error {
			return errors.Join(d.Run(compute.SwiGLU{}, y0[i:i+1], []compute.Buffer{gate[i], up[i]}),
				d.Run(compute.MatMul{Alpha: 1}, []compute.Buffer{narrow}, []compute.Buffer{y0[i], down}))
		}},
		{"gradient", 5, func(i int) error {
			return d.Run(compute.SwiGLUGrad{}, []compute.Buffer{y0[i], y1[i]}, []compute.Buffer{gate[i], up[i], dy[i]})
		}},
		{"gradient, dy Bᵀ, dB", 5, func(i int) error {
			return errors.Join(d.Run(compute.SwiGLUGrad{}, []compute.Buffer{y0[i], y1[i]}, []compute.Buffer{gate[i], up[i], dy[i]}),
				d.Run(compute.MatMul{TransB: true, Alpha: 2}, []compute.Buffer{narrow}, []compute.Buffer{y1[i], back}),
				d.Run(compute.MatMul{TransB: true, Alpha: 2}, []compute.Buffer{narrow2}, []compute.Buffer{y0[i], back}),
				d.Run(compute.MatMul{TransA: true, Alpha: 2}, []compute.Buffer{tall}, []compute.Buffer{z, y1[i]}),
				d.Run(compute.MatMul{TransA: true, Alpha: 2}, []compute.Buffer{tall2}, []compute.Buffer{z, y0[i]}))
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			all := func(n int) {
				for i := range n {
					if err := c.run(i % turns); err != nil {
						b.Fatal(err)
					}
					launches(d)
				}
				if err := d.Sync(); err != nil {
					b.Fatal(err)
				}
			}
			all(turns)
			for b.Loop() {
				all(10 * turns)
			}
			s := b.Elapsed().Seconds() / float64(b.N*10*turns)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(1e6*s, "us")
			b.ReportMetric(float64(c.bytes*2*tokens*width)/s/1e9, "GB/s")
		})
	}
}

// BenchmarkLowRank times the products of low-rank updates of a layer of the Ministral-8B shape. GB/s counts the activations
// once for each launch. Several matrices take turns, so that little of them lies in the cache of the card.
func BenchmarkLowRank(b *testing.B) {
	const turns, hidden, kv, inner = 4, 4096, 1024, 14336
	d := card(b, "")
	for _, tokens := range []int{2048, 8192} {
		acts := map[int][]compute.Buffer{}
		act := func(cols int) []compute.Buffer { // the same for all of a width: no product writes them
			for len(acts[cols]) < turns {
				x, err := d.Alloc(compute.Shape{tokens, cols}, compute.BF16) // whatever is there: the time does not depend on it
				if err != nil {
					b.Fatal(err)
				}
				acts[cols] = append(acts[cols], x)
			}
			return acts[cols]
		}
		for _, rank := range []int{8, 16, 64} {
			bench := func(name string, bytes int, cases ...func(turn int) thinCase) {
				var list [turns][]thinCase
				var ys [turns][]compute.Buffer
				for i := range turns {
					for _, c := range cases {
						list[i] = append(list[i], c(i))
						ys[i] = append(ys[i], c(i).output(b, d))
					}
				}
				all := func() {
					for i := range list {
						for j, c := range list[i] {
							c.run(b, d, ys[i][j])
						}
						launches(d)
					}
				}
				b.Run(fmt.Sprintf("%d tokens/rank %d/%s", tokens, rank, name), func(b *testing.B) {
					all()
					if err := d.Sync(); err != nil {
						b.Fatal(err)
					}
					for b.Loop() {
						for range 5 {
							all()
						}
						if err := d.Sync(); err != nil {
							b.Fatal(err)
						}
					}
					s := b.Elapsed().Seconds() / float64(b.N*5*turns)
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(1e6*s, "us")
					b.ReportMetric(float64(bytes)/s/1e9, "GB/s")
				})
			}
			down := func(cols int) func(int) thinCase { // x A
				x, a := act(cols), filled(b, d, compute.F32, cols, rank)
				return func(i int) thinCase { return thinCase{op: compute.MatMul{Alpha: 1}, in: []compute.Buffer{x[i], a}} }
			}
			back := func(cols, shift int) func(int) thinCase { // dy Bᵀ
				dy, up := act(cols), filled(b, d, compute.F32, rank, cols)
				return func(i int) thinCase {
					return thinCase{op: compute.MatMul{TransB: true, Alpha: 2}, in: []compute.Buffer{dy[(i+shift)%turns], up}}
				}
			}
			grad := func(cols, shift int, ofA bool) func(int) thinCase { // zᵀ dy, or xᵀ dz
				x, z := act(cols), filled(b, d, compute.F32, tokens, rank)
				return func(i int) thinCase {
					c := thinCase{op: compute.MatMul{TransA: true, Alpha: 2}, in: []compute.Buffer{z, x[(i+shift)%turns]}}
					if ofA {
						c.in[0], c.in[1] = c.in[1], c.in[0]
					}
					return c
				}
			}
			row := 2 * tokens
			bench("xA qkv", row*hidden, down(hidden), down(hidden), down(hidden))
			bench("xA o", row*hidden, down(hidden))
			bench("xA gate up", row*hidden, down(hidden), down(hidden))
			bench("xA down", row*inner, down(inner))
			bench("dyB qkv", row*(hidden+2*kv), back(hidden, 0), back(kv, 0), back(kv, 1))
			bench("dyB gate up", row*2*inner, back(inner, 0), back(inner, 1))
			bench("grads qkv", row*(2*hidden+2*kv), grad(hidden, 0, false), grad(kv, 0, false), grad(kv, 1, false),
				grad(hidden, 1, true), grad(hidden, 1, true), grad(hidden, 1, true))
			bench("grads o", row*2*hidden, grad(hidden, 0, false), grad(hidden, 1, true))
			bench("grads gate up", row*(2*inner+hidden), grad(inner, 0, false), grad(inner, 1, false), grad(hidden, 0, true), grad(hidden, 0, true))
			bench("grads down", row*(hidden+inner), grad(hidden, 0, false), grad(inner, 0, true))
		}
		for _, list := range acts {
			for _, x := range list {
				x.Free()
			}
		}
	}
}

// TestThinPaired: dz = dy Bᵀ, dB = zᵀ dy and dA = xᵀ dz of several results of one x are two launches, and to the bit what each is alone.
func TestThinPaired(t *testing.T) { onCards(t, thinPaired) }

// TestProductsPaired is TestThinPaired on the card.
func TestProductsPaired(t *testing.T) { thinPaired(t, card(t, "")) }

func thinPaired(t *testing.T, d *Device) {
	for _, c := range []struct{ rows, rank, launches int }{{1, 8, 2}, {130, 8, 2}, {1100, 3, 2}, {2300, 8, 2}, {70, 16, 2}} {
		r := rand.New(rand.NewPCG(15, uint64(c.rows)))
		before := floats(t, d, random(t, d, r, compute.F32, c.rows+1096, c.rank))
		x := random(t, d, r, compute.BF16, c.rows, 264)
		var list []thinCase
		var ys []compute.Buffer
		add := func(k thinCase) compute.Buffer {
			y := k.output(t, d)
			list, ys = append(list, k), append(ys, y)
			return y
		}
		var dys, dzs []compute.Buffer
		for i, width := range []int{1096, 256, 520} {
			dys = append(dys, random(t, d, r, compute.BF16, c.rows, width))
			dzs = append(dzs, add(thinCase{compute.MatMul{TransB: true, Alpha: 0.5}, []compute.Buffer{dys[i], random(t, d, r, compute.F32, c.rank, width)}, nil}))
		}
		for i, dy := range dys[:2] { // the last has no B to train
			add(thinCase{compute.MatMul{TransA: true, Alpha: 0.5, Accumulate: i == 1}, []compute.Buffer{random(t, d, r, compute.F32, c.rows, c.rank), dy}, before})
		}
		for _, dz := range dzs {
			add(thinCase{compute.MatMul{TransA: true, Alpha: 1}, []compute.Buffer{x, dz}, before})
		}
		n := launches(d)
		for i, k := range list {
			k.run(t, d, ys[i])
		}
		if n = launches(d) - n; n != c.launches {
			t.Errorf("%+v: %d launches, want %d", c, n, c.launches)
		}
		for i, k := range list {
			together := floats(t, d, ys[i])
			if k.before != nil {
				k.reset(t, d, ys[i])
			}
			k.run(t, d, ys[i])
			if alone := floats(t, d, ys[i]); !slices.Equal(together, alone) {
				t.Errorf("%+v: product %d differs from what it is alone", c, i)
			}
			k.before = before
			if !k.op.Accumulate {
				k.before = make([]float32, len(together))
			}
			alike(t, fmt.Sprintf("%+v, product %d", c, i), together, k.want(t, d, ys[i]), 1e-5)
		}
	}
}
