package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// sumTolerance bounds |kernel - definition| for float32 sums of up to a few
// thousand terms in another order, as a share of the largest output.
const sumTolerance = 2e-5

// eachFamily runs a test on a device of every family, and of the best one on a
// single thread too.
func eachFamily(t *testing.T, test func(t *testing.T, d *Device)) {
	for i, k := range families() {
		for _, threads := range []int{1, 3} {
			if threads == 1 && i > 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", k.name, threads), func(t *testing.T) {
				test(t, newDevice(t, threads, k.name))
			})
		}
	}
}

// random makes an array of normal values (small integers for I32).
func random(r *rand.Rand, t compute.DType, shape ...int) compute.Array {
	a := compute.Array{Spec: compute.Spec{Shape: shape, DType: t}}
	a.Data = make([]byte, a.Bytes())
	v := make([]float32, a.Shape.Elems())
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	if t == compute.I32 {
		for i := range a.I32() {
			a.I32()[i] = r.Int32N(7)
		}
		return a
	}
	a.SetFloats(v)
	return a
}

func ints(v ...int32) compute.Array {
	return compute.Array{Spec: compute.Spec{Shape: compute.Shape{len(v)}, DType: compute.I32}, Data: compute.IntBytes(v)}
}

// formats are all weight formats that rows of 256 weights may have.
func formats() []quant.Format {
	f := []quant.Format{
		{Kind: quant.Dense, DType: quant.F32}, {Kind: quant.Dense, DType: quant.F16}, {Kind: quant.Dense, DType: quant.BF16},
		{Kind: quant.Q4K}, {Kind: quant.Q6K},
	}
	for _, mode := range []string{"mxfp4", "nvfp4", "mxfp8"} {
		fp, _ := quant.ParseMode(mode)
		f = append(f, fp)
	}
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		for _, group := range []int{32, 64, 128} {
			f = append(f, quant.Format{Kind: quant.Affine, DType: []quant.DType{quant.BF16, quant.F16, quant.F32}[(bits+group/32)%3], Bits: bits, Group: group})
		}
	}
	return f
}

// randomWeight makes a weight matrix of a format: one array.
func randomWeight(r *rand.Rand, f quant.Format, nrows, ncols int) (compute.Weight, []compute.Array) {
	w := compute.Weight{Format: f, Rows: nrows, Cols: ncols}
	var list []compute.Array
	for i, s := range w.Specs() {
		if f.Kind == quant.Dense || i > 0 && !f.Kind.IsFP() {
			list = append(list, random(r, s.DType, s.Shape...))
			continue
		}
		a := compute.Array{Spec: s, Data: make([]byte, s.Bytes())}
		for k := range a.Data {
			a.Data[k] = byte(r.Uint32())
		}
		if f.Kind.IsFP() && (i == 1 || f.Kind == quant.MXFP8) {
			for k := range a.Data { // neither NaN nor far apart
				a.Data[k] &^= 0x40
			}
		}
		// The blocks' f16 scales must be ordinary numbers.
		size, at := 0, []int(nil)
		switch f.Kind {
		case quant.Q4K:
			size, at = 144, []int{1, 3}
		case quant.Q6K:
			size, at = 210, []int{209}
		}
		for b := 0; size > 0 && b < len(a.Data); b += size {
			for _, o := range at {
				a.Data[b+o] = a.Data[b+o]&0x83 | 0x20 // exponent of about 2^-7
			}
		}
		list = append(list, a)
	}
	m := w.Matrix(list)
	return w, []compute.Array{{Spec: w.Spec(), Data: m.Data, Matrix: m}}
}

// input is a buffer with the content of a, imported if that is a weight.
func input(t testing.TB, d *Device, a compute.Array) compute.Buffer {
	t.Helper()
	if a.Matrix != nil {
		b, err := d.ImportWeight(a.Matrix)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b, err := d.Alloc(a.Shape, a.DType)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write(b, a.Data); err != nil {
		t.Fatal(err)
	}
	return b
}

// run runs op on d with copies of the arrays and returns the outputs. init,
// when given, is the outputs' content before.
func run(t testing.TB, d *Device, op compute.Op, init, in []compute.Array) []compute.Array {
	t.Helper()
	want, err := compute.Infer(op, specs(in))
	if err != nil {
		t.Fatal(err)
	}
	var ins, outs []compute.Buffer
	for _, a := range in {
		ins = append(ins, input(t, d, a))
	}
	for i, s := range want {
		b, err := d.Alloc(s.Shape, s.DType)
		if err != nil {
			t.Fatal(err)
		}
		for k := range b.(*buffer).Data {
			b.(*buffer).Data[k] = 0xff // a NaN, should the op forget it
		}
		if init != nil {
			copy(b.(*buffer).Data, init[i].Data)
		}
		outs = append(outs, b)
	}
	if err := d.Run(op, outs, ins); err != nil {
		t.Fatalf("%s: %v", op.Name(), err)
	}
	res := make([]compute.Array, len(outs))
	for i, b := range outs {
		res[i] = compute.Array{Spec: want[i], Data: make([]byte, want[i].Bytes())}
		if err := d.Read(b, res[i].Data); err != nil {
			t.Fatal(err)
		}
		b.Free()
	}
	return res
}

// check compares the device with the op's definition.
func check(t testing.TB, d *Device, op compute.Op, init, in []compute.Array, tolerance float64) {
	t.Helper()
	got := run(t, d, op, init, in)
	for i, w := range defined(t, op, init, in) {
		if diff := difference(got[i].Floats(), w.Floats()); !(diff <= tolerance) {
			t.Errorf("%s %+v, inputs %v: output %d is off by %.3g of its largest value, more than %.3g", op.Name(), op, specs(in), i, diff, tolerance)
		}
	}
	again := run(t, d, op, init, in)
	for i := range got {
		if string(got[i].Data) != string(again[i].Data) {
			t.Errorf("%s %+v: output %d differs from run to run", op.Name(), op, i)
		}
	}
}

// defined runs the op's definition.
func defined(t testing.TB, op compute.Op, init, in []compute.Array) []compute.Array {
	t.Helper()
	want, err := compute.Infer(op, specs(in))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]compute.Array, len(want))
	for i, s := range want {
		out[i] = compute.Array{Spec: s, Data: make([]byte, s.Bytes())}
		if init != nil {
			copy(out[i].Data, init[i].Data)
		}
	}
	op.Define(out, in)
	return out
}

// difference is the largest |a-b| as a share of the largest |b|; NaN counts.
func difference(a, b []float32) float64 {
	var diff, top float64
	for i := range b {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if a[i] == b[i] {
			d = 0
		}
		if math.IsNaN(d) {
			return d
		}
		diff, top = max(diff, d), max(top, math.Abs(float64(b[i])))
	}
	if diff == 0 {
		return 0
	}
	return diff / top
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

func specs(a []compute.Array) []compute.Spec {
	s := make([]compute.Spec, len(a))
	for i := range a {
		s[i] = a[i].Spec
	}
	return s
}
