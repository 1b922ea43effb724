package train

import (
	"math"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/tensor"
)

// waits notes when the host waits for the device, and what runs.
type waits struct {
	compute.Device
	log []string
}

func (w *waits) Run(op compute.Op, out, in []compute.Buffer) error {
	w.log = append(w.log, op.Name())
	return w.Device.Run(op, out, in)
}

func (w *waits) Read(b compute.Buffer, dst []byte) error {
	w.log = append(w.log, "read")
	return w.Device.Read(b, dst)
}

// TestOneWaitForPairs: in preference training, too, the host waits once a step, when the update
// is queued: the weights of the tokens never leave the device.
func TestOneWaitForPairs(t *testing.T) {
	t.Parallel()
	for name, objective := range objectives {
		dev := &waits{Device: newCPU(t)}
		tr, _ := newPairTrainer(t, dev, objective, 2)
		s, err := tr.prepare()
		if err != nil {
			t.Fatal(err)
		}
		b := pack(somePairs(4, 1, false), 64, false)
		dev.log = nil
		if _, err := tr.step(s, &microStep{batch: b}); err != nil {
			t.Fatal(err)
		}
		if n := len(dev.log); n == 0 || slices.Index(dev.log, "read") != n-1 || !slices.Contains(dev.log, "adam") || !slices.Contains(dev.log, name) {
			t.Errorf("%s: the host waits before the end of the step: %v", name, dev.log)
		}
		tr.close(s)
	}
}

// TestDivergedStep: a loss that is no number changes neither parameters nor moments.
func TestDivergedStep(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for _, c := range []OptimizerConfig{
		{"adam", nil}, {"adamw", keywords{"bias_correction": true}}, {"muon", nil}, {"sgd", keywords{"momentum": 0.9}}, {"adafactor", keywords{"beta_1": 0.9}},
	} {
		o := options()
		o.Optimizer = c
		tr, _ := newTrainer(t, dev, o)
		s, err := tr.prepare()
		if err != nil {
			t.Fatal(err)
		}
		b := pack(someRows(4), 64, false)
		if _, err := tr.step(s, &microStep{batch: b}); err != nil {
			t.Fatal(err)
		}
		all := func() (out [][]float32) {
			for _, p := range tr.params {
				out = append(out, read(t, dev, p.Tensor))
			}
			for _, list := range s.updates.state {
				for _, x := range list {
					out = append(out, read(t, dev, x))
				}
			}
			return out
		}
		first := tr.params[0].Tensor
		sound := read(t, dev, first)
		broken := slices.Clone(sound)
		broken[0] = float32(math.NaN())
		write(t, dev, first, broken)
		before := all()
		if got, err := tr.step(s, &microStep{batch: b}); err != nil || got.sound() {
			t.Errorf("%s: %v, loss %v", c.Name, err, got.loss)
		}
		for i, x := range all() {
			if !slices.EqualFunc(x, before[i], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
				t.Errorf("%s: array %d has changed", c.Name, i)
			}
		}
		write(t, dev, first, sound)
		if _, err := tr.step(s, &microStep{batch: b}); err != nil || s.updates.done != 2 {
			t.Errorf("%s: the step after it: %v, update %d", c.Name, err, s.updates.done)
		}
		tr.close(s)
	}
}

type keywords = map[string]any

func read(t *testing.T, dev compute.Device, x *tensor.Tensor) []float32 {
	t.Helper()
	v, err := tensor.ReadFloats(dev, x)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func write(t *testing.T, dev compute.Device, x *tensor.Tensor, v []float32) {
	t.Helper()
	if err := dev.Write(x.Buffer(), compute.FloatBytes(v)); err != nil {
		t.Fatal(err)
	}
}
