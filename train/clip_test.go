package train

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// TestClip: gradients are scaled to a norm as clip_grad_norm_ of PyTorch does, those of an accumulation once it is
// complete, and smaller ones stay as they are.
func TestClip(t *testing.T) {
	t.Parallel()
	const tolerance = 1e-5 // of the norm: its squares are summed up in float32
	dev := newCPU(t)
	norm := func(g [][]float32) float64 {
		var sum float64
		for _, v := range slices.Concat(g...) {
			sum += float64(v) * float64(v)
		}
		return math.Sqrt(sum)
	}
	// gradients are those that an update of sgd with learning rate 1 takes, and the figure of their norm.
	gradients := func(most float64, accumulation int) ([][]float32, float64) {
		o := options()
		o.Optimizer.Name, o.Schedule, o.MaxGradNorm, o.GradAccumulationSteps = "sgd", Constant(1), most, accumulation
		o.Iters, o.StepsPerReport, o.ValBatches = accumulation, accumulation, 0
		tr, l := newTrainer(t, dev, o)
		withoutDropout(t, tr)
		before := trained(t, tr)
		held := used(dev)
		if _, err := tr.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := used(dev); after != held {
			t.Errorf("%d bytes held after a run, %d before", after, held)
		}
		after := trained(t, tr)
		for i := range after {
			for k := range after[i] {
				after[i][k] = before[i][k] - after[i][k]
			}
		}
		told, _ := eventsOf[run.TrainReport](l)[0].Figures.Get("grad_norm")
		return after, told
	}
	for _, accumulation := range []int{1, 3} {
		whole, _ := gradients(0, accumulation)
		size := norm(whole)
		loose, told := gradients(size*1.5, accumulation)
		if !slices.EqualFunc(loose, whole, slices.Equal[[]float32]) || !(math.Abs(told-size) <= tolerance*size) {
			t.Errorf("below the bound: norm %v, told as %v, want %v", norm(loose), told, size)
		}
		tight, told := gradients(size/4, accumulation)
		for i := range whole {
			for k := range whole[i] {
				whole[i][k] *= float32(size / 4 / (size + 1e-6))
			}
		}
		if d := relativeDistance(tight, whole); !(d <= tolerance*10) || !(math.Abs(told-size) <= tolerance*size) { // weights of a size near 1 lose digits
			t.Errorf("clipped: %g away, norm %v, told as %v, want %v", d, norm(tight), told, size)
		}
	}
}

// TestSkippedSteps: a step whose loss is no number is told, and learns nothing; gradients that it would have been added
// to are dropped with it. Three in a row end the run. Saves wait for a sound step.
func TestSkippedSteps(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for name, test := range map[string]struct {
		bad          []int // steps during which a weight is NaN
		accumulation int
		most         float64
		skipped      int
		ends         bool
		saved        []int // iterations, every second if its weights have been seen to be sound
	}{
		"none":                      {nil, 1, 0, 0, false, []int{2, 4, 6, 6}},
		"two":                       {[]int{2, 4}, 1, 0, 2, false, []int{3, 5, 6, 6}},
		"two in a row":              {[]int{3, 4}, 1, 0, 2, false, []int{2, 5, 6, 6}},
		"three in a row":            {[]int{3, 4, 5}, 1, 0, 3, true, []int{2}},
		"three and a good one":      {[]int{1, 2, 4, 5, 6}, 1, 0, 5, true, []int{3}},
		"in an accumulation":        {[]int{2}, 3, 0, 1, false, []int{3, 4, 6, 6}},
		"at its end":                {[]int{3}, 3, 0, 1, false, []int{2, 4, 6, 6}},
		"the last ones":             {[]int{5, 6}, 1, 0, 2, false, []int{2, 4, 6}},
		"clipped":                   {[]int{2, 4}, 1, 1, 2, false, []int{3, 5, 6, 6}},
		"clipped, in accumulations": {[]int{2, 4}, 2, 1, 2, false, []int{3, 5, 6, 6}},
	} {
		o := options()
		o.Iters, o.GradAccumulationSteps, o.MaxGradNorm, o.ValBatches, o.SaveEvery = 6, test.accumulation, test.most, 0, 2
		tr, l := newTrainer(t, dev, o)
		weight := tr.Model.Trainable()[0].Tensor
		sound := read(t, dev, weight)
		spoil := func(next int) { // before a step
			if slices.Contains(test.bad, next) {
				sound = read(t, dev, weight)
				broken := slices.Clone(sound)
				broken[0] = float32(math.NaN())
				write(t, dev, weight, broken)
			}
		}
		var counted []int
		l.do = func(e run.Event) {
			s, ok := e.(run.Step)
			if !ok {
				return
			}
			if slices.Contains(test.bad, s.Iteration) {
				if s.Tokens != 0 {
					t.Errorf("%s: step %d counts", name, s.Iteration)
				}
				now := read(t, dev, weight)
				if now[0] == now[0] || !slices.Equal(now[1:], sound[1:]) {
					t.Errorf("%s: step %d changes weights", name, s.Iteration)
				}
				write(t, dev, weight, sound)
			} else {
				counted = append(counted, s.Iteration)
			}
			spoil(s.Iteration + 1)
		}
		spoil(1)
		result, err := tr.Run(t.Context())
		warned, doubted := 0, false
		for _, w := range eventsOf[run.Warning](l) {
			if strings.Contains(w.Text.String(), "the step is skipped") {
				warned++
			}
			doubted = doubted || strings.Contains(w.Text.String(), "its weights may have diverged")
		}
		want := test.skipped
		if test.ends {
			want--
			if err == nil || !strings.Contains(err.Error(), "the loss is NaN, 3 times in a row: the weights have diverged") ||
				!strings.Contains(fault.Text(err, func(s fault.Setting) string { return "<" + string(s) + ">" }), "<learning_rate>") {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil || result.Iterations != o.Iters || len(counted)+test.skipped != o.Iters {
			t.Errorf("%s: %d iterations, %v counted, %v", name, result.Iterations, counted, err)
		}
		if last := slices.Contains(test.bad, o.Iters) && !test.ends; doubted != last {
			t.Errorf("%s: doubted %t, want %t", name, doubted, last)
		}
		var saved []int
		for _, e := range eventsOf[run.Saved](l) {
			saved = append(saved, e.Iteration)
		}
		if !slices.Equal(saved, test.saved) {
			t.Errorf("%s: saved at %v, want %v", name, saved, test.saved)
		}
		if warned != want {
			t.Errorf("%s: %d warnings, want %d", name, warned, want)
		}
		for _, v := range slices.Concat(trained(t, tr)...) {
			if v != v && !test.ends {
				t.Fatalf("%s: a weight is NaN", name)
			}
		}
	}
}

// TestSkippedGradients: a gradient that is no number stops the update, too, though the loss is one, and the run
// goes on as one that never counted the update.
func TestSkippedGradients(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for name, test := range map[string]struct {
		value, most float64
		vain        bool // the step of the update has nothing to learn
	}{
		"infinite":            {math.Inf(1), 0, false},
		"NaN":                 {math.NaN(), 0, false},
		"infinite, clipped":   {math.Inf(1), 1, false},
		"NaN, clipped":        {math.NaN(), 1, false},
		"NaN, nothing learnt": {math.NaN(), 0, true},
	} {
		o := options()
		o.Iters, o.MaxGradNorm, o.ValBatches, o.GradAccumulationSteps = 4, test.most, 0, 2
		tr, l := newTrainer(t, dev, o)
		rows, before := tr.Train.(rowList), trained(t, tr)
		var skipped [][]float32
		l.do = func(e run.Event) {
			s, ok := e.(run.Step)
			switch {
			case ok && s.Iteration == 1:
				g := tr.params[0].Grad()
				values := make([]float32, g.Spec().Shape.Elems())
				values[0] = float32(test.value)
				if err := dev.Write(g, compute.FloatBytes(values)); err != nil {
					t.Error(err)
				}
				if test.vain {
					tr.Train = unlearnt(rows)
				}
			case ok && s.Iteration == 2:
				skipped, tr.Train = trained(t, tr), rows
			}
		}
		_, err := tr.Run(t.Context())
		warnings := eventsOf[run.Warning](l)
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Text.String(), "iteration 2: the norm of the gradients is ") {
			t.Errorf("%s: %v, %v", name, warnings, err)
		}
		if !slices.EqualFunc(skipped, before, slices.Equal[[]float32]) {
			t.Errorf("%s: the weights have changed", name)
		}
		after := trained(t, tr)
		if slices.EqualFunc(after, before, slices.Equal[[]float32]) || slices.ContainsFunc(slices.Concat(after...), func(v float32) bool { return v != v }) {
			t.Errorf("%s: the run has not gone on", name)
		}
	}
}

// unlearnt is rows without a token to learn.
func unlearnt(rows rowList) rowList {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Loss = nil
	}
	return rows
}

// TestWorkersSkip: a loss that is no number at one worker skips the step of all.
func TestWorkersSkip(t *testing.T) {
	t.Parallel()
	o := options()
	o.Iters, o.ValBatches, o.MaxGradNorm = 6, 0, 0.5
	w := runTogether(t, t.Context(), 2, o, func(rank int, tr *Trainer, l *log) {
		if rank == 0 {
			return
		}
		bias := tr.Model.Norm
		atStep(l, 2, func() {
			write(t, tr.Model.Device(), bias, slices.Repeat([]float32{float32(math.NaN())}, bias.Shape().Elems()))
		})
	})
	for rank, err := range w.errors {
		if err == nil || !strings.Contains(err.Error(), "iteration 5: the loss is NaN, 3 times in a row") || errors.Is(err, ErrWorker) {
			t.Errorf("worker %d: %v", rank, err)
		}
	}
	if a, b := trained(t, w.trainers[0]), trained(t, w.trainers[1]); !slices.EqualFunc(a, b, slices.Equal[[]float32]) {
		t.Error("the workers have other weights")
	}
}
