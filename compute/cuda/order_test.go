package cuda

import (
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// TestFreedInOrder: memory goes back to the driver behind the launches that use it, also where these are held back for a graph.
func TestFreedInOrder(t *testing.T) {
	d := emulated(t, "")
	x := filled(t, d, compute.F32, smallBlock/2)
	for pass := range 6 {
		for range fewestLaunches {
			y, err := d.Alloc(x.Spec().Shape, compute.F32)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Run(compute.Scale{Alpha: 2}, []compute.Buffer{y}, []compute.Buffer{x}); err != nil {
				t.Fatal(err)
			}
			y.Free()
		}
		if err := d.Sync(); err != nil {
			t.Fatalf("pass %d: %v", pass, err)
		}
	}
	if len(d.trace.graphs) != 1 || len(d.late) != 0 {
		t.Errorf("%d graphs, want 1; %d blocks wait", len(d.trace.graphs), len(d.late))
	}
}
