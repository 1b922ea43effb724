package adapter_test

import (
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tensor"
)

// tuned is a model over base with a random adapter.
func tuned(t *testing.T, base *model.Model, c adapter.Config) *model.Model {
	t.Helper()
	m, err := base.Share()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	if _, err := adapter.New(m, c, compute.NewKey(uint64(c.Rank))); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, 0.2+0.1*float32(c.Rank%3))
	return m
}

// TestMix: rows of a base and of adapters over it, of different layers and ranks, have the
// bits in one pass that each has alone, token by token.
func TestMix(t *testing.T) {
	t.Parallel()
	for _, spec := range append(modeltest.Architectures(), modeltest.Spec{Type: "llama", Bits: 4}) {
		dev := newCPU(t)
		base := modeltest.Load(t, dev, spec)
		mix, err := base.NewMix()
		if err != nil {
			t.Fatal(err)
		}
		models := []*model.Model{base}
		for _, c := range []adapter.Config{
			{Rank: 8, Scale: 10, NumLayers: -1}, {Rank: 3, Scale: 5, NumLayers: 1}, {Rank: 16, Scale: 2, NumLayers: 2, Keys: []string{"self_attn.v_proj"}},
		} {
			if modeltest.HasExperts(spec) {
				c.Keys = []string{"self_attn.q_proj", "self_attn.o_proj"}
			}
			models = append(models, tuned(t, base, c))
		}
		tape := tensor.NewTape(dev)
		step := func(together bool, rows ...model.MixedRow) (logits []float32) {
			tape.Reset(false)
			tape.RowWise = together
			tape.Scope(func() *tensor.Tensor { logits = tape.Read(mix.StepRows(tape, rows)); return nil })
			if err := tape.Err(); err != nil {
				t.Fatal(err)
			}
			return logits
		}
		var together, apart []model.MixedRow
		for i := range 9 {
			m := models[i%len(models)]
			if !mix.Takes(m) {
				t.Fatalf("%s: the mix does not take model %d", spec.Type, i%len(models))
			}
			prompt := modeltest.Sequence(20)[i : i+3+i]
			for _, rows := range []*[]model.MixedRow{&together, &apart} {
				cache, err := m.NewCache(0, compute.F32)
				if err != nil {
					t.Fatal(err)
				}
				defer cache.Free()
				row := model.MixedRow{Row: model.Row{Tokens: prompt, Last: 1, Cache: cache}, Model: m}
				step(false, row)
				row.Tokens = prompt[:1]
				*rows = append(*rows, row)
			}
		}
		for range 3 {
			all := step(true, together...)
			for i, row := range apart {
				if want := step(false, row); !slices.Equal(all[i*len(want):(i+1)*len(want)], want) {
					t.Errorf("%s: row %d has other logits in company", spec.Type, i)
				}
			}
		}
		for i, m := range models {
			if n := len(m.Adapted()); n == 0 != (i == 0) {
				t.Errorf("%s: model %d has %d adapters afterwards", spec.Type, i, n)
			}
		}
		mix.Free()
	}
}

// TestMixRefuses models that do not share all weights, and adapters that are no plain LoRA.
func TestMixRefuses(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Mixtures()[0]
	base := modeltest.Load(t, dev, spec)
	mix, err := base.NewMix()
	if err != nil {
		t.Fatal(err)
	}
	defer mix.Free()
	if mix.Takes(modeltest.Load(t, dev, spec)) {
		t.Error("it takes a model of weights of its own")
	}
	if mix.Takes(tuned(t, base, adapter.Config{Rank: 4, Scale: 1, NumLayers: 1, DoRA: true, Keys: []string{"self_attn.q_proj"}})) {
		t.Error("it takes a DoRA")
	}
	if mix.Takes(tuned(t, base, adapter.Config{Rank: 4, Scale: 1, NumLayers: 1})) {
		t.Error("it takes an adapter of experts")
	}
	trained, err := base.Share()
	if err != nil {
		t.Fatal(err)
	}
	defer trained.Free()
	if err := trained.Unfreeze(1, false); err != nil {
		t.Fatal(err)
	}
	if mix.Takes(trained) {
		t.Error("it takes a model with weights of its own in one block")
	}
}
