package model_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// TestLoadErrors spoils a model and wants to hear what is wrong, with nothing
// left on the device.
func TestLoadErrors(t *testing.T) {
	t.Parallel()
	without := func(name string) func([]weights.Tensor) []weights.Tensor {
		return func(all []weights.Tensor) []weights.Tensor {
			return slices.DeleteFunc(all, func(x weights.Tensor) bool { return x.Name == name })
		}
	}
	with := func(name string, shape ...int) func([]weights.Tensor) []weights.Tensor {
		return func(all []weights.Tensor) []weights.Tensor {
			x := weights.Tensor{Name: name, DType: quant.F32, Shape: shape, Data: make([]byte, 4*compute.Shape(shape).Elems())}
			return append(without(name)(all), x)
		}
	}
	tests := []struct {
		name    string
		config  map[string]any
		tensors func([]weights.Tensor) []weights.Tensor
		bits    int
		want    []string
	}{
		{name: "missing matrix", tensors: without("model.layers.1.mlp.up_proj.weight"), want: []string{"model.layers.1.mlp.up_proj.weight is missing", "[64 32]"}},
		{name: "missing norm", tensors: without("model.norm.weight"), want: []string{"model.norm.weight is missing", "[32]"}},
		{name: "matrix of another shape", tensors: with("model.layers.0.self_attn.k_proj.weight", 32, 32), want: []string{"self_attn.k_proj.weight is [32 32]", "[16 32]"}},
		{name: "norm of another shape", tensors: with("model.layers.0.input_layernorm.weight", 31), want: []string{"input_layernorm.weight is F32 [31]", "[32]"}},
		{name: "vector as matrix", tensors: with("model.layers.0.self_attn.q_proj.weight", 1024), want: []string{"q_proj.weight", "2 dimensions"}},
		{name: "tensor without a place", tensors: with("model.layers.0.self_attn.q_proj.gate", 3), want: []string{"1 tensors have no place", "q_proj.gate"}},
		{name: "untied model without head", config: map[string]any{"tie_word_embeddings": false}, want: []string{"lm_head.weight is missing"}},
		{name: "more layers than tensors", config: map[string]any{"num_hidden_layers": 3}, want: []string{"model.layers.2.self_attn.q_proj.weight is missing"}},
		{name: "unknown type", config: map[string]any{"model_type": "mamba"}, want: []string{`"mamba"`, "llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, smollm3"}},
		{name: "own code", config: map[string]any{"model_file": "model.py"}, want: []string{"model.py", "never"}},
		{name: "no eps", config: map[string]any{"rms_norm_eps": nil}, want: []string{"rms_norm_eps is 0"}},
		{name: "no vocabulary", config: map[string]any{"vocab_size": nil}, want: []string{"vocab_size is 0"}},
		{name: "negative size", config: map[string]any{"hidden_size": -32}, want: []string{"hidden_size is -32"}},
		{name: "string for a number", config: map[string]any{"hidden_size": "32"}, want: []string{"config.json", "config.json:3:21: ", "hidden_size"}},
		{name: "heads that do not divide", config: map[string]any{"num_attention_heads": 5}, want: []string{"multiple of num_attention_heads 5"}},
		{name: "odd head", config: map[string]any{"head_dim": 7}, want: []string{"head_dim is 7"}},
		{name: "key heads", config: map[string]any{"num_key_value_heads": 3}, want: []string{"num_key_value_heads 3"}},
		{name: "other activation", config: map[string]any{"hidden_act": "gelu"}, want: []string{`"gelu"`}},
		{name: "unknown rope", config: map[string]any{"rope_scaling": map[string]any{"type": "spiral"}}, want: []string{`"spiral"`, "known are default, linear"}},
		{name: "rope factor", config: map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 0}}, want: []string{"factor is 0"}},
		{name: "rope base", config: map[string]any{"rope_theta": -1.0}, want: []string{"rope_theta"}},
		{name: "partial rotation", config: map[string]any{"rope_parameters": map[string]any{"partial_rotary_factor": 0.5}}, want: []string{"partial_rotary_factor is 0.5"}},
		{name: "layer types", config: map[string]any{"layer_types": []string{"full_attention"}}, want: []string{"layer_types has 1 entries"}},
		{name: "unknown layer type", config: map[string]any{"layer_types": []string{"full_attention", "ring"}}, want: []string{`layer_types[1] is "ring"`}},
		{name: "no experts", config: map[string]any{"model_type": "mixtral"}, want: []string{"num_local_experts) is 0"}},
		{name: "too few experts", config: map[string]any{"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 5}, want: []string{"num_experts_per_tok is 5", "the 4 experts"}},
		{name: "expert width", config: map[string]any{"model_type": "qwen3_moe", "num_experts": 8}, want: []string{"moe_intermediate_size is 0"}},
		{name: "sparse step", config: map[string]any{"model_type": "qwen3_moe", "num_experts": 8, "moe_intermediate_size": 8, "decoder_sparse_step": 0}, want: []string{"decoder_sparse_step is 0"}},
		{name: "missing experts", config: map[string]any{"model_type": "mixtral", "num_local_experts": 4, "tie_word_embeddings": true}, want: []string{"block_sparse_moe.gate.weight is missing; expected [4 32]"}},
		{name: "no window", config: map[string]any{"layer_types": []string{"sliding_attention", "full_attention"}}, want: []string{"sliding_window"}},
		{name: "other group", bits: 4, config: map[string]any{"quantization": map[string]any{"group_size": 32, "bits": 4, "model.embed_tokens": map[string]any{"group_size": 64, "bits": 4}}}, want: []string{"bits in groups of 64"}},
		{name: "quantized without biases", bits: 4, tensors: without("model.embed_tokens.biases"), want: []string{"model.embed_tokens.biases"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dev := newCPU(t)
			config, tensors := modeltest.Contents(t, modeltest.Spec{Type: "llama", Bits: test.bits})
			for k, v := range test.config {
				config[k] = v
				if v == nil {
					delete(config, k)
				}
			}
			if test.tensors != nil {
				tensors = test.tensors(tensors)
			}
			dir := modeltest.WriteFolder(t, config, tensors)
			src, err := weights.Open(dir)
			if err == nil {
				defer src.Close()
				_, err = model.Load(dev, src)
			}
			if err == nil {
				t.Fatal("it was loaded")
			}
			for _, part := range append(test.want, dir) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
			if used(dev) != 0 {
				t.Errorf("%d bytes of device memory are held", used(dev))
			}
		})
	}
}

func TestLoadOutOfMemory(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	src, err := weights.Open(modeltest.Write(t, modeltest.Architectures()[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for at := 0; ; at++ {
		f := &failing{Device: dev, at: at}
		m, err := model.Load(f, src)
		if f.calls <= at {
			if err != nil {
				t.Fatal(err)
			}
			m.Free()
		} else if !errors.Is(err, compute.ErrNoMemory) {
			t.Fatalf("allocation %d refused: %v", at, err)
		}
		if used(dev) != 0 {
			t.Fatalf("%d bytes held after allocation %d was refused", used(dev), at)
		}
		if f.calls <= at {
			break
		}
	}
}

func TestUnfreezeQuantized(t *testing.T) {
	t.Parallel()
	quantized := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama", Bits: 4})
	if err := quantized.Unfreeze(1, false); err == nil || !strings.Contains(err.Error(), "4-bit") {
		t.Errorf("full fine-tuning of a quantized base: %v", err)
	}
}

// TestEveryFamilyIsTested: modeltest makes a model of each model_type, and the list of
// tensors that it makes is what loading asks for.
func TestEveryFamilyIsTested(t *testing.T) {
	t.Parallel()
	_, err := model.ParseConfig([]byte(`{"model_type": "?"}`), "config.json")
	if err == nil {
		t.Fatal("a model_type of nobody's is known")
	}
	_, known, _ := strings.Cut(err.Error(), "known are ")
	var made []string
	for _, spec := range modeltest.Architectures() {
		made = append(made, spec.Type)
		m := modeltest.Load(t, newCPU(t), spec)
		for _, x := range m.Config.Tensors() {
			if shape, ok := m.ShapeOf(x.Name); !ok || !slices.Equal(shape, x.Shape) {
				t.Errorf("%s: %s is %v in the list, %v in the model", spec.Type, x.Name, x.Shape, shape)
			}
		}
		m.Free()
	}
	slices.Sort(made)
	if got := strings.Join(slices.Compact(made), ", "); got != known {
		t.Errorf("modeltest makes %s, known are %s", got, known)
	}
}
