package mlx

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
)

func TestMain(m *testing.M) {
	Serve() // this process may be one that tries a library
	notePath = func() string { return "" }
	os.Exit(m.Run())
}

// library is MLX's C library: $LENTIL_MLXC, or the one that interop/mlx.sh made,
// or the one of the system. LENTIL_TEST_MLX=1 says that there has to be one.
func library(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("LENTIL_MLXC"); path != "" {
		return path
	}
	path, err := filepath.Abs("../../.interop/mlx/lib/libmlxc.so")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil { // as on a Mac
		path, err = mlxc.Find()
	}
	if err != nil && os.Getenv("LENTIL_TEST_MLX") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip("MLX is missing, which interop/mlx.sh makes")
	}
	return path
}

// open opens a device.
func open(t testing.TB, activations compute.DType) *Device {
	t.Helper()
	dev, err := New(Options{Library: library(t), Activations: activations})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev.(*Device)
}

// TestConformance runs the suite with each type of activations.
func TestConformance(t *testing.T) {
	for _, activations := range []compute.DType{compute.F32, compute.BF16} {
		t.Run(activations.String(), func(t *testing.T) {
			d := open(t, activations)
			t.Logf("%+v", d.Info())
			before := d.lib.Live() - len(d.masks)
			every := 8
			if os.Getenv("LENTIL_TEST_MLX") != "" {
				every = 1
			}
			computetest.RunSome(t, d, every)
			if err := d.Sync(); err != nil {
				t.Error(err)
			}
			if live := d.lib.Live() - len(d.masks); live != before || d.held != 0 {
				t.Errorf("%d arrays and %d bytes are still held", live-before, d.held)
			}
		})
	}
}

// BenchmarkOps times every op.
func BenchmarkOps(b *testing.B) { computetest.Bench(b, open(b, 0)) }

var _ compute.Device = (*Device)(nil)
