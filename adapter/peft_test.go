package adapter_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// TestPEFTRoundTrip takes a trained adapter to PEFT's layout and back; the model
// says the same with all three.
func TestPEFTRoundTrip(t *testing.T) {
	t.Parallel()
	t.Run("LoRA", func(t *testing.T) { roundTrip(t, loraConfig, loraFit) })
	t.Run("DoRA", func(t *testing.T) { roundTrip(t, doraConfig, doraFit) })
}

func roundTrip(t *testing.T, config string, c adapter.Config) {
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "qwen2"}
	trained := adaptedBy(t, dev, spec, c)
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	want := modeltest.Logits(t, trained, tokens)
	mlx := writeAdapter(t, config, trained)
	f, err := adapter.Read(mlx)
	if err != nil {
		t.Fatal(err)
	}
	peft, back := filepath.Join(t.TempDir(), "peft"), filepath.Join(t.TempDir(), "mlx")
	if err := f.WritePEFT(peft); err != nil {
		t.Fatal(err)
	}
	g, err := adapter.Read(peft)
	if err != nil {
		t.Fatal(err)
	}
	if g.Layout != "PEFT" || len(g.Updates) != len(f.Updates) {
		t.Errorf("%s adapter of %d modules, wrote %d", g.Layout, len(g.Updates), len(f.Updates))
	}
	if err := g.WriteMLX(back); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{peft, back} {
		m := modeltest.Load(t, dev, spec)
		if err := adapter.Load(m, dir); err != nil {
			t.Fatal(err)
		}
		modeltest.Alike(t, dir, modeltest.Logits(t, m, tokens), want, sameTolerance)
		m.Free()
	}
	if err := f.WritePEFT(peft); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("writing over an adapter: %v", err)
	}
}

// writePEFT makes an adapter folder with the layer's q_proj updated by B·A.
func writePEFT(t testing.TB, config string, a, b []float32, more ...string) string {
	t.Helper()
	const module = "base_model.model.model.layers.0.self_attn.q_proj"
	dir := t.TempDir()
	tensor := func(name string, values []float32, shape ...int) weights.Tensor {
		data := make([]byte, 4*len(values))
		quant.PutFloats(data, values, quant.F32)
		return weights.Tensor{Name: name, DType: quant.F32, Shape: shape, Data: data}
	}
	rank := len(a) / modeltest.Hidden
	tensors := []weights.Tensor{
		tensor(module+".lora_A.weight", a, rank, modeltest.Hidden), tensor(module+".lora_B.weight", b, modeltest.Hidden, rank),
	}
	for _, name := range more {
		tensors = append(tensors, tensor(name, make([]float32, 4), 2, 2))
	}
	if err := weights.WriteSafetensors(filepath.Join(dir, adapter.PEFTFile), tensors, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, adapter.ConfigFile), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestReadPEFT: which number is where, and what scales it.
func TestReadPEFT(t *testing.T) {
	t.Parallel()
	const h = modeltest.Hidden
	a, b := make([]float32, 2*h), make([]float32, 2*h)
	a[h+5], b[7*2+1] = 3, 2 // Aᵀ[1, 5] and Bᵀ[7, 1]: input 5 moves output 7
	for name, test := range map[string]struct {
		config string
		scale  float32
	}{
		"alpha over rank": {`{"peft_type": "LORA", "r": 2, "lora_alpha": 8}`, 4},
		"rank-stable":     {`{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_rslora": true}`, 4 / 1.4142135},
		"patterns":        {`{"peft_type": "LORA", "r": 64, "rank_pattern": {"q_proj": 2}, "lora_alpha": 1, "alpha_pattern": {"q_proj": 6}}`, 3},
		// The first pattern that matches counts, and only at the start of a name.
		"order of patterns": {`{"peft_type": "LORA", "lora_alpha": 4, "fan_in_fan_out": true, "modules_to_save": null, "alpha_pattern": {"proj": 1, "self_attn..*": 8, "q_proj": 2}}`, 4},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := adapter.Read(writePEFT(t, test.config, a, b))
			if err != nil {
				t.Fatal(err)
			}
			u := f.Updates[0]
			if u.Module != "model.layers.0.self_attn.q_proj" || u.Rank != 2 || u.In != h || u.Out != h {
				t.Errorf("read %+v", u)
			}
			if u.A[5*2+1] != 3 || u.B[h+7] != 2 || u.Scale < test.scale*0.9999 || u.Scale > test.scale*1.0001 {
				t.Errorf("A %v, B %v, scale %v, want 3, 2, %v", u.A[5*2+1], u.B[h+7], u.Scale, test.scale)
			}
		})
	}
}

// TestReadPEFTErrors: what an adapter does beyond A, B and magnitudes is named.
func TestReadPEFTErrors(t *testing.T) {
	t.Parallel()
	const h = modeltest.Hidden
	a, b := make([]float32, 2*h), make([]float32, 2*h)
	for _, test := range []struct{ name, config, more, want string }{
		{"other kind", `{"peft_type": "IA3"}`, "", `"IA3"`},
		{"DoRA without magnitudes", `{"peft_type": "LORA", "use_dora": true}`, "", "0 magnitudes, expected 32"},
		{"modules to save", `{"peft_type": "LORA", "modules_to_save": ["lm_head"]}`, "", `modules_to_save is ["lm_head"]`},
		{"no JSON", `{`, "", ":1:1: "},
		{"biases", `{"peft_type": "LORA", "bias": "all"}`, "", `bias is "all"`},
		{"biases of the LoRA", `{"peft_type": "LORA", "lora_bias": true}`, "", "lora_bias is true"},
		{"PiSSA", `{"peft_type": "LORA", "init_lora_weights": "pissa_niter_4"}`, "", "pissa_niter_4"},
		{"alpha_pattern of no object", `{"peft_type": "LORA", "alpha_pattern": [1]}`, "", "alpha_pattern"},
		{"alpha_pattern of no expression", `{"peft_type": "LORA", "alpha_pattern": {"(": 1}}`, "", "alpha_pattern"},
		{"a norm", goodPEFT, "base_model.model.model.norm.weight", "no part of a LoRA"},
		{"magnitudes of a LoRA", goodPEFT, "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", "no part of a LoRA"},
		{"magnitudes in 2 dimensions", `{"peft_type": "LORA", "use_dora": true}`, "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", "1 dimension"},
		{"magnitudes of another module", `{"peft_type": "LORA", "use_dora": true}`, "base_model.model.model.layers.1.self_attn.q_proj.lora_magnitude_vector", "1 dimension"},
		{"A without B", goodPEFT, "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight", "only one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var more []string
			if test.more != "" {
				more = []string{test.more}
			}
			if _, err := adapter.Read(writePEFT(t, test.config, a, b, more...)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	t.Run("a pickle", func(t *testing.T) {
		pickle := t.TempDir()
		for _, name := range []string{adapter.ConfigFile, "adapter_model.bin"} {
			spoil.WriteFile(t, filepath.Join(pickle, name), []byte(goodPEFT))
		}
		m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama"})
		if err := adapter.Load(m, pickle); err == nil || !strings.Contains(err.Error(), "pickle") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("adapter of another model", func(t *testing.T) {
		m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama", Config: map[string]any{"hidden_size": 64}})
		if err := adapter.Load(m, writePEFT(t, goodPEFT, a, b)); err == nil || !strings.Contains(err.Error(), "does not fit this model") {
			t.Errorf("error %v", err)
		}
	})
}

const goodPEFT = `{"peft_type": "LORA", "r": 2, "lora_alpha": 8}`

// TestCopiesInPEFT: a copy of the base's embedding may lie beside the adapter, but no
// other embedding.
func TestCopiesInPEFT(t *testing.T) {
	t.Parallel()
	const h = modeltest.Hidden
	f, err := adapter.Read(writePEFT(t, goodPEFT, make([]float32, 2*h), make([]float32, 2*h), "base_model.model.model.embed_tokens.base_layer.weight"))
	if err != nil || len(f.Copies) != 1 {
		t.Fatalf("%v, copies %v", err, f.Copies)
	}
	m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama"})
	t.Run("another shape", func(t *testing.T) {
		if err := f.Attach(m); err == nil || !strings.Contains(err.Error(), "model.embed_tokens.weight [2 2]") {
			t.Errorf("error %v", err)
		}
	})
	f.Copies[0], _ = m.Source().Tensor("model.embed_tokens.weight")
	t.Run("the model's own", func(t *testing.T) {
		if err := f.Attach(m); err != nil {
			t.Error(err)
		}
	})
	f.Copies[0].Data = make([]byte, len(f.Copies[0].Data))
	t.Run("zeros", func(t *testing.T) {
		if err := f.Attach(m); err == nil {
			t.Error("an embedding of zeros was taken for the model's")
		}
	})
}

// FuzzPEFTConfig: whatever adapter_config.json says, what is read can be written
// and read again, or there is an error.
func FuzzPEFTConfig(f *testing.F) {
	f.Add(`{"peft_type": "LORA", "r": 2, "lora_alpha": 8}`)
	f.Add(`{"peft_type": "LORA", "lora_alpha": -1e308, "use_rslora": true, "alpha_pattern": {"q_proj": 0}}`)
	f.Fuzz(func(t *testing.T, config string) {
		const h = modeltest.Hidden
		dir := writePEFT(t, config, make([]float32, 2*h), make([]float32, 2*h))
		f, err := adapter.Read(dir)
		if err != nil {
			return
		}
		out := filepath.Join(t.TempDir(), "out")
		if err := f.WriteMLX(out); err != nil {
			return
		}
		if _, err := adapter.Read(out); err != nil {
			t.Fatal(err)
		}
	})
}
