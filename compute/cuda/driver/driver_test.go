//go:build linux && (amd64 || arm64) && !static

package driver

import (
	"encoding/binary"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/lentil-lm/lentil/fault"
)

// fake builds the driver without a card.
func fake(t *testing.T, flags ...string) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is missing, which builds the fake driver")
	}
	path := filepath.Join(t.TempDir(), "libfakecuda.so")
	if out, err := exec.Command(gcc, append(flags, "-shared", "-fPIC", "-O1", "-o", path, "testdata/fake.c")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func TestCalls(t *testing.T) {
	d, err := Open(fake(t))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.Cards(); n != 2 || err != nil {
		t.Fatalf("%d cards, %v", n, err)
	}
	c, err := d.Card(1)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "Fake 1" || c.Capability != 90 || c.Multiprocessors != 132 || c.Memory != 1<<30 || !c.Cooperative {
		t.Errorf("card is %+v", c)
	}
	if other, err := d.Card(0); err != nil || other.Cooperative {
		t.Errorf("a card without cooperative launches is %+v, %v", other, err)
	}
	pool, err := c.Pool()
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { copies(t, d, s) })
	}
	wg.Wait()
	if _, most, err := d.Reserved(pool); most < 1000 || err != nil {
		t.Errorf("most is %d, %v", most, err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d.Use(2)
	launches(t, d, s)
	m := new(TensorMap)
	if err := d.Tiles(m, 0, 1, 64, 64, 1); err == nil || m.Addr()%64 != 0 {
		t.Errorf("tiles of a driver without them: %v, at %#x", err, m.Addr())
	}
}

// TestTilesOnAnyThread: a matrix can be described by the first call on a thread.
func TestTilesOnAnyThread(t *testing.T) {
	d, err := Open(fake(t, "-DTILES"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with its goroutine
		d.Use(2)
		done <- d.Tiles(new(TensorMap), 0, 1, 64, 64, 1)
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// copies moves bytes to the card, within it and back.
func copies(t *testing.T, d *Driver, s Stream) {
	for range 50 {
		src, dst := make([]byte, 1000), make([]byte, 1000)
		for i := range src {
			src[i] = byte(i)
		}
		a, err := d.Alloc(1000, s)
		if err != nil {
			t.Error(err)
			return
		}
		b, err := d.Alloc(1000, s)
		if err != nil {
			t.Error(err)
			return
		}
		d.CopyIn(a, src, s)
		runtime.GC()
		d.Copy(b, a, 999, s)
		d.Set(b+999, 9, 1, s)
		d.CopyOut(dst, b, s)
		src[999] = 9
		if string(src) != string(dst) {
			t.Error("other bytes came back")
		}
		if d.Free(a, s) != nil || d.Free(b, s) != nil || d.Wait(s) != nil {
			t.Error("not freed")
		}
	}
}

// launches checks that the numbers of a launch arrive.
func launches(t *testing.T, d *Driver, s Stream) {
	m, err := d.Load([]byte("ptx\x00"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Func(m, "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Func(m, "none"); !Is(err, 500) {
		t.Errorf("a kernel that does not exist: %v", err)
	}
	told, err := d.Alloc(128, s)
	if err != nil {
		t.Fatal(err)
	}
	cells := &[2]uint64{42, uint64(told)}
	args := &[2]uintptr{uintptr(unsafe.Pointer(&cells[0])), uintptr(unsafe.Pointer(&cells[1]))}
	if err := d.Launch(f, Grid{X: 3, Y: 2, Threads: 96, Shared: 7}, &args[0], s); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 128)
	arrived := func(want ...uint64) {
		t.Helper()
		d.CopyOut(got, told, s)
		for i, want := range want {
			if v := binary.LittleEndian.Uint64(got[8*i:]); v != want {
				t.Errorf("number %d of the launch is %d, want %d", i, v, want)
			}
		}
	}
	arrived(3, 2, 1, 96, 7, 42, 0, 0)
	for _, c := range []struct {
		programmatic, cooperative bool
		attributes                []uint64
	}{
		{true, false, []uint64{programmaticSerialization, 1, 0, 0}},
		{false, true, []uint64{cooperative, 1, 0, 0}},
		{true, true, []uint64{cooperative, 1, programmaticSerialization, 1}},
		{false, false, []uint64{0, 0, 0, 0}},
	} {
		if err := d.Launch(f, Grid{X: 4, Threads: 128, Shared: 8, Programmatic: c.programmatic, Cooperative: c.cooperative}, &args[0], s); err != nil {
			t.Fatal(err)
		}
		arrived(append([]uint64{4, 1, 1, 128, 8, 42}, c.attributes...)...)
	}
	ex := d.launchEx
	d.launchEx = 0
	if err := d.Launch(f, Grid{X: 5, Threads: 32, Programmatic: true}, &args[0], s); err != nil {
		t.Errorf("an early launch by a driver without attributes: %v", err)
	}
	if err := d.Launch(f, Grid{X: 6, Threads: 32, Cooperative: true}, &args[0], s); err == nil || !strings.Contains(err.Error(), "no cuLaunchKernelEx") {
		t.Errorf("a cooperative launch by a driver without attributes: %v", err)
	}
	arrived(5)
	d.launchEx = ex
	runtime.KeepAlive(cells)
}

// TestFailures demands that an error names the call, the driver's word for it and a remedy.
func TestFailures(t *testing.T) {
	lib := fake(t)
	for _, c := range []struct{ env, path, says, remedy string }{
		{"", filepath.Join(t.TempDir(), "none.so"), "no NVIDIA driver", "Install NVIDIA's driver"},
		{"init=100", lib, "finds no card: cuInit: CUDA_ERROR_NO_DEVICE (100)", "CUDA_VISIBLE_DEVICES"},
		{"init=803", lib, "different versions", "Restart"},
		{"init=802", lib, "not ready", "fabricmanager"},
		{"init=999", lib, "does not start", "In a container"},
		{"version=11080", lib, "made for CUDA 11.8", "CUDA 12.0 or later"},
	} {
		t.Setenv("FAKE_CUDA", c.env)
		_, err := Open(c.path)
		if err == nil {
			t.Errorf("%s: opened", c.env)
			continue
		}
		if text := fault.Text(err, func(s fault.Setting) string { return string(s) }); !strings.Contains(text, c.says) || !strings.Contains(text, c.remedy) {
			t.Errorf("%s: %q, want %q and %q", c.env, text, c.says, c.remedy)
		}
	}
	t.Setenv("FAKE_CUDA", "launch=700")
	d, err := Open(lib)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Alloc(2<<30, 0); !Is(err, OutOfMemory) || Lost(err) {
		t.Errorf("too much memory: %v", err)
	}
	if _, err := d.Card(2); !Is(err, InvalidDevice) {
		t.Errorf("a third card: %v", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d.Use(1)
	zero := &[2]uintptr{}
	cell := new(uint64)
	zero[0], zero[1] = uintptr(unsafe.Pointer(cell)), uintptr(unsafe.Pointer(cell))
	if err := d.Launch(1, Grid{Threads: 1}, &zero[0], 0); !Lost(err) {
		t.Errorf("a kernel's bad address: %v, want a lost context", err)
	}
}
