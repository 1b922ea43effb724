package interop

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// scaledModels have rotary scaling with settings that llama.cpp has no key for, or has one
// that it does not read in these families.
func scaledModels() map[string]modeltest.Spec {
	yarn := func(kind string, more map[string]any) modeltest.Spec {
		scaling := map[string]any{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
		maps.Copy(scaling, more)
		return modeltest.Spec{Type: kind, Config: map[string]any{"rope_scaling": scaling}}
	}
	long := make([]float64, 32)
	for i := range long {
		long[i] = 1 + float64(i)/8
	}
	return map[string]modeltest.Spec{
		"yarn":                   yarn("llama", nil),
		"yarn, betas":            yarn("llama", map[string]any{"beta_fast": 8.0, "beta_slow": 2.0}),
		"yarn, betas of mistral": yarn("mistral", map[string]any{"beta_fast": 64.0, "attention_factor": 1.2}),
		"yarn, not truncated":    yarn("llama", map[string]any{"truncate": false}),
		"yarn, original":         yarn("llama", map[string]any{"original_max_position_embeddings": nil}),
		"yarn, attention factor": yarn("qwen2", map[string]any{"attention_factor": 1.3}),
		"yarn, mscales":          yarn("qwen3", map[string]any{"mscale": 1.5, "mscale_all_dim": 0.5}),
		"yarn of smollm3":        yarn("smollm3", map[string]any{"attention_factor": 0.9}),
		"linear":                 yarn("qwen3", map[string]any{"rope_type": "linear"}),
		"llama3":                 yarn("llama", map[string]any{"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}),
		"longrope":               yarn("llama", map[string]any{"rope_type": "longrope", "long_factor": long, "short_factor": long}),
	}
}

// TestScaledRopeInLlamaCpp compares the perplexity of exported models under llama.cpp with that
// of the folders they come from, and of the files as Lentil reads them.
func TestScaledRopeInLlamaCpp(t *testing.T) {
	need(t, "llama.cpp")
	tok, err := tokenizer.Load("testdata/tokenizer")
	if err != nil {
		t.Fatal(err)
	}
	text := fixedText(t)
	cases := scaledModels()
	names := slices.Sorted(maps.Keys(cases))
	var folders, files []string
	for i, name := range names {
		spec := cases[name]
		maps.Copy(spec.Config, map[string]any{"vocab_size": 520, "hidden_size": 256, "intermediate_size": 128, "num_hidden_layers": 4, "head_dim": 64,
			"max_position_embeddings": 512})
		config, tensors := modeltest.Contents(t, spec)
		trainedScale(t, tensors)
		folders = append(folders, modeltest.WriteFolder(t, config, tensors))
		src, err := weights.Open(folders[i])
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		typ, err := export.ParseGGUFType("F32")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Join(t.TempDir(), fmt.Sprintf("%d.gguf", i)))
		if _, err := export.GGUF(src, tok, export.GGUFOptions{Path: files[i], Type: typ}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	ids := encode(t, tok, text, true)
	for i, theirs := range llamaLosses(t, text, 1, files...) {
		samePerplexity(t, names[i], open(t, folders[i], ""), ids, theirs, false, floatPerplexity)
		samePerplexity(t, names[i]+" from its file", open(t, files[i], ""), ids, theirs, false, floatPerplexity)
	}
}
