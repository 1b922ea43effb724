package plan

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/quant"
)

var _ compute.Device = (*Device)(nil)

func alloc(t *testing.T, dev compute.Device, shape ...int) compute.Buffer {
	t.Helper()
	b, err := dev.Alloc(shape, compute.F32)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMemory(t *testing.T) {
	d := New(Options{})
	a, b := alloc(t, d, 1024), alloc(t, d, 2, 512)
	a.Free()
	a.Free() // a second time is harmless
	c := alloc(t, d, 256)
	if r := d.Report(); r.CurrentBytes != 5120 || r.PeakBytes != 8192 {
		t.Errorf("in use %d, peak %d; want 5120 and 8192", r.CurrentBytes, r.PeakBytes)
	}
	d.Reset()
	if r := d.Report(); r.PeakBytes != 5120 {
		t.Errorf("peak after reset %d, want what is in use, 5120", r.PeakBytes)
	}
	b.Free()
	c.Free()
	if r := d.Report(); r.CurrentBytes != 0 || r.PeakBytes != 5120 {
		t.Errorf("in use %d, peak %d; want 0 and 5120", r.CurrentBytes, r.PeakBytes)
	}
	if _, err := d.Alloc(compute.Shape{1 << 40, 1 << 40}, compute.F32); !errors.Is(err, compute.ErrNoMemory) {
		t.Errorf("a size beyond int64: %v", err)
	}
	// Far more than any machine has can be planned.
	if b, err := d.Alloc(compute.Shape{1 << 45}, compute.F32); err != nil || d.Report().PeakBytes != 1<<47 {
		t.Errorf("128 TiB: %v, %v", b, err)
	}
}

// TestMemoryAsCPU allocates and frees at random on both devices.
func TestMemoryAsCPU(t *testing.T) {
	device, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	machine := device.(*cpu.Device)
	defer machine.Close()
	planned := New(For(machine))
	rng := rand.New(rand.NewPCG(1, 2))
	var live [][2]compute.Buffer
	for n := 1; n < 1<<17; n = n*3/2 + 1 { // nothing freed yet, so nothing is reused: to the byte
		live = append(live, [2]compute.Buffer{alloc(t, machine, n), alloc(t, planned, n)})
		if used, peak := machine.Memory(); planned.Report().CurrentBytes != used || planned.Report().PeakBytes != peak {
			t.Fatalf("%d elements more: planned %d in use and %d at peak, the CPU has %d and %d",
				n, planned.Report().CurrentBytes, planned.Report().PeakBytes, used, peak)
		}
	}
	for range 300 {
		if len(live) > 0 && rng.IntN(5) < 2 {
			i := rng.IntN(len(live))
			live[i][0].Free()
			live[i][1].Free()
			live[i] = live[len(live)-1]
			live = live[:len(live)-1]
			continue
		}
		n := 1 << rng.IntN(18)
		n = n/2 + rng.IntN(n)
		live = append(live, [2]compute.Buffer{alloc(t, machine, n), alloc(t, planned, n)})
	}
	used, peak := machine.Memory()
	// The CPU may serve a buffer from a free block up to two size classes larger, an eighth each.
	const reuse = 1.25
	fits := func(plan, real int64) bool { return plan <= real && float64(real) <= reuse*float64(plan) }
	if r := planned.Report(); !fits(r.CurrentBytes, used) || !fits(r.PeakBytes, peak) {
		t.Errorf("planned %d in use and %d at peak, the CPU has %d and %d", r.CurrentBytes, r.PeakBytes, used, peak)
	}
}

func TestWeights(t *testing.T) {
	d := New(Options{})
	f32 := quant.Format{Kind: quant.Dense, DType: quant.F32}
	m := &quant.Matrix{Format: f32, Rows: 10, Cols: 100, Data: make([]byte, 4000)}
	var imports []compute.Buffer
	for range 2 { // the same memory twice, as with tied embeddings
		b, err := d.ImportWeight(m)
		if err != nil {
			t.Fatal(err)
		}
		imports = append(imports, b)
	}
	if r := d.Report(); r.WeightBytes != 4000 || r.PeakBytes != 0 {
		t.Errorf("weights %d, peak %d; want 4000 and 0", r.WeightBytes, r.PeakBytes)
	}
	if err := d.Write(imports[0], m.Data); !errors.Is(err, compute.ErrReadOnly) {
		t.Errorf("write to a weight: %v", err)
	}
	if _, err := d.ImportWeight(&quant.Matrix{Format: f32, Rows: 10, Cols: 50, Data: m.Data}); err == nil {
		t.Error("import of too many bytes passed")
	}
	imports[0].Free()
	if r := d.Report(); r.WeightBytes != 4000 {
		t.Errorf("weights %d while one import lives, want 4000", r.WeightBytes)
	}
	imports[1].Free()
	if r := d.Report(); r.WeightBytes != 0 {
		t.Errorf("weights %d after all were freed", r.WeightBytes)
	}
}

func TestWork(t *testing.T) {
	d := New(Options{Supports: func(op compute.Op, _ []compute.Spec) bool { return op.Name() != "swiglu" }})
	a, b, c := alloc(t, d, 4, 8), alloc(t, d, 8, 16), alloc(t, d, 4, 16)
	for range 3 {
		if err := d.Run(compute.MatMul{Alpha: 1}, []compute.Buffer{c}, []compute.Buffer{a, b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Run(compute.Scale{Alpha: 1}, []compute.Buffer{a}, []compute.Buffer{a}); err != nil {
		t.Fatal(err)
	}
	matmul := compute.Cost{FLOPs: 3 * 2 * 4 * 8 * 16, Bytes: 3 * 4 * (4*8 + 8*16 + 4*16)}
	scale := compute.Cost{FLOPs: 32, Bytes: 2 * 4 * 32}
	r := d.Report()
	if got := r.ByOp["matmul"]; got != (OpReport{3, matmul}) {
		t.Errorf("matmul %+v, want 3 runs of together %+v", got, matmul)
	}
	if got := r.ByOp["scale"]; got != (OpReport{1, scale}) {
		t.Errorf("scale %+v, want %+v", got, scale)
	}
	if sum := matmul.Add(scale); r.FLOPs != sum.FLOPs || r.Bytes != sum.Bytes {
		t.Errorf("%d FLOPs and %d bytes, want %+v", r.FLOPs, r.Bytes, sum)
	}

	// matmul is bound by arithmetic on this machine, scale by memory.
	info := compute.Info{PeakFLOPS: 1e6, PeakBandwidth: 4e6}
	want := (float64(matmul.FLOPs)/1e6 + float64(scale.Bytes)/4e6) / 0.5
	if got := r.Time(info, 0.5); (got - time.Duration(want*1e9)).Abs() > time.Microsecond {
		t.Errorf("time %v, want %.6f s", got, want)
	}
	if got := r.Time(compute.Info{}, 0.5); got != 0 {
		t.Errorf("time on an unknown device is %v", got)
	}

	d.Reset()
	if r := d.Report(); r.FLOPs != 0 || len(r.ByOp) != 0 {
		t.Errorf("after reset %+v", r)
	}
	if err := d.Run(compute.SwiGLU{}, []compute.Buffer{a}, []compute.Buffer{a, a}); !errors.Is(err, compute.ErrUnsupported) {
		t.Errorf("unsupported op: %v", err)
	}
	if err := d.Run(compute.MatMul{Alpha: 1}, []compute.Buffer{a}, []compute.Buffer{a, b}); err == nil {
		t.Error("wrong output shape passed")
	}
	if err := d.Run(compute.Scale{}, []compute.Buffer{a}, []compute.Buffer{alloc(t, New(Options{}), 4, 8)}); !errors.Is(err, compute.ErrForeign) {
		t.Errorf("foreign buffer: %v", err)
	}
	a.Free()
	if err := d.Run(compute.MatMul{Alpha: 1}, []compute.Buffer{c}, []compute.Buffer{a, b}); !errors.Is(err, compute.ErrFreed) {
		t.Errorf("freed buffer: %v", err)
	}
}

// TestQuantizedCache: the plan counts keys and values of few bits by the memory that they
// take and that may be read.
func TestQuantizedCache(t *testing.T) {
	const rows, cols = 1024, 2 * 64
	f := quant.Format{Kind: quant.Affine, DType: compute.F16, Bits: 4, Group: 64}
	w := compute.Weight{Format: f, Rows: rows, Cols: cols}
	d := New(Options{})
	var cache []compute.Buffer
	for range 2 {
		for _, s := range w.Specs() {
			b, err := d.Alloc(s.Shape, s.DType)
			if err != nil {
				t.Fatal(err)
			}
			cache = append(cache, b)
		}
	}
	const each = rows * cols * (4 + 32.0/64) / 8 // bytes of keys, and of values
	if got := d.Report().CurrentBytes; got != 2*each {
		t.Errorf("%d bytes, want %v", got, 2*each)
	}
	spans, err := d.Alloc(compute.Shape{1, 4}, compute.I32)
	if err != nil {
		t.Fatal(err)
	}
	x := alloc(t, d, 1, cols)
	if err := d.Run(compute.StoreRows{Format: f, Cols: cols, Rows: []int{rows}}, cache[:3], []compute.Buffer{x, spans}); err != nil {
		t.Fatal(err)
	}
	q, y := alloc(t, d, 1, 4*64), alloc(t, d, 1, 4*64)
	op := compute.CacheAttention{Attention: compute.Attention{Heads: 4, KVHeads: 2, HeadDim: 64}, Format: f}
	if err := d.Run(op, []compute.Buffer{y}, append([]compute.Buffer{q, spans}, cache...)); err != nil {
		t.Fatal(err)
	}
	by := d.Report().ByOp
	if got, want := by["cache_attention"].Bytes, int64(2*each+2*4*4*64); got != want {
		t.Errorf("attention moves %d bytes, want %d", got, want)
	}
	if got, want := by["store_rows"].Bytes, int64(each/rows+4*cols); got != want {
		t.Errorf("a new row moves %d bytes, want %d", got, want)
	}
}

func TestReadGivesZeros(t *testing.T) {
	d := New(Options{})
	b := alloc(t, d, 3)
	if err := d.Write(b, compute.FloatBytes([]float32{1, 2, 3})); err != nil {
		t.Fatal(err)
	}
	got := []float32{4, 5, 6}
	if err := d.Read(b, compute.FloatBytes(got)); err != nil || got[0] != 0 || got[1] != 0 || got[2] != 0 {
		t.Errorf("read %v, %v; want zeros", got, err)
	}
	if d.Read(b, make([]byte, 3)) == nil {
		t.Error("short read passed")
	}
}

// TestExperts: the plan does not know which experts a router will pick, but how many.
func TestExperts(t *testing.T) {
	d := New(Options{})
	const hidden, out, experts = 64, 32, 8
	w := compute.Weight{Format: quant.Format{Kind: quant.Dense, DType: quant.F32}, Rows: experts * out, Cols: hidden}
	ids, err := d.Alloc(compute.Shape{1, 2}, compute.I32)
	if err != nil {
		t.Fatal(err)
	}
	scores, y := alloc(t, d, 1, 2), alloc(t, d, 2, out)
	for _, err := range []error{
		d.Run(compute.Route{K: 2}, []compute.Buffer{ids, scores}, []compute.Buffer{alloc(t, d, 1, experts)}),
		d.Run(compute.ExpertLinear{Weight: w, Experts: experts}, []compute.Buffer{y}, []compute.Buffer{alloc(t, d, 1, hidden), ids, alloc(t, d, w.Rows, hidden)}),
		d.Run(compute.Combine{}, []compute.Buffer{alloc(t, d, 1, out)}, []compute.Buffer{y, scores}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := compute.Cost{FLOPs: 2 * 2 * out * hidden, Bytes: 4 * (2*out*hidden + hidden + 2*out)}
	if got := d.Report().ByOp["expert_linear"]; got != (OpReport{1, want}) {
		t.Errorf("planned %+v, want %+v", got, want)
	}
}
