package model_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// TestWindows checks which layers see a window, by the rules of transformers' configs.
func TestWindows(t *testing.T) {
	t.Parallel()
	const layers = `"num_hidden_layers": 4`
	for _, test := range []struct {
		kind, config string
		want         []int
	}{
		{"llama", `"sliding_window": 9`, []int{0, 0, 0, 0}},
		{"llama", `"sliding_window": 9, "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]`, []int{0, 9, 0, 9}},
		{"mistral", `"sliding_window": 9`, []int{9, 9, 9, 9}},
		{"mistral", `"sliding_window": null`, []int{0, 0, 0, 0}},
		{"mistral", `"bos_token_id": 1`, []int{4096, 4096, 4096, 4096}},
		{"mistral", `"sliding_window": 9, "layer_types": ["full_attention", "full_attention", "full_attention", "sliding_attention"]`, []int{0, 0, 0, 9}},
		{"mixtral", `"sliding_window": 9`, []int{9, 9, 9, 9}},
		{"mixtral", `"bos_token_id": 1`, []int{0, 0, 0, 0}},
		{"qwen2", `"sliding_window": 9`, []int{0, 0, 0, 0}},
		{"qwen2", `"sliding_window": 9, "use_sliding_window": true`, []int{0, 0, 0, 0}}, // from layer 28 on
		{"qwen2", `"sliding_window": 9, "use_sliding_window": true, "max_window_layers": 3`, []int{0, 0, 0, 9}},
		{"qwen3", `"sliding_window": 9, "use_sliding_window": true, "max_window_layers": 1`, []int{0, 9, 9, 9}},
		{"qwen3", `"use_sliding_window": true, "max_window_layers": 3`, []int{0, 0, 0, 4096}},
		{"qwen3", `"sliding_window": null, "use_sliding_window": true, "max_window_layers": 0`, []int{0, 0, 0, 0}},
		{"qwen3", `"sliding_window": 9, "use_sliding_window": false, "max_window_layers": 0`, []int{0, 0, 0, 0}},
		{"qwen3_moe", `"sliding_window": 9, "use_sliding_window": true, "max_window_layers": 3`, []int{9, 9, 9, 9}},
		{"qwen3_moe", `"sliding_window": 9`, []int{0, 0, 0, 0}},
		{"smollm3", `"sliding_window": 9, "use_sliding_window": true`, []int{0, 0, 0, 9}},
		{"smollm3", `"sliding_window": 9, "use_sliding_window": true, "no_rope_layers": [0, 1, 1, 0]`, []int{9, 0, 0, 9}},
		{"smollm3", `"sliding_window": 9`, []int{0, 0, 0, 0}},
	} {
		c, err := windowConfig(test.kind, layers+", "+test.config)
		if err != nil {
			t.Errorf("%s %s: %v", test.kind, test.config, err)
			continue
		}
		if a, err := c.Architecture(); err != nil || !slices.Equal(a.Windows, test.want) {
			t.Errorf("%s %s: windows %v (%v), want %v", test.kind, test.config, a.Windows, err, test.want)
		}
	}
	for _, test := range []struct{ kind, config, want string }{
		{"mistral", `"sliding_window": 0`, "sliding_window is 0"},
		{"mixtral", `"sliding_window": -3`, "sliding_window is -3"},
		{"qwen2", `"sliding_window": 9, "use_sliding_window": false, "layer_types": ["full_attention", "sliding_attention"]`, "use_sliding_window is false"},
		{"mixtral", `"sliding_window": 9, "layer_types": ["full_attention", "sliding_attention"]`, `layer_types[0] is "full_attention"`},
		{"qwen3_moe", `"sliding_window": 9, "layer_types": ["full_attention", "sliding_attention"]`, `layer_types[1] is "sliding_attention"`},
		{"llama", `"rope_parameters": {"full_attention": {"rope_theta": 1e6}}`, `rope_parameters has settings for "full_attention"`},
		{"llama", `"partial_rotary_factor": 0.5`, "partial_rotary_factor is 0.5"},
		{"llama", `"attn_logit_softcapping": 50.0`, "attn_logit_softcapping is 50.0"},
		{"qwen3", `"embedding_multiplier": 12`, "embedding_multiplier is 12"},
		{"llama", `"is_causal": false`, "is_causal is false"},
	} {
		if _, err := windowConfig(test.kind, `"num_hidden_layers": 2, `+test.config); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s: error %v, want %q", test.kind, test.config, err, test.want)
		}
	}
	if _, err := windowConfig("llama", `"num_hidden_layers": 2, "embedding_multiplier": 1.0, "final_logit_softcapping": null, "is_causal": true`); err != nil {
		t.Errorf("settings that change nothing: %v", err)
	}
}

func windowConfig(kind, more string) (*model.Config, error) {
	return model.ParseConfig(fmt.Appendf(nil, `{"model_type": %q, "vocab_size": 48, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4,
		"rms_norm_eps": 1e-5, "num_experts": 4, "moe_intermediate_size": 32, "num_experts_per_tok": 2, %s}`, kind, more), "config.json")
}

// TestWindowsOfFamilies compares the last logits of a text with those of its last window
// alone: for one layer they are the same, since rotary positions are relative.
func TestWindowsOfFamilies(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for kind, more := range map[string]map[string]any{
		"mistral": {}, "mixtral": {"num_local_experts": 4},
		"qwen2": {"use_sliding_window": true, "max_window_layers": 0}, "qwen3": {"use_sliding_window": true, "max_window_layers": 0},
		"qwen3_moe": {"use_sliding_window": true, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
		"smollm3":   {"use_sliding_window": true, "no_rope_layers": []int{0}},
	} {
		more["num_hidden_layers"], more["sliding_window"] = 1, 5
		dir := modeltest.Write(t, modeltest.Spec{Type: kind, Config: more})
		m := modeltest.Open(t, dev, dir)
		tokens := modeltest.Sequence(20)
		last := func(m *model.Model, from int) []float32 {
			all := modeltest.Logits(t, m, model.Sequence(tokens[from:], 0))
			return all[len(all)-modeltest.Vocab:]
		}
		want := last(m, len(tokens)-5)
		modeltest.Alike(t, kind, last(m, 0), want, sameTolerance)
		if slices.Equal(last(m, len(tokens)-4), want) {
			t.Errorf("%s: a shorter text gives the same", kind)
		}
		cache, err := m.NewCache(0, compute.F32)
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Free()
		walk(t, m, cache, tokens, []int{7, 1}, func(n int, logits []float32) {
			if n == len(tokens) {
				modeltest.Alike(t, kind+" with a cache", logits, want, sameTolerance)
			}
		})
		// mlx-lm has no windows here.
		src, err := model.AsMLX(m.Source())
		if err != nil {
			t.Fatal(err)
		}
		wide, err := model.Load(dev, src)
		if err != nil {
			t.Fatal(err)
		}
		defer wide.Free()
		if slices.Equal(last(wide, 0), want) {
			t.Errorf("%s: as mlx-lm runs it there is a window too", kind)
		}
	}
}

// TestHeadOfItsOwn checks that a config that says nothing of it gets the head that is there,
// as in transformers; mlx-lm takes the embedding.
func TestHeadOfItsOwn(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for _, test := range []struct{ kind, key string }{{"llama", "own head"}, {"llama", "no head"}, {"qwen2", "own head"}, {"mistral", "no head"}} {
		own := test.key == "own head"
		config, tensors := modeltest.Contents(t, modeltest.Spec{Type: test.kind, Config: map[string]any{"tie_word_embeddings": !own}})
		delete(config, "tie_word_embeddings")
		m := modeltest.Open(t, dev, modeltest.WriteFolder(t, config, tensors))
		if m.Tied == own {
			t.Errorf("%s, %s: the embedding is the head: %v", test.kind, test.key, m.Tied)
		}
		src, err := model.AsMLX(m.Source())
		if err != nil {
			t.Fatal(err)
		}
		mlx, err := model.Load(dev, src)
		if err != nil || !mlx.Tied {
			t.Fatalf("%s, %s: as mlx-lm has it: %v", test.kind, test.key, err)
		}
		mlx.Free()
	}
}
