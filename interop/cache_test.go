package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// continuation is what mlx-lm makes of a prompt cache file.
type continuation struct {
	answer
	Classes  []string          `json:"classes"`
	Metadata map[string]string `json:"metadata"`
	Logits   []float32         `json:"logits"` // of the first token of the answer
}

// cachedSession is a session in float32.
func cachedSession(t *testing.T, path string, limit int) *generate.Session {
	t.Helper()
	s, err := generate.NewSession(open(t, path, ""), limit, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// likeliest continues a prompt for count tokens.
func likeliest(t *testing.T, s *generate.Session, prompt []int32, count int) (ids []int32) {
	t.Helper()
	logits, err := s.Prefill(context.Background(), prompt, 0)
	for len(ids) < count {
		if err != nil {
			t.Fatal(err)
		}
		best := int32(0)
		for i, l := range logits {
			if l > logits[best] {
				best = int32(i)
			}
		}
		ids = append(ids, best)
		logits, err = s.Next(best)
	}
	return ids
}

// cachePrompts are a prompt and what follows it.
func cachePrompts(prompt, more, vocab int) [][]int32 {
	out := make([][]int32, 2)
	for i, n := range []int{prompt, more} {
		for k := range n {
			out[i] = append(out[i], int32((5+11*k+k*k+i)%vocab))
		}
	}
	return out
}

// withTokenizer writes a model that mlx-lm loads, which it does not without a tokenizer.
func withTokenizer(t *testing.T, spec modeltest.Spec) string {
	t.Helper()
	path := modeltest.Write(t, spec)
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
		data, err := os.ReadFile("testdata/tokenizer/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(path, name), data, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestPromptCacheWithMLX: mlx-lm goes on from Lentil's prompt cache files, and
// Lentil from mlx-lm's, with the same tokens.
func TestPromptCacheWithMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	window := modeltest.Spec{Type: "llama", Config: map[string]any{
		"vocab_size": 520, "layer_types": []string{"full_attention", "sliding_attention"}, "sliding_window": 16,
	}}
	windowed := withTokenizer(t, window)
	for _, tt := range []struct {
		name, path   string
		vocab, limit int    // limit is --max-kv-size
		prompt, more int    // tokens
		class        string // of the last layer's cache
	}{
		{"quantized", "testdata/mlx/llama-4bit", 512, 0, 20, 7, "KVCache"},
		{"over one block", "testdata/mlx/llama-dense", 256, 0, 300, 5, "KVCache"},
		{"qwen3", "testdata/mlx/qwen3-mixed-3-6", 256, 0, 9, 4, "KVCache"},
		{"short of a window", windowed, 520, 0, 10, 3, "RotatingKVCache"},
		{"over a window", windowed, 520, 0, 40, 9, "RotatingKVCache"},
		{"limited", "testdata/mlx/qwen3-mixed-3-6", 256, 24, 40, 1, "RotatingKVCache"},
		{"not yet limited", "testdata/mlx/qwen3-mixed-3-6", 256, 24, 9, 1, "RotatingKVCache"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const count = 20
			prompts := cachePrompts(tt.prompt, tt.more, tt.vocab)
			list := writeJSON(t, "prompts.json", prompts)

			// Lentil writes, mlx-lm goes on.
			s := cachedSession(t, tt.path, tt.limit)
			if _, err := s.Prefill(context.Background(), prompts[0], 0); err != nil {
				t.Fatal(err)
			}
			ours := filepath.Join(t.TempDir(), "ours.safetensors")
			if err := s.Save(ours, map[string]string{"model": tt.path, "tokenizer_config": "{}", "adapter_path": ""}); err != nil {
				t.Fatal(err)
			}
			want := likeliest(t, s, slices.Concat(prompts...), count)
			var got continuation
			mlx(t, &got, "resume", tt.path, list, ours, fmt.Sprint(count))
			if at := firstDifference(got.IDs, want); at >= 0 {
				t.Errorf("mlx-lm goes on with %v from Lentil's file, expected %v: token %d, where its lead is %g", got.IDs, want, at, got.Gaps[min(at, len(got.Gaps)-1)])
			}
			if last := got.Classes[len(got.Classes)-1]; last != tt.class || got.Metadata["model"] != tt.path || got.Metadata["tokenizer_config"] != "{}" {
				t.Errorf("mlx-lm reads %v and metadata %v", got.Classes, got.Metadata)
			}

			// mlx-lm writes and goes on, and so does Lentil.
			theirs := filepath.Join(t.TempDir(), "theirs.safetensors")
			var first continuation
			mlx(t, &first, "cache", tt.path, list, theirs, fmt.Sprint(count), fmt.Sprint(tt.limit))
			p, err := generate.OpenPromptCache(theirs)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if last := first.Classes[len(first.Classes)-1]; last != tt.class || p.Tokens != tt.prompt || p.MaxKVSize != tt.limit || p.Metadata["model"] != tt.path {
				t.Errorf("mlx-lm wrote %v; %d tokens, a limit of %d, %v", first.Classes, p.Tokens, p.MaxKVSize, p.Metadata)
			}
			s = cachedSession(t, tt.path, p.MaxKVSize)
			if err := s.Load(p); err != nil {
				t.Fatal(err)
			}
			if ids := likeliest(t, s, prompts[1], count); firstDifference(ids, first.IDs) >= 0 {
				t.Errorf("Lentil goes on with %v from mlx-lm's file, mlx-lm with %v", ids, first.IDs)
			}
		})
	}
}

// TestCachePromptAsMLX: the two commands of both programs, in all four pairs, give
// the answer that either gives to the whole prompt.
func TestCachePromptAsMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	const model, document, question = "testdata/mlx/llama-4bit", "Lentils are rich in protein and fibre.", " What are they rich in?"
	theirs := func(args ...string) string {
		return command(t, exec.Command("../.interop/venv/bin/mlx_lm", args...))
	}
	ours := func(args ...string) string { return lentil(t, append(args, "--exact")...) }
	ask := []string{"generate", "--max-tokens", "16", "--verbose", "False", "--temp", "0"}
	want := ours(append(ask, "--model", model, "--prompt", document+question)...)
	for from, write := range map[string]func(...string) string{"mlx-lm": theirs, "Lentil": ours} {
		file := filepath.Join(t.TempDir(), "prompt.safetensors")
		write("cache_prompt", "--model", model, "--prompt", document, "--prompt-cache-file", file)
		for by, read := range map[string]func(...string) string{"mlx-lm": theirs, "Lentil": ours} {
			if got := read(append(ask, "--prompt-cache-file", file, "--prompt", question)...); got != want {
				t.Errorf("from %s's file %s answers %q, expected %q", from, by, got, want)
			}
		}
	}
}
