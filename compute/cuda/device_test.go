package cuda

import (
	"os"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
)

// card opens the first card, with one form of the kernels. LENTIL_TEST_CUDA=1 says that there has to be one.
func card(t testing.TB, image string) *Device {
	t.Helper()
	dev, err := New(Options{Image: image})
	if err != nil && os.Getenv("LENTIL_TEST_CUDA") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("a card of NVIDIA is missing: %v", err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev.(*Device)
}

// TestConformance runs the suite with the card's own kernels and with those of all cards. LENTIL_TEST_SHARE=n takes every nth
// case, for slow tools.
func TestConformance(t *testing.T) {
	for _, image := range []string{"", "compute_80"} {
		t.Run("kernels "+image, func(t *testing.T) {
			d := card(t, image)
			t.Logf("%+v", d.Info())
			computetest.RunSome(t, d, shareOf("LENTIL_TEST_SHARE", 1))
			if used, _ := d.Memory(); used != 0 {
				t.Errorf("%d bytes are still held", used)
			}
		})
	}
}

// BenchmarkOps times every op.
func BenchmarkOps(b *testing.B) { computetest.Bench(b, card(b, "")) }

var _ compute.Device = (*Device)(nil)
