//go:build linux && (amd64 || arm64) && !static

package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/weights"
)

// BenchmarkHost tells what tokens take of the host, for one answer and for 32 together, on a driver whose kernels take no time.
// With LENTIL_TEST_CUDA it is that of the card, whose weights are zeros then.
func BenchmarkHost(b *testing.B) {
	driver := ""
	if os.Getenv("LENTIL_TEST_CUDA") == "" {
		gcc, err := exec.LookPath("gcc")
		if err != nil {
			b.Skip("gcc is missing, which builds the fake driver")
		}
		driver = filepath.Join(b.TempDir(), "libfakecuda.so")
		if out, err := exec.Command(gcc, "-shared", "-fPIC", "-O1", "-DTILES", "-o", driver, "../compute/cuda/driver/testdata/fake.c").CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		b.Setenv("FAKE_CUDA", "memory=64 bytes=4096 told=0 pool=1")
	}
	shape, err := FindShape("ministral-8b")
	if err != nil {
		b.Fatal(err)
	}
	src, err := weights.Open(shape.outline(b, 4, 64))
	if err != nil {
		b.Fatal(err)
	}
	dev, err := cuda.New(cuda.Options{Driver: driver})
	if err != nil {
		b.Fatal(err)
	}
	m, err := newBench(fallback.New(dev), src)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	inner := m.dev.Device
	const tokens = 127
	for _, c := range []struct {
		name string
		n    int
		dev  compute.Device
	}{{"together=1", 1, inner}, {"together=32", 32, inner}, {"uncompiled=1", 1, eager{inner}}, {"uncompiled=32", 32, eager{inner}}} {
		n := c.n
		b.Run(c.name, func(b *testing.B) {
			m.dev.Device = c.dev
			defer func() { m.dev.Device = inner }()
			w := Answers{Prompt: 512, Generate: 1 + tokens, Batch: n, PrefillStep: 2048}
			once := func(w Answers) (p Phase, cpu time.Duration, made uint64) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				begun := processTime(b)
				phases, _, err := w.once(b.Context(), m)
				if err != nil {
					b.Fatal(err)
				}
				cpu = processTime(b) - begun
				runtime.ReadMemStats(&after)
				return phases[len(phases)-1], cpu, after.Mallocs - before.Mallocs
			}
			read := w
			read.Generate = 1
			once(w) // makes graphs
			var wall, cpu time.Duration
			var made uint64
			for b.Loop() {
				_, readCPU, readMade := once(read)
				p, allCPU, allMade := once(w)
				wall += time.Duration(p.Seconds * float64(time.Second))
				cpu, made = cpu+allCPU-readCPU, made+allMade-readMade
			}
			steps := float64(tokens * b.N)
			b.ReportMetric(float64(wall.Microseconds())/steps, "us/step")
			b.ReportMetric(float64(cpu.Microseconds())/steps, "cpu-us/step")
			b.ReportMetric(float64(made)/steps, "allocs/step")
			b.ReportMetric(float64(n)*steps/wall.Seconds(), "tokens/s")
		})
	}
}

// eager hides that a device compiles: its passes are those of sequences that come and go.
type eager struct{ compute.Device }

// processTime is what the process has taken of all cores.
func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
