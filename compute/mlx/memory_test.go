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
	const rest = 30 * time.Millisecond
	d := open(t, compute.F32)
	n, least := 1024, 10*time.Millisecond
	if d.gpu {
		n, least = 2048, time.Millisecond
	}
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

// TestWideScales: scales in float32 are made once, counted, and given back with the weight. The planner counts them too.
func TestWideScales(t *testing.T) {
	const rows, cols = 8, 64
	d := open(t, compute.BF16)
	f := quant.Format{Kind: quant.Affine, DType: quant.BF16, Bits: 4, Group: 32}
	const groups = rows * cols / 32
	m := &quant.Matrix{Format: f, Rows: rows, Cols: cols, Data: make([]byte, rows*cols/2), Scales: make([]byte, 2*groups), Biases: make([]byte, 2*groups)}
	b, err := d.ImportWeight(m)
	if err != nil {
		t.Fatal(err)
	}
	x, err1 := d.Alloc(compute.Shape{1, cols}, compute.BF16)
	y, err2 := d.Alloc(compute.Shape{1, rows}, compute.F32)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	op, in, out := compute.Linear{Weight: compute.WeightOf(m), To: compute.F32}, []compute.Buffer{x, b}, []compute.Buffer{y}
	l, before := d.newLedger(), d.held
	var arrays []int
	for range 3 {
		if err := d.Run(op, out, in); err != nil {
			t.Fatal(err)
		}
		l.Run(op, []compute.Spec{y.Spec()}, []compute.Spec{x.Spec(), b.Spec()})
		arrays = append(arrays, d.Arrays())
	}
	if wide := int64(2 * 4 * groups); d.held != before+wide || l.held != wide || d.weights != d.account.stored(m)+wide {
		t.Errorf("%d bytes more are held, %d of weights, %d planned, want %d", d.held-before, d.weights, l.held, wide)
	}
	if arrays[1] != arrays[0] || arrays[2] != arrays[0] {
		t.Errorf("%v arrays after each of three products", arrays)
	}
	if b.Free(); d.weights != 0 || d.Arrays() >= arrays[0] {
		t.Errorf("%d bytes of weights and %d arrays are left", d.weights, d.Arrays())
	}
}
