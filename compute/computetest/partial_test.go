package computetest

import (
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

func TestPartial(t *testing.T) { RunSome(t, NewPartial(compute.BF16), 24) }

// TestPartialThird: the device supports a third of the ops, more or less.
func TestPartialThird(t *testing.T) {
	dev := NewPartial(compute.BF16)
	supported := map[string]bool{}
	for _, c := range some(table(compute.BF16), 4) {
		name := c.op.Name()
		supported[name] = supported[name] || dev.Supports(c.op, specsOf(c.inputs(newGen(c.name()))))
	}
	n := 0
	for _, ok := range supported {
		if ok {
			n++
		}
	}
	if share := float64(n) / float64(len(supported)); share < 0.2 || share > 0.4 {
		t.Errorf("%d of %d ops", n, len(supported))
	}
}
