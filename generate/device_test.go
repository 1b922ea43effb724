package generate

import (
	"math"
	"sync"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/cuda"
	"github.com/lentil-lm/lentil/compute/cuda/emulate"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// halfLogits is how far logits of BF16 activations may be from those of F32, root mean
// square over the same: a few units in the last place, 2^-7, of two layers. Probabilities
// of attention are sharp in a random model, and make errors larger for some tokens: here the
// fourteenth, with 0.05 by the definitions themselves and 0.02 for its neighbours.
const halfLogits = 0.09

// TestPartialDevice: a device that supports a third of the ops and keeps activations, keys
// and values in BF16 answers, with logits close to the CPU's, each token of which comes
// from one read.
func TestPartialDevice(t *testing.T) {
	t.Parallel()
	partial := computetest.NewPartial(compute.BF16)
	answersLikeCPU(t, computetest.NewAsync(partial))
	if err := partial.Close(); err != nil {
		t.Error(err)
	}
}

// TestCard: so does an NVIDIA card, or the processor that plays one.
func TestCard(t *testing.T) {
	t.Parallel()
	card, err := cuda.New(cuda.Options{Driver: emulate.Driver(t)})
	if err != nil {
		t.Fatal(err)
	}
	answersLikeCPU(t, card)
}

// answersLikeCPU compares the logits of a device behind prompts that grow, and closes it.
func answersLikeCPU(t *testing.T, card compute.Device) {
	t.Helper()
	spec := spec
	spec.Bits = 4
	cpu := newSession(t, modeltest.Load(t, newCPU(t), spec), 0)
	dev := fallback.New(card)
	m := modeltest.Load(t, dev, spec)
	s, err := NewSession(m, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.cache.DType(); got != compute.BF16 {
		t.Errorf("keys and values are %v, want BF16", got)
	}
	prompt := modeltest.Sequence(12)
	for range 4 {
		got, err1 := s.Prefill(t.Context(), prompt, 5)
		want, err2 := cpu.Prefill(t.Context(), prompt, 5)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		var squares, off float64
		next := 0
		for i, w := range want {
			squares += float64(w) * float64(w)
			off += math.Pow(float64(got[i]-w), 2)
			if w > want[next] {
				next = i
			}
		}
		if off := math.Sqrt(off / squares); !(off <= halfLogits) {
			t.Errorf("after %d tokens logits are off by %.3f of their size", len(prompt), off)
		}
		prompt = append(prompt, int32(next))
	}
	if _, ids, _ := answer(t, s, prompt, Options{MaxTokens: 9, Sampling: Sampling{Temp: 0.7}}); len(ids) != 9 {
		t.Errorf("%d tokens, want 9", len(ids))
	}
	s.Close()
	m.Free()
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
}

// TestPartialDeviceBatch: models with different adapters answer together there.
func TestPartialDeviceBatch(t *testing.T) {
	t.Parallel()
	dev := fallback.New(computetest.NewAsync(computetest.NewPartial(compute.BF16)))
	models, b := family(t, dev, spec), newBatch(t, BatchOptions{})
	var all sync.WaitGroup
	for _, r := range requests(models, 6) {
		all.Go(func() {
			r.MaxTokens = 4
			if ids, _, err := tokensOf(b.Stream(t.Context(), r.model, newTokenizer(t), r.prompt, r.Options)); err != nil || len(ids) == 0 {
				t.Errorf("together: %d tokens, %v", len(ids), err)
			}
		})
	}
	all.Wait()
	if c := dev.Counts()["low_rank_rows"]; c.Host == 0 {
		t.Error("no pass had rows of different adapters")
	}
}
