package computetest

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// TestFaults breaks the device in one way at a time; every case must notice. It takes
// every ninth case, enough to meet each op.
func TestFaults(t *testing.T) {
	last := func(a compute.Array) []byte { return a.Data[len(a.Data)-a.DType.Size():] }
	run := 0
	faults := []struct {
		name  string
		fault func(op compute.Op, out, in []compute.Array)
	}{
		{"one value is off", func(op compute.Op, out, in []compute.Array) {
			share := 1e-3 // of the typical value
			if inexact(op) || halved(op, out, in) {
				share = 0.1
			}
			nudge(out[len(out)-1], share)
		}},
		{"the last value is not written", func(_ compute.Op, out, _ []compute.Array) {
			for i, b := range last(out[0]) {
				if last(out[0])[i] = 0xFF; b == 0xFF { // packed integers of a group that is not finite
					last(out[0])[i] = 0
				}
			}
		}},
		{"every second run ends in another bit", func(_ compute.Op, out, _ []compute.Array) {
			if run++; run%2 == 0 {
				last(out[0])[0] ^= 1
			}
		}},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			dev := &reference{activations: compute.BF16, fault: f.fault}
			for _, c := range some(table(compute.BF16), 9) {
				run = 0
				if len(c.problems(dev)) == 0 {
					t.Errorf("%s passed", c.name())
				}
			}
		})
	}
	t.Run("an input is changed", func(t *testing.T) {
		dev := &reference{fault: func(_ compute.Op, out, in []compute.Array) {
			last(in[len(in)-1])[0] ^= 1
		}}
		for _, c := range some(cases(), 3) {
			if _, none := c.op.(compute.Fill); !none && len(c.problems(dev)) == 0 {
				t.Errorf("%s passed", c.name())
			}
		}
	})
}

// inexact reports whether a device may round the activations to 8 bits.
func inexact(op compute.Op) bool {
	switch o := op.(type) {
	case compute.Linear:
		return !o.Exact
	case compute.ExpertLinear:
		return !o.Exact
	}
	return false
}

// halved reports whether an op has activations of 16 bits.
func halved(op compute.Op, out, in []compute.Array) bool {
	for _, i := range compute.Activations(op) {
		if in[i].DType != compute.F32 {
			return true
		}
	}
	return out[0].DType == compute.BF16
}

// nudge moves the first value by a share of the root mean square.
func nudge(a compute.Array, share float64) {
	if !a.DType.IsFloat() {
		a.Data[0] ^= 1
		return
	}
	v := a.Floats()
	var sum float64
	for _, x := range v {
		if !math.IsInf(float64(x), 0) {
			sum += float64(x) * float64(x)
		}
	}
	v[0] += float32(share*max(math.Abs(float64(v[0])), math.Sqrt(sum/float64(len(v))))) + 1e-30
	if a.DType != compute.F32 && share < 0.1 {
		a.Data[0] ^= 1
		return
	}
	a.SetFloats(v)
}

// TestInt8Activations: the tolerance of inexact products allows rounding x to 8 bits, not
// to 5.
func TestInt8Activations(t *testing.T) {
	for _, tt := range []struct {
		top   float64 // the largest integer
		group int
		pass  bool
	}{{127, 32, true}, {127, 128, true}, {15, 32, false}} {
		dev := &reference{fault: func(op compute.Op, out, in []compute.Array) {
			if o, ok := op.(compute.Linear); ok && !o.Exact {
				in = clone(in)
				x := in[0].F32()
				for i := 0; i < len(x); i += tt.group {
					roundGroup(x[i:i+tt.group], tt.top)
				}
				op.Define(out, in)
			}
		}}
		tried := 0
		for _, c := range some(cases(), 1) {
			o, ok := c.op.(compute.Linear)
			if !ok || o.Exact || !tt.pass && o.Weight.Rows < 100 {
				continue // few outputs may be right by chance
			}
			tried++
			if got := c.problems(dev); (len(got) == 0) != tt.pass {
				t.Errorf("x rounded to ±%g by %d: %s: %v", tt.top, tt.group, c.name(), got)
			}
		}
		if tried == 0 {
			t.Error("no inexact case in the table")
		}
	}
}

// roundGroup rounds to integers up to top times one scale.
func roundGroup(x []float32, top float64) {
	var most float64
	for _, v := range x {
		most = max(most, math.Abs(float64(v)))
	}
	for i, v := range x {
		x[i] = float32(math.Round(float64(v)*top/most) * most / top)
	}
}

// TestCheck: outside of tests, too, a fault is told with the name of its case, and there is an end.
func TestCheck(t *testing.T) {
	dev := &reference{activations: compute.F32, fault: func(op compute.Op, out, _ []compute.Array) {
		switch op.(type) {
		case compute.Scale:
			nudge(out[0], 1)
		case compute.ArgMax:
			panic("no such token")
		}
	}}
	told := map[string]bool{}
	ran, all := Check(t.Context(), dev, 500, func(text string) {
		op, _, _ := strings.Cut(text, "/")
		told[op] = true
	})
	if ran != all || ran < 30 || len(told) != 2 || !told["scale"] || !told["argmax"] {
		t.Errorf("%d of %d cases ran, problems of %v", ran, all, told)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ran, _ := Check(ctx, dev, 500, func(string) {}); ran != 0 {
		t.Errorf("%d cases ran after the end", ran)
	}
}
