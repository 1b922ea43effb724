package cuda

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/quant"
)

// TestEmulatedAttention runs more of the suite for attention, as Hopper has it.
func TestEmulatedAttention(t *testing.T) {
	computetest.RunOps(t, emulated(t, "capability=90"), share(3), "attention", "attention_grad", "cache_attention")
}

// attentionRun runs attention over segments and then its gradient. It returns y, dq, dk and dv.
func attentionRun(t *testing.T, d *Device, o compute.Attention, q, k, v, dy compute.Buffer, segments ...int32) (all [4][]float32) {
	t.Helper()
	bounds, err := d.Alloc(compute.Shape{len(segments)}, compute.I32)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write(bounds, compute.IntBytes(segments)); err != nil {
		t.Fatal(err)
	}
	var made []compute.Buffer
	run := func(op compute.Op, in ...compute.Buffer) []compute.Buffer {
		var specs []compute.Spec
		for _, b := range in {
			specs = append(specs, b.Spec())
		}
		outs, err := compute.Infer(op, specs)
		if err != nil {
			t.Fatal(err)
		}
		var out []compute.Buffer
		for _, s := range outs {
			b, err := d.Alloc(s.Shape, s.DType)
			if err != nil {
				t.Fatal(err)
			}
			out, made = append(out, b), append(made, b)
		}
		if err := d.Run(op, out, in); err != nil {
			t.Fatal(err)
		}
		return out
	}
	y := run(o, q, k, v, bounds)
	back := run(compute.AttentionGrad{Attention: o}, q, k, v, bounds, y[0], y[1], dy)
	for i, b := range append(y[:1], back...) {
		all[i] = floats(t, d, b)
	}
	for _, b := range append(made, bounds) {
		b.Free()
	}
	return all
}

// TestSegmentsApart demands that nothing of a segment, NaN included, comes to another, forward and backward.
func TestSegmentsApart(t *testing.T) {
	test := func(t *testing.T, d *Device) {
		const rows, from, to = 200, 30, 131
		for _, head := range []int{64, 128} {
			o := compute.Attention{Heads: 2, KVHeads: 1, HeadDim: head, Scale: 0.1}
			in := []compute.Buffer{filled(t, d, compute.BF16, rows, 2*head), filled(t, d, compute.BF16, rows, head), filled(t, d, compute.BF16, rows, head), filled(t, d, compute.BF16, rows, 2*head)}
			want := attentionRun(t, d, o, in[0], in[1], in[2], in[3], 0, from, to, rows)
			for _, b := range in {
				v, cols := floats(t, d, b), b.Spec().Shape.Cols()
				for i := range v {
					if i < from*cols || i >= to*cols {
						v[i] = float32(math.NaN())
					}
				}
				data := make([]byte, b.Spec().Bytes())
				quant.PutFloats(data, v, compute.BF16)
				if err := d.Write(b, data); err != nil {
					t.Fatal(err)
				}
			}
			got := attentionRun(t, d, o, in[0], in[1], in[2], in[3], 0, from, to, rows)
			for k, name := range []string{"y", "dq", "dk", "dv"} {
				cols := len(want[k]) / rows
				for i := from * cols; i < to*cols; i++ {
					if got[k][i] != want[k][i] {
						t.Errorf("head of %d: %s[%d][%d] is %v beside segments of NaN, else %v", head, name, i/cols, i%cols, got[k][i], want[k][i])
						break
					}
				}
			}
		}
	}
	t.Run("Emulated", func(t *testing.T) { test(t, emulated(t, "capability=90")) })
	t.Run("card", func(t *testing.T) {
		d := card(t, "")
		if !d.image.Hopper {
			t.Skip("needs a Hopper card, of compute capability 9.0: others have other kernels")
		}
		test(t, d)
	})
}

// TestTilings: tiles of packed segments are made once, and again where the bounds were written or are another's.
func TestTilings(t *testing.T) {
	for _, capability := range []string{"80", "90"} {
		d := emulated(t, "capability="+capability)
		const rows = 200
		o := compute.Attention{Heads: 2, KVHeads: 1, HeadDim: 64, Scale: 0.1}
		qkv := []compute.Buffer{filled(t, d, compute.BF16, rows, 128), filled(t, d, compute.BF16, rows, 64), filled(t, d, compute.BF16, rows, 64)}
		integers := func(v ...int32) compute.Buffer {
			b, err := d.Alloc(compute.Shape{len(v)}, compute.I32)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Write(b, compute.IntBytes(v)); err != nil {
				t.Fatal(err)
			}
			return b
		}
		out := []compute.Buffer{filled(t, d, compute.BF16, rows, 128), filled(t, d, compute.F32, rows, 2)}
		run := func(bounds compute.Buffer) ([]float32, int) {
			t.Helper()
			from := launches(d)
			if err := d.Run(o, out, append(slices.Clip(qkv), bounds)); err != nil {
				t.Fatal(err)
			}
			n := launches(d) - from
			return floats(t, d, out[0]), n
		}
		first, second := []int32{0, 30, 131, rows}, []int32{0, 150, 160, rows}
		used, _ := d.Memory()
		fresh := map[int32][]float32{}
		for _, v := range [][]int32{first, second} {
			b := integers(v...)
			fresh[v[1]], _ = run(b)
			b.Free()
		}
		bounds := integers(first...)
		_, n := run(bounds)
		got, again := run(bounds)
		if !slices.Equal(got, fresh[30]) || n != 2 || again != 1 {
			t.Errorf("%s: launches %d, then %d, want 2 and 1; the same result: %v", capability, n, again, slices.Equal(got, fresh[30]))
		}
		if err := d.Write(bounds, compute.IntBytes(second)); err != nil {
			t.Fatal(err)
		}
		if got, _ := run(bounds); !slices.Equal(got, fresh[150]) {
			t.Errorf("%s: bounds that were written show the tiles of before", capability)
		}
		logits := make([]float32, len(first)*(rows+1))
		for i, at := range first {
			logits[i*(rows+1)+int(at)] = 1
		}
		x, err := d.Alloc(compute.Shape{len(first), rows + 1}, compute.F32)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Write(x, compute.FloatBytes(logits)), d.Run(compute.ArgMax{}, []compute.Buffer{bounds}, []compute.Buffer{x})); err != nil {
			t.Fatal(err)
		}
		if got, _ := run(bounds); !slices.Equal(got, fresh[30]) {
			t.Errorf("%s: bounds that an op has written show the tiles of before", capability)
		}
		bounds.Free()
		x.Free()
		if now, _ := d.Memory(); now != used {
			t.Errorf("%s: %d bytes are held beside those of before", capability, now-used)
		}
	}
}

// BenchmarkAttention times attention of the Ministral-8B shape over packed rows, by what the masks leave of the products.
func BenchmarkAttention(b *testing.B) {
	d := card(b, "")
	const heads, kv, head = 32, 8, 128
	for _, s := range []struct{ rows, length int }{{4, 512}, {4, 2048}, {16, 128}} {
		t := s.rows * s.length
		var segments []int32
		for i := range s.rows + 1 {
			segments = append(segments, int32(i*s.length))
		}
		act := func(cols int) compute.Buffer { return filled(b, d, compute.BF16, t, cols) }
		empty := func(t compute.DType, shape ...int) compute.Buffer {
			buf, err := d.Alloc(shape, t)
			if err != nil {
				b.Fatal(err)
			}
			return buf
		}
		bounds := empty(compute.I32, len(segments))
		if err := d.Write(bounds, compute.IntBytes(segments)); err != nil {
			b.Fatal(err)
		}
		o := compute.Attention{Heads: heads, KVHeads: kv, HeadDim: head, Scale: 0.088}
		in := []compute.Buffer{act(heads * head), act(kv * head), act(kv * head), bounds, empty(compute.BF16, t, heads*head), empty(compute.F32, t, heads), act(heads * head)}
		flops := float64(s.rows) * float64(s.length) * float64(s.length+1) / 2 * 4 * heads * head
		bench := func(name string, flops float64, op compute.Op, out, in []compute.Buffer) {
			b.Run(fmt.Sprintf("%dx%d/%s", s.rows, s.length, name), func(b *testing.B) {
				s := timed(b, d, op, out, in)
				b.ReportMetric(flops/s/1e12, "TFLOP/s")
			})
		}
		bench("forward", flops, o, in[4:6], in[:4])
		bench("gradient", 2.5*flops, compute.AttentionGrad{Attention: o}, []compute.Buffer{act(heads * head), act(kv * head), act(kv * head)}, in)
		for _, buf := range in {
			buf.Free()
		}
	}
}
