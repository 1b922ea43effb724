package mlx

import (
	"bytes"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
	"github.com/lentil-lm/lentil/quant"
)

// A pair has buffers with content, and what the definitions make of it.
type pair struct {
	t    *testing.T
	d    *Device
	bufs map[string]compute.Buffer
	want map[string]compute.Array
}

func (p *pair) add(name string, shape compute.Shape, t compute.DType, data []byte) {
	p.t.Helper()
	b, err := p.d.Alloc(shape, t)
	if err == nil && data != nil {
		err = p.d.Write(b, data)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	a := compute.Array{Spec: b.Spec(), Data: make([]byte, b.Spec().Bytes())}
	copy(a.Data, data)
	p.bufs[name], p.want[name] = b, a
}

func (p *pair) write(name string, data []byte) {
	p.t.Helper()
	if err := p.d.Write(p.bufs[name], data); err != nil {
		p.t.Fatal(err)
	}
	copy(p.want[name].Data, data)
}

// run runs an op on both sides.
func (p *pair) run(op compute.Op, out, in []string) {
	p.t.Helper()
	var outs, ins []compute.Buffer
	var wantOuts, wantIns []compute.Array
	for _, name := range out {
		outs, wantOuts = append(outs, p.bufs[name]), append(wantOuts, p.want[name])
	}
	for _, name := range in {
		ins, wantIns = append(ins, p.bufs[name]), append(wantIns, p.want[name])
	}
	if err := p.d.Run(op, outs, ins); err != nil {
		p.t.Fatal(err)
	}
	op.Define(wantOuts, wantIns)
}

func (p *pair) compare(name string) {
	p.t.Helper()
	got := make([]byte, len(p.want[name].Data))
	if err := p.d.Read(p.bufs[name], got); err != nil {
		p.t.Fatal(err)
	}
	a := compute.Array{Spec: p.want[name].Spec, Data: got}
	for i, want := range p.want[name].Floats() {
		if d := a.Floats()[i] - want; !(d < 1e-4 && d > -1e-4) {
			p.t.Fatalf("%s: element %d is %g, not %g", name, i, a.Floats()[i], want)
		}
	}
}

func waves(n int, step float32) []byte {
	v := make([]float32, n)
	for i := range v {
		v[i] = step * float32(i%7-3)
	}
	return compute.FloatBytes(v)
}

// TestCacheByHead: a cache that attention has put in order by heads takes more rows, is copied, read and written as before.
func TestCacheByHead(t *testing.T) {
	const heads, size, rows = 2, 4, 8
	const cols = heads * size
	f32 := quant.Format{Kind: quant.Dense, DType: quant.F32}
	p := &pair{t, open(t, compute.F32), map[string]compute.Buffer{}, map[string]compute.Array{}}
	for i, name := range []string{"k", "v"} {
		p.add(name, compute.Shape{rows, cols}, compute.F32, waves(rows*cols, float32(i+1)))
		p.add("big "+name, compute.Shape{2 * rows, cols}, compute.F32, nil)
	}
	p.add("x", compute.Shape{3, cols}, compute.F32, waves(3*cols, 0.3))
	p.add("q", compute.Shape{3, 2 * cols}, compute.F32, waves(3*2*cols, 0.2))
	p.add("y", compute.Shape{3, 2 * cols}, compute.F32, nil)
	attention := compute.CacheAttention{Attention: compute.Attention{Heads: 2 * heads, KVHeads: heads, HeadDim: size, Scale: 0.5}, Format: f32}
	step := func(k, v, x string, room int, s compute.Span) {
		t.Helper()
		p.add("spans", compute.Shape{1, 4}, compute.I32, compute.IntBytes(compute.SpanInts(s)))
		store := compute.StoreRows{Format: f32, Cols: cols, Rows: []int{room}}
		p.run(store, []string{k}, []string{x, "spans"})
		p.run(store, []string{v}, []string{x, "spans"})
		p.run(attention, []string{"y"}, []string{"q", "spans", k, v})
		p.compare("y")
	}
	step("k", "v", "x", rows, compute.Span{From: 0, To: 3, At: 0, Keys: 3})
	step("k", "v", "x", rows, compute.Span{From: 1, To: 2, At: 3, Keys: 4})
	if b := p.bufs["k"].(*buffer); b.heads != heads {
		t.Errorf("the cache is not by heads: %d", b.heads)
	}
	for _, name := range []string{"k", "v"} {
		p.run(compute.CopyRows{Rows: 2 * rows, To: compute.F32}, []string{"big " + name}, []string{name})
	}
	step("big k", "big v", "x", 2*rows, compute.Span{From: 0, To: 3, At: 4, Keys: 7})
	step("k", "v", "x", rows, compute.Span{From: 0, To: 1, At: 4, Keys: 5})
	p.compare("k") // and with it the order of rows is back
	step("k", "v", "x", rows, compute.Span{From: 0, To: 1, At: 5, Keys: 6})
	p.write("k", waves(rows*cols, 0.1))
	step("k", "v", "x", rows, compute.Span{From: 0, To: 1, At: 6, Keys: 7})
	for _, name := range []string{"k", "v", "big k", "big v"} {
		p.compare(name)
	}
}

// TestTablesOfRoPE: what is kept of cosines and sines is made anew when either changes.
func TestTablesOfRoPE(t *testing.T) {
	p := &pair{t, open(t, compute.F32), map[string]compute.Buffer{}, map[string]compute.Array{}}
	p.add("x", compute.Shape{3, 12}, compute.F32, waves(36, 0.5))
	p.add("cos", compute.Shape{3, 2}, compute.F32, waves(6, 0.2))
	p.add("sin", compute.Shape{3, 2}, compute.F32, waves(6, 0.3))
	for i := range 5 {
		for _, op := range []compute.RoPE{{HeadDim: 6}, {HeadDim: 6, Traditional: true}, {HeadDim: 6, Inverse: true}, {HeadDim: 4}} {
			p.run(op, []string{"x"}, []string{"x", "cos", "sin"})
			p.compare("x")
		}
		p.write([]string{"cos", "sin"}[i%2], waves(6, 0.4+0.1*float32(i)))
		p.write("x", waves(36, 0.5))
	}
}

// TestReadAddsNothing: what is read is no node of its own, which would be computed behind all that is queued, unless its
// elements are out of order.
func TestReadAddsNothing(t *testing.T) {
	d := open(t, compute.F32)
	if err := d.enter(func() error {
		g := d.g
		a := g.Add(g.New(waves(6, 1), mlxc.F32, 2, 3), g.Float(1))
		for _, c := range []struct {
			a     mlxc.Array
			nodes int
			want  []float32
		}{{a, 0, []float32{-2, -1, 0, 1, 2, 3}}, {g.Transpose(a, 1, 0), 1, []float32{-2, 1, -1, 2, 0, 3}}, {g.Slice(a, []int{0, 1}, []int{2, 2}, []int{1, 1}), 1, []float32{-1, 2}}} {
			before, got := d.lib.Live(), make([]byte, 4*len(c.want))
			g.Read(c.a, got)
			if n := d.lib.Live() - before; n != c.nodes {
				t.Errorf("%d nodes for reading %v", n, c.want)
			}
			if !bytes.Equal(got, compute.FloatBytes(c.want)) {
				t.Errorf("%v was read as %v", c.want, got)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestTypesAreForgotten: the address of an array that was given back is another one's, of another type.
func TestTypesAreForgotten(t *testing.T) {
	d := open(t, compute.F32)
	seen := map[mlxc.Array]bool{}
	for range 100 {
		if err := d.enter(func() error {
			seen[d.g.New(waves(1, 1), mlxc.F32, 1)] = true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := d.enter(func() error {
			if a := d.g.IsFinite(d.g.Float(1)); seen[a] && d.g.As(a, mlxc.F32) == a {
				t.Error("a bool passes for a float")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}
