package cuda

import (
	"math"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// launches is how many wait for the host to read or write.
func launches(d *Device) int {
	d.enter()
	defer d.leave()
	d.emit()
	return len(d.trace.now)
}

// TestGroups: ops of one kind that come one after another give what they give alone, in fewer launches.
func TestGroups(t *testing.T) {
	d := emulated(t, "")
	run := func(op compute.Op, out []compute.Buffer, in ...compute.Buffer) {
		t.Helper()
		if err := d.Run(op, out, in); err != nil {
			t.Fatal(err)
		}
	}
	x := filled(t, d, compute.BF16, 1, 320)
	var alone, together [][]float32
	for _, wait := range []bool{true, false} {
		var ys []compute.Buffer
		for i, rows := range []int{64, 24, 24, 200, 72, 16} { // the fifth is beyond what a launch names
			w, err := d.ImportWeight(weight4(rows, 320))
			if err != nil {
				t.Fatal(err)
			}
			y, err := d.Alloc(compute.Shape{1, rows}, compute.BF16)
			if err != nil {
				t.Fatal(err)
			}
			op, in := compute.Linear{Weight: compute.WeightOf(w.(*buffer).weight), To: compute.BF16}, []compute.Buffer{x, w}
			if i%2 == 1 {
				op.Bias, in = true, append(in, filled(t, d, compute.F32, rows))
			}
			run(op, []compute.Buffer{y}, in...)
			if wait {
				alone = append(alone, floats(t, d, y))
			}
			ys = append(ys, y)
			w.Free() // what waits may still read it
		}
		if wait {
			continue
		}
		for _, y := range ys {
			together = append(together, floats(t, d, y))
		}
	}
	if !slices.EqualFunc(alone, together, slices.Equal) {
		t.Errorf("products together are %.3v, alone %.3v", together, alone)
	}

	const parameters = mostUpdates + 3
	rate := filled(t, d, compute.F32, 2)
	if err := d.Write(rate, compute.FloatBytes([]float32{1e-2, 3})); err != nil {
		t.Fatal(err)
	}
	sum := filled(t, d, compute.F32, 1)
	var params [][]compute.Buffer
	var want float64
	for i := range parameters {
		var list []compute.Buffer
		for range 4 {
			list = append(list, filled(t, d, compute.F32, 3, 7+i))
		}
		run(compute.Fill{Value: 0.5, Shape: list[3].Spec().Shape}, list[3:]) // second moments are not negative
		for _, v := range floats(t, d, list[1]) {
			want += float64(v) * float64(v)
		}
		params = append(params, list)
	}
	op := compute.Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, BiasCorrection: true}
	before := launches(d)
	for i, p := range params {
		run(compute.SumSquares{Accumulate: i > 0}, []compute.Buffer{sum}, p[1])
	}
	for _, p := range params {
		run(op, []compute.Buffer{p[0], p[2], p[3]}, p[0], p[1], p[2], p[3], rate)
	}
	if n := launches(d) - before; n != 4+2 {
		t.Errorf("%d launches for sums and updates of %d parameters, want 6", n, parameters)
	}
	if got := floats(t, d, sum)[0]; !(math.Abs(float64(got)-want) <= 1e-5*want) {
		t.Errorf("the sum of squares is %g, want %g", got, want)
	}
	first := floats(t, d, params[0][0])
	for i, p := range params[1:] { // the buffers begin with the same numbers
		if got := floats(t, d, p[0]); !slices.Equal(got[:len(first)], first) {
			t.Errorf("parameter %d is %.4v, want it to begin as the first one, %.4v", i+1, got[:4], first[:4])
		}
	}
}
