package bench

import (
	"context"
	"math"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/fallback"
)

// TestSelfTest: the processor has its own losses, and one that rounds to bf16 is near them.
func TestSelfTest(t *testing.T) {
	c, err := samples[0].curve(t.Context(), "cpu", 1)
	if err != nil || c.Furthest != 0 || len(c.Losses) != selfTestSteps || !(c.Losses[selfTestSteps-1] < c.Losses[0]) {
		t.Fatalf("%+v, %v", c, err)
	}
	if !testing.Short() {
		rounded, err := samples[0].train(t.Context(), fallback.New(computetest.NewPartial(compute.BF16)))
		if err != nil {
			t.Fatal(err)
		}
		if d := math.Abs(rounded[selfTestSteps-1]/c.Losses[selfTestSteps-1] - 1); d == 0 || d > roundedCurve {
			t.Errorf("bf16 is off by %g", d)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := RunSelfTest(ctx, "cpu", 1, func(string) {}); err == nil {
		t.Error("a test that was cut short is a result")
	}
}
