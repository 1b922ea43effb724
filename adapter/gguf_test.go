package adapter_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

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
		facts, err := m.Config.Facts()
		if err != nil {
			t.Fatal(err)
		}
		router := []weights.GGUFEntry{
			counted("blk.1.ffn_gate_inp.weight.lora_a", 2, modeltest.Hidden), counted("blk.1.ffn_gate_inp.weight.lora_b", facts.Experts.Count, 2),
		}
		path := expertAdapter(t, arch, facts.Experts.Count, router...)
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
		u, in := f.Updates[at], facts.Experts.Width
		if !slices.Equal(u.Shape(), []int{facts.Experts.Count, modeltest.Hidden, in}) || u.Rank != 2 {
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
		if err := adapter.Load(m, expertAdapter(t, arch, facts.Experts.Count+1)); err == nil {
			t.Error("an adapter for more experts was loaded")
		}
	}
	// A dense model has no place for it.
	m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
	if err := adapter.Load(m, expertAdapter(t, "llama", 4)); err == nil || !strings.Contains(err.Error(), "block_sparse_moe") {
		t.Errorf("experts for a dense model: %v", err)
	}
}
