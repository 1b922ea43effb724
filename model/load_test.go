package model_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
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
		{name: "string for a number", config: map[string]any{"hidden_size": "32"}, want: []string{"config.json", "line ", "hidden_size"}},
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

// writeAdapter makes an adapter folder; a nil model gives no adapters.safetensors.
func writeAdapter(t *testing.T, config string, m *model.Model) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, model.AdapterConfigFile), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if m != nil {
		if err := m.SaveTrainable(filepath.Join(dir, model.AdapterFile)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const loraConfig = `{"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": {"rank": 3, "scale": 4.0, "dropout": 0.1}}`

const doraConfig = `{"fine_tune_type": "dora", "num_layers": 1, "lora_parameters": {"rank": 3, "scale": 4.0, "dropout": 0.1}}`

// What the two configs say.
var (
	loraFit = model.LoRAConfig{Rank: 3, Scale: 4, NumLayers: 1}
	doraFit = model.LoRAConfig{Rank: 3, Scale: 4, NumLayers: 1, DoRA: true}
)

// adapted is a model with a random LoRA as loraConfig says.
func adapted(t *testing.T, dev compute.Device, s modeltest.Spec) *model.Model {
	t.Helper()
	return adaptedBy(t, dev, s, loraFit)
}

// adaptedBy is a model with a random adapter.
func adaptedBy(t *testing.T, dev compute.Device, s modeltest.Spec, c model.LoRAConfig) *model.Model {
	t.Helper()
	m := modeltest.Load(t, dev, s)
	if _, err := m.AttachLoRA(c, compute.NewKey(0)); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, 0.2)
	return m
}

func TestAdapterComesBack(t *testing.T) {
	t.Parallel()
	tokens := model.Sequence(sequence(9), 0)
	for _, spec := range modeltest.Architectures() {
		dev := newCPU(t)
		base := modeltest.Load(t, dev, spec)
		plain := logitsOf(t, base, tokens)
		for name, fit := range map[string]struct {
			config  string
			prepare func(m *model.Model) error
		}{
			"lora": {loraConfig, func(m *model.Model) error {
				_, err := m.AttachLoRA(loraFit, compute.NewKey(0))
				return err
			}},
			"dora": {doraConfig, func(m *model.Model) error {
				_, err := m.AttachLoRA(doraFit, compute.NewKey(0))
				return err
			}},
			"full":                 {`{"fine_tune_type": "full", "num_layers": 1, "lora_parameters": null}`, func(m *model.Model) error { return m.Unfreeze(1, false) }},
			"full with embeddings": {`{"fine_tune_type": "full", "num_layers": -1}`, func(m *model.Model) error { return m.Unfreeze(-1, true) }},
		} {
			trained := modeltest.Load(t, dev, spec)
			if err := fit.prepare(trained); name == "dora" && modeltest.HasExperts(spec) {
				if err == nil || !strings.Contains(err.Error(), "experts take no DoRA") || len(trained.Adapted()) > 0 {
					t.Errorf("%s, %s: error %v", spec.Type, name, err)
				}
				trained.Free()
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			modeltest.Shake(t, trained, 0.2)
			dir := writeAdapter(t, fit.config, trained)
			again := modeltest.Load(t, dev, spec)
			for range 2 { // the second takes the place of the first
				if err := again.LoadAdapter(dir); err != nil {
					t.Fatalf("%s, %s: %v", spec.Type, name, err)
				}
			}
			want := logitsOf(t, trained, tokens)
			alike(t, spec.Type+", "+name, logitsOf(t, again, tokens), want, sameTolerance)
			if slices.Equal(want, plain) {
				t.Errorf("%s, %s: the adapter changes nothing", spec.Type, name)
			}
			again.Free()
			trained.Free()
		}
		base.Free()
		if used(dev) != 0 {
			t.Errorf("%s: %d bytes held after all models were freed", spec.Type, used(dev))
		}
	}
}

func TestAdapterErrors(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama"}
	small := adapted(t, dev, modeltest.Spec{Type: "llama", Config: map[string]any{"intermediate_size": 32}})
	full := modeltest.Load(t, dev, modeltest.Spec{Type: "llama", Config: map[string]any{"intermediate_size": 32}})
	if err := full.Unfreeze(1, false); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, config string
		from         *model.Model
		want         []string
	}{
		{"adapter of another model", loraConfig, small, []string{model.AdapterFile, "3 tensors do not fit", "mlp.down_proj.lora_a", "[32 3]", "[64 3]", "another model"}},
		{"full weights of another model", `{"fine_tune_type": "full"}`, full, []string{"mlp.down_proj.weight", "another model"}},
		{"lora read as full", `{"fine_tune_type": "full"}`, small, []string{"lora_a", "another model"}},
		{"other rank", strings.Replace(loraConfig, "3", "2", 1), small, []string{"lora_parameters", "say rank 2", "do not belong together"}},
		{"more layers than there are", strings.Replace(loraConfig, `"num_layers": 1`, `"num_layers": 16`, 1), small, []string{"num_layers is 16", "has 2 layers", model.AdapterConfigFile}},
		{"DoRA of another model", doraConfig, adaptedBy(t, dev, modeltest.Spec{Type: "llama", Config: map[string]any{"intermediate_size": 32}}, doraFit), []string{"mlp.gate_proj.m", "[32]", "[64]"}},
		{"DoRA read as LoRA", loraConfig, adaptedBy(t, dev, spec, doraFit), []string{"mlp.down_proj.m (no such parameter)", "7 tensors"}},
		{"unknown type", `{"fine_tune_type": "prefix"}`, small, []string{`"prefix"`, "lora, dora, full"}},
		{"no parameters", `{"fine_tune_type": "lora"}`, small, []string{"lora_parameters is missing"}},
		{"no rank", `{"lora_parameters": {"scale": 1}}`, small, []string{"rank is 0"}},
		{"absurd rank", `{"lora_parameters": {"rank": 4611686018427387904}}`, small, []string{"rank is 4611686018427387904"}},
		{"unknown key", `{"lora_parameters": {"rank": 3, "keys": ["self_attn.q_proj", "mlp.router"]}}`, small, []string{`"mlp.router"`}},
		{"bad JSON", "{\n\"fine_tune_type\": lora}", small, []string{model.AdapterConfigFile, "line 2, column 19"}},
		{"no weights", loraConfig, nil, []string{model.AdapterFile}},
	} {
		dir := writeAdapter(t, test.config, test.from)
		m := modeltest.Load(t, dev, spec)
		before := used(dev)
		err := m.LoadAdapter(dir)
		if err == nil {
			t.Errorf("%s: it was loaded", test.name)
			continue
		}
		for _, part := range test.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %q does not say %q", test.name, err, part)
			}
		}
		if n := len(m.Adapted()); n > 0 || used(dev) != before {
			t.Errorf("%s: %d layers carry an adapter after the error, %d bytes more are held", test.name, n, used(dev)-before)
		}
	}
	if err := modeltest.Load(t, dev, spec).LoadAdapter(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not an adapter folder") {
		t.Errorf("an empty folder gives %v", err)
	}
}

// TestIncompleteAdapter: nothing is made for what the file does not hold. Projections
// that it does not change stay as they are, since older settings have no keys.
func TestIncompleteAdapter(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama"}
	tokens := model.Sequence(sequence(9), 0)
	queries := adaptedBy(t, dev, spec, model.LoRAConfig{Rank: 3, Scale: 4, NumLayers: 1, Keys: []string{"self_attn.q_proj"}})
	m := modeltest.Load(t, dev, spec)
	if err := m.LoadAdapter(writeAdapter(t, loraConfig, queries)); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Adapted()); n != 1 {
		t.Errorf("%d projections carry an adapter, 1 is in the file", n)
	}
	alike(t, "queries alone", logitsOf(t, m, tokens), logitsOf(t, queries, tokens), sameTolerance)

	const rank = 8192
	module := "model.layers.1.self_attn.q_proj"
	a := weights.Tensor{Name: module + ".lora_a", DType: quant.F16, Shape: []int{modeltest.Hidden, rank}, Data: make([]byte, 2*modeltest.Hidden*rank)}
	b := weights.Tensor{Name: module + ".lora_b", DType: quant.F16, Shape: []int{rank, modeltest.Hidden}, Data: a.Data}
	for _, test := range []struct {
		kind    string
		tensors []weights.Tensor
		missing string
	}{{"lora", []weights.Tensor{a}, "lora_b"}, {"lora", []weights.Tensor{b}, "lora_a"}, {"dora", []weights.Tensor{a, b}, "m"}} {
		dir := writeAdapter(t, fmt.Sprintf(`{"fine_tune_type": %q, "lora_parameters": {"rank": %d, "scale": 1}}`, test.kind, rank), nil)
		if err := weights.WriteSafetensors(filepath.Join(dir, model.AdapterFile), test.tensors, nil); err != nil {
			t.Fatal(err)
		}
		if err := m.LoadAdapter(dir); err == nil || !strings.Contains(err.Error(), module+"."+test.missing+" (is missing") || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s without %s: %v", test.kind, test.missing, err)
		}
	}
}

// TestResume loads by name: what is unknown is left out, what has another
// shape is not, and a file with nothing in common is none for this model.
func TestResume(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	file := filepath.Join(t.TempDir(), "a.safetensors")
	a := adapted(t, dev, modeltest.Spec{Type: "llama"})
	if err := a.SaveTrainable(file); err != nil {
		t.Fatal(err)
	}
	load := func(c model.LoRAConfig) (*model.Model, error) {
		f, err := weights.OpenSafetensors(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
		if _, err := m.AttachLoRA(c, compute.NewKey(1)); err != nil {
			t.Fatal(err)
		}
		return m, m.LoadTrainable(f, false)
	}
	m, err := load(model.LoRAConfig{Rank: 3, Scale: 4, Keys: []string{"self_attn.q_proj"}, NumLayers: -1})
	if err != nil {
		t.Fatal(err)
	}
	want := a.Trainable()
	for _, p := range m.Trainable() {
		i := slices.IndexFunc(want, func(q nn.Param) bool { return q.Name == p.Name })
		if (i >= 0) != strings.HasPrefix(p.Name, "model.layers.1.") {
			t.Errorf("%s: in the file is %v", p.Name, i >= 0)
		}
		if i >= 0 && !slices.Equal(floats(t, dev, p), floats(t, dev, want[i])) {
			t.Errorf("%s was not loaded", p.Name)
		}
	}
	if _, err := load(model.LoRAConfig{Rank: 2, Scale: 4, NumLayers: 1}); err == nil || !strings.Contains(err.Error(), "lora_a") {
		t.Errorf("another rank: %v", err)
	}
	if _, err := load(model.LoRAConfig{Rank: 3, Scale: 4, Keys: []string{"model.layers.0.mlp.up_proj"}, NumLayers: 1}); err == nil {
		t.Error("a file with nothing in common was loaded")
	}
}

// TestResumeOtherKind: weights of another kind of fine-tuning would fit by half.
func TestResumeOtherKind(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama"}
	full := modeltest.Load(t, dev, spec)
	if err := full.Unfreeze(1, false); err != nil {
		t.Fatal(err)
	}
	models := map[string]*model.Model{"lora": adapted(t, dev, spec), "dora": adaptedBy(t, dev, spec, doraFit), "full": full}
	for is, m := range models {
		path := filepath.Join(t.TempDir(), is+".safetensors")
		if err := m.SaveTrainable(path); err != nil {
			t.Fatal(err)
		}
		file, err := weights.OpenSafetensors(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for trained, m := range models {
			err := m.LoadTrainable(file, false)
			if trained == is {
				if err != nil {
					t.Errorf("%s: %v", is, err)
				}
				continue
			}
			for _, part := range []string{path, "--fine-tune-type is " + trained, "give --fine-tune-type " + is, "--resume-adapter-file"} {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("%s over %s: error %v, want one with %q", is, trained, err, part)
				}
			}
		}
	}
}

// TestSaveKeepsTheLastGood refuses to write an adapter that is no numbers.
func TestSaveKeepsTheLastGood(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := adapted(t, dev, modeltest.Spec{Type: "llama"})
	file := filepath.Join(t.TempDir(), "a.safetensors")
	if err := m.SaveTrainable(file); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, float32(math.NaN()))
	if err := m.SaveTrainable(file); err == nil || !strings.Contains(err.Error(), "lora_a") {
		t.Errorf("NaN was written: %v", err)
	}
	if now, _ := os.ReadFile(file); !slices.Equal(now, good) {
		t.Error("the good file is gone")
	}
}

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
		if _, err := m.AttachLoRA(model.LoRAConfig{Rank: r, Scale: 1, Keys: test.keys, NumLayers: test.n}, compute.NewKey(0)); err != nil {
			t.Fatal(err)
		}
		if got := count(m); got != test.count {
			t.Errorf("%s: %d parameters, want %d", test.name, got, test.count)
		}
		if got := m.FirstTrained(); got != test.first {
			t.Errorf("%s: first trained block %d, want %d", test.name, got, test.first)
		}
	}
	quantized := modeltest.Load(t, dev, modeltest.Spec{Type: "llama", Bits: 4})
	if err := quantized.Unfreeze(1, false); err == nil || !strings.Contains(err.Error(), "4-bit") {
		t.Errorf("full fine-tuning of a quantized base: %v", err)
	}
	tied := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
	if _, err := tied.AttachLoRA(model.LoRAConfig{Rank: r, Keys: []string{"lm_head"}}, compute.NewKey(0)); err == nil || !strings.Contains(err.Error(), "embedding") {
		t.Errorf("LoRA on a tied head: %v", err)
	}
}

func floats(t *testing.T, dev compute.Device, p nn.Param) []float32 {
	t.Helper()
	v, err := tensor.ReadFloats(dev, p.Tensor)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
