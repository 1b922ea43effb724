package cpu

import (
	"testing"

	"github.com/lentil-lm/lentil/compute/computetest"
)

func TestConformance(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) { computetest.Run(t, d) })
}
