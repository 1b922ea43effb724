package cuda

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
	"github.com/lentil-lm/lentil/quant"
)

// TestFreedInOrder: memory goes back to the driver behind the launches that use it, also where these are held back for a graph.
func TestFreedInOrder(t *testing.T) {
	d := emulated(t, "")
	x := filled(t, d, compute.F32, smallBlock/2)
	for pass := range 6 {
		for range fewestLaunches {
			y, err := d.Alloc(x.Spec().Shape, compute.F32)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Run(compute.Scale{Alpha: 2}, []compute.Buffer{y}, []compute.Buffer{x}); err != nil {
				t.Fatal(err)
			}
			y.Free()
		}
		if err := d.Sync(); err != nil {
			t.Fatalf("pass %d: %v", pass, err)
		}
	}
	if len(d.trace.graphs) != 1 || len(d.late) != 0 {
		t.Errorf("%d graphs, want 1; %d blocks wait", len(d.trace.graphs), len(d.late))
	}
}

// TestHeldInOrder: ops that are held back for one launch give what they give one after another, in whatever order they come:
// also where one writes what another has written or reads.
func TestHeldInOrder(t *testing.T) {
	for _, capability := range []string{"80", "90"} {
		if testing.Short() && capability == "80" {
			continue
		}
		d := emulated(t, "capability="+capability)
		for _, tokens := range []int{1, 5, 70} {
			l := &layer{t: t, d: d}
			pass := func(cut bool) (all [][]float32) {
				l.at, l.cut = 0, cut
				var list []compute.Buffer
				keep := func(b compute.Buffer) compute.Buffer {
					list = append(list, b)
					return b
				}
				const hidden, rank = 128, 8
				x := l.filled(compute.BF16, tokens, hidden)
				linear := func(y compute.Buffer, w int, extra ...compute.Buffer) compute.Buffer {
					weight := l.input(func() compute.Buffer {
						b, err := d.ImportWeight(weight4(w, hidden))
						if err != nil {
							t.Fatal(err)
						}
						return b
					})
					op, in := compute.Linear{Weight: compute.WeightOf(weight.(*buffer).weight), To: y.Spec().DType}, append([]compute.Buffer{x, weight}, extra...)
					if len(extra) > 0 {
						op.Rank, op.Scale = rank, 0.5
					}
					l.into(op, []compute.Buffer{y}, in...)
					return y
				}
				fresh := func(t compute.DType, n int) compute.Buffer { return l.filled(t, tokens, n) }
				y := keep(fresh(compute.BF16, 200))
				linear(y, 200, l.filled(compute.F32, tokens, rank), l.filled(compute.F32, rank, 200))
				linear(y, 200) // over the result of the one before
				z := keep(linear(fresh(compute.F32, rank), rank))
				keep(linear(fresh(compute.F32, 136), 136, z, l.filled(compute.F32, rank, 136)))         // reads the result of the one before
				linear(z, rank, l.filled(compute.F32, tokens, rank), l.filled(compute.F32, rank, rank)) // over what the one before reads
				up := keep(linear(fresh(compute.BF16, 104), 104))                                       // before its gate
				gate := keep(linear(fresh(compute.BF16, 104), 104, l.filled(compute.F32, tokens, rank), l.filled(compute.F32, rank, 104)))
				keep(l.run(compute.SwiGLU{}, gate, up))
				first := keep(x)
				x = keep(l.run(compute.RMSNorm{Eps: 1e-5}, x, l.filled(compute.F32, hidden)))
				keep(linear(fresh(compute.BF16, 200), 200))
				linear(first, hidden) // over what the norm reads
				x = keep(fresh(compute.BF16, hidden))
				l.into(compute.Add{Alpha: 1}, []compute.Buffer{x}, x, keep(linear(fresh(compute.BF16, hidden), hidden))) // over the tokens
				twice := keep(linear(fresh(compute.BF16, hidden), hidden))
				keep(l.run(compute.Add{Alpha: 1}, twice, twice))
				dx := keep(fresh(compute.BF16, hidden))
				for _, accumulate := range []bool{false, true, false} { // the last begins anew
					w := l.input(func() compute.Buffer {
						b, err := d.ImportWeight(weight4(64, hidden))
						if err != nil {
							t.Fatal(err)
						}
						return b
					})
					l.into(compute.LinearGradInput{Weight: compute.WeightOf(w.(*buffer).weight), Accumulate: accumulate, To: compute.BF16}, []compute.Buffer{dx}, fresh(compute.BF16, 64), w)
				}
				l.stores(keep, tokens)
				for _, b := range list {
					all = append(all, floats(t, d, b))
				}
				return all
			}
			alone := pass(true)
			for range 2 { // the second time in the opposite order of threads and blocks
				for _, b := range l.inputs { // as they were: results of the first pass must not pass for those of this one
					if spec := b.Spec(); b.(*buffer).weight == nil && spec.DType != compute.I32 {
						data, from := make([]byte, spec.Bytes()), filled(t, d, spec.DType, spec.Shape...)
						if err := errors.Join(d.Read(from, data), d.Write(b, data)); err != nil {
							t.Fatal(err)
						}
						from.Free()
					}
				}
				for i, got := range pass(false) {
					if !slices.Equal(got, alone[i]) {
						t.Errorf("%s, %d tokens: result %d is %.4v, alone %.4v", capability, tokens, i, got[:8], alone[i][:8])
					}
				}
			}
		}
	}
}

// stores are rotations with stores behind them that are not those of keys, then values.
func (l *layer) stores(keep func(compute.Buffer) compute.Buffer, tokens int) {
	l.t.Helper()
	const head, room = 16, 80
	cos, sin := l.filled(compute.F32, tokens, head/2), l.filled(compute.F32, tokens, head/2)
	spans := l.input(func() compute.Buffer {
		b, err := l.d.Alloc(compute.Shape{1, 4}, compute.I32)
		if err == nil {
			err = l.d.Write(b, compute.IntBytes([]int32{0, int32(tokens), 3, int32(tokens) + 3}))
		}
		if err != nil {
			l.t.Fatal(err)
		}
		return b
	})
	for _, first := range []int{1, 2, 3} { // values first, two that are not keys, queries first
		q, k := l.filled(compute.BF16, tokens, 2*head), l.filled(compute.BF16, tokens, head)
		v, w := l.filled(compute.BF16, tokens, head), l.filled(compute.BF16, tokens, head)
		for _, x := range []compute.Buffer{q, k} {
			l.into(compute.RoPE{HeadDim: head}, []compute.Buffer{keep(x)}, x, cos, sin)
		}
		for _, x := range map[int][]compute.Buffer{1: {v, k}, 2: {v, w}, 3: {q, k}}[first] {
			store := compute.StoreRows{Format: quant.Format{Kind: quant.Dense, DType: compute.BF16}, Cols: x.Spec().Shape[1], Rows: []int{room}}
			l.into(store, []compute.Buffer{keep(l.filled(compute.BF16, room, x.Spec().Shape[1]))}, x, spans)
		}
	}
}

// A queued op is one with its operands.
type queued struct {
	op      compute.Op
	out, in []compute.Buffer
}

// inOrder holds ops that come one after another to what they give one by one, to the bit. Each pass begins with what the buffers hold
// now, which they get back; the last runs threads and blocks in the opposite order.
func inOrder(t *testing.T, d *Device, name string, ops ...queued) {
	t.Helper()
	var all []compute.Buffer
	for _, o := range ops {
		all = append(append(all, o.out...), o.in...)
	}
	contents := func() (list [][]byte) {
		for _, b := range all {
			data := make([]byte, b.Spec().Bytes())
			if err := d.Read(b, data); err != nil {
				t.Fatal(err)
			}
			list = append(list, data)
		}
		return list
	}
	before := contents()
	pass := func(cut bool) [][]byte {
		t.Helper()
		for _, o := range ops {
			if err := d.Run(o.op, o.out, o.in); err != nil {
				t.Fatal(err)
			}
			if cut {
				launches(d)
			}
		}
		after := contents()
		for i, b := range all { // results of a pass must not pass for those of the next
			if err := d.Write(b, before[i]); err != nil {
				t.Fatal(err)
			}
		}
		return after
	}
	alone := pass(true)
	for i := range 2 {
		if !slices.EqualFunc(pass(false), alone, bytes.Equal) {
			t.Errorf("%s, pass %d: together they differ from one by one", name, i)
		}
	}
}

// TestThinHazards: a low-rank product is not made in the launch of ops before it where one reads or writes what the other writes.
func TestThinHazards(t *testing.T) { onCards(t, testThinHazards) }

func testThinHazards(t *testing.T, d *Device) {
	const rows, width, rank = 264, 264, 8 // as many rows as columns: a gradient may be taken for activations of few columns
	r := rand.New(rand.NewPCG(17, 18))
	act := func() compute.Buffer { return random(t, d, r, compute.BF16, rows, width) }
	few := func() compute.Buffer { return random(t, d, r, compute.F32, rows, rank) }
	flat := func() compute.Buffer { return random(t, d, r, compute.F32, rank, width) }
	product := func(op compute.MatMul, c, a, b compute.Buffer) queued {
		op.Alpha = 0.5
		return queued{op, []compute.Buffer{c}, []compute.Buffer{a, b}}
	}
	tall := func(c, a, b compute.Buffer) queued { return product(compute.MatMul{TransA: true}, c, a, b) } // aᵀ b
	added := func(c, a, b compute.Buffer) queued {
		return product(compute.MatMul{TransA: true, Accumulate: true}, c, a, b)
	}

	x, x2, dy, dy2, z, dz, dz2, da, db, db2 := act(), act(), act(), act(), few(), few(), few(), few(), flat(), flat()
	back := func(dz, dy compute.Buffer) queued { return product(compute.MatMul{TransB: true}, dz, dy, flat()) } // dy Bᵀ
	narrow, narrow2 := back(dz, dy), back(dz2, dy2)
	pair, first := tall(db, z, dy), tall(da, x, z) // one is made with narrow, the other behind them
	inOrder(t, d, "a gradient of what the narrow product of its activations gives", narrow, tall(db, dz, dy))
	inOrder(t, d, "such a one behind a pair", narrow, narrow2, pair, tall(db2, dz2, dy2))
	inOrder(t, d, "a pair's gradient, added to", narrow, pair, added(db, z, dy))
	inOrder(t, d, "a gradient behind a pair, added to", narrow, pair, first, added(da, x2, z))
	inOrder(t, d, "a gradient of a gradient", narrow, pair, first, tall(db2, da, dy2))
	inOrder(t, d, "a gradient over what one before it is made of", narrow, pair, first, tall(z, x2, dz2))

	// part is the end of another buffer's memory, as numbers of few columns.
	part := func(of compute.Buffer) compute.Buffer {
		b := &buffer{array: array{dz.Spec(), of.(*buffer).ptr}, dev: d}
		b.ptr += driver.Ptr(of.Spec().Bytes() - b.Spec().Bytes())
		return b
	}
	swiGLU := queued{compute.SwiGLU{}, []compute.Buffer{dy}, []compute.Buffer{x, x2}}
	inOrder(t, d, "a product over gate", swiGLU, product(compute.MatMul{}, part(x), dy, z))
	inOrder(t, d, "a product over up", swiGLU, product(compute.MatMul{}, part(x2), dy, z))
	inOrder(t, d, "a product with what SwiGLU writes", swiGLU, product(compute.MatMul{}, dz, dy, part(dy)))
}
