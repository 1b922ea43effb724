package model_test

import (
	"bytes"
	"maps"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/weights"
)

// small is a model of one layer, so that a test can spoil it at many places.
func small(spec modeltest.Spec) modeltest.Spec {
	spec.Config = maps.Clone(spec.Config)
	if spec.Config == nil {
		spec.Config = map[string]any{}
	}
	spec.Config["num_hidden_layers"] = 1
	return spec
}

// smallMixtures are models with experts: one dense, one quantized.
func smallMixtures() []modeltest.Spec {
	all := modeltest.Mixtures()
	all[0].Bits = 4
	for i := range all {
		all[i] = small(all[i])
	}
	return all
}

// TestSpoiledModel cuts and changes config.json and the weights of a model: it is
// refused with the folder's name, or loaded and can be run.
func TestSpoiledModel(t *testing.T) {
	dev := newCPU(t)
	for _, spec := range append(smallMixtures(),
		small(modeltest.Spec{Type: "llama", Bits: 4, Config: map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0}}}),
		small(modeltest.Spec{Type: "mistral", Config: map[string]any{"layer_types": []string{"sliding_attention"}, "sliding_window": 3}}),
	) {
		dir := modeltest.Write(t, spec)
		if !run(t, dev, dir) {
			t.Fatalf("%s: it is refused as it is", spec.Type)
		}
		for _, name := range []string{"config.json", "model.safetensors"} {
			path := filepath.Join(dir, name)
			valid := spoil.ReadFile(t, path)
			if name != "config.json" { // the header; the numbers may be anything
				valid = spoil.SafetensorsHeader(valid)
			}
			rest := spoil.ReadFile(t, path)[len(valid):]
			loaded := 0
			spoil.Each(t, valid, spoil.Limit{Places: 40, Bytes: 16 << 20}, func(t *testing.T, spoiled []byte) {
				spoil.WriteFile(t, path, append(bytes.Clone(spoiled), rest...))
				if run(t, dev, dir) {
					loaded++
				}
			})
			t.Logf("%s: %s: %d spoiled models could be loaded", spec.Type, name, loaded)
			spoil.WriteFile(t, path, append(valid, rest...))
		}
	}
}

// run loads the model of a folder and computes logits, or tells that it was refused.
func run(t testing.TB, dev compute.Device, dir string) bool {
	t.Helper()
	src, err := weights.Open(dir)
	if err != nil {
		return false
	}
	defer src.Close()
	m, err := model.Load(dev, src)
	if err != nil {
		return false
	}
	defer m.Free()
	modeltest.Logits(t, m, model.Sequence([]int32{1, 2, 3}, 0))
	return true
}

// FuzzConfig: what is accepted of config.json has arch that agree with it.
func FuzzConfig(f *testing.F) {
	for _, spec := range modeltest.Architectures() {
		f.Add(spoil.ReadFile(f, filepath.Join(modeltest.Write(f, spec), "config.json")))
	}
	f.Add([]byte(`{"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8, "num_attention_heads": 2, "vocab_size": 8, "rms_norm_eps": 1e-5, "rope_parameters": {"rope_type": "longrope", "long_factor": [1, 2], "factor": 8}}`))
	f.Add([]byte(`{"eos_token_id": [1, 2], "rope_scaling": {"type": "yarn", "factor": 4, "beta_fast": 32, "mscale_all_dim": 1, "truncate": false}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := model.ParseConfig(data, "config.json")
		if err != nil {
			return
		}
		model.EndTokens(data, "", nil)
		arch, err := c.Architecture()
		if err != nil {
			return
		}
		if arch.HeadDim <= 0 || arch.KVHeads <= 0 || len(arch.RopeFactors) != arch.HeadDim/2 || len(arch.Windows) != c.NumHiddenLayers {
			t.Errorf("arch %+v", arch)
		}
		for i, x := range arch.RopeFactors {
			if x-x != 0 {
				t.Errorf("rotary factor %d is %v", i, x)
			}
		}
	})
}

// FuzzEndTokens reads eos_token_id of config.json and generation_config.json.
func FuzzEndTokens(f *testing.F) {
	for _, seed := range []string{"2", "[1, 2]", "null", "[]", `"2"`, "[[1]]", "1e3"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, id := range model.EndTokens(append(append([]byte(`{"eos_token_id": `), raw...), '}'), "", nil) {
			if id < 0 {
				t.Errorf("%s: %d", raw, id)
			}
		}
	})
}

// FuzzModel loads models with a foreign config.json and header of the weights.
func FuzzModel(f *testing.F) {
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { dev.(*cpu.Device).Close() })
	write := func(t testing.TB, config, header []byte) string {
		dir := t.TempDir()
		spoil.WriteFile(t, filepath.Join(dir, "config.json"), config)
		const data = 3 << 16 // enough for the seeds
		spoil.WriteFile(t, filepath.Join(dir, "model.safetensors"), append(bytes.Clone(header), make([]byte, data)...))
		return dir
	}
	for _, spec := range append(smallMixtures(), small(modeltest.Spec{Type: "llama", Bits: 4}), small(modeltest.Spec{Type: "qwen3"}), small(modeltest.Spec{Type: "smollm3"})) {
		dir := modeltest.Write(f, spec)
		config, header := spoil.ReadFile(f, filepath.Join(dir, "config.json")), spoil.SafetensorsHeader(spoil.ReadFile(f, filepath.Join(dir, "model.safetensors")))
		if !run(f, dev, write(f, config, header)) {
			f.Fatalf("%s: the seed is refused", spec.Type)
		}
		f.Add(config, header)
	}
	f.Fuzz(func(t *testing.T, config, header []byte) { run(t, dev, write(t, config, header)) })
}
