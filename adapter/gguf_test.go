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
		architecture, model string
		traditional         bool
		rows                []float32 // 0, 1, 4, 5 of the first head
		alpha, scale        any
	}{
		{"llama", "llama", false, []float32{0, 2, 1, 3}, nil, float32(3)},
		{"llama", "mistral", false, []float32{0, 2, 1, 3}, float32(0), float32(1)},
		{"llama", "llama", true, []float32{0, 1, 4, 5}, nil, float32(3)},
		{"qwen2", "qwen2", false, []float32{0, 1, 4, 5}, nil, float32(3)},
	} {
		metadata := map[string]any{"general.architecture": test.architecture}
		if test.alpha != nil {
			metadata["adapter.lora.alpha"] = test.alpha
		}
		path := ggufAdapter(t, metadata)
		f, err := adapter.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if test.architecture == "llama" {
			if err := f.WritePEFT(t.TempDir()); fault.SettingOf(err) != "model" {
				t.Errorf("written without its model: %v", err)
			}
		}
		m := modeltest.Load(t, dev, modeltest.Spec{Type: test.model, Config: map[string]any{"rope_traditional": test.traditional}})
		if err := f.FitTo(m.Config); err != nil {
			t.Fatal(err)
		}
		u := f.Updates[0]
		if u.Scale != test.scale || u.A[5*2+1] != modeltest.Hidden+5 {
			t.Errorf("%s in %s: scale %v, A %v", test.architecture, test.model, u.Scale, u.A[5*2+1])
		}
		for i, row := range []int{0, 1, 4, 5} {
			if got := u.B[modeltest.Hidden+row]; got != test.rows[i] {
				t.Errorf("%s in %s: row %d of B is the file's %v, want %v", test.architecture, test.model, row, got, test.rows[i])
			}
		}
		if err := adapter.Load(m, path); err != nil || len(m.Adapted()) != 1 {
			t.Errorf("loaded: %v", err)
		}
	}
	m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
	plain := weights.GGUFEntry{Name: "output_norm.weight", Type: weights.GGUFType{DType: quant.F32}, Shape: []int{1}, Bytes: func() ([]byte, error) { return make([]byte, 4), nil }}
	strange, embedding := plain, plain
	strange.Name, embedding.Name = "blk.0.attn_z.weight.lora_a", "token_embd.weight.lora_a"
	for want, path := range map[string]string{
		"no LoRA adapter":     ggufAdapter(t, map[string]any{"general.type": "model"}),
		"adapter.lora.alpha":  ggufAdapter(t, map[string]any{"adapter.lora.alpha": nil}),
		`architecture "gpt2"`: ggufAdapter(t, map[string]any{"general.architecture": "gpt2"}),
		`"qwen2"`:             ggufAdapter(t, map[string]any{"general.architecture": "qwen2"}),
		"no part of a LoRA":   ggufAdapter(t, nil, plain),
		"attn_z":              ggufAdapter(t, nil, strange),
		"token_embd":          ggufAdapter(t, nil, embedding),
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

// TestReadGGUFExpertAdapter: which number of a stack is where, under which name.
func TestReadGGUFExpertAdapter(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for _, spec := range modeltest.Architectures() {
		if !modeltest.HasExperts(spec) {
			continue
		}
		spec.Config["head_dim"] = modeltest.Hidden / modeltest.Heads // of which ggufAdapter is
		m := modeltest.Load(t, dev, spec)
		arch, module := "llama", "model.layers.0.block_sparse_moe.switch_mlp.down_proj"
		if spec.Type == "qwen3_moe" {
			arch, module = "qwen3moe", "model.layers.0.mlp.switch_mlp.down_proj"
		}
		sizes, err := m.Config.Architecture()
		if err != nil {
			t.Fatal(err)
		}
		router := []weights.GGUFEntry{
			counted("blk.1.ffn_gate_inp.weight.lora_a", 2, modeltest.Hidden), counted("blk.1.ffn_gate_inp.weight.lora_b", sizes.Experts.Count, 2),
		}
		path := expertAdapter(t, arch, sizes.Experts.Count, router...)
		f, err := adapter.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.FitTo(m.Config); err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(f.Updates, func(u adapter.Update) bool { return u.Module == module })
		if at < 0 {
			t.Fatalf("no %s in %v", module, f.Updates)
		}
		u, in := f.Updates[at], sizes.Experts.Width
		if !slices.Equal(u.Shape(), []int{sizes.Experts.Count, modeltest.Hidden, in}) || u.Rank != 2 {
			t.Errorf("%s is %v of rank %d", module, u.Shape(), u.Rank)
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
		for want, path := range map[string]string{
			"expected 3 dimensions": ggufAdapter(t, map[string]any{"general.architecture": arch}, counted("blk.0.ffn_up_exps.weight.lora_a", 2, 32)),
			"expected 2 dimensions": ggufAdapter(t, map[string]any{"general.architecture": arch}, counted("blk.0.attn_v.weight.lora_a", 3, 2, 32)),
			"changes no projection": ggufAdapter(t, map[string]any{"general.architecture": arch}, counted("blk.0.ffn_up_shexp.weight.lora_a", 2, 32)),
			"for 3 experts, the other of the two for 2": ggufAdapter(t, map[string]any{"general.architecture": arch},
				counted("blk.0.ffn_up_exps.weight.lora_a", 2, 2, 32), counted("blk.0.ffn_up_exps.weight.lora_b", 3, in, 2)),
		} {
			if _, err := adapter.Read(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q and the file", err, want)
			}
		}
		m.Detach()
		if err := adapter.Load(m, expertAdapter(t, arch, sizes.Experts.Count+1)); err == nil {
			t.Error("an adapter for more experts was loaded")
		}
	}
	// A dense model has no place for it.
	m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
	if err := adapter.Load(m, expertAdapter(t, "llama", 4)); err == nil || !strings.Contains(err.Error(), "block_sparse_moe") {
		t.Errorf("experts for a dense model: %v", err)
	}
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
