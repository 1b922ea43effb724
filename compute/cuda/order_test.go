package cuda

import (
	"errors"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
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
