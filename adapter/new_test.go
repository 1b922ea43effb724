package adapter_test

import (
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
)

func TestTrainableParameters(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	count := func(m *model.Model) (n int) {
		for _, p := range m.Trainable() {
			n += p.Shape().Elems()
		}
		return n
	}
	untied := modeltest.Spec{Type: "llama", Config: map[string]any{"tie_word_embeddings": false}}
	const h, f, v, kv, r = modeltest.Hidden, modeltest.Inner, modeltest.Vocab, 16, 3
	for _, test := range []struct {
		name  string
		keys  []string
		n     int
		count int
		first int
	}{
		{"every projection", nil, -1, 2 * r * (2*(h+h) + 2*(h+kv) + 3*(h+f)), 0},
		{"one layer", nil, 1, r * (2*(h+h) + 2*(h+kv) + 3*(h+f)), 1},
		{"queries", []string{"self_attn.q_proj"}, 0, 2 * r * (h + h), 0},
		{"head whatever the layers", []string{"lm_head"}, 1, r * (h + v), 2},
		{"one by its whole path", []string{"model.layers.0.mlp.up_proj"}, 1, r * (h + f), 0},
	} {
		m := modeltest.Load(t, dev, untied)
		if _, err := adapter.New(m, adapter.Config{Rank: r, Scale: 1, Keys: test.keys, NumLayers: test.n}, compute.NewKey(0)); err != nil {
			t.Fatal(err)
		}
		if got := count(m); got != test.count {
			t.Errorf("%s: %d parameters, want %d", test.name, got, test.count)
		}
		if got := m.FirstTrained(); got != test.first {
			t.Errorf("%s: first trained block %d, want %d", test.name, got, test.first)
		}
	}
	tied := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
	if _, err := adapter.New(tied, adapter.Config{Rank: r, Keys: []string{"lm_head"}}, compute.NewKey(0)); err == nil || !strings.Contains(err.Error(), "embedding") {
		t.Errorf("LoRA on a tied head: %v", err)
	}
}
