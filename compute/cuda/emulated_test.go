package cuda

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
	"github.com/lentil-lm/lentil/compute/cuda/emulate"
)

// emulated opens a card that the processor plays, with exact blocks of memory. On Hopper, kernels that wait for
// those before them are launched as if they began early.
func emulated(t testing.TB, env string) *Device {
	t.Helper()
	t.Setenv("EMULATED_CUDA", env)
	t.Setenv("LENTIL_CUDA", "")
	dev, err := New(Options{Driver: emulate.Library(t)})
	if err != nil {
		t.Fatal(err)
	}
	d := dev.(*Device)
	d.kept.exact, d.early = true, true
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// onCards runs a test on Hopper, where kernels may begin early, and on a card of 8.0. Short tests leave out that one: the kernels of
// such a test are the same.
func onCards(t *testing.T, test func(*testing.T, *Device)) {
	capabilities := []string{"90", "80"}
	if testing.Short() {
		capabilities = capabilities[:1]
	}
	for _, capability := range capabilities {
		t.Run(capability, func(t *testing.T) { test(t, emulated(t, "capability="+capability)) })
	}
}

// share is every how many cases a test takes: LENTIL_EMULATE=1 takes all.
func share(otherwise int) int { return shareOf("LENTIL_EMULATE", otherwise) }

func shareOf(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// TestEmulated runs the suite on the kernels as the processor runs them, as a card of 8.0 and as Hopper.
func TestEmulated(t *testing.T) {
	for _, capability := range []string{"80", "90"} {
		t.Run(capability, func(t *testing.T) {
			d := emulated(t, "capability="+capability)
			computetest.RunSome(t, d, share(8))
			if used, _ := d.Memory(); used != 0 {
				t.Errorf("%d bytes are still held", used)
			}
		})
	}
}

// TestEmulatedFaults demands that the emulation sees what kernels do wrong.
func TestEmulatedFaults(t *testing.T) {
	d := emulated(t, "")
	const n = 12
	launch := func(name string, at int) ([]float32, error) {
		t.Helper()
		d.enter()
		defer d.leave()
		p, bytes, err := d.memory(4 * n)
		if err != nil {
			t.Fatal(err)
		}
		src, dst := compute.FloatBytes([]float32{7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}), make([]byte, 4*n)
		d.fail(d.drv.CopyIn(p, src, d.stream))
		d.kernel(name).ptr(p).int(n, at).launch(driver.Grid{X: 1, Threads: 64, Shared: 16})
		d.flush()
		d.fail(d.drv.CopyOut(dst, p, d.stream))
		d.release(p, bytes)
		got := compute.Array{Spec: compute.Spec{Shape: compute.Shape{n}, DType: compute.F32}, Data: dst}.F32()
		return got, d.take()
	}
	for _, c := range []struct {
		name, says string
		at         int
	}{
		{"fault_beyond", "thread 5: touches memory that is nobody's", 0},
		{"fault_beyond", "thread 5: touches memory that is nobody's", -1100},
		{"fault_beyond", "memory before a buffer", -n - 1},
		{"fault_divided", "where others of the warp are at", 0},
		{"fault_ended", "shfl_xor", 0},
		{"fault_barrier", "nobody goes on", 0},
		{"fault_shared", "shared memory: byte 16 of 16", 0},
	} {
		if _, err := launch(c.name, c.at); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
	if got, err := launch("fault_none", 0); err != nil || got[n-1] != 7 {
		t.Errorf("a kernel without a fault: %v, %v", got, err)
	}
	if got, err := launch("fault_unwaited", 0); err != nil || got[n-1] == 7 {
		t.Errorf("a copy was there before it was waited for: %v, %v", got, err)
	}
	a, _ := launch("fault_race", 0)
	if b, err := launch("fault_race", 0); err != nil || slices.Equal(a, b) {
		t.Errorf("a race was not seen: %v, %v", a, err)
	}
}

// TestEmulatedEarly: a kernel that may begin early is held to waiting before it touches more than weights.
func TestEmulatedEarly(t *testing.T) {
	d := emulated(t, "capability=90")
	waiting["fault_early"] = true
	defer delete(waiting, "fault_early")
	for at, says := range []string{"", "before it has waited", "before it has waited", "ends without waiting"} {
		d.enter()
		p, bytes, err := d.memory(16)
		if err != nil {
			t.Fatal(err)
		}
		d.fail(d.drv.Set(p, 0, 16, d.stream))
		dst := make([]byte, 16)
		for range 2 {
			d.kernel("fault_early").ptr(p).int(0, 0).launch(driver.Grid{X: 2, Threads: 64, Shared: 16})
		}
		d.kernel("fault_early").ptr(p).int(0, at).launch(driver.Grid{X: 2, Threads: 64, Shared: 16})
		d.flush()
		d.fail(d.drv.CopyOut(dst, p, d.stream))
		d.release(p, bytes)
		err = d.take()
		d.leave()
		got := compute.Array{Spec: compute.Spec{Shape: compute.Shape{4}, DType: compute.F32}, Data: dst}.F32()
		if says == "" && (err != nil || got[1] != 6) || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("kernel %d: %v, %v, want %q", at, got, err, says)
		}
	}
}

// TestEmulatedTogether: one device's launches, which hide memory until threads have waited, leave another's copies alone.
func TestEmulatedTogether(t *testing.T) {
	waiting["fault_early"] = true
	defer delete(waiting, "fault_early")
	a, b := emulated(t, "capability=90"), emulated(t, "capability=90")
	copies := 2000
	if testing.Short() {
		copies = 200
	}
	done := make(chan error)
	go func() {
		src, dst := make([]byte, 1<<16), make([]byte, 1<<16)
		x, err := b.Alloc(compute.Shape{len(src)}, compute.U8)
		for n := 0; n < copies && err == nil; n++ {
			err = errors.Join(b.Write(x, src), b.Read(x, dst))
		}
		if err == nil {
			x.Free()
		}
		done <- err
	}()
	a.enter()
	p, bytes, err := a.memory(16)
	for going := true; going; {
		select {
		case other := <-done:
			err, going = errors.Join(err, other), false
		default:
			for range 3 {
				a.kernel("fault_early").ptr(p).int(0, 0).launch(driver.Grid{X: 2, Threads: 64, Shared: 16})
			}
			a.flush()
		}
	}
	a.release(p, bytes)
	err = errors.Join(err, a.take())
	a.leave()
	if err != nil {
		t.Error(err)
	}
}
