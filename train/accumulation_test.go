package train

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

// readGrads returns the gradients of all parameters and clears them.
func readGrads(t *testing.T, tr *Trainer) (out [][]float32) {
	t.Helper()
	for _, p := range tr.params {
		g := make([]float32, p.Shape().Elems())
		if err := tr.Model.Device().Read(p.Grad(), compute.FloatBytes(g)); err != nil {
			t.Fatal(err)
		}
		out = append(out, g)
		p.ZeroGrad()
	}
	return out
}

// withoutDropout lets rows give the same gradients in every batch.
func withoutDropout(t *testing.T, tr *Trainer) {
	for _, l := range tr.Model.Adapted() {
		l.Adapter.(*nn.LoRA).Dropout = 0
	}
	modeltest.Shake(t, tr.Model, 0.1)
}

// relativeDistance is ‖a - b‖ / ‖b‖ over all parameters.
func relativeDistance(a, b [][]float32) float64 {
	var difference, size float64
	for i := range b {
		for k, v := range b[i] {
			d := float64(a[i][k]) - float64(v)
			difference, size = difference+d*d, size+float64(v)*float64(v)
		}
	}
	return math.Sqrt(difference / size)
}

// TestAccumulation: a batch gives the same gradients whole and in parts, however many
// tokens the parts have. Under mlx-lm's rules they are the mean of the parts' own.
func TestAccumulation(t *testing.T) {
	t.Parallel()
	const tolerance = 1e-6 // of all gradients: sums in another order
	tr, _ := newTrainer(t, newCPU(t), options())
	withoutDropout(t, tr)
	s, err := tr.prepare()
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close(s)
	gradients := func(parts ...rowList) [][]float32 {
		t.Helper()
		tr.Options.GradAccumulationSteps = len(parts)
		for _, list := range parts {
			b := pack(list, 64, false)
			if _, err := tr.gradients(s, &b); err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.average(s); err != nil {
			t.Fatal(err)
		}
		return readGrads(t, tr)
	}
	even, uneven := rowList{}, rowList{}
	for i := range 4 {
		tokens := make([]int32, 40+4*i) // small batches have kernels of their own, which round differently
		for k := range tokens {
			tokens[k] = int32((i + k*k*3 + 7*k) % modeltest.Vocab)
		}
		even = append(even, Example{IDs: tokens, Loss: [][2]int{{1, 4}}})
		uneven = append(uneven, Example{IDs: tokens, Loss: [][2]int{{1, 2 + 4*i*i}}}) // 1, 5, 17 and 37 tokens
	}
	silent := Example{IDs: ids(8, 1)}
	for name, rows := range map[string]rowList{"even": even, "uneven": uneven} {
		whole := gradients(rows)
		for i, parts := range [][]rowList{
			{rows[:2], rows[2:]}, {rows[:1], rows[1:2], rows[2:3], rows[3:]}, {rows[3:], rows[:3]}, {{silent}, rows[:1], {silent}, rows[1:]},
		} {
			if d := relativeDistance(gradients(parts...), whole); !(d <= tolerance) {
				t.Errorf("%s rows, partition %d: gradients %g away from those of the whole", name, i, d)
			}
		}
	}
	whole := gradients(uneven)
	var mean [][]float32
	for i := range uneven {
		for k, g := range gradients(uneven[i : i+1]) {
			if i == 0 {
				mean = append(mean, make([]float32, len(g)))
			}
			for n, v := range g {
				mean[k][n] += v / float32(len(uneven))
			}
		}
	}
	tr.Options.CompatMLX = true
	mlx := gradients(uneven[:1], uneven[1:2], uneven[2:3], uneven[3:])
	if d := relativeDistance(mlx, mean); !(d <= tolerance) {
		t.Errorf("mlx-lm's: gradients %g away from the mean of means", d)
	}
	if d := relativeDistance(mlx, whole); !(d >= 0.1) {
		t.Errorf("mlx-lm's: %g away from those of the whole: the rows show no difference", d)
	}
}

// trained are the parameters of a trainer.
func trained(t *testing.T, tr *Trainer) (out [][]float32) {
	t.Helper()
	for _, p := range tr.Model.Trainable() {
		v, err := tensor.ReadFloats(tr.Model.Device(), p.Tensor)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// TestLastAccumulation: what is left of an accumulation when the run ends is in what is
// saved: no step is for nothing. mlx-lm throws it away. When the run is stopped, it waits.
func TestLastAccumulation(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	weights := func(iters, accumulation, stop int, mlx bool) (saved [][]float32) {
		o := options()
		o.Iters, o.GradAccumulationSteps, o.CompatMLX, o.ValBatches = iters, accumulation, mlx, 0
		tr, l := newTrainer(t, dev, o)
		withoutDropout(t, tr)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l.do = func(e run.Event) {
			if s, ok := e.(run.Step); ok && s.Iteration == stop {
				cancel()
			}
		}
		tr.Save = func(Snapshot) (run.Saved, error) {
			saved = trained(t, tr)
			return run.Saved{}, nil
		}
		if _, err := tr.Run(ctx); err != nil && !(stop > 0 && errors.Is(err, ErrInterrupted)) {
			t.Fatal(err)
		}
		return saved
	}
	same := func(a, b [][]float32) bool { return slices.EqualFunc(a, b, slices.Equal[[]float32]) }
	begin, _ := newTrainer(t, dev, options())
	withoutDropout(t, begin)
	untrained, three := trained(t, begin), weights(3, 3, 0, false)
	if same(three, untrained) {
		t.Fatal("three steps of three change nothing")
	}
	if !same(weights(3, 4, 0, false), three) {
		t.Error("three steps of four: another update than of three")
	}
	if !same(weights(9, 4, 3, false), untrained) {
		t.Error("stopped at the third step of four: what waits is applied")
	}
	if !same(weights(3, 4, 0, true), untrained) || !same(weights(9, 4, 3, true), untrained) {
		t.Error("under mlx-lm's rules the rest is not thrown away")
	}
	if same(weights(5, 4, 0, false), weights(4, 4, 0, false)) {
		t.Error("the fifth step of an accumulation of four is for nothing")
	}
}

// abandoner calls a function at the nth op from when it is armed.
type abandoner struct {
	compute.Device
	left int // ops until then; 0 while it is not armed
	do   func()
}

func (a *abandoner) Run(op compute.Op, out, in []compute.Buffer) error {
	if a.left > 0 {
		if a.left--; a.left == 0 {
			a.do()
		}
	}
	return a.Device.Run(op, out, in)
}

// TestAbandonedStep: a step that is given up at any of its ops leaves the weights of the steps before it, and the number
// of these. Gradients of an unfinished accumulation are lost if the step has begun to add to them: the run goes back to
// the step before them, or to the last save.
func TestAbandonedStep(t *testing.T) {
	t.Parallel()
	const steps = 4 // before the one that is given up
	for _, accumulation := range []int{1, 3} {
		// weights are those saved by a run that is stopped after some steps, or that gives up the step after them at an op.
		weights := func(after, op int) (saved [][]float32, result Result, abandoned bool) {
			dev := &abandoner{Device: newCPU(t)}
			o := options()
			o.GradAccumulationSteps, o.ValBatches, o.SaveEvery = accumulation, 0, 100
			tr, l := newTrainer(t, dev, o)
			withoutDropout(t, tr)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			hurry, abandon := context.WithCancel(t.Context())
			defer abandon()
			tr.Abandon = hurry
			dev.do = func() { cancel(); abandon(); abandoned = true }
			l.do = func(e run.Event) {
				switch s, ok := e.(run.Step); {
				case !ok || s.Iteration != after:
				case op == 0:
					cancel()
				default:
					dev.left = op
				}
			}
			tr.Save = func(Snapshot) (run.Saved, error) {
				saved = trained(t, tr)
				return run.Saved{}, nil
			}
			result, err := tr.Run(ctx)
			if abandoned != (op > 0) || !errors.Is(err, ErrInterrupted) {
				return nil, result, false // it has fewer ops
			}
			return saved, result, op > 0
		}
		want, _, _ := weights(steps, 0)
		seen := map[int]bool{}
		for op := 1; ; op += 7 {
			saved, result, ok := weights(steps, op)
			if !ok || result.Iterations > steps {
				break
			}
			if result.Iterations != steps && result.Iterations != steps-steps%accumulation || !slices.EqualFunc(saved, want, slices.Equal[[]float32]) {
				t.Errorf("accumulation %d, given up at op %d: other weights than those of %d steps", accumulation, op, result.Iterations)
			}
			seen[result.Iterations] = true
		}
		if want := 1 + min(1, steps%accumulation); len(seen) != want {
			t.Errorf("accumulation %d: ended at %v, expected %d kinds of ends", accumulation, seen, want)
		}
	}
}
