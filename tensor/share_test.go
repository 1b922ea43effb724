package tensor_test

import (
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/tensor"
)

// TestShare: the content goes with its last handle, and a handle that owns its content
// changes nobody else's.
func TestShare(t *testing.T) {
	dev := newCPU(t)
	start, _ := dev.Memory()
	held := func(want int, what string) {
		t.Helper()
		if now, _ := dev.Memory(); (now != start) != (want > 0) {
			t.Errorf("%s: %d bytes are held", what, now-start)
		}
	}
	read := func(x *tensor.Tensor) []float32 {
		t.Helper()
		v, err := tensor.ReadFloats(dev, x)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	x, err := tensor.NewFloats(dev, compute.Shape{3}, []float32{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	y := x.Share()
	y.SetTrainable(true)
	if x.Trainable() {
		t.Error("both handles are trained")
	}
	if err := y.Own(dev); err != nil {
		t.Fatal(err)
	}
	if err := dev.Write(y.Buffer(), compute.FloatBytes([]float32{4, 5, 6})); err != nil {
		t.Fatal(err)
	}
	if a, b := read(x), read(y); !slices.Equal(a, []float32{1, 2, 3}) || !slices.Equal(b, []float32{4, 5, 6}) {
		t.Errorf("%v and %v", a, b)
	}
	y.Free()
	z := x.Share()
	x.Free()
	x.Free() // a second time takes nothing from z
	if got := read(z); !slices.Equal(got, []float32{1, 2, 3}) {
		t.Errorf("after the first handle was freed: %v", got)
	}
	before := z.Buffer()
	if err := z.Own(dev); err != nil || z.Buffer() != before {
		t.Errorf("the last handle was copied, error %v", err)
	}
	held(1, "one handle")
	z.Free()
	held(0, "no handle")
}
