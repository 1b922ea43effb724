package adapter_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// ggufAdapter is a file of llama.cpp's with an update of layer 0's q_proj.
func ggufAdapter(t testing.TB, metadata map[string]any, more ...weights.GGUFEntry) string {
	t.Helper()
	const h, rank = modeltest.Hidden, 2
	m := map[string]any{"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": float32(6)}
	maps.Copy(m, metadata)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	entry := func(name string, of func(i int) float32, shape ...int) weights.GGUFEntry {
		values := make([]float32, shape[0]*shape[1])
		for i := range values {
			values[i] = of(i)
		}
		data := make([]byte, 4*len(values))
		quant.PutFloats(data, values, quant.F32)
		return weights.GGUFEntry{Name: name, Type: weights.GGUFType{DType: quant.F32}, Shape: shape, Bytes: func() ([]byte, error) { return data, nil }}
	}
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := weights.WriteGGUF(path, m, append([]weights.GGUFEntry{
		entry("blk.0.attn_q.weight.lora_a", func(i int) float32 { return float32(i) }, rank, h),
		entry("blk.0.attn_q.weight.lora_b", func(i int) float32 { return float32(i / rank) }, h, rank), // the number of the row
	}, more...)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestReadGGUFAdapter: which number is where, for models with rows in pairs and for others.
func TestReadGGUFAdapter(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	// 4 heads of 8 rows: in pairs the second half's first row is number 1.
	for _, test := range []struct {
		name, architecture, model string
		traditional               bool
		rows                      []float32 // 0, 1, 4, 5 of the first head
		alpha, scale              any
	}{
		{"pairs", "llama", "llama", false, []float32{0, 2, 1, 3}, nil, float32(3)},
		{"no alpha", "llama", "mistral", false, []float32{0, 2, 1, 3}, float32(0), float32(1)},
		{"old name", "mistral", "mistral", false, []float32{0, 2, 1, 3}, nil, float32(3)},
		{"traditional RoPE", "llama", "llama", true, []float32{0, 1, 4, 5}, nil, float32(3)},
		{"no pairs", "qwen2", "qwen2", false, []float32{0, 1, 4, 5}, nil, float32(3)},
	} {
		t.Run(test.name, func(t *testing.T) {
			metadata := map[string]any{"general.architecture": test.architecture}
			if test.alpha != nil {
				metadata["adapter.lora.alpha"] = test.alpha
			}
			path := ggufAdapter(t, metadata)
			m := modeltest.Load(t, dev, modeltest.Spec{Type: test.model, Config: map[string]any{"rope_traditional": test.traditional}})
			u := fitted(t, path, m).Updates[0]
			if u.Scale != test.scale || u.A[5*2+1] != modeltest.Hidden+5 {
				t.Errorf("scale %v, A %v", u.Scale, u.A[5*2+1])
			}
			for i, row := range []int{0, 1, 4, 5} {
				if got := u.B[modeltest.Hidden+row]; got != test.rows[i] {
					t.Errorf("row %d of B is the file's %v, want %v", row, got, test.rows[i])
				}
			}
			if err := adapter.Load(m, path); err != nil || len(m.Adapted()) != 1 {
				t.Errorf("loaded: %v", err)
			}
		})
	}
}

// fitted reads an adapter and fits it to a model.
func fitted(t *testing.T, path string, m *model.Model) *adapter.Adapter {
	t.Helper()
	f, err := adapter.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.FitTo(m.Config); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestPairsNeedModel: where rows may lie in pairs, the adapter is not written before the
// model has told of its heads.
func TestPairsNeedModel(t *testing.T) {
	t.Parallel()
	for architecture, needed := range map[string]bool{"llama": true, "mistral": true, "smollm3": true, "qwen2": false} {
		f, err := adapter.Read(ggufAdapter(t, map[string]any{"general.architecture": architecture}))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.WritePEFT(t.TempDir()); needed && fault.SettingOf(err) != "model" || !needed && err != nil {
			t.Errorf("%s written without its model: %v", architecture, err)
		}
	}
}

func TestReadGGUFAdapterErrors(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama"})
	one := func(name string) weights.GGUFEntry { return weights.FloatTensor(name, []float32{0}, 1).GGUF() }
	for want, path := range map[string]string{
		"no LoRA adapter":     ggufAdapter(t, map[string]any{"general.type": "model"}),
		"adapter.lora.alpha":  ggufAdapter(t, map[string]any{"adapter.lora.alpha": nil}),
		`architecture "gpt2"`: ggufAdapter(t, map[string]any{"general.architecture": "gpt2"}),
		`"qwen2"`:             ggufAdapter(t, map[string]any{"general.architecture": "qwen2"}),
		"no part of a LoRA":   ggufAdapter(t, nil, one("output_norm.weight")),
		"attn_z":              ggufAdapter(t, nil, one("blk.0.attn_z.weight.lora_a")),
		"token_embd":          ggufAdapter(t, nil, one("token_embd.weight.lora_a")),
	} {
		if err := adapter.Load(m, path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want %q and the file", err, want)
		}
	}
}

// counted is a tensor whose numbers count up from 0.
func counted(name string, shape ...int) weights.GGUFEntry {
	n := 1
	for _, s := range shape {
		n *= s
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i)
	}
	data := make([]byte, 4*n)
	quant.PutFloats(data, values, quant.F32)
	return weights.GGUFEntry{Name: name, Type: weights.GGUFType{DType: quant.F32}, Shape: shape, Bytes: func() ([]byte, error) { return data, nil }}
}

// expertAdapter updates the experts of layer 0 too: a stack [experts, rank, in] and one
// [experts, out, rank].
func expertAdapter(t testing.TB, architecture string, experts int, more ...weights.GGUFEntry) string {
	t.Helper()
	const at = "blk.0.ffn_down_exps.weight"
	width := modeltest.Inner
	if architecture == "qwen3moe" {
		width = 32
	}
	return ggufAdapter(t, map[string]any{"general.architecture": architecture},
		append([]weights.GGUFEntry{counted(at+".lora_a", experts, 2, width), counted(at+".lora_b", experts, modeltest.Hidden, 2)}, more...)...)
}

// eachMixture runs a test for each architecture with experts: arch is llama.cpp's name of
// it, at the module with the experts of layer 0.
func eachMixture(t *testing.T, test func(t *testing.T, m *model.Model, arch, at string, sizes model.Experts)) {
	for _, spec := range modeltest.Mixtures() {
		t.Run(spec.Type, func(t *testing.T) {
			spec.Config["head_dim"] = modeltest.Hidden / modeltest.Heads // of which ggufAdapter is
			m := modeltest.Load(t, newCPU(t), spec)
			a, err := m.Config.Architecture()
			if err != nil {
				t.Fatal(err)
			}
			if spec.Type == "mixtral" {
				test(t, m, "llama", "model.layers.0.block_sparse_moe.", a.Experts)
			} else {
				test(t, m, "qwen3moe", "model.layers.0.mlp.", a.Experts)
			}
		})
	}
}

// TestReadGGUFExpertAdapter: which number of a stack is where, under which name.
func TestReadGGUFExpertAdapter(t *testing.T) {
	t.Parallel()
	eachMixture(t, func(t *testing.T, m *model.Model, arch, at string, sizes model.Experts) {
		router := []weights.GGUFEntry{
			counted("blk.1.ffn_gate_inp.weight.lora_a", 2, modeltest.Hidden), counted("blk.1.ffn_gate_inp.weight.lora_b", sizes.Count, 2),
		}
		path := expertAdapter(t, arch, sizes.Count, router...)
		f := fitted(t, path, m)
		i := slices.IndexFunc(f.Updates, func(u adapter.Update) bool { return u.Module == at+"switch_mlp.down_proj" })
		if i < 0 {
			t.Fatalf("no %sswitch_mlp.down_proj in %v", at, f.Updates)
		}
		u, in := f.Updates[i], sizes.Width
		if !slices.Equal(u.Shape(), []int{sizes.Count, modeltest.Hidden, in}) || u.Rank != 2 {
			t.Errorf("%s is %v of rank %d", u.Module, u.Shape(), u.Rank)
		}
		// Expert 1, input 5, rank 1; and expert 2, rank 1, output 7.
		if got, want := u.A[1*2*in+5*2+1], float32(1*2*in+1*in+5); got != want {
			t.Errorf("A is %v, want %v", got, want)
		}
		if got, want := u.B[2*2*modeltest.Hidden+1*modeltest.Hidden+7], float32(2*modeltest.Hidden*2+7*2+1); got != want {
			t.Errorf("B is %v, want %v", got, want)
		}
		if err := adapter.Load(m, path); err != nil || len(m.Adapted()) != 3 {
			t.Errorf("loaded %d: %v", len(m.Adapted()), err)
		}
	})
}

func TestReadGGUFExpertErrors(t *testing.T) {
	t.Parallel()
	eachMixture(t, func(t *testing.T, m *model.Model, arch, _ string, sizes model.Experts) {
		file := func(more ...weights.GGUFEntry) string {
			return ggufAdapter(t, map[string]any{"general.architecture": arch}, more...)
		}
		for want, path := range map[string]string{
			"expected 3 dimensions": file(counted("blk.0.ffn_up_exps.weight.lora_a", 2, 32)),
			"expected 2 dimensions": file(counted("blk.0.attn_v.weight.lora_a", 3, 2, 32)),
			"changes no projection": file(counted("blk.0.ffn_up_shexp.weight.lora_a", 2, 32)),
			"for 3 experts, the other of the two for 2": file(
				counted("blk.0.ffn_up_exps.weight.lora_a", 2, 2, 32), counted("blk.0.ffn_up_exps.weight.lora_b", 3, sizes.Width, 2)),
		} {
			if _, err := adapter.Read(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q and the file", err, want)
			}
		}
		if err := adapter.Load(m, expertAdapter(t, arch, sizes.Count+1)); err == nil {
			t.Error("an adapter for more experts was loaded")
		}
	})
	t.Run("dense model", func(t *testing.T) {
		m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama"})
		if err := adapter.Load(m, expertAdapter(t, "llama", 4)); err == nil || !strings.Contains(err.Error(), "block_sparse_moe") {
			t.Errorf("error %v", err)
		}
	})
}

// TestWriteGGUF: a model with the adapter that was written and read again says the same.
func TestWriteGGUF(t *testing.T) {
	t.Parallel()
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	for _, spec := range modeltest.Architectures() {
		t.Run(spec.Type, func(t *testing.T) {
			t.Parallel()
			dev := newCPU(t)
			trained := adapted(t, dev, spec)
			a, err := adapter.Of(trained)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "adapter.gguf")
			if err := a.WriteGGUF(path, trained.Source()); err != nil {
				t.Fatal(err)
			}
			m := modeltest.Load(t, dev, spec)
			plain := modeltest.Logits(t, m, tokens)
			if err := adapter.Load(m, path); err != nil {
				t.Fatal(err)
			}
			got := modeltest.Logits(t, m, tokens)
			modeltest.Alike(t, "read again", got, modeltest.Logits(t, trained, tokens), sameTolerance)
			if slices.Equal(got, plain) {
				t.Error("the adapter changes nothing")
			}
			if err := a.WriteGGUF(path, trained.Source()); err == nil || !strings.Contains(err.Error(), "is there already") {
				t.Errorf("written over a file: %v", err)
			}
		})
	}
}

// TestWriteGGUFErrors: no file is left of what does not belong into one.
func TestWriteGGUFErrors(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	left := func(t *testing.T) {
		if _, err := os.Stat(path); err == nil {
			t.Error("a file was left")
		}
	}
	t.Run("DoRA", func(t *testing.T) {
		m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama"})
		update := adapter.Update{Module: "model.layers.0.mlp.up_proj", In: 1, Out: 1, Rank: 1, A: []float32{1}, B: []float32{1}, Magnitude: []float32{1}}
		err := (&adapter.Adapter{Updates: []adapter.Update{update}}).WriteGGUF(path, m.Source())
		if fault.SettingOf(err) != "fine_tune_type" || !strings.Contains(err.Error(), "export_gguf") {
			t.Errorf("error %v", err)
		}
		left(t)
	})
	for _, spec := range modeltest.Mixtures() {
		t.Run("other number of experts/"+spec.Type, func(t *testing.T) {
			dev := newCPU(t)
			spec.Config = maps.Clone(spec.Config)
			spec.Config["num_experts"], spec.Config["num_local_experts"] = 4, 4
			a, err := adapter.Of(adapted(t, dev, spec))
			if err != nil {
				t.Fatal(err)
			}
			spec.Config["num_experts"], spec.Config["num_local_experts"] = 3, 3
			err = a.WriteGGUF(path, modeltest.Load(t, dev, spec).Source())
			if err == nil || !strings.Contains(err.Error(), "the adapter is for [4 ") {
				t.Errorf("written for another model: %v", err)
			}
			left(t)
		})
	}
}
