package cpu

import (
	"errors"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// newDevice makes a device that the test's end closes.
func newDevice(t testing.TB, threads int, family string) *Device {
	t.Helper()
	dev, err := New(Options{Threads: threads, Kernels: family})
	if err != nil {
		t.Fatal(err)
	}
	d := dev.(*Device)
	t.Cleanup(func() { d.Close() })
	return d
}

func TestMemory(t *testing.T) {
	d := newDevice(t, 1, "")
	for _, n := range []int{0, 1, 63, 64, 1000, 1 << 18, 3 << 20} {
		b, err := d.Alloc(compute.Shape{n}, compute.F32)
		if err != nil {
			t.Fatal(err)
		}
		data := b.(*buffer).Data
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(data))); at%alignment != 0 {
			t.Errorf("%d elements: address %#x is not aligned", n, at)
		}
		if size := cap(data); size < 4*n || size > max(4*n*9/8, 2*alignment) {
			t.Errorf("%d elements: block of %d bytes", n, size)
		}
		used, _ := d.Memory()
		if used != int64(cap(data)) {
			t.Errorf("%d elements: %d bytes in use, block has %d", n, used, cap(data))
		}
		b.Free()
		b.Free() // a second time is harmless
	}
	used, peak := d.Memory()
	if used != 0 || peak != 12<<20 {
		t.Errorf("in use %d, peak %d; want 0 and %d", used, peak, 12<<20)
	}
	if kept := d.mem.kept; kept > peak+slack {
		t.Errorf("keeps %d free bytes", kept)
	}
	first, _ := d.Alloc(compute.Shape{3 << 20}, compute.F32)
	first.Free()
	second, _ := d.Alloc(compute.Shape{3<<20 - 5}, compute.F32)
	if unsafe.SliceData(first.(*buffer).Data) != nil || d.mem.used != 12<<20 || len(second.(*buffer).Data) != 4*(3<<20-5) {
		t.Error("a freed block was not reused for the same class")
	}
	d.mem.limit = 13 << 20
	if _, err := d.Alloc(compute.Shape{1 << 20}, compute.F32); !errors.Is(err, compute.ErrNoMemory) {
		t.Errorf("over the limit: %v", err)
	}
}

func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		p := newPool(threads)
		defer p.close()
		for _, n := range []int{0, 1, 2, 7, 100} {
			for range 200 {
				hits := make([]atomic.Int32, n)
				p.run(n, func(worker, i int) {
					if worker >= threads {
						t.Errorf("worker %d of %d", worker, threads)
					}
					hits[i].Add(1)
				})
				for i := range hits {
					if hits[i].Load() != 1 {
						t.Fatalf("threads %d: task %d of %d ran %d times", threads, i, n, hits[i].Load())
					}
				}
			}
		}
	}
}

func TestBufferErrors(t *testing.T) {
	d := newDevice(t, 1, "")
	host := make([]byte, 16)
	m := &quant.Matrix{Format: quant.Format{Kind: quant.Dense, DType: quant.F32}, Rows: 1, Cols: 4, Data: host}
	in, err := d.ImportWeight(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write(in, host); !errors.Is(err, compute.ErrReadOnly) {
		t.Errorf("write to import: %v", err)
	}
	if err := d.Run(compute.Scale{Alpha: 2}, []compute.Buffer{in}, []compute.Buffer{in}); !errors.Is(err, compute.ErrReadOnly) {
		t.Errorf("output to import: %v", err)
	}
	if err := d.Read(in, host[:3]); err == nil {
		t.Error("short read passed")
	}
	if _, err := d.ImportWeight(&quant.Matrix{Format: m.Format, Rows: 1, Cols: 5, Data: host}); err == nil {
		t.Error("import of too few bytes passed")
	}
	out, _ := d.Alloc(compute.Shape{5}, compute.F32)
	if err := d.Run(compute.Scale{Alpha: 2}, []compute.Buffer{out}, []compute.Buffer{in}); err == nil {
		t.Error("wrong output shape passed")
	}
	out.Free()
	if err := d.Read(out, make([]byte, 20)); !errors.Is(err, compute.ErrFreed) {
		t.Errorf("read after free: %v", err)
	}
	if _, err := New(Options{Kernels: "abacus"}); err == nil {
		t.Error("unknown kernels passed")
	}
}
