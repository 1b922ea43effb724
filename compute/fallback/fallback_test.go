package fallback

import (
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/quant"
)

// TestConformance: a device with a third of the ops passes the suite in all of them, at
// once or working beside its caller.
func TestConformance(t *testing.T) {
	partial := computetest.NewPartial(compute.BF16)
	dev := New(partial)
	computetest.RunSome(t, dev, 8)
	var host, device int
	for _, c := range dev.Counts() {
		if c.Host > 0 {
			host++
		}
		if c.Device > 0 {
			device++
		}
	}
	if device == 0 || host <= device {
		t.Errorf("%d ops ran on the device, %d on the host, at least once", device, host)
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
	t.Run("async", func(t *testing.T) { computetest.RunSome(t, New(computetest.NewAsync(partial)), 32) })
}

// TestBadIndices: data that leads out of an array is an error.
func TestBadIndices(t *testing.T) {
	dev := New(computetest.NewPartial(compute.BF16))
	f32 := quant.Format{Kind: quant.Dense, DType: quant.F32}
	w, err := dev.ImportWeight(&quant.Matrix{Format: f32, Rows: 2, Cols: 3, Data: make([]byte, 24)})
	if err != nil {
		t.Fatal(err)
	}
	buffer := func(shape compute.Shape, d compute.DType, data []byte) compute.Buffer {
		b, err := dev.Alloc(shape, d)
		if err == nil && data != nil {
			err = dev.Write(b, data)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// CopyRows is one of the ops that the device lacks.
	x := buffer(compute.Shape{2, 3}, compute.F32, make([]byte, 24))
	if err := dev.Run(compute.CopyRows{Rows: 2, To: compute.F32}, []compute.Buffer{w}, []compute.Buffer{x}); err == nil {
		t.Error("a weight as an output passed")
	}
	h, loss := buffer(compute.Shape{1, 3}, compute.F32, make([]byte, 12)), buffer(compute.Shape{1}, compute.F32, nil)
	one := buffer(compute.Shape{1}, compute.F32, make([]byte, 4))
	for _, target := range []int32{1, 2, -1} {
		targets := buffer(compute.Shape{1}, compute.I32, compute.IntBytes([]int32{target}))
		op := compute.CrossEntropy{Weight: compute.Weight{Format: f32, Rows: 2, Cols: 3}}
		err := dev.Run(op, []compute.Buffer{loss}, []compute.Buffer{h, targets, one, w})
		if target == 1 && err != nil {
			t.Error(err)
		}
		if target != 1 && (err == nil || !strings.Contains(err.Error(), "cross_entropy on the host")) {
			t.Errorf("target %d of 2: %v", target, err)
		}
	}
}

// TestLedger: the planner reckons with the device's allocator.
func TestLedger(t *testing.T) {
	real, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	if plan.For(New(real)).Ledger == nil {
		t.Error("the CPU's ledger is lost")
	}
	if plan.For(New(computetest.NewPartial(compute.BF16))).Ledger != nil {
		t.Error("a ledger of a device that has none")
	}
}
