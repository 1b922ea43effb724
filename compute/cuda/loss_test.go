package cuda

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// TestHeldLogits holds losses and gradients of rows of logits that are kept in registers, in shared memory and not at all to float64.
func TestHeldLogits(t *testing.T) {
	d := emulated(t, "capability=90")
	r := rand.New(rand.NewPCG(1, 2))
	const rows = 4
	for _, v := range []int{1000, 32768, 60004, 90000} {
		logits := make([]float32, rows*v)
		for i := range logits {
			logits[i] = float32(3 * r.NormFloat64())
		}
		logits[5], logits[v-1] = float32(math.Inf(-1)), 20
		targets, weights := []int32{0, int32(v - 1), int32(v / 2), int32(v/3) | 3}, []float32{0.5, 1, 0, 2}
		array := func(dtype compute.DType, data []byte, shape ...int) *buffer {
			b, err := d.Alloc(shape, dtype)
			if err != nil {
				t.Fatal(err)
			}
			if data != nil {
				err = d.Write(b, data)
			}
			if err != nil {
				t.Fatal(err)
			}
			return b.(*buffer)
		}
		x, at := array(compute.F32, compute.FloatBytes(logits), rows, v), array(compute.I32, compute.IntBytes(targets), rows)
		w, loss, g := array(compute.F32, compute.FloatBytes(weights), rows), array(compute.F32, nil, rows), array(compute.BF16, nil, rows, v)
		run := func() {
			t.Helper()
			d.enter()
			d.entropy(loss.ptr, g.array, x.array, at.ptr, w.ptr, true)
			err := d.take()
			d.leave()
			if err = errors.Join(err, d.Sync()); err != nil {
				t.Fatal(err)
			}
		}
		run()
		if d.kernels["cross_entropy_held"] == nil {
			t.Fatal("another kernel took the logits")
		}
		losses, grads := floats(t, d, loss), floats(t, d, g)
		for i := range rows {
			row := logits[i*v : (i+1)*v]
			var sum float64
			for _, f := range row {
				sum += math.Exp(float64(f))
			}
			if want := math.Log(sum) - float64(row[targets[i]]); math.Abs(float64(losses[i])-want) > 1e-5*math.Max(1, want) {
				t.Errorf("%d logits: loss %d is %g, want %g", v, i, losses[i], want)
			}
			for k, f := range row {
				want := math.Exp(float64(f)) / sum
				if k == int(targets[i]) {
					want--
				}
				want *= float64(weights[i])
				if got := float64(grads[i*v+k]); math.Abs(got-want) > math.Abs(want)/200+1e-30 {
					t.Fatalf("%d logits: gradient %d of row %d is %g, want %g", v, k, i, got, want)
				}
			}
		}
		again := make([]float32, len(grads))
		copy(again, grads)
		run()
		for i, f := range floats(t, d, g) {
			if f != again[i] {
				t.Fatalf("%d logits: another run has other bits", v)
			}
		}
	}
}
