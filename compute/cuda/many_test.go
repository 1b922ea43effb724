package cuda

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// TestEmulatedMany and TestMany compare products of some tokens with those in float32, and demand that a row is, to the
// bit, what it is among fewer tokens, and what it is when matrices are multiplied together.
func TestEmulatedMany(t *testing.T) {
	t.Run("80", func(t *testing.T) { testMany(t, emulated(t, "capability=80")) })
	t.Run("90", func(t *testing.T) { testMany(t, emulated(t, "capability=90,cores=7")) }) // blocks have several items
}
func TestMany(t *testing.T) { testMany(t, card(t, "")) }

func testMany(t *testing.T, d *Device) {
	widths := []int{64, 320, 1088, 2048, 20544} // the last three are cut into parts
	if testing.Short() {
		widths = widths[1:3]
	}
	for _, cols := range widths {
		rows, counts := []int{128, 448, 72, 17, 1}, []int{manyTokens, 33, 32, 17, 16, 7, 2}
		if oneShared(cols) > d.oneRoom() { // one token, too, takes this kernel
			rows, counts = []int{17, 17}, []int{manyTokens, 2, 1}
		}
		const rank = 5
		var weights, biases, updates []compute.Buffer
		for _, n := range rows {
			w, err := d.ImportWeight(weight4(n, cols))
			if err != nil {
				t.Fatal(err)
			}
			weights, biases, updates = append(weights, w), append(biases, filled(t, d, compute.F32, n)), append(updates, filled(t, d, compute.F32, rank, n))
		}
		if split := d.manyWay().split(rows[0], cols); (split > 1) != (cols > 1024) {
			t.Errorf("sums of %d are cut into %d", cols, split)
		}
		for _, to := range []compute.DType{compute.BF16, compute.F32} {
			run := func(x compute.Buffer, wait bool) [][]float32 {
				var ys []compute.Buffer
				u := filled(t, d, compute.F32, x.Spec().Shape[0], rank)
				for i, w := range weights {
					y, err := d.Alloc(compute.Shape{x.Spec().Shape[0], rows[i]}, to)
					if err != nil {
						t.Fatal(err)
					}
					op, in := compute.Linear{Weight: compute.WeightOf(w.(*buffer).weight), Exact: true, Bias: i%2 == 1, To: to}, []compute.Buffer{x, w}
					if op.Bias {
						in = append(in, biases[i])
					}
					if i < 2 {
						op.Rank, op.Scale, in = rank, 0.5, append(in, u, updates[i])
					}
					if err := d.Run(op, []compute.Buffer{y}, in); err != nil {
						t.Fatal(err)
					}
					if wait {
						d.Sync()
					}
					ys = append(ys, y)
				}
				var all [][]float32
				for _, y := range ys {
					all = append(all, floats(t, d, y))
				}
				return all
			}
			var most [][]float32
			for _, tokens := range counts { // each x is the beginning of the first one
				x := filled(t, d, compute.BF16, tokens, cols)
				got := run(x, false)
				if most == nil {
					most = got
					if alone := run(x, true); !slices.EqualFunc(got, alone, slices.Equal) {
						t.Errorf("[%d, %d]: products together differ from those alone", tokens, cols)
					}
				}
				for i, y := range got {
					if !slices.Equal(y, most[i][:len(y)]) {
						t.Errorf("[%d, %d]: rows depend on the tokens beside them", tokens, cols)
					}
				}
			}
			if to == compute.F32 {
				for i, y := range run(filled(t, d, compute.F32, manyTokens, cols), false) {
					alike(t, fmt.Sprintf("[%d, %d]", rows[i], cols), most[i], y, 0.004)
				}
			}
		}
	}
}

// TestManyLong: blocks of Hopper's kernels with as many steps as there are stages, with more, with rounds of units that do not
// occupy all warpgroups, and with sums of five parts, which are read four at a time.
func TestManyLong(t *testing.T) {
	d := emulated(t, "capability=90,cores=1")
	for _, tokens := range []int{5, 20, 64} {
		for _, size := range [][2]int{{256, 1024}, {256, 640}, {600, 1664}, {72, 1280}, {72, 4160}} {
			w, err := d.ImportWeight(weight4(size[0], size[1]))
			if err != nil {
				t.Fatal(err)
			}
			l := &layer{t: t, d: d}
			op := compute.Linear{Weight: compute.WeightOf(w.(*buffer).weight), Exact: true, To: compute.F32}
			got := l.run(op, filled(t, d, compute.BF16, tokens, size[1]), w)
			want := l.run(op, filled(t, d, compute.F32, tokens, size[1]), w)
			alike(t, fmt.Sprintf("%v, %d tokens", size, tokens), floats(t, d, got), floats(t, d, want), 0.004)
		}
	}
}

// TestManyBehind: a sum or a gate in the launch of products gives, to the bit, what it gives in its own.
func TestManyBehind(t *testing.T) {
	d := emulated(t, "capability=90")
	for _, tokens := range []int{5, 17, 64} {
		for _, hidden := range []int{64, 1088} {
			l := &layer{t: t, d: d}
			pass := func(cut bool) (all [][]float32, launches int) {
				l.at, l.cut = 0, cut
				x, before := l.filled(compute.BF16, tokens, hidden), l.launches()
				var list []compute.Buffer
				keep := func(b compute.Buffer) compute.Buffer {
					list = append(list, b)
					return b
				}
				other := l.input(func() compute.Buffer { // weights unlike those of l.linear
					m := weight4(200, hidden)
					slices.Reverse(m.Data)
					w, err := d.ImportWeight(m)
					if err != nil {
						t.Fatal(err)
					}
					return w
				})
				up := keep(l.linear(x, 200, l.filled(compute.F32, tokens, 9), l.filled(compute.F32, 9, 200))) // [tokens, 200]
				gate := keep(l.run(compute.Linear{Weight: compute.WeightOf(other.(*buffer).weight), To: compute.BF16}, x, other))
				g := keep(l.run(compute.SwiGLU{}, gate, up))
				h := keep(l.run(compute.Add{Alpha: 1}, keep(l.linear(x, hidden, l.filled(compute.F32, hidden))), x))
				h = keep(l.run(compute.Add{Alpha: 1}, h, keep(l.linear(x, hidden, l.filled(compute.F32, tokens, 4), l.filled(compute.F32, 4, hidden)))))
				keep(l.run(compute.Add{Alpha: 2}, h, keep(l.linear(x, hidden)))) // which no kernel takes together
				keep(l.run(compute.Add{Alpha: 1}, g, g))
				launches = l.launches() - before
				for _, b := range list {
					all = append(all, floats(t, d, b))
				}
				return all, launches
			}
			alone, _ := pass(true)
			for range 2 { // the second time in the opposite order of threads and blocks
				together, launches := pass(false)
				if !slices.EqualFunc(alone, together, slices.Equal) {
					t.Errorf("%d tokens of %d: together other results", tokens, hidden)
				}
				if launches != 6 {
					t.Errorf("%d launches, want 6", launches)
				}
			}
		}
	}
}

// few are products of some tokens with matrices of one input, as several layers have them one after another.
type few struct {
	name  string
	cols  int
	rows  []int
	gated bool // with SwiGLU of the two behind them
}

// passes makes what runs so many layers, and tells how many bytes their weights are.
func (f few) passes(t testing.TB, d *Device, layers, tokens int) (pass func(), bytes int64) {
	var ops []compute.Op
	var out, in [][]compute.Buffer
	x, matrices := filled(t, d, compute.BF16, tokens, f.cols), map[int]*quant.Matrix{}
	alloc := func(rows int) compute.Buffer {
		y, err := d.Alloc(compute.Shape{tokens, rows}, compute.BF16)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(y.Free)
		return y
	}
	for i := range layers * len(f.rows) {
		n := f.rows[i%len(f.rows)]
		if matrices[n] == nil {
			matrices[n] = weight4(n, f.cols)
		}
		w, err := d.ImportWeight(matrices[n])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Free)
		bytes += w.(*buffer).bytes
		ops = append(ops, compute.Linear{Weight: compute.WeightOf(w.(*buffer).weight), To: compute.BF16})
		out, in = append(out, []compute.Buffer{alloc(n)}), append(in, []compute.Buffer{x, w})
		if f.gated && i%2 == 1 {
			ops, in = append(ops, compute.SwiGLU{}), append(in, []compute.Buffer{out[len(out)-2][0], out[len(out)-1][0]})
			out = append(out, []compute.Buffer{alloc(n)})
		}
	}
	return func() {
		for i, op := range ops {
			if err := d.Run(op, out[i], in[i]); err != nil {
				t.Fatal(err)
			}
			if (i+1)%(len(ops)/layers) == 0 { // launches of several layers are not one
				func() {
					d.enter()
					defer d.leave()
					d.emit()
				}()
			}
		}
	}, bytes
}

// BenchmarkFewTokens times products of few tokens of the Ministral-8B shape, those of one input together, with the kernels
// for some tokens that there are. GB/s count the weights alone.
func BenchmarkFewTokens(b *testing.B) {
	d := card(b, "")
	const layers = 4 // so that weights do not lie in the card's cache
	ways := []*manyWay{&manyEvery}
	if d.image.Hopper {
		ways = []*manyWay{&manyWG, &manyEvery}
	}
	for _, f := range []few{{name: "qkv", cols: 4096, rows: []int{4096, 1024, 1024}}, {name: "o", cols: 4096, rows: []int{4096}}, {"gated", 4096, []int{12288, 12288}, true},
		{name: "down", cols: 12288, rows: []int{4096}}, {name: "head", cols: 4096, rows: []int{131072}}} {
		for _, tokens := range []int{2, 16, 32, 64} {
			for _, way := range ways {
				b.Run(fmt.Sprintf("%s/T=%d/%s", f.name, tokens, way.name), func(b *testing.B) {
					defer func(w *manyWay) { onHopper = w }(onHopper)
					onHopper = way
					pass, bytes := f.passes(b, d, layers, tokens)
					replayed(b, d, bytes, layers, pass)
				})
			}
		}
	}
}

// TestFewTokens runs what the benchmark runs.
func TestFewTokens(t *testing.T) {
	d := emulated(t, "capability=90")
	pass, bytes := few{cols: 64, rows: []int{72, 8}}.passes(t, d, 2, 5)
	if want := int64(2 * (128 + 128) / 64 * 2 * blockBytes); bytes != want {
		t.Errorf("%d bytes of weights, want %d", bytes, want)
	}
	defer func(n int) { manyRows = n }(manyRows)
	l := &layer{t: t, d: d}
	for _, c := range []struct{ rows, launches int }{{80, 2}, {79, 4}} { // the second time there is no room for both
		manyRows = c.rows
		before := l.launches()
		pass()
		if n := l.launches() - before; n != c.launches {
			t.Errorf("%d launches of up to %d rows, want %d", n, c.rows, c.launches)
		}
	}
}
