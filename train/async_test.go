package train

import (
	"reflect"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

// trainCounted is trainFrozen on a device that works beside its caller, with what each step
// has waited for.
func trainCounted(t *testing.T, spec modeltest.Spec, fit fitting, change func(*Options)) (got outcome, steps []computetest.Counts) {
	t.Helper()
	cpu := newCPU(t)
	dev := computetest.NewAsync(cpu)
	spec.Config = map[string]any{"num_hidden_layers": 6}
	m := modeltest.Load(t, dev, spec)
	if err := fit(m); err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Iters, o.BatchSize, o.MaxSeqLength, o.Schedule = 12, 3, 140, Constant(1e-3)
	change(&o)
	l := &log{do: func(e run.Event) {
		switch e := e.(type) {
		case run.Step:
			got.losses = append(got.losses, e.Loss)
			steps = append(steps, dev.Take())
		case run.Validation:
			got.valid = append(got.valid, e.Loss)
			dev.Take()
		case run.Saved:
			dev.Take()
		}
	}}
	tr := &Trainer{
		Model: m, Train: longRows(13, 1), Valid: longRows(5, 2), Reporter: l, Options: o, PeakMemory: func() int64 { return 0 },
		Save: func(Snapshot) (run.Saved, error) { return run.Saved{}, nil },
	}
	if err := dev.Sync(); err != nil {
		t.Fatal(err)
	}
	before := used(cpu)
	if _, err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Trainable() {
		values, err := tensor.ReadFloats(dev, p.Tensor)
		if err != nil {
			t.Fatal(err)
		}
		got.params = append(got.params, values)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	if after := used(cpu); after != before {
		t.Errorf("the run has left %d bytes on the device", after-before)
	}
	return got, steps
}

// TestOneWaitPerStep: a step of training waits for the device once, to read its losses, and
// the update is queued by then, and the gradients of the next step unless something comes first. The numbers are those of a device that works at once.
func TestOneWaitPerStep(t *testing.T) {
	t.Parallel()
	const losses = 4 * 3 * 140 // bytes, at most
	for _, test := range []struct {
		name   string
		bits   int
		fit    fitting
		change func(*Options)
		spills bool
	}{
		{"LoRA", 4, lora, func(*Options) {}, false},
		{"all of a layer, adamw", 0, full, func(o *Options) {
			o.Optimizer = OptimizerConfig{Name: "adamw", Options: map[string]any{"bias_correction": true}}
		}, false},
		{"DoRA, muon, accumulation", 4, dora, func(o *Options) { o.Optimizer.Name, o.GradAccumulationSteps = "muon", 2 }, false},
		{"checkpoints, adafactor", 4, lora, func(o *Options) { o.Optimizer.Name, o.GradCheckpoint = "adafactor", true }, false},
		{"frozen layers on the device", 4, lora, func(o *Options) { o.Frozen = FrozenCache{Device: 1 << 20} }, false},
		{"no room for frozen layers", 4, lora, func(o *Options) { o.Frozen = FrozenCache{Device: 1} }, false},
		{"frozen layers in memory", 4, lora, func(o *Options) { o.Frozen = FrozenCache{Device: 60_000, Memory: 1 << 20} }, true},
	} {
		if testing.Short() && test.bits > 0 && !test.spills && test.name != "frozen layers on the device" {
			continue // LoRA is in these two as well
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			spec := modeltest.Spec{Type: "llama", Bits: test.bits}
			got, steps := trainCounted(t, spec, test.fit, test.change)
			want := trainFrozen(t, "", spec, test.fit, func(o *Options) { test.change(o); o.Frozen = FrozenCache{} })
			if !got.same(want) {
				t.Errorf("losses %v, %v; on a device that works at once %v, %v", got.losses, got.valid, want.losses, want.valid)
			}
			spilt := 0
			for i, c := range steps {
				if c.Reads > 1 {
					spilt++
				}
				if c.Syncs > 0 || c.Reads > 1 && !test.spills || c.Bytes > losses && !test.spills {
					t.Errorf("step %d: %d reads of %d bytes and %d waits for all", i+1, c.Reads, c.Bytes, c.Syncs)
				}
				if last := c.Behind[len(c.Behind)-1]; last == 0 {
					t.Errorf("step %d: nothing was queued when the loss was read", i+1)
				}
				if ahead := lastIndex(c.Ops, "cross_entropy") > lastIndex(c.Ops, "adam"); test.name == "LoRA" && ahead != slices.Contains([]int{1, 2, 3, 5, 6, 7, 10}, i+1) {
					t.Errorf("step %d: %v that the next one's gradients were queued when the loss was read", i+1, ahead)
				}
			}
			if test.spills != (spilt > 0) {
				t.Errorf("%d steps have read activations", spilt)
			}
		})
	}
}

func lastIndex(list []string, s string) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] == s {
			return i
		}
	}
	return -1
}

// TestStepsAreAlike: the ops of an update, with all that is not an input of theirs, are
// those of the update before, so that a device may run them again as they are.
func TestStepsAreAlike(t *testing.T) {
	t.Parallel()
	for _, name := range Optimizers {
		dev := &recorder{Device: newCPU(t)}
		o := options()
		o.Optimizer.Name, o.Iters, o.BatchSize, o.GradAccumulationSteps, o.StepsPerEval, o.ValBatches = name, 8, 1, 2, 100, 0
		o.Schedule = func(step int) float64 { return 1e-3 / float64(1+step) }
		tr, l := newTrainer(t, dev, o)
		a, b := someRows(9)[8], someRows(9)[8] // of one shape, but not as much to learn
		b.Loss = [][2]int{{2, len(b.IDs)}}
		tr.Train = rowList{a, b}
		var steps [][]compute.Op
		l.do = func(e run.Event) {
			if _, ok := e.(run.Step); ok {
				steps = append(steps, dev.ops)
				dev.ops = nil
			}
		}
		if _, err := tr.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		ops := make([][]compute.Op, len(steps)/2) // of each update
		for i, s := range steps {
			ops[i/2] = append(ops[i/2], s...)
		}
		last, before := ops[len(ops)-1], ops[len(ops)-2]
		if len(last) == 0 || len(last) != len(before) {
			t.Fatalf("%s: %d ops, then %d", name, len(before), len(last))
		}
		for i, op := range last {
			if !reflect.DeepEqual(op, before[i]) {
				t.Errorf("%s: op %d is %+v, one update before %+v", name, i, op, before[i])
			}
		}
	}
}

// recorder notes the ops that a device runs.
type recorder struct {
	compute.Device
	ops []compute.Op
}

func (d *recorder) Run(op compute.Op, out, in []compute.Buffer) error {
	d.ops = append(d.ops, op)
	return d.Device.Run(op, out, in)
}
