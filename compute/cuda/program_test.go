package cuda

import (
	"errors"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// TestProgram: ops that are compiled give what they give one by one, each time they are run, also where buffers serve twice.
func TestProgram(t *testing.T) {
	for _, capability := range []string{"80", "90"} {
		d := emulated(t, "capability="+capability)
		for _, tokens := range []int{1, 5} {
			const hidden, between = 128, 192
			var x, n, gate, up compute.Buffer
			x, n = filled(t, d, compute.BF16, tokens, hidden), filled(t, d, compute.BF16, tokens, hidden)
			gate, up = filled(t, d, compute.BF16, tokens, between), filled(t, d, compute.BF16, tokens, between)
			norm := filled(t, d, compute.F32, hidden)
			logits := filled(t, d, compute.F32, tokens, hidden)
			token, err := d.Alloc(compute.Shape{tokens}, compute.I32)
			if err != nil {
				t.Fatal(err)
			}
			linear := func(y, x compute.Buffer, rows, cols int) compute.Call {
				m := weight4(rows, cols)
				w, err := d.ImportWeight(m)
				if err != nil {
					t.Fatal(err)
				}
				return compute.Call{Op: compute.Linear{Weight: compute.WeightOf(m), To: y.Spec().DType}, Out: []compute.Buffer{y}, In: []compute.Buffer{x, w}}
			}
			calls := []compute.Call{
				{Op: compute.RMSNorm{Eps: 1e-5}, Out: []compute.Buffer{n}, In: []compute.Buffer{x, norm}},
				linear(gate, n, between, hidden),
				linear(up, n, between, hidden),
				{Op: compute.SwiGLU{}, Out: []compute.Buffer{up}, In: []compute.Buffer{gate, up}},
				linear(n, up, hidden, between),
				{Op: compute.Add{Alpha: 1}, Out: []compute.Buffer{x}, In: []compute.Buffer{x, n}},
				{Op: compute.RMSNorm{Eps: 1e-5}, Out: []compute.Buffer{n}, In: []compute.Buffer{x, norm}},
				linear(logits, n, hidden, hidden),
				{Op: compute.ArgMax{}, Out: []compute.Buffer{token}, In: []compute.Buffer{logits}},
			}
			start := make([]byte, x.Spec().Bytes())
			if err := d.Read(x, start); err != nil {
				t.Fatal(err)
			}
			// after is what lies there once it was run twice.
			after := func(run func() error) (all [][]byte) {
				if err := d.Write(x, start); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if err := run(); err != nil {
						t.Fatal(err)
					}
				}
				for _, b := range []compute.Buffer{token, x, n, gate, up, logits} { // the token first, which waits for its own event
					data := make([]byte, b.Spec().Bytes())
					if err := d.Read(b, data); err != nil {
						t.Fatal(err)
					}
					all = append(all, data)
				}
				return all
			}
			want := after(func() error {
				for _, c := range calls {
					if err := errors.Join(d.Run(c.Op, c.Out, c.In), d.Sync()); err != nil {
						return err
					}
				}
				return nil
			})
			before, _ := d.Memory()
			p, err := d.Compile(calls)
			if err != nil {
				t.Fatal(err)
			}
			if got := after(p.Run); !slices.EqualFunc(got, want, slices.Equal) {
				t.Errorf("capability %s, %d tokens: a program gives something else", capability, tokens)
			}
			p.Free()
			if used, _ := d.Memory(); used != before {
				t.Errorf("%d bytes are still held", used-before)
			}
		}
	}
}

// TestProgramRefuses: an op without a kernel is not compiled, buffers that were freed are not used, and nothing is kept.
func TestProgramRefuses(t *testing.T) {
	d := emulated(t, "")
	x, y := filled(t, d, compute.F32, 4, 64), filled(t, d, compute.F32, 4, 64)
	before, _ := d.Memory()
	const head = widestHead + 8
	wide := filled(t, d, compute.F32, 1, head)
	bounds, err := d.Alloc(compute.Shape{2}, compute.I32)
	if err != nil {
		t.Fatal(err)
	}
	lse := filled(t, d, compute.F32, 1, 1)
	scale := compute.Call{Op: compute.Scale{Alpha: 2}, Out: []compute.Buffer{y}, In: []compute.Buffer{x}}
	attention := compute.Call{Op: compute.Attention{Heads: 1, KVHeads: 1, HeadDim: head, Scale: 1},
		Out: []compute.Buffer{wide, lse}, In: []compute.Buffer{wide, wide, wide, bounds}}
	if _, err := d.Compile([]compute.Call{scale, attention}); !errors.Is(err, compute.ErrUnsupported) {
		t.Errorf("an op without a kernel: %v", err)
	}
	p, err := d.Compile([]compute.Call{scale})
	if err != nil {
		t.Fatal(err)
	}
	y.Free()
	if err := p.Run(); !errors.Is(err, compute.ErrFreed) {
		t.Errorf("with a freed buffer: %v", err)
	}
	for _, b := range []compute.Buffer{x, wide, bounds, lse} {
		b.Free()
	}
	p.Free()
	p.Free()
	if used, _ := d.Memory(); used != before-x.(*buffer).bytes-y.(*buffer).bytes {
		t.Errorf("%d bytes are held", used)
	}
}
