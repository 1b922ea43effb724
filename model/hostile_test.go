package model_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
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

// headerOf is the part of a safetensors file that says what the rest is.
func headerOf(file []byte) []byte { return file[:8+binary.LittleEndian.Uint64(file)] }

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
	all := mixtures()
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
			valid := readFile(t, path)
			if name != "config.json" { // the header; the numbers may be anything
				valid = headerOf(valid)
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
	logitsOf(t, m, model.Sequence([]int32{1, 2, 3}, 0))
	return true
}

// TestSpoiledAdapter does the same to the files of adapters in all layouts, of a
// dense model and of one with experts.
func TestSpoiledAdapter(t *testing.T) {
	dev := newCPU(t)
	dense, mixture := modeltest.Spec{Type: "llama"}, mixtures()[0]
	spoilAdapters(t, modeltest.Load(t, dev, dense), append(bothLayouts(t, adapted(t, dev, dense), loraConfig),
		append(bothLayouts(t, adaptedBy(t, dev, dense, doraFit), doraConfig), ggufAdapter(t, nil))...))
	spoilAdapters(t, modeltest.Load(t, dev, mixture), append(bothLayouts(t, adapted(t, dev, mixture), loraConfig),
		expertAdapter(t, "llama", 4), expertPEFT(t)))
}

// bothLayouts are the files of m's adapter as mlx-lm and as PEFT have it.
func bothLayouts(t *testing.T, m *model.Model, config string) []string {
	t.Helper()
	mlx, peft := writeAdapter(t, config, m), filepath.Join(t.TempDir(), "peft")
	f, err := model.ReadLoRA(mlx)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.WritePEFT(peft); err != nil {
		t.Fatal(err)
	}
	return []string{filepath.Join(mlx, model.AdapterConfigFile), filepath.Join(mlx, model.AdapterFile),
		filepath.Join(peft, model.AdapterConfigFile), filepath.Join(peft, model.PEFTFile)}
}

func spoilAdapters(t *testing.T, m *model.Model, paths []string) {
	t.Helper()
	for _, path := range paths {
		adapter := filepath.Dir(path)
		if strings.HasSuffix(path, ".gguf") {
			adapter = path
		}
		if err := m.LoadAdapter(adapter); err != nil {
			t.Fatalf("it is refused as it is: %v", err)
		}
		valid := readFile(t, path)
		spoil.Each(t, valid, spoil.Limit{Places: 40, Bytes: 64 << 20}, func(t *testing.T, spoiled []byte) {
			writeFile(t, path, spoiled)
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
	var models []*model.Model
	seed := func(spec modeltest.Spec, path string) {
		m := modeltest.Load(f, dev, spec)
		if err := m.LoadAdapter(path); err != nil {
			f.Fatalf("%s: the seed is refused: %v", spec.Type, err)
		}
		m.Detach()
		models = append(models, m)
		f.Add(readFile(f, path))
	}
	seed(modeltest.Spec{Type: "llama"}, ggufAdapter(f, nil))
	seed(modeltest.Spec{Type: "smollm3"}, ggufAdapter(f, map[string]any{"general.architecture": "smollm3", "adapter.lora.alpha": float32(0)}))
	seed(mixtures()[0], expertAdapter(f, "llama", 4))
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "a.gguf")
		writeFile(t, path, file)
		for _, m := range models {
			if err := m.LoadAdapter(path); err != nil && !strings.Contains(err.Error(), path) {
				t.Errorf("error %q does not name the file", err)
			}
			m.Detach()
		}
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
	write := func(t testing.TB, config, header []byte) string {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "config.json"), config)
		const data = 3 << 16 // enough for the seeds
		writeFile(t, filepath.Join(dir, "model.safetensors"), append(bytes.Clone(header), make([]byte, data)...))
		return dir
	}
	for _, spec := range append(smallMixtures(), small(modeltest.Spec{Type: "llama", Bits: 4}), small(modeltest.Spec{Type: "qwen3"}), small(modeltest.Spec{Type: "smollm3"})) {
		dir := modeltest.Write(f, spec)
		config, header := readFile(f, filepath.Join(dir, "config.json")), headerOf(readFile(f, filepath.Join(dir, "model.safetensors")))
		if !run(f, dev, write(f, config, header)) {
			f.Fatalf("%s: the seed is refused", spec.Type)
		}
		f.Add(config, header)
	}
	f.Fuzz(func(t *testing.T, config, header []byte) { run(t, dev, write(t, config, header)) })
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
	read := func(t testing.TB, header []byte, peft bool) (*model.LoRAFile, error) {
		dir := t.TempDir()
		dora := bytes.Contains(header, []byte("magnitude")) || bytes.Contains(header, []byte(`.m"`))
		name, config := model.AdapterFile, map[bool]string{false: loraConfig, true: doraConfig}[dora]
		if peft {
			name, config = model.PEFTFile, fmt.Sprintf(`{"peft_type": "LORA", "r": 2, "lora_alpha": 8, "use_dora": %v}`, dora)
		}
		writeFile(t, filepath.Join(dir, model.AdapterConfigFile), []byte(config))
		writeFile(t, filepath.Join(dir, name), append(bytes.Clone(header), make([]byte, 8192)...))
		return model.ReadLoRA(dir)
	}
	seed := func(header []byte, peft bool) {
		if _, err := read(f, header, peft); err != nil {
			f.Fatalf("the seed is refused: %v", err)
		}
		f.Add(header, peft)
	}
	dir := writePEFT(f, `{"peft_type": "LORA", "r": 2, "lora_alpha": 8}`, make([]float32, 2*modeltest.Hidden), make([]float32, 2*modeltest.Hidden))
	header := headerOf(readFile(f, filepath.Join(dir, model.PEFTFile)))
	seed(header, true)
	seed(bytes.ReplaceAll(bytes.ReplaceAll(header, []byte(`.lora_A.weight"`), []byte(`.lora_b"       `)), []byte(`.lora_B.weight"`), []byte(`.lora_a"       `)), false)
	seed(headerOf(readFile(f, expertPEFT(f))), true)
	withLength := func(header string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	}
	seed(withLength(`{"m.lora_a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"m.lora_b":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},"m.m":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}`), false)
	seed(withLength(`{"m.lora_A.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"m.lora_B.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]},"m.lora_magnitude_vector":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}`), true)
	f.Fuzz(func(t *testing.T, header []byte, peft bool) {
		adapter, err := read(t, header, peft)
		if err != nil {
			return
		}
		for _, u := range adapter.Updates {
			if adapter.DoRA() && len(u.Magnitude) != u.Out {
				t.Fatalf("%s: %d magnitudes for %d outputs", u.Module, len(u.Magnitude), u.Out)
			}
			if n := max(u.Experts, 1); len(u.A) != n*u.In*u.Rank || len(u.B) != n*u.Rank*u.Out {
				t.Fatalf("%s: %d and %d numbers for %v of rank %d", u.Module, len(u.A), len(u.B), u.Shape(), u.Rank)
			}
		}
		if _, err := model.MergeLoRA([]*model.LoRAFile{adapter, adapter}, []float32{1, 0.5}); err != nil {
			return
		}
		adapter.Uniform()
	})
}
