//go:build linux && (amd64 || arm64) && !static

package cuda

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/quant"
)

// fake is a device on the driver without a card, whose kernels do nothing.
func fake(t testing.TB, env string) (*Device, error) {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is missing, which builds the fake driver")
	}
	path := filepath.Join(t.TempDir(), "libfakecuda.so")
	if out, err := exec.Command(gcc, "-shared", "-fPIC", "-O1", "-o", path, "driver/testdata/fake.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("FAKE_CUDA", env)
	dev, err := New(Options{Driver: path})
	if err != nil {
		return nil, err
	}
	return dev.(*Device), nil
}

// TestMemory moves bytes through buffers, large ones in several pieces, and counts what is held.
func TestMemory(t *testing.T) {
	d, err := fake(t, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 511, 4096, 3*stagingHalf + 5} {
		src, dst := make([]byte, n), make([]byte, n)
		for i := range src {
			src[i] = byte(i * 7)
		}
		b, err := d.Alloc(compute.Shape{n}, compute.U8)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Write(b, src), d.Read(b, dst)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(src, dst) {
			t.Errorf("%d bytes came back changed", n)
		}
		if used, _ := d.Memory(); used != max(512, int64(n+511)&^511) {
			t.Errorf("%d bytes are held for %d", used, n)
		}
		b.Free()
		b.Free()
		if d.Read(b, dst) == nil {
			t.Error("a freed buffer was read")
		}
	}
	if used, peak := d.Memory(); used != 0 || peak < 3*stagingHalf {
		t.Errorf("held %d, at most %d", used, peak)
	}
	if _, err := d.Alloc(compute.Shape{2 << 30}, compute.U8); !errors.Is(err, compute.ErrNoMemory) || !strings.Contains(err.Error(), "2048 MiB wanted") || !strings.Contains(words(err), "fewer bits") {
		t.Errorf("too much memory: %v", err)
	}
	if err := errors.Join(d.Sync(), d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if _, err := d.Alloc(compute.Shape{1}, compute.U8); err == nil {
		t.Error("a closed device has memory")
	}
}

// TestWeights imports each way a weight can lie, and reads it back.
func TestWeights(t *testing.T) {
	d, err := fake(t, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		f     quant.Format
		cols  int
		form  form
		bytes int64
	}{
		{quant.Format{Kind: quant.Affine, DType: quant.BF16, Bits: 4, Group: 64}, 192, packed, 2 * 4 * blockBytes},
		{quant.Format{Kind: quant.Affine, DType: quant.F16, Bits: 4, Group: 32}, 192, raw, 0},
		{quant.Format{Kind: quant.Affine, DType: quant.F32, Bits: 3, Group: 64}, 192, raw, 0},
		{quant.Format{Kind: quant.MXFP4, DType: quant.U8, Bits: 4, Group: 32}, 64, raw, 0},
		{quant.Format{Kind: quant.Q6K}, 256, raw, 0},
		{quant.Format{Kind: quant.Dense, DType: quant.F16}, 7, dense, 5 * 7 * 2},
	} {
		m := &quant.Matrix{Format: c.f, Rows: 5, Cols: c.cols, Data: pattern(5 * c.f.RowBytes(c.cols))}
		if c.f.HasScales() {
			m.Scales = pattern(5 * c.cols / c.f.Group * c.f.DType.Size())
		}
		if c.f.Kind == quant.Affine {
			m.Biases = pattern(len(m.Scales))
		}
		b, err := d.ImportWeight(m)
		if err != nil {
			t.Fatalf("%v: %v", c.f, err)
		}
		own := b.(*buffer)
		if own.stored.form != c.form || c.bytes > 0 && own.bytes != (c.bytes+511)&^511 {
			t.Errorf("%v lies in form %d, %d bytes", c.f, own.stored.form, own.bytes)
		}
		got := make([]byte, b.Spec().Bytes())
		if err := d.Read(b, got); err != nil || !bytes.Equal(got, bytes.Join([][]byte{m.Data, m.Scales, m.Biases}, nil)) {
			t.Errorf("%v came back changed: %v", c.f, err)
		}
		if d.Write(b, got) == nil {
			t.Errorf("%v could be written", c.f)
		}
		b.Free()
	}
	if used, _ := d.Memory(); used != 0 {
		t.Errorf("%d bytes are still held", used)
	}
}

// TestNoGraphsBehind: sequences become graphs while the card keeps up with the host, and not while it has work of earlier ones.
func TestNoGraphsBehind(t *testing.T) {
	for env, want := range map[string]bool{"work=20": false, "": true} {
		d, err := fake(t, env)
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.Alloc(compute.Shape{64}, compute.F32)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			for range fewestLaunches {
				if err := d.Run(compute.Scale{Alpha: 1}, []compute.Buffer{b}, []compute.Buffer{b}); err != nil {
					t.Fatal(err)
				}
			}
			d.enter()
			d.flush()
			d.leave()
		}
		if made := len(d.trace.graphs) > 0; made != want {
			t.Errorf("%q: graphs are made: %v", env, made)
		}
	}
}

// TestReadWaitsForWrite: a read of what the host has just written, over what a program left there, waits for that copy.
func TestReadWaitsForWrite(t *testing.T) {
	d, err := fake(t, "in=40")
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Alloc(compute.Shape{64, 64}, compute.F32)
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Compile([]compute.Call{{Op: compute.Scale{Alpha: 1}, Out: []compute.Buffer{b}, In: []compute.Buffer{b}}})
	if err == nil {
		err = errors.Join(d.Sync(), p.Run(), d.Sync())
	}
	if err != nil {
		t.Fatal(err)
	}
	bytes := make([]byte, b.Spec().Bytes())
	begin := time.Now()
	if err := errors.Join(d.Write(b, bytes), d.Read(b, bytes)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 40*time.Millisecond {
		t.Errorf("the read has waited %v, the copy takes 40 ms", took)
	}
	p.Free()
}

// TestMarksGoRound: a read of what was written more marks ago than there are events waits for its writer.
func TestMarksGoRound(t *testing.T) {
	const work = 5 * time.Millisecond
	d, err := fake(t, "work=5")
	if err != nil {
		t.Fatal(err)
	}
	var bufs []compute.Buffer
	begin := time.Now()
	const more = len(d.marks.events) + 6
	for range more {
		b, err := d.Alloc(compute.Shape{2048}, compute.F32)
		if err == nil {
			err = errors.Join(d.Run(compute.Fill{Shape: compute.Shape{2048}}, []compute.Buffer{b}, nil), d.Write(b, make([]byte, 8192)))
		}
		if err != nil {
			t.Fatal(err)
		}
		bufs = append(bufs, b)
	}
	for _, i := range []int{0, more - 1} {
		if err := d.Read(bufs[i], make([]byte, 8192)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < time.Duration(i+1)*work {
			t.Errorf("buffer %d of %d was read after %v", i, more, took)
		}
	}
}

// TestReadWaitsForItsWriter: a read waits for the last op that wrote the buffer, and not for what was queued behind the host's
// next bytes, which a step of training and a pass begin with.
func TestReadWaitsForItsWriter(t *testing.T) {
	const work, behind = 30 * time.Millisecond, 9
	d, err := fake(t, "work=30")
	if err != nil {
		t.Fatal(err)
	}
	alloc := func(shape ...int) compute.Buffer {
		b, err := d.Alloc(shape, compute.F32)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	other := alloc(8)
	run := func(b compute.Buffer) {
		if err := d.Run(compute.Scale{Alpha: 1}, []compute.Buffer{b}, []compute.Buffer{b}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(b compute.Buffer) (launches int) {
		begin := time.Now()
		if err := d.Read(b, make([]byte, b.Spec().Bytes())); err != nil {
			t.Fatal(err)
		}
		return int(time.Since(begin) / work)
	}
	for _, shape := range []compute.Shape{{1}, {2044}, {1 << 20}, {3, 5}, {64, 64}} {
		b := alloc(shape...)
		run(b)
		if err := d.Write(other, make([]byte, 32)); err != nil {
			t.Fatal(err)
		}
		for range behind {
			run(other)
		}
		if n := read(b); n > behind/2 {
			t.Errorf("%v: the read has waited for %d launches", shape, n)
		}
		if n := read(other); n < behind/3 {
			t.Errorf("%v: a read of what the last launch writes has waited for %d", shape, n)
		}
		p, err := d.Compile([]compute.Call{{Op: compute.Scale{Alpha: 1}, Out: []compute.Buffer{b}, In: []compute.Buffer{b}}})
		if err == nil {
			err = errors.Join(d.Sync(), p.Run(), p.Run())
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := read(b); n == 0 {
			t.Errorf("%v: a read of what a program writes has not waited for it", shape)
		}
		p.Free()
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// pattern is n bytes that are no NaN as any float.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 61)
	}
	return b
}

// TestRefusals demands a reason and a remedy where a card cannot be used, and where it stops.
func TestRefusals(t *testing.T) {
	if _, err := fake(t, "cubin=209"); err != nil {
		t.Errorf("a driver that compiles PTX: %v", err)
	}
	t.Setenv("FAKE_CUDA", "pools=0")
	if _, err := fake(t, "pools=0"); err == nil || !strings.Contains(words(err), "525 or later") {
		t.Errorf("an old driver: %v", err)
	}
	t.Setenv("LENTIL_CUDA", "sm_91")
	if _, err := fake(t, ""); err == nil || !strings.Contains(words(err), "sm_91") || !strings.Contains(words(err), "sm_90a, compute_80") {
		t.Errorf("kernels that there are not: %v", err)
	}
	t.Setenv("LENTIL_CUDA", "")
	d, err := fake(t, "launch=700")
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Alloc(compute.Shape{8}, compute.F32)
	if err != nil {
		t.Fatal(err)
	}
	one := []compute.Buffer{b}
	if err := d.Run(compute.Scale{Alpha: 2}, one, one); !driver.Lost(err) || !strings.Contains(words(err), "start again") {
		t.Errorf("a card that stops: %v", err)
	}
	if err := d.Run(compute.UnitNorm{}, one, one); err == nil {
		t.Error("an op without a kernel passed")
	}
}

// TestProgrammatic: a kernel that waits for itself begins early behind another such kernel alone, and a driver that takes
// no such launches in graphs gets graphs without.
func TestProgrammatic(t *testing.T) {
	waiting["waits"] = true
	defer delete(waiting, "waits")
	for _, env := range []string{"", "graph=801"} {
		d, err := fake(t, env)
		if err != nil {
			t.Fatal(err)
		}
		d.enter()
		told, n, err := d.memory(128)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name  string
			flush bool
			early byte
		}{{"waits", false, 0}, {"waits", false, 1}, {"other", false, 0}, {"waits", false, 0}, {"waits", false, 1}, {"waits", true, 0}} {
			got := make([]byte, 128)
			d.fail(d.drv.Set(told, 0, 128, d.stream))
			if c.flush {
				d.flush()
			}
			d.kernel(c.name).ptr(0).ptr(told).launch(driver.Grid{X: 1, Threads: 32})
			d.fail(d.drv.CopyOut(got, told, d.stream))
			if got[24] != 32 || got[56] != c.early {
				t.Errorf("%s was launched with %d", c.name, got[56])
			}
		}
		list := []record{{words: []uint64{0, 0}, at: []uint8{0, 1}, grid: driver.Grid{Threads: 32, Programmatic: true}}}
		if g, err := d.capture(list); g == 0 || err != nil || d.err != nil || d.programmaticGraphs != (env == "") {
			t.Errorf("%q: graph %d, %v, %v", env, g, err, d.err)
		}
		d.fail(errClosed)
		if _, err := d.capture(list); err == nil {
			t.Error("a graph was made of launches that were not queued")
		}
		d.take()
		d.release(told, n)
		d.leave()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestThreads: on whatever threads ops come, launches that are made one by one, held back and in graphs have the context.
func TestThreads(t *testing.T) {
	d, err := fake(t, "")
	if err != nil {
		t.Fatal(err)
	}
	one := []compute.Buffer{filled(t, d, compute.F32, 8)}
	for i := range 4 * mostLaunches {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // the thread ends with its goroutine
			done <- d.Run(compute.Scale{Alpha: 2}, one, one)
		}()
		if err := <-done; err != nil {
			t.Fatalf("launch %d: %v", i, err)
		}
	}
	if len(d.trace.graphs) != 1 {
		t.Errorf("%d graphs", len(d.trace.graphs))
	}
}

func words(err error) string {
	return fault.Text(err, func(s fault.Setting) string { return string(s) })
}

// BenchmarkRun tells what an op takes of the host, on a driver that takes nothing.
func BenchmarkRun(b *testing.B) {
	d, err := fake(b, "")
	if err != nil {
		b.Fatal(err)
	}
	dev := fallback.New(d)
	x, norm := filled(b, d, compute.BF16, 1, 4096), filled(b, d, compute.BF16, 4096)
	w, err := dev.ImportWeight(weight4(4096, 4096))
	if err != nil {
		b.Fatal(err)
	}
	y := filled(b, d, compute.BF16, 1, 4096)
	for _, c := range []struct {
		op compute.Op
		in []compute.Buffer
	}{
		{compute.Add{Alpha: 1}, []compute.Buffer{x, x}},
		{compute.RMSNorm{Eps: 1e-5}, []compute.Buffer{x, norm}},
		{compute.Linear{Weight: compute.WeightOf(weight4(4096, 4096)), To: compute.BF16}, []compute.Buffer{x, w}},
		{compute.Linear{Weight: compute.WeightOf(weight4(4096, 4096)), To: compute.BF16, Rank: 8}, []compute.Buffer{x, w, filled(b, d, compute.F32, 1, 8), filled(b, d, compute.F32, 8, 4096)}},
	} {
		b.Run(c.op.Name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := dev.Run(c.op, []compute.Buffer{y}, c.in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
