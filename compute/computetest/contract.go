package computetest

import (
	"errors"
	"math"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// checkBuffers checks Alloc, ImportWeight, Read, Write and Free.
func checkBuffers(t *testing.T, dev compute.Device) {
	g := newGen("buffers")
	a := g.floats(max(dev.Info().Activations, compute.F32), 1, 5, 7)
	checkTransfer(t, dev, a)
	if _, err := dev.Alloc(compute.Shape{3, -1}, compute.F32); err == nil {
		t.Error("Alloc of a negative extent passed")
	}
	for _, shape := range []compute.Shape{{1 << 50}, {math.MaxInt / 2, 3}, {1 << 32, 1 << 32}} {
		if _, err := dev.Alloc(shape, compute.F32); !errors.Is(err, compute.ErrNoMemory) {
			t.Errorf("Alloc of %v: %v, want ErrNoMemory", shape, err)
		}
	}
	for _, f := range commonFormats() {
		checkImported(t, dev, f)
	}
	checkFreed(t, dev, a)
	if err := dev.Sync(); err != nil {
		t.Error(err)
	}
}

// checkTransfer writes a to a buffer and reads it back.
func checkTransfer(t *testing.T, dev compute.Device, a compute.Array) {
	b := upload(t, dev, a)
	defer b.Free()
	if s := b.Spec(); !s.Shape.Equal(a.Shape) || s.DType != a.DType {
		t.Errorf("Spec() is %v, want %v", s, a.Spec)
	}
	if differ(download(t, dev, b).Data, a.Data) >= 0 {
		t.Error("Read does not give back what Write wrote")
	}
	for _, n := range []int{0, len(a.Data) - 1, len(a.Data) + 1} {
		if dev.Read(b, make([]byte, n)) == nil {
			t.Errorf("Read into %d bytes of a buffer of %d passed", n, len(a.Data))
		}
		if dev.Write(b, make([]byte, n)) == nil {
			t.Errorf("Write of %d bytes to a buffer of %d passed", n, len(a.Data))
		}
	}
}

// checkImported checks that an imported weight has its size, is read back as it was, is
// never written, and is taken for nothing else.
func checkImported(t *testing.T, dev compute.Device, f quant.Format) {
	g := newGen("imported " + f.String())
	w := compute.Weight{Format: f, Rows: 3, Cols: 256}
	a := g.weight(w)
	short := *a.Matrix
	short.Data = short.Data[1:]
	if _, err := dev.ImportWeight(&short); err == nil {
		t.Errorf("%v: ImportWeight of too few bytes passed", f)
	}
	frozen := importWeight(t, dev, cloneOf(a, 1))
	defer frozen.Free()
	if got, want := frozen.Spec(), w.Spec(); !got.Shape.Equal(want.Shape) || got.DType != want.DType {
		t.Fatalf("%v: an imported weight is %v, want %v", f, got, want)
	}
	if differ(download(t, dev, frozen).Data, a.Data) >= 0 {
		t.Errorf("%v: Read does not give back what ImportWeight took", f)
	}
	if dev.Write(frozen, a.Data) == nil {
		t.Errorf("%v: Write to an imported weight passed", f)
	}
	x := upload(t, dev, g.normal(3, 256))
	defer x.Free()
	if dev.Run(compute.Scale{Alpha: 2}, []compute.Buffer{frozen}, []compute.Buffer{x}) == nil {
		t.Errorf("%v: an imported weight as an output passed", f)
	}
	if f.Kind == quant.Affine && f.DType != compute.F32 { // the same size in another type
		w.Format.DType = compute.F16 + compute.BF16 - f.DType
		squares := upload(t, dev, g.normal(3))
		defer squares.Free()
		if dev.Run(compute.RowSquares{Weight: w}, []compute.Buffer{squares}, []compute.Buffer{frozen}) == nil {
			t.Errorf("%v: a weight of another format passed", f)
		}
	}
}

// checkFreed frees an input right after Run. A device may hand out its memory again, but
// not before the work has read it.
func checkFreed(t *testing.T, dev compute.Device, a compute.Array) {
	if !dev.Supports(compute.Scale{}, []compute.Spec{a.Spec}) {
		return
	}
	b, out := upload(t, dev, a), upload(t, dev, zeros(a.Spec))
	defer out.Free()
	if err := dev.Run(compute.Scale{Alpha: 2}, []compute.Buffer{out}, []compute.Buffer{b}); err != nil {
		t.Fatal(err)
	}
	b.Free()
	reused := upload(t, dev, zeros(a.Spec))
	defer reused.Free()
	want := a.Floats()
	for i, v := range download(t, dev, out).Floats() {
		if v != 2*want[i] {
			t.Fatalf("element %d is %v after the input was freed, want %v", i, v, 2*want[i])
		}
	}
}

// checkErrors hands every op wrong buffers. The device must refuse, with an error, what
// the op's shape rule refuses.
func checkErrors(t *testing.T, dev compute.Device) {
	done := map[string]bool{}
	for _, c := range table(dev.Info().Activations) {
		if done[c.op.Name()] {
			continue
		}
		in := specsOf(c.inputs(newGen(c.name())))
		if !dev.Supports(c.op, in) {
			continue
		}
		done[c.op.Name()] = true
		out, err := compute.Infer(c.op, in)
		if err != nil {
			t.Fatal(err)
		}
		refuse := func(what string, out, in []compute.Spec) {
			t.Helper()
			if compute.Check(c.op, out, in) == nil {
				return // a change that this op takes
			}
			outs, ins := alloc(t, dev, out), alloc(t, dev, in)
			if dev.Run(c.op, outs, ins) == nil {
				t.Errorf("%s: %s passed", c.name(), what)
			}
			for _, b := range append(outs, ins...) {
				b.Free()
			}
		}
		refuse("an output too many", append(out[:len(out):len(out)], out[0]), in)
		refuse("no output", nil, in)
		refuse("no input", out, nil)
		refuse("an input too many", out, append(in[:len(in):len(in)], out[0]))
		for i := range out {
			refuse("another output shape", replaced(out, i, grown(out[i])), in)
			refuse("another output type", replaced(out, i, retyped(out[i])), in)
		}
		for i := range in {
			refuse("another input shape", out, replaced(in, i, grown(in[i])))
			refuse("another input type", out, replaced(in, i, retyped(in[i])))
			refuse("a scalar input", out, replaced(in, i, spec(in[i].DType)))
		}
	}
}

func alloc(t *testing.T, dev compute.Device, specs []compute.Spec) []compute.Buffer {
	t.Helper()
	var all []compute.Buffer
	for _, s := range specs {
		b, err := dev.Alloc(s.Shape, s.DType)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func replaced(l []compute.Spec, i int, s compute.Spec) []compute.Spec {
	l = append([]compute.Spec(nil), l...)
	l[i] = s
	return l
}

func grown(s compute.Spec) compute.Spec {
	shape := append(compute.Shape(nil), s.Shape...)
	shape[len(shape)-1]++
	return compute.Spec{Shape: shape, DType: s.DType}
}

func retyped(s compute.Spec) compute.Spec {
	if s.DType == compute.I32 {
		return compute.Spec{Shape: s.Shape, DType: compute.F32}
	}
	return compute.Spec{Shape: s.Shape, DType: compute.I32}
}
