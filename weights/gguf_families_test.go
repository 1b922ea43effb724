package weights

import (
	"slices"
	"testing"
)

func TestGGUFFamilies(t *testing.T) {
	t.Parallel()
	types := func(architecture string) (list []string) {
		for _, f := range GGUFFamilies(architecture) {
			list = append(list, f.ModelType)
		}
		return list
	}
	for architecture, want := range map[string][]string{
		"llama": {"llama", "mistral", "mixtral"}, "mistral": {"mistral"}, "qwen3moe": {"qwen3_moe"}, "smollm3": {"smollm3"}, "gpt2": nil, "": nil,
	} {
		if got := types(architecture); !slices.Equal(got, want) {
			t.Errorf("%q is the architecture of %v, want %v", architecture, got, want)
		}
	}
	if _, ok := GGUFFamilyOf("mamba"); ok {
		t.Error("mamba has a family")
	}
	seen := map[string]bool{}
	for _, f := range ggufFamilies {
		if seen[f.ModelType] {
			t.Errorf("%s is in the table twice", f.ModelType)
		}
		seen[f.ModelType] = true
		if f.ModelType == "" || f.Architecture == "" || f.Biases == "" || f.Experts != nil && (f.Experts.Module == "" || f.Experts.config == nil) {
			t.Errorf("the entry of %q is incomplete: %+v", f.ModelType, f)
		}
	}
}

func TestGGUFFamilyFacts(t *testing.T) {
	t.Parallel()
	const q, k, v = "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.v_proj"
	for modelType, want := range map[string]struct {
		heads  [3]int // of q, k and v
		biases []string
		noRope []int // of 8 layers
	}{
		"llama":   {[3]int{8, 2, 0}, []string{q, v, "lm_head"}, nil},
		"qwen2":   {[3]int{0, 0, 0}, []string{q, v}, nil},
		"smollm3": {[3]int{8, 2, 0}, nil, []int{3, 7}},
	} {
		f, ok := GGUFFamilyOf(modelType)
		if !ok {
			t.Fatalf("no family %s", modelType)
		}
		for i, name := range []string{q, k + ".weight", v + ".bias"} {
			if got := f.PairedHeads(name, 8, 2); got != want.heads[i] {
				t.Errorf("%s: %d heads of %s in pairs, want %d", modelType, got, name, want.heads[i])
			}
		}
		var biases []string
		for _, module := range []string{q, v, "lm_head"} {
			if f.Biases.Has(module) {
				biases = append(biases, module)
			}
		}
		var noRope []int
		for i := range 8 {
			if !f.HasRope(i) {
				noRope = append(noRope, i)
			}
		}
		if !slices.Equal(biases, want.biases) || !slices.Equal(noRope, want.noRope) {
			t.Errorf("%s: biases of %v, layers %v without RoPE, want %v and %v", modelType, biases, noRope, want.biases, want.noRope)
		}
	}
}

// TestPairs: one order of rows is the inverse of the other, for numbers and for bytes.
func TestPairs(t *testing.T) {
	t.Parallel()
	numbers := []float32{0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17} // 8 rows of 2, 2 heads
	joined := JoinPairs(numbers, 8, 2)
	if want := []float32{0, 1, 4, 5, 2, 3, 6, 7, 10, 11, 14, 15, 12, 13, 16, 17}; !slices.Equal(joined, want) {
		t.Errorf("joined: %v, want %v", joined, want)
	}
	if back := SplitPairs(joined, 8, 2); !slices.Equal(back, numbers) {
		t.Errorf("split again: %v", back)
	}
	bytes := []byte{0, 1, 2, 3, 4, 5, 6, 7}
	if back := SplitPairs(JoinPairs(bytes, 4, 1), 4, 1); !slices.Equal(back, bytes) {
		t.Errorf("bytes: %v", back)
	}
}
