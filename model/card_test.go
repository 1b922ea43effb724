package model_test

import (
	"math"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda"
	"github.com/lentil-lm/lentil/compute/cuda/emulate"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/model/modeltest"
)

const (
	// Logits and gradients of BF16 activations, root mean square of the difference over that of the CPU's: some units in
	// the last place, 2^-8, of two layers. Attention of random models is sharp, which makes more of it for queries and keys:
	// the definitions themselves, run on BF16 activations, are off by up to 0.04 and 0.16.
	cardLogits    = 0.06
	cardGradients = 0.2
)

// TestCard: tiny models of all families give on the kernels of NVIDIA cards the logits and the gradients of the CPU.
func TestCard(t *testing.T) {
	library := emulate.Driver(t)
	families := modeltest.Architectures()
	if testing.Short() {
		families = append(families[:1:1], modeltest.Mixtures()[0])
	}
	for _, spec := range families {
		spec.Bits = 4
		t.Run(spec.Type, func(t *testing.T) {
			card, err := cuda.New(cuda.Options{Driver: library})
			if err != nil {
				t.Fatal(err)
			}
			dev := fallback.New(card)
			var logits [2][]float32
			var grads [2]map[string][]float32
			for i, on := range []compute.Device{newCPU(t), dev} {
				m := modeltest.Load(t, on, spec)
				if _, err := adapter.New(m, adapter.Config{Rank: 4, Scale: 4}, compute.NewKey(0)); err != nil {
					t.Fatal(err)
				}
				modeltest.Shake(t, m, 0.1)
				logits[i] = modeltest.Logits(t, m, batch)
				grads[i] = gradients(t, m, false)
				m.Free()
			}
			if off := apart(logits[1], logits[0]); !(off <= cardLogits) {
				t.Errorf("logits are off by %.3f of their size", off)
			}
			for name, want := range grads[0] {
				if off := apart(grads[1][name], want); !(off <= cardGradients) {
					t.Errorf("the gradient of %s is off by %.3f of its size", name, off)
				}
			}
			if used, _ := card.Memory(); used != 0 {
				t.Errorf("%d bytes are still held", used)
			}
			if err := dev.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// apart is the root mean square of the difference over that of what is wanted.
func apart(got, want []float32) float64 {
	var off, all float64
	for i, w := range want {
		d := float64(got[i] - w)
		off, all = off+d*d, all+float64(w)*float64(w)
	}
	return math.Sqrt(off / all)
}
