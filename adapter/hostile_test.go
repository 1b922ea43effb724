package adapter_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// sameTolerance is for results that differ by the order of float32 sums only:
// values of size 1 to 10, sums of 64 terms, two layers.
const sameTolerance = 2e-4

func newCPU(t *testing.T) *cpu.Device {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.(*cpu.Device).Close() })
	return dev.(*cpu.Device)
}

func used(dev *cpu.Device) int64 {
	n, _ := dev.Memory()
	return n
}

// TestSpoiledAdapter does the same to the files of adapters in all layouts, of a
// dense model and of one with experts.
func TestSpoiledAdapter(t *testing.T) {
	dev := newCPU(t)
	dense, mixture := modeltest.Spec{Type: "llama"}, modeltest.Mixtures()[0]
	spoilAdapters(t, modeltest.Load(t, dev, dense), append(bothLayouts(t, adapted(t, dev, dense), loraConfig),
		append(bothLayouts(t, adaptedBy(t, dev, dense, doraFit), doraConfig), ggufAdapter(t, nil))...))
	spoilAdapters(t, modeltest.Load(t, dev, mixture), append(bothLayouts(t, adapted(t, dev, mixture), loraConfig),
		expertAdapter(t, "llama", 4), expertPEFT(t)))
}

// bothLayouts are the files of m's adapter as mlx-lm and as PEFT have it.
func bothLayouts(t *testing.T, m *model.Model, config string) []string {
	t.Helper()
	mlx, peft := writeAdapter(t, config, m), filepath.Join(t.TempDir(), "peft")
	f, err := adapter.Read(mlx)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.WritePEFT(peft); err != nil {
		t.Fatal(err)
	}
	return []string{filepath.Join(mlx, adapter.ConfigFile), filepath.Join(mlx, adapter.File),
		filepath.Join(peft, adapter.ConfigFile), filepath.Join(peft, adapter.PEFTFile)}
}

func spoilAdapters(t *testing.T, m *model.Model, paths []string) {
	t.Helper()
	for _, path := range paths {
		name := filepath.Dir(path)
		if strings.HasSuffix(path, ".gguf") {
			name = path
		}
		if err := adapter.Load(m, name); err != nil {
			t.Fatalf("it is refused as it is: %v", err)
		}
		valid := spoil.ReadFile(t, path)
		spoil.Each(t, valid, spoil.Limit{Places: 40, Bytes: 64 << 20}, func(t *testing.T, spoiled []byte) {
			spoil.WriteFile(t, path, spoiled)
			if err := adapter.Load(m, name); err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s: error %q does not name it", path, err)
			}
			m.Detach()
			adapter.Read(name)
		})
		spoil.WriteFile(t, path, valid)
	}
}

// FuzzGGUFAdapter reads foreign files as adapters of llama.cpp's, and attaches them.
func FuzzGGUFAdapter(f *testing.F) {
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { dev.(*cpu.Device).Close() })
	var models []*model.Model
	seed := func(spec modeltest.Spec, path string) {
		m := modeltest.Load(f, dev, spec)
		if err := adapter.Load(m, path); err != nil {
			f.Fatalf("%s: the seed is refused: %v", spec.Type, err)
		}
		m.Detach()
		models = append(models, m)
		f.Add(spoil.ReadFile(f, path))
	}
	seed(modeltest.Spec{Type: "llama"}, ggufAdapter(f, nil))
	seed(modeltest.Spec{Type: "smollm3"}, ggufAdapter(f, map[string]any{"general.architecture": "smollm3", "adapter.lora.alpha": float32(0)}))
	seed(modeltest.Mixtures()[0], expertAdapter(f, "llama", 4))
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "a.gguf")
		spoil.WriteFile(t, path, file)
		for _, m := range models {
			if err := adapter.Load(m, path); err != nil && !strings.Contains(err.Error(), path) {
				t.Errorf("error %q does not name the file", err)
			}
			m.Detach()
		}
	})
}

// FuzzAdapterConfig reads mlx-lm's adapter_config.json beside valid weights.
func FuzzAdapterConfig(f *testing.F) {
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { dev.(*cpu.Device).Close() })
	m := modeltest.Load(f, dev, modeltest.Spec{Type: "llama"})
	if _, err := adapter.New(m, adapter.Config{Rank: 3, Scale: 4, NumLayers: 1}, compute.NewKey(0)); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), adapter.File)
	if err := adapter.SaveWeights(m, path); err != nil {
		f.Fatal(err)
	}
	file := spoil.ReadFile(f, path)
	f.Add([]byte(loraConfig))
	f.Add([]byte(doraConfig))
	f.Add([]byte(`{"fine_tune_type": "full", "num_layers": -1}`))
	f.Add([]byte(`{"model": "m", "num_layers": 2, "lora_parameters": {"rank": 3, "scale": 1e38, "keys": ["self_attn.q_proj", "lm_head"]}}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		dir := t.TempDir()
		spoil.WriteFile(t, filepath.Join(dir, adapter.ConfigFile), config)
		spoil.WriteFile(t, filepath.Join(dir, adapter.File), file)
		if a, err := adapter.Read(dir); err == nil {
			a.Uniform()
		}
		adapter.Load(m, dir)
		m.Detach()
	})
}

// FuzzAdapterFile reads headers of adapter weights in both layouts.
func FuzzAdapterFile(f *testing.F) {
	read := func(t testing.TB, header []byte, peft bool) (*adapter.Adapter, error) {
		dir := t.TempDir()
		dora := bytes.Contains(header, []byte("magnitude")) || bytes.Contains(header, []byte(`.m"`))
		name, config := adapter.File, map[bool]string{false: loraConfig, true: doraConfig}[dora]
		if peft {
			name, config = adapter.PEFTFile, fmt.Sprintf(`{"peft_type": "LORA", "r": 2, "lora_alpha": 8, "use_dora": %v}`, dora)
		}
		spoil.WriteFile(t, filepath.Join(dir, adapter.ConfigFile), []byte(config))
		spoil.WriteFile(t, filepath.Join(dir, name), append(bytes.Clone(header), make([]byte, 8192)...))
		return adapter.Read(dir)
	}
	seed := func(header []byte, peft bool) {
		if _, err := read(f, header, peft); err != nil {
			f.Fatalf("the seed is refused: %v", err)
		}
		f.Add(header, peft)
	}
	dir := writePEFT(f, `{"peft_type": "LORA", "r": 2, "lora_alpha": 8}`, make([]float32, 2*modeltest.Hidden), make([]float32, 2*modeltest.Hidden))
	header := spoil.SafetensorsHeader(spoil.ReadFile(f, filepath.Join(dir, adapter.PEFTFile)))
	seed(header, true)
	seed(bytes.ReplaceAll(bytes.ReplaceAll(header, []byte(`.lora_A.weight"`), []byte(`.lora_b"       `)), []byte(`.lora_B.weight"`), []byte(`.lora_a"       `)), false)
	seed(spoil.SafetensorsHeader(spoil.ReadFile(f, expertPEFT(f))), true)
	withLength := func(header string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	}
	seed(withLength(`{"m.lora_a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"m.lora_b":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},"m.m":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}`), false)
	seed(withLength(`{"m.lora_A.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"m.lora_B.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]},"m.lora_magnitude_vector":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}`), true)
	f.Fuzz(func(t *testing.T, header []byte, peft bool) {
		a, err := read(t, header, peft)
		if err != nil {
			return
		}
		for _, u := range a.Updates {
			if a.DoRA() && len(u.Magnitude) != u.Out {
				t.Fatalf("%s: %d magnitudes for %d outputs", u.Module, len(u.Magnitude), u.Out)
			}
			if n := max(u.Experts, 1); len(u.A) != n*u.In*u.Rank || len(u.B) != n*u.Rank*u.Out {
				t.Fatalf("%s: %d and %d numbers for %v of rank %d", u.Module, len(u.A), len(u.B), u.Shape(), u.Rank)
			}
		}
		if _, err := adapter.Merge([]*adapter.Adapter{a, a}, []float32{1, 0.5}); err != nil {
			return
		}
		a.Uniform()
	})
}
