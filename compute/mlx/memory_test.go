package mlx

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// TestAdmission: what does not fit is refused before MLX hears of it, and counts nowhere.
func TestAdmission(t *testing.T) {
	d := open(t, 0)
	d.limit = 1 << 20
	b, err := d.Alloc(compute.Shape{1 << 17}, compute.F32) // half of it
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Alloc(compute.Shape{1<<17 + 1}, compute.F32); !errors.Is(err, compute.ErrNoMemory) || !strings.Contains(err.Error(), "1 MiB are for buffers") {
		t.Errorf("too large a buffer: %v", err)
	}
	m := &quant.Matrix{Format: quant.Format{Kind: quant.Dense, DType: quant.F32}, Rows: 1 << 10, Cols: 1 << 8, Data: make([]byte, 1<<20)}
	if _, err := d.ImportWeight(m); !errors.Is(err, compute.ErrNoMemory) {
		t.Errorf("too large a weight: %v", err)
	}
	b.Free()
	if _, err := d.ImportWeight(m); err != nil {
		t.Errorf("a weight that fits: %v", err)
	}
	if d.held != 1<<20 || d.weights != 1<<20 {
		t.Errorf("%d bytes are held, %d of weights", d.held, d.weights)
	}
}

// TestLateErrors: an index beyond its matrix is told when the result is read, and the device goes on.
func TestLateErrors(t *testing.T) {
	d := open(t, 0)
	buffers := func(shapes ...compute.Spec) (list []compute.Buffer) {
		for _, s := range shapes {
			b, err := d.Alloc(s.Shape, s.DType)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, b)
		}
		return list
	}
	f32 := func(shape ...int) compute.Spec { return compute.Spec{Shape: shape, DType: compute.F32} }
	in := buffers(f32(2, 3), compute.Spec{Shape: compute.Shape{1}, DType: compute.I32})
	out := buffers(f32(1, 3))
	if err := d.Write(in[1], compute.IntBytes([]int32{7})); err != nil {
		t.Fatal(err)
	}
	err := d.Run(compute.GatherRows{}, out, in)
	got := make([]byte, 12)
	if err = errors.Join(err, d.Read(out[0], got)); err == nil || !strings.Contains(err.Error(), "gather_rows: index 7 is beyond the 2 rows") {
		t.Errorf("row 7 of 2: %v", err)
	}
	if err := errors.Join(d.Write(in[1], compute.IntBytes([]int32{1})), d.Run(compute.GatherRows{}, out, in), d.Read(out[0], got)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if d.Read(out[0], got) == nil || d.Run(compute.GatherRows{}, out, in) == nil {
		t.Error("a closed device works")
	}
}

// TestWatchIdle: what is told is the time outside of MLX, and nothing once it is not watched.
func TestWatchIdle(t *testing.T) {
	const n, rest, least = 1024, 30 * time.Millisecond, 10 * time.Millisecond
	d := open(t, compute.F32)
	var bufs []compute.Buffer
	for range 3 {
		b, err := d.Alloc(compute.Shape{n, n}, compute.F32)
		if err != nil {
			t.Fatal(err)
		}
		bufs = append(bufs, b)
	}
	if idle := d.WatchIdle(true); idle != 0 {
		t.Errorf("%v before it was watched", idle)
	}
	start := time.Now()
	time.Sleep(rest)
	if err := errors.Join(d.Run(compute.MatMul{Alpha: 1}, bufs[:1], bufs[1:]), d.Sync()); err != nil {
		t.Fatal(err)
	}
	all := time.Since(start)
	if idle := d.WatchIdle(false); idle < rest || all-idle < least {
		t.Errorf("%v of %v outside, with a rest of %v and a product", idle, all, rest)
	}
	if idle := d.WatchIdle(false); idle != 0 {
		t.Errorf("%v when it was not watched", idle)
	}
}
