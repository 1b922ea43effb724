package bench

import (
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/engine"
)

// TestPlacements: the processor has all ops, a device that is not finished some of them.
func TestPlacements(t *testing.T) {
	list, err := Placements(t.Context(), engine.Options{Device: "cpu", Threads: 1})
	if err != nil || len(list) < 20 {
		t.Fatalf("%d ops on the processor, %v", len(list), err)
	}
	for _, p := range list {
		if p.Host != 0 || p.Device == 0 {
			t.Errorf("on the processor: %+v", p)
		}
	}
	counts := map[string]fallback.Count{}
	if err := samples[0].place(t.Context(), fallback.New(computetest.NewPartial(compute.BF16)), counts); err != nil {
		t.Fatal(err)
	}
	partial := sorted(counts)
	where := func(op string) Placement {
		i := slices.IndexFunc(partial, func(p Placement) bool { return p.Op == op })
		if i < 0 {
			t.Fatalf("%s did not run", op)
		}
		return partial[i]
	}
	if p := where("adam"); p.Device != 0 || p.Host == 0 {
		t.Errorf("%+v, want it on the host", p)
	}
	if p := where("swiglu"); p.Device == 0 || p.Host != 0 {
		t.Errorf("%+v, want it on the device", p)
	}
}
