package interop

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/weights"
)

// TestGGUFTypesOfQuantizer: each tensor of an export has the type that llama.cpp's own
// quantizer gives it, from the same model in F32. Needs llama-cpp-python, in the virtual
// environment that LENTIL_LLAMA names.
func TestGGUFTypesOfQuantizer(t *testing.T) {
	t.Parallel()
	python := filepath.Join(os.Getenv("LENTIL_LLAMA"), "bin", "python")
	if _, err := os.Stat(python); os.Getenv("LENTIL_LLAMA") == "" || err != nil {
		t.Skip("LENTIL_LLAMA names no virtual environment with llama-cpp-python")
	}
	fileTypes := map[string]int{"F16": 1, "BF16": 32, "Q8_0": 7, "Q4_0": 2, "Q4_1": 3, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}
	experts := func(n int, more map[string]any) map[string]any {
		config := map[string]any{"num_experts": n, "num_local_experts": n, "num_experts_per_tok": 2, "moe_intermediate_size": 256, "norm_topk_prob": true}
		maps.Copy(config, more)
		return config
	}
	for name, spec := range map[string]modeltest.Spec{
		"llama":               {Type: "llama"},
		"qwen3":               {Type: "qwen3", Config: map[string]any{"head_dim": 64, "tie_word_embeddings": true}},
		"mixtral":             {Type: "mixtral", Config: experts(8, nil)},
		"mixtral of 4":        {Type: "mixtral", Config: experts(4, nil)},
		"qwen3_moe":           {Type: "qwen3_moe", Config: experts(5, nil)},
		"qwen3_moe of 8":      {Type: "qwen3_moe", Config: experts(8, map[string]any{"tie_word_embeddings": true})},
		"qwen3_moe of narrow": {Type: "qwen3_moe", Config: experts(8, map[string]any{"moe_intermediate_size": 96, "hidden_size": 160, "head_dim": 40})},
	} {
		t.Run(name, func(t *testing.T) {
			config := map[string]any{"vocab_size": 520, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 9, "head_dim": 64}
			maps.Copy(config, spec.Config)
			spec.Config = config
			dir, out := writeWithTokenizer(t, spec), t.TempDir()
			base := filepath.Join(out, "base.gguf")
			lentil(t, "convert", "--model", dir, "--gguf", "F32", "--mlx-path", base)
			args := []string{"peer/llama_quantize.py", base}
			theirs := func(kind string) string { return filepath.Join(out, "theirs-"+kind+".gguf") }
			for kind, number := range fileTypes {
				args = append(args, fmt.Sprint(number), theirs(kind))
			}
			command(t, exec.Command(python, args...))
			for kind := range fileTypes {
				ours := filepath.Join(out, "ours-"+kind+".gguf")
				lentil(t, "convert", "--model", dir, "--gguf", kind, "--mlx-path", ours)
				got, want := tensorTypes(t, ours), tensorTypes(t, theirs(kind))
				for tensor, typ := range want {
					if got[tensor] != typ {
						t.Errorf("%s: %s is %s, llama.cpp makes it %s", kind, tensor, got[tensor], typ)
					}
				}
				if len(got) != len(want) {
					t.Errorf("%s: %d tensors, llama.cpp has %d", kind, len(got), len(want))
				}
			}
		})
	}
}

// tensorTypes gives the type of each tensor of a GGUF file.
func tensorTypes(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := weights.OpenGGUFFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]string{}
	for _, x := range f.Tensors {
		out[x.Name] = x.Type.String()
	}
	return out
}
