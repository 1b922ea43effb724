package cuda

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// A layer is what a token of a small model goes through, of sizes that fill no tile.
type layer struct {
	t     *testing.T
	d     *Device
	cache compute.DType
	cut   bool // after each op, so that nothing is launched together
	attended

	inputs []compute.Buffer // made in the first pass, in their order
	at     int
}

// attended is what the queries of a layer see.
type attended struct {
	heads, kv, head, window int
	room, row, keys         int // of the cache, of which the token gets a row
}

// input makes one of the layer's inputs, or gives the one of an earlier pass: copies would cut what is launched together.
func (l *layer) input(make func() compute.Buffer) compute.Buffer {
	if l.at == len(l.inputs) {
		l.inputs = append(l.inputs, make())
	}
	l.at++
	return l.inputs[l.at-1]
}

func (l *layer) filled(dtype compute.DType, shape ...int) compute.Buffer {
	return l.input(func() compute.Buffer { return filled(l.t, l.d, dtype, shape...) })
}

func (l *layer) run(op compute.Op, in ...compute.Buffer) compute.Buffer {
	l.t.Helper()
	specs := make([]compute.Spec, len(in))
	for i := range in {
		specs[i] = in[i].Spec()
	}
	outs, err := compute.Infer(op, specs)
	if err != nil {
		l.t.Fatal(err)
	}
	y, err := l.d.Alloc(outs[0].Shape, outs[0].DType)
	if err != nil {
		l.t.Fatal(err)
	}
	l.into(op, []compute.Buffer{y}, in...)
	return y
}

func (l *layer) into(op compute.Op, out []compute.Buffer, in ...compute.Buffer) {
	l.t.Helper()
	if err := l.d.Run(op, out, in); err != nil {
		l.t.Fatal(err)
	}
	if l.cut {
		l.launches()
	}
}

// launches emits what waits, and counts the launches since the last wait of the host.
func (l *layer) launches() int {
	l.d.enter()
	defer l.d.leave()
	l.d.emit()
	return len(l.d.trace.now)
}

func (l *layer) linear(x compute.Buffer, rows int, extra ...compute.Buffer) compute.Buffer {
	l.t.Helper()
	w := l.input(func() compute.Buffer {
		w, err := l.d.ImportWeight(weight4(rows, x.Spec().Shape[1]))
		if err != nil {
			l.t.Fatal(err)
		}
		return w
	})
	op := compute.Linear{Weight: compute.WeightOf(w.(*buffer).weight), To: compute.BF16}
	in := append([]compute.Buffer{x, w}, extra...)
	switch len(extra) {
	case 1:
		op.Bias = true
	case 2:
		op.Rank, op.Scale = extra[0].Spec().Shape[1], 0.5
	}
	return l.run(op, in...)
}

// pass runs the ops of a layer and returns what each of them gives.
func (l *layer) pass(hidden, between int) (all []compute.Buffer) {
	keep := func(b compute.Buffer) compute.Buffer {
		all = append(all, b)
		return b
	}
	l.at = 0
	x, w := l.filled(compute.BF16, 1, hidden), l.filled(compute.F32, hidden)
	eps := compute.RMSNorm{Eps: 1e-5}
	n := keep(l.run(eps, x, w))
	if l.heads == 0 {
		l.attended = attended{heads: 6, kv: 2, head: 32, room: 40, row: 17, keys: 18}
	}
	heads, kv, head, room := l.heads, l.kv, l.head, l.room
	q := keep(l.linear(n, heads*head, l.filled(compute.F32, heads*head)))
	k := keep(l.linear(n, kv*head, l.filled(compute.F32, 1, 11), l.filled(compute.F32, 11, kv*head)))
	v := keep(l.linear(n, kv*head))
	cos, sin := l.filled(compute.F32, 1, head/2), l.filled(compute.F32, 1, head/2)
	for _, x := range []compute.Buffer{q, k} {
		l.into(compute.RoPE{HeadDim: head}, []compute.Buffer{x}, x, cos, sin)
	}
	spans := l.input(func() compute.Buffer {
		b, err := l.d.Alloc(compute.Shape{1, 4}, compute.I32)
		if err == nil {
			err = l.d.Write(b, compute.IntBytes([]int32{0, 1, int32(l.row), int32(l.keys)}))
		}
		if err != nil {
			l.t.Fatal(err)
		}
		return b
	})
	keys, values := keep(l.filled(l.cache, room, kv*head)), keep(l.filled(l.cache, room, kv*head))
	dense := quant.Format{Kind: quant.Dense, DType: l.cache}
	store := compute.StoreRows{Format: dense, Cols: kv * head, Rows: []int{room}}
	l.into(store, []compute.Buffer{keys}, k, spans)
	l.into(store, []compute.Buffer{values}, v, spans)
	op := compute.Attention{Heads: heads, KVHeads: kv, HeadDim: head, Scale: 0.2, Window: l.window}
	a := keep(l.run(compute.CacheAttention{Attention: op, Format: dense}, q, spans, keys, values))
	h := keep(l.run(compute.Add{Alpha: 1}, x, keep(l.linear(a, hidden))))
	n = keep(l.run(eps, h, l.filled(compute.BF16, hidden)))
	g := keep(l.linear(n, between))
	g = keep(l.run(compute.SwiGLU{}, g, keep(l.linear(n, between))))
	h = keep(l.run(compute.Add{Alpha: 1}, keep(l.linear(g, hidden)), h))
	gate := keep(l.linear(h, 136))
	keep(l.run(compute.SwiGLU{}, gate, keep(l.linear(h, 136))))
	keep(l.run(compute.Add{Alpha: 2}, h, keep(l.linear(h, hidden)))) // which no kernel takes together
	keep(l.run(eps, h, w))
	return all
}

// TestFused: what is launched together gives, to the bit, what it gives alone, in fewer launches.
func TestFused(t *testing.T) {
	d := emulated(t, "")
	for hidden, cache := range map[int]compute.DType{64: compute.BF16, 320: compute.F16, 1088: compute.F32} {
		l := &layer{t: t, d: d, cache: cache, cut: true}
		var alone [][]float32
		for _, b := range l.pass(hidden, 4672) {
			alone = append(alone, floats(t, d, b))
		}
		l.cut = false
		for range 2 { // the second time in the opposite order of threads and blocks
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			all := l.pass(hidden, 4672)
			if n := l.launches(); n != 10 {
				t.Errorf("%d launches, want 10", n)
			}
			for i, b := range all {
				if got := floats(t, d, b); !slices.Equal(got, alone[i]) {
					t.Errorf("hidden size %d, result %d of %d: %.4v, alone %.4v", hidden, i, len(all), got[:8], alone[i][:8])
				}
			}
		}
	}
}

// TestFusedWide: so does a norm before a product where a block takes the token in several turns, with weights of all types.
func TestFusedWide(t *testing.T) {
	d := emulated(t, "")
	for _, width := range []int{2048, 4160, 12352} {
		for _, norms := range []compute.DType{compute.F32, compute.F16, compute.BF16} {
			l := &layer{t: t, d: d, cut: true}
			pass := func() []compute.Buffer {
				l.at = 0
				n := l.run(compute.RMSNorm{Eps: 1e-5}, l.filled(compute.BF16, 1, width), l.filled(norms, width))
				return []compute.Buffer{n, l.linear(n, 40)}
			}
			var alone [][]float32
			for _, b := range pass() {
				alone = append(alone, floats(t, d, b))
			}
			l.cut = false
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			all := pass()
			if n := l.launches(); n != 1 {
				t.Errorf("%d launches, want 1", n)
			}
			for i, b := range all {
				if got := floats(t, d, b); !slices.Equal(got, alone[i]) {
					t.Errorf("width %d, norm in %v, result %d: %.4v, alone %.4v", width, norms, i, got[:8], alone[i][:8])
				}
			}
		}
	}
}

// TestOneUpdate compares the update of a product of one token with that in float32, at ranks beyond those of the suite.
func TestOneUpdate(t *testing.T) {
	l := &layer{t: t, d: emulated(t, "")}
	for _, rank := range []int{3, 8, 29} {
		l.inputs, l.at = nil, 0
		u, v := l.filled(compute.F32, 1, rank), l.filled(compute.F32, rank, 72)
		got := floats(t, l.d, l.linear(l.filled(compute.BF16, 1, 192), 72, u, v))
		w := l.inputs[len(l.inputs)-1]
		op := compute.Linear{Weight: compute.WeightOf(w.(*buffer).weight), Exact: true, Rank: rank, Scale: 0.5, To: compute.F32}
		alike(t, "update", got, floats(t, l.d, l.run(op, l.filled(compute.F32, 1, 192), w, u, v)), 0.006)
	}
}

// TestOneQuery compares attention of one query with that in float32: keys in parts, heads in groups, windows, soft caps.
func TestOneQuery(t *testing.T) {
	d := emulated(t, "")
	for _, c := range []struct {
		compute.Attention
		room, keys int
	}{
		{compute.Attention{Heads: 8, KVHeads: 2, HeadDim: 128, Scale: 0.088}, 1100, 777},
		{compute.Attention{Heads: 9, KVHeads: 3, HeadDim: 64, Scale: 0.125, Window: 100}, 300, 300},
		{compute.Attention{Heads: 3, KVHeads: 3, HeadDim: 72, Scale: 0.1, Softcap: 2}, 90, 50},
		{compute.Attention{Heads: 12, KVHeads: 2, HeadDim: 40, Scale: 0.2}, 700, 3},
		{compute.Attention{Heads: 2, KVHeads: 2, HeadDim: 16, Scale: 0.2}, 10, 1},
	} {
		l := &layer{t: t, d: d}
		spans, err := d.Alloc(compute.Shape{1, 4}, compute.I32)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Write(spans, compute.IntBytes([]int32{0, 1, int32(c.keys - 1), int32(c.keys)})); err != nil {
			t.Fatal(err)
		}
		run := func(dtype compute.DType) []float32 {
			in := []compute.Buffer{filled(t, d, compute.BF16, 1, c.Heads*c.HeadDim), filled(t, d, compute.BF16, c.room, c.KVHeads*c.HeadDim), filled(t, d, compute.BF16, c.room, c.KVHeads*c.HeadDim)}
			if dtype == compute.F32 { // of the same numbers
				for i, b := range in {
					in[i] = l.run(compute.CopyRows{Rows: b.Spec().Shape[0], To: dtype}, b)
				}
			}
			op := compute.CacheAttention{Attention: c.Attention, Format: quant.Format{Kind: quant.Dense, DType: dtype}}
			return floats(t, d, l.run(op, in[0], spans, in[1], in[2]))
		}
		alike(t, fmt.Sprintf("%+v", c), run(compute.BF16), run(compute.F32), 0.004)
	}
}

// TestArgMaxInParts: rows so long that several blocks look for the first of the largest.
func TestArgMaxInParts(t *testing.T) {
	l := &layer{t: t, d: emulated(t, "")}
	const rows, n = 4, 9001
	x, v := filled(t, l.d, compute.F32, rows, n), make([]float32, rows*n)
	want := []int32{4500, 0, n - 1, -1 - 7000}
	for i := range v {
		v[i] = float32(i % 100)
	}
	v[want[0]], v[want[0]+1], v[n-1] = 100, 100, 100
	v[n], v[2*n+n-1], v[3*n+7000], v[3*n+8000] = 100, 100, float32(math.NaN()), float32(math.Inf(1))
	if err := l.d.Write(x, compute.FloatBytes(v)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time in the opposite order of blocks
		got := make([]int32, rows)
		if err := l.d.Read(l.run(compute.ArgMax{}, x), compute.IntBytes(got)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}
