package train

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/cuda"
	"github.com/lentil-lm/lentil/compute/cuda/emulate"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/run"
)

// halfLoss is how far the loss of a step on BF16 activations may be from that on F32, as a
// share of it: a unit in the last place of BF16 is 2^-7 of a number, the errors of many
// activations average out, and ten updates of Adam, which looks at signs at first, let
// parameters drift apart.
const halfLoss = 0.02

// TestPartialDevice: every family trains on a device that supports a third of the ops and
// keeps activations in BF16, with losses close to the CPU's that fall as those do.
func TestPartialDevice(t *testing.T) {
	t.Parallel()
	families := modeltest.Architectures()
	if testing.Short() {
		families = append(families[:1:1], modeltest.Mixtures()[0])
	}
	for _, spec := range families {
		onPartial(t, spec, plainLoRA)
	}
	if !testing.Short() {
		onPartial(t, families[0], magnitude)
		onPartial(t, families[0], whole)
	}
}

// TestCard: so does an NVIDIA card, or the processor that plays one, then for two families; LENTIL_EMULATE=1 takes all.
func TestCard(t *testing.T) {
	t.Parallel()
	library := emulate.Driver(t)
	families := modeltest.Architectures()
	if !emulate.All() {
		families = append(families[:1:1], modeltest.Mixtures()[0])
	}
	if testing.Short() {
		families = families[:1]
	}
	on := func(spec modeltest.Spec, how trainable) {
		onCard(t, library, func(dev compute.Device) { closeTo(t, dev, spec, how) })
	}
	for _, spec := range families {
		on(spec, plainLoRA)
	}
	if !testing.Short() {
		on(families[0], magnitude)
		on(families[0], whole)
	}
}

// exactLoss is how far losses of ten steps may be where both sides have F32 activations, as a share of them: sums of another order,
// and approximations of a card, which the one that the processor plays does not have. BF16 is off by 8e-4 here at the first step.
const exactLoss = 2e-4

// inFloat32 is a device with F32 activations.
type inFloat32 struct{ compute.Device }

func (d inFloat32) Info() compute.Info {
	info := d.Device.Info()
	info.Activations = compute.F32
	return info
}

// TestCardFloat32: with activations of F32 a card trains as the CPU does: what else sets it apart is the rounding to BF16.
func TestCardFloat32(t *testing.T) {
	t.Parallel()
	onCard(t, emulate.Driver(t), func(dev compute.Device) {
		spec := modeltest.Architectures()[0]
		spec.Bits = 4
		want, got := tenLosses(t, newCPU(t), spec, plainLoRA), tenLosses(t, inFloat32{dev}, spec, plainLoRA)
		for i := range want {
			if !(math.Abs(got[i]-want[i]) <= exactLoss*want[i]) {
				t.Errorf("loss %.7f at step %d, %.7f on the CPU", got[i], i+1, want[i])
			}
		}
		t.Logf("%.7f, on the CPU %.7f", got, want)
	})
}

// onCard gives f a card, on which it has to leave nothing.
func onCard(t *testing.T, library string, f func(compute.Device)) {
	t.Helper()
	card, err := cuda.New(cuda.Options{Driver: library})
	if err != nil {
		t.Fatal(err)
	}
	f(fallback.New(card))
	if used, _ := card.Memory(); used != 0 {
		t.Errorf("%d bytes of the card are still held", used)
	}
	if err := card.Close(); err != nil {
		t.Error(err)
	}
}

// trainable says what is trained.
type trainable string

const (
	plainLoRA trainable = "lora"
	magnitude trainable = "dora"
	whole     trainable = "whole weights"
)

func onPartial(t *testing.T, spec modeltest.Spec, how trainable) {
	what := spec.Type + ", " + string(how)
	partial := computetest.NewPartial(compute.BF16)
	dev := fallback.New(computetest.NewAsync(partial))
	closeTo(t, dev, spec, how)
	if c := dev.Counts(); c["linear"].Device+c["rmsnorm"].Device == 0 || c["attention_grad"].Host == 0 {
		t.Errorf("%s: ops ran as %v, want some on the device and attention_grad on the host", what, c)
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
	if err := partial.Close(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// closeTo trains on the CPU and on a device, with losses that are alike and fall.
func closeTo(t *testing.T, dev compute.Device, spec modeltest.Spec, how trainable) {
	t.Helper()
	if spec.Bits = 4; how == whole {
		spec.Bits = 0
	}
	what := spec.Type + ", " + string(how)
	want := tenLosses(t, newCPU(t), spec, how)
	got := tenLosses(t, dev, spec, how)
	t.Logf("%s: %.4f, on the CPU %.4f", what, got, want)
	mixture := slices.ContainsFunc(modeltest.Mixtures(), func(m modeltest.Spec) bool { return m.Type == spec.Type })
	for i := range want {
		of := want[i]
		if mixture { // a token that stands between two experts may go to the other, which moves the loss for some steps
			of = want[0]
		}
		if !(math.Abs(got[i]-want[i]) <= halfLoss*of) { // nor is it NaN
			t.Errorf("%s: loss %.4f at step %d, %.4f on the CPU", what, got[i], i+1, want[i])
		}
	}
	if last := len(got) - 1; !(got[last] <= 0.9*got[0]) {
		t.Errorf("%s: losses %.4f do not fall", what, got)
	}
}

// TestPartialDevicePairs: DPO and ORPO train there, too.
func TestPartialDevicePairs(t *testing.T) {
	t.Parallel()
	partial := computetest.NewPartial(compute.BF16)
	pairsCloseTo(t, fallback.New(computetest.NewAsync(partial)), objectives)
}

// TestCardPairs: and on an NVIDIA card, or the processor that plays one.
func TestCardPairs(t *testing.T) {
	t.Parallel()
	some := maps.Clone(objectives)
	if !emulate.All() {
		delete(some, "orpo")
	}
	onCard(t, emulate.Driver(t), func(dev compute.Device) { pairsCloseTo(t, dev, some) })
}

// pairsApart is how far losses of pairs may be from the CPU's, in nats. bf16 moves them by 0.006 at most, and a gradient in which
// rejected answers count half by more.
const pairsApart = 0.0125

// pairsCloseTo trains on pairs on the CPU and on a device, with losses that are alike and fall. Each step takes all pairs, at a
// rate at which losses fall smoothly: where they jump, what bf16 rounds away grows from step to step.
func pairsCloseTo(t *testing.T, dev compute.Device, objectives map[string]Objective) {
	t.Helper()
	for name, o := range objectives {
		var losses [2][]float64
		for i, on := range []compute.Device{newCPU(t), dev} {
			tr, l := newPairTrainer(t, on, o, -1)
			tr.Options.BatchSize, tr.Options.StepsPerReport, tr.Options.Schedule = 12, 1, Constant(3e-4)
			if testing.Short() {
				tr.Options.Iters = 4
			}
			_, err := tr.Run(t.Context())
			tr.Model.Free()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, r := range eventsOf[run.TrainReport](l) {
				losses[i] = append(losses[i], r.TrainLoss)
			}
		}
		want, got := losses[0], losses[1]
		t.Logf("%s: %.4f, on the CPU %.4f", name, got, want)
		for i := range want {
			if !(math.Abs(got[i]-want[i]) <= pairsApart) {
				t.Errorf("%s: loss %.4f at step %d, %.4f on the CPU", name, got[i], i+1, want[i])
			}
		}
		if last := len(got) - 1; !(got[last] < got[0]-10*pairsApart) {
			t.Errorf("%s: losses %.4f do not fall", name, got)
		}
	}
}

// tenLosses are those of ten steps on a tiny model.
func tenLosses(t *testing.T, dev compute.Device, spec modeltest.Spec, how trainable) []float64 {
	t.Helper()
	m := modeltest.Load(t, dev, spec)
	defer m.Free()
	var err error
	if how == whole {
		err = m.Unfreeze(-1, true)
	} else {
		_, err = adapter.New(m, adapter.Config{Rank: 4, Scale: 4, Dropout: 0.1, DoRA: how == magnitude}, compute.NewKey(0))
	}
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.GradCheckpoint = how == magnitude
	o.BatchSize, o.StepsPerReport, o.Schedule = 12, 1, Constant(1e-3)
	l := &log{}
	tr := &Trainer{Model: m, Train: someRows(12), Valid: someRows(2), Reporter: l, Options: o, Save: func(Snapshot) (run.Saved, error) { return run.Saved{}, nil }}
	if _, err := tr.Run(t.Context()); err != nil {
		t.Fatalf("%s: %v", spec.Type, err)
	}
	var list []float64
	for _, r := range eventsOf[run.TrainReport](l) {
		list = append(list, r.TrainLoss)
	}
	return list
}
