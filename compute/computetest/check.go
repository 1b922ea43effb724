package computetest

import (
	"bytes"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// A testCase is one op with attributes and inputs.
type testCase struct {
	op     compute.Op
	note   string // what is special about it, for the name
	types  string // of activations, if not F32
	inputs func(g gen) []compute.Array
	tol    tolerance
	uneven int // how many roundings more weigh, as rows of attention that see few keys give many times what others give
	// statistic is the tolerance of outputs that isStatistic tells, if it is not tol.
	statistic tolerance
	// keeps marks the outputs that the op adds to or writes a part of. All others start
	// as NaN.
	keeps []int
	// alias gives outputs the buffer of an input, as the op's comment allows. Each entry
	// is one run.
	alias []map[int]int // output -> input
}

func (c testCase) name() string { return c.op.Name() + "/" + c.note + c.types }

// prior is what an output holds before the op runs.
func (c testCase) prior(g gen, i int, s compute.Spec) compute.Array {
	for _, k := range c.keeps {
		if k == i && !s.DType.IsFloat() {
			return g.bytes(s)
		}
		if k == i {
			return g.floats(s.DType, 1, s.Shape...)
		}
	}
	a := zeros(s)
	for i := range a.Data {
		a.Data[i] = 0xFF
	}
	return a
}

func clone(arrays []compute.Array) []compute.Array {
	out := make([]compute.Array, len(arrays))
	for i, a := range arrays {
		out[i] = cloneOf(a, 0)
	}
	return out
}

// cloneOf copies a to an address that is skip bytes after an aligned one.
func cloneOf(a compute.Array, skip int) compute.Array {
	c := compute.Array{Spec: a.Spec, Data: append(make([]byte, skip, skip+len(a.Data)), a.Data...)[skip:]}
	if a.Matrix != nil {
		m := *a.Matrix
		c.Matrix = compute.WeightOf(&m).Of(c)
	}
	return c
}

// check compares the device with the definition in all ways a case can run.
func (c testCase) check(t testing.TB, dev compute.Device) {
	g := newGen(c.name())
	in := c.inputs(g)
	outSpecs, err := compute.Infer(c.op, specsOf(in))
	if err != nil {
		t.Fatalf("the case is wrong: %v", err)
	}
	prior := make([]compute.Array, len(outSpecs))
	for i, s := range outSpecs {
		prior[i] = c.prior(g, i, s)
	}
	want := clone(prior)
	c.op.Define(want, clone(in))

	got := c.run(t, dev, in, prior, nil, false)
	for i := range want {
		c.compare(t, i, got[i], want[i], "")
	}
	// Again, with weights that the device may use where they lie: the same bits, if it
	// promises that.
	again := c.run(t, dev, in, prior, nil, true)
	for i := range got {
		if !dev.Info().Repeatable {
			c.compare(t, i, again[i], want[i], " in a second run")
			continue
		}
		if at := differ(got[i].Data, again[i].Data); at >= 0 {
			t.Errorf("output %d: a second run over imported weights differs from byte %d on", i, at)
		}
	}
	for _, alias := range c.alias {
		got := c.run(t, dev, in, prior, alias, false)
		for i := range want {
			c.compare(t, i, got[i], want[i], " in place")
		}
	}
}

func (c testCase) compare(t testing.TB, i int, got, want compute.Array, how string) {
	t.Helper()
	if c.tol == exact || !want.DType.IsFloat() {
		at := differ(got.Data, want.Data)
		if at >= 0 && !want.DType.IsFloat() {
			t.Errorf("output %d%s: byte %d of %v is %#x, want %#x exactly", i, how, at, want.Spec, got.Data[at], want.Data[at])
		} else if at >= 0 {
			at /= want.DType.Size()
			t.Errorf("output %d%s: element %d of %v is %v, want %v exactly", i, how, at, want.Spec, got.Floats()[at], want.Floats()[at])
		}
		return
	}
	g, w := got.Floats(), want.Floats()
	if at := finite(w); at >= 0 {
		t.Fatalf("the definition gives %v for element %d of output %d", w[at], at, i)
	}
	tol := c.tol
	if c.statistic > 0 && isStatistic(c.op, i) {
		tol = c.statistic
	}
	if at := tol.worst(g, w); at >= 0 {
		t.Errorf("output %d%s: element %d of %v is %v, want %v (tolerance %.2g)", i, how, at, want.Spec, g[at], w[at], float64(tol))
	}
}

// run runs the op once on the device and returns its outputs. It uploads the inputs and
// imports packed weights, and, if imported, dense ones too, from an odd address. It
// demands that inputs stay unchanged.
func (c testCase) run(t testing.TB, dev compute.Device, in, prior []compute.Array, alias map[int]int, imported bool) []compute.Array {
	t.Helper()
	ins, outs := make([]compute.Buffer, len(in)), make([]compute.Buffer, len(prior))
	for i, a := range in {
		ins[i] = c.input(t, dev, a, imported)
	}
	shared := map[int]bool{}
	for i, a := range prior {
		if k, ok := alias[i]; ok {
			outs[i], shared[k] = ins[k], true
		} else {
			outs[i] = upload(t, dev, a)
		}
	}
	if err := dev.Run(c.op, outs, ins); err != nil {
		t.Fatal(err)
	}
	got := make([]compute.Array, len(outs))
	for i, b := range outs {
		got[i] = download(t, dev, b)
		if _, ok := alias[i]; !ok {
			b.Free()
		}
	}
	for i, b := range ins {
		if !shared[i] && differ(download(t, dev, b).Data, in[i].Data) >= 0 {
			t.Errorf("input %d was changed", i)
		}
		b.Free()
	}
	return got
}

// differ returns the first index at which a and b differ, or -1.
func differ(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func upload(t testing.TB, dev compute.Device, a compute.Array) compute.Buffer {
	t.Helper()
	b, err := dev.Alloc(a.Shape, a.DType)
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Write(b, a.Data); err != nil {
		t.Fatal(err)
	}
	return b
}

// input is the buffer of an input.
func (c testCase) input(t testing.TB, dev compute.Device, a compute.Array, odd bool) compute.Buffer {
	t.Helper()
	switch {
	case a.Matrix != nil && odd:
		return importWeight(t, dev, cloneOf(a, 1))
	case a.Matrix != nil && a.Matrix.Format.Kind != quant.Dense:
		return importWeight(t, dev, a)
	}
	return upload(t, dev, a)
}

// importWeight imports a weight where it lies. Tensors of a mapped safetensors file may
// have an odd address: MLX does not pad the header.
func importWeight(t testing.TB, dev compute.Device, a compute.Array) compute.Buffer {
	t.Helper()
	b, err := dev.ImportWeight(a.Matrix)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func download(t testing.TB, dev compute.Device, b compute.Buffer) compute.Array {
	t.Helper()
	a := zeros(b.Spec())
	if err := dev.Read(b, a.Data); err != nil {
		t.Fatal(err)
	}
	return a
}
