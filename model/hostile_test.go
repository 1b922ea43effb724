package model_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/weights"
)

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestSpoiledModel cuts and changes config.json and the weights of a model: it is
// refused with the folder's name, or loaded and can be run.
func TestSpoiledModel(t *testing.T) {
	dev := newCPU(t)
	for _, spec := range []modeltest.Spec{
		{Type: "llama", Bits: 4, Config: map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0}, "num_hidden_layers": 1}},
		{Type: "mistral", Config: map[string]any{"layer_types": []string{"sliding_attention"}, "sliding_window": 3, "num_hidden_layers": 1}},
	} {
		dir := modeltest.Write(t, spec)
		for _, name := range []string{"config.json", "model.safetensors"} {
			path := filepath.Join(dir, name)
			valid := readFile(t, path)
			if name != "config.json" { // the header; the numbers may be anything
				valid = valid[:bytes.Index(valid, []byte("}}"))+2]
			}
			rest := readFile(t, path)[len(valid):]
			loaded := 0
			spoil.Each(t, valid, spoil.Limit{Places: 40, Bytes: 16 << 20}, func(t *testing.T, spoiled []byte) {
				writeFile(t, path, append(bytes.Clone(spoiled), rest...))
				if run(t, dev, dir) {
					loaded++
				}
			})
			t.Logf("%s: %s: %d spoiled models could be loaded", spec.Type, name, loaded)
			writeFile(t, path, append(valid, rest...))
		}
	}
}

// run loads the model of a folder and computes logits, or tells that it was refused.
func run(t *testing.T, dev compute.Device, dir string) bool {
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
	logitsOf(t, m, model.Sequence([]int32{1, 2, 3}, 0))
	return true
}

// TestSpoiledAdapter does the same to the files of adapters in both layouts.
func TestSpoiledAdapter(t *testing.T) {
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama"}
	paths := []string{ggufAdapter(t, nil), expertAdapter(t, "llama", 4)}
	for config, fit := range map[string]model.LoRAConfig{loraConfig: loraFit, doraConfig: doraFit} {
		mlx := writeAdapter(t, config, adaptedBy(t, dev, spec, fit))
		f, err := model.ReadLoRA(mlx)
		if err != nil {
			t.Fatal(err)
		}
		peft := filepath.Join(t.TempDir(), "peft")
		if err := f.WritePEFT(peft); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.Join(mlx, model.AdapterConfigFile), filepath.Join(mlx, model.AdapterFile),
			filepath.Join(peft, model.AdapterConfigFile), filepath.Join(peft, model.PEFTFile))
	}
	m := modeltest.Load(t, dev, spec)
	for _, path := range paths {
		valid := readFile(t, path)
		spoil.Each(t, valid, spoil.Limit{Places: 40, Bytes: 64 << 20}, func(t *testing.T, spoiled []byte) {
			writeFile(t, path, spoiled)
			adapter := filepath.Dir(path)
			if strings.HasSuffix(path, ".gguf") {
				adapter = path
			}
			if err := m.LoadAdapter(adapter); err != nil && !strings.Contains(err.Error(), adapter) {
				t.Errorf("%s: error %q does not name it", path, err)
			}
			m.Detach()
			model.ReadLoRA(adapter)
		})
		writeFile(t, path, valid)
	}
}

// FuzzGGUFAdapter reads foreign files as adapters of llama.cpp's, and attaches them.
func FuzzGGUFAdapter(f *testing.F) {
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(dev.(*cpu.Device).Close)
	m := modeltest.Load(f, dev, modeltest.Spec{Type: "llama"})
	f.Add(readFile(f, ggufAdapter(f, nil)))
	f.Add(readFile(f, ggufAdapter(f, map[string]any{"general.architecture": "smollm3", "adapter.lora.alpha": float32(0)})))
	f.Add(readFile(f, expertAdapter(f, "qwen3moe", 5)))
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "a.gguf")
		writeFile(t, path, file)
		if err := m.LoadAdapter(path); err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("error %q does not name the file", err)
		}
		m.Detach()
	})
}

// FuzzConfig: what is accepted of config.json has facts that agree with it.
func FuzzConfig(f *testing.F) {
	for _, spec := range modeltest.Architectures() {
		f.Add(readFile(f, filepath.Join(modeltest.Write(f, spec), "config.json")))
	}
	f.Add([]byte(`{"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8, "num_attention_heads": 2, "vocab_size": 8, "rms_norm_eps": 1e-5, "rope_parameters": {"rope_type": "longrope", "long_factor": [1, 2], "factor": 8}}`))
	f.Add([]byte(`{"eos_token_id": [1, 2], "rope_scaling": {"type": "yarn", "factor": 4, "beta_fast": 32, "mscale_all_dim": 1, "truncate": false}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := model.ParseConfig(data, "config.json")
		if err != nil {
			return
		}
		c.EOSTokens()
		facts, err := c.Facts()
		if err != nil {
			return
		}
		if facts.HeadDim <= 0 || facts.KVHeads <= 0 || len(facts.RopeFactors) != facts.HeadDim/2 || len(facts.Windows) != c.NumHiddenLayers {
			t.Errorf("facts %+v", facts)
		}
		for i, x := range facts.RopeFactors {
			if x-x != 0 {
				t.Errorf("rotary factor %d is %v", i, x)
			}
		}
	})
}

// FuzzTokenIDs reads eos_token_id of config.json and generation_config.json.
func FuzzTokenIDs(f *testing.F) {
	for _, seed := range []string{"2", "[1, 2]", "null", "[]", `"2"`, "[[1]]", "1e3"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, raw []byte) { model.TokenIDs(raw) })
}

// FuzzModel loads models with a foreign config.json and header of the weights.
func FuzzModel(f *testing.F) {
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(dev.(*cpu.Device).Close)
	for _, spec := range []modeltest.Spec{{Type: "llama", Bits: 4}, {Type: "qwen3"}, {Type: "smollm3"}} {
		dir := modeltest.Write(f, spec)
		weights := readFile(f, filepath.Join(dir, "model.safetensors"))
		f.Add(readFile(f, filepath.Join(dir, "config.json")), weights[:bytes.Index(weights, []byte("}}"))+2])
	}
	f.Fuzz(func(t *testing.T, config, header []byte) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "config.json"), config)
		const data = 1 << 16
		writeFile(t, filepath.Join(dir, "model.safetensors"), append(bytes.Clone(header), make([]byte, data)...))
		run(t, dev, dir)
	})
}

// FuzzAdapterConfig reads mlx-lm's adapter_config.json beside valid weights.
func FuzzAdapterConfig(f *testing.F) {
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(dev.(*cpu.Device).Close)
	m := modeltest.Load(f, dev, modeltest.Spec{Type: "llama"})
	if _, err := m.AttachLoRA(model.LoRAConfig{Rank: 3, Scale: 4, NumLayers: 1}, compute.NewKey(0)); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), model.AdapterFile)
	if err := m.SaveTrainable(path); err != nil {
		f.Fatal(err)
	}
	file := readFile(f, path)
	f.Add([]byte(loraConfig))
	f.Add([]byte(doraConfig))
	f.Add([]byte(`{"fine_tune_type": "full", "num_layers": -1}`))
	f.Add([]byte(`{"model": "m", "num_layers": 2, "lora_parameters": {"rank": 3, "scale": 1e38, "keys": ["self_attn.q_proj", "lm_head"]}}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, model.AdapterConfigFile), config)
		writeFile(t, filepath.Join(dir, model.AdapterFile), file)
		if adapter, err := model.ReadLoRA(dir); err == nil {
			adapter.Uniform()
		}
		m.LoadAdapter(dir)
		m.Detach()
	})
}

// FuzzAdapterFile reads headers of adapter weights in both layouts.
func FuzzAdapterFile(f *testing.F) {
	dir := writePEFT(f, `{"peft_type": "LORA", "r": 2, "lora_alpha": 8}`, make([]float32, 2*modeltest.Hidden), make([]float32, 2*modeltest.Hidden))
	file := readFile(f, filepath.Join(dir, model.PEFTFile))
	f.Add(file[:bytes.Index(file, []byte("}}"))+2], true)
	f.Add(bytes.ReplaceAll(file[:bytes.Index(file, []byte("}}"))+2], []byte("lora_A.weight"), []byte("lora_a       ")), false)
	f.Add([]byte(`{"m.lora_a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"m.lora_b":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},"m.m":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}`), false)
	f.Add([]byte(`{"m.lora_A.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"m.lora_B.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]},"m.lora_magnitude_vector":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}`), true)
	f.Fuzz(func(t *testing.T, header []byte, peft bool) {
		dir := t.TempDir()
		dora := bytes.Contains(header, []byte("magnitude")) || bytes.Contains(header, []byte(`.m"`))
		name, config := model.AdapterFile, map[bool]string{false: loraConfig, true: doraConfig}[dora]
		if peft {
			name, config = model.PEFTFile, fmt.Sprintf(`{"peft_type": "LORA", "r": 2, "lora_alpha": 8, "use_dora": %v}`, dora)
		}
		writeFile(t, filepath.Join(dir, model.AdapterConfigFile), []byte(config))
		writeFile(t, filepath.Join(dir, name), append(bytes.Clone(header), make([]byte, 1024)...))
		adapter, err := model.ReadLoRA(dir)
		if err != nil {
			return
		}
		if _, err := model.MergeLoRA([]*model.LoRAFile{adapter, adapter}, []float32{1, 0.5}); err != nil && !dora {
			return
		}
		for _, u := range adapter.Updates {
			if adapter.DoRA() && len(u.Magnitude) != u.Out {
				t.Fatalf("%s: %d magnitudes for %d outputs", u.Module, len(u.Magnitude), u.Out)
			}
			if len(u.A) != u.In*u.Rank || len(u.B) != u.Rank*u.Out {
				t.Fatalf("%s: %d and %d numbers for %d x %d of rank %d", u.Module, len(u.A), len(u.B), u.In, u.Out, u.Rank)
			}
		}
	})
}
