package cpu

import (
	"testing"

	"github.com/lentil-lm/lentil/compute/computetest"
)

func TestConformance(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) { computetest.Run(t, d) })
}

// BenchmarkOps times every op with the fastest kernels of this machine.
func BenchmarkOps(b *testing.B) {
	d, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.(*Device).Close()
	computetest.Bench(b, d)
}
