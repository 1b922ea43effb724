package interop

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// quantizedCache is how far logits over a quantized cache may be from mlx-lm's, as a
// share of the largest. Both round the same numbers, but for the last bits of floats
// that were added up in another order: 1e-6 is measured, and 2e-5 where that makes
// one of the integers another. Rounding all of them to 4 bits moves logits by 0.1.
const quantizedCache = 1e-3

// away is the largest difference of logits as a share of the largest logit.
func away(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var most, top float64
	for i := range a {
		most, top = max(most, math.Abs(float64(a[i]-b[i]))), max(top, math.Abs(float64(b[i])))
	}
	return most / top
}

// A cacheCase is a quantized cache that both programs make of the same prompt.
type cacheCase struct {
	name, path   string // of the case, of the model
	vocab        int
	prompt, more int // tokens of the cached prompt, and of the text that goes on from it
	bits         generate.KVBits
	class        string // of the last layer's cache
}

// asked is how many tokens are wanted after a prompt that goes on from a file.
const asked = 20

// load opens a file and goes on from it: its settings, and the logits and likeliest tokens of the prompt.
func (c cacheCase) load(t *testing.T, file string, prompt []int32) (*generate.PromptCache, []float32, []int32) {
	t.Helper()
	p, err := generate.OpenPromptCache(file)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s := cachedSession(t, c.path, 0)
	if err := s.Load(p); err != nil {
		t.Fatal(err)
	}
	logits, err := s.Prefill(context.Background(), prompt, 0)
	if err != nil {
		t.Fatal(err)
	}
	logits = slices.Clone(logits)
	return p, logits, likeliest(t, s, prompt, asked)
}

// save writes Lentil's cache of a prompt.
func (c cacheCase) save(t *testing.T, file string, prompt []int32) {
	t.Helper()
	s := cachedSession(t, c.path, 0)
	if err := s.QuantizeKV(c.bits); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prefill(context.Background(), prompt, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(file, map[string]string{"model": c.path, "tokenizer_config": "{}"}); err != nil {
		t.Fatal(err)
	}
}

// goesOn checks that Lentil goes on from a file as mlx-lm did.
func (c cacheCase) goesOn(t *testing.T, file string, prompt []int32, got continuation) {
	t.Helper()
	_, logits, ids := c.load(t, file, prompt)
	if d := away(logits, got.Logits); d > quantizedCache {
		t.Errorf("logits differ by %.3g of the largest, allowed %g", d, quantizedCache)
	}
	if at := firstDifference(got.IDs, ids); at >= 0 {
		t.Errorf("mlx-lm goes on with %v, Lentil with %v: token %d, where mlx-lm's lead is %g", got.IDs, ids, at, got.Gaps[min(at, len(got.Gaps)-1)])
	}
	if last := got.Classes[len(got.Classes)-1]; last != c.class {
		t.Errorf("mlx-lm reads %v, expected %s", got.Classes, c.class)
	}
}

// TestQuantizedCacheWithMLX: a quantized cache that either program writes is continued
// by the other with the same logits and the same tokens.
func TestQuantizedCacheWithMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	window := withTokenizer(t, modeltest.Spec{Type: "llama", Config: map[string]any{
		"vocab_size": 520, "hidden_size": 128, "layer_types": []string{"full_attention", "sliding_attention"}, "sliding_window": 16,
	}})
	const llama, qwen = "testdata/mlx/llama-4bit", "testdata/mlx/qwen3-mixed-3-6"
	for _, c := range []cacheCase{
		{"4 bits", llama, 512, 20, 7, generate.KVBits{Bits: 4, Group: 32}, "QuantizedKVCache"},
		{"8 bits", llama, 512, 20, 7, generate.KVBits{Bits: 8, Group: 32}, "QuantizedKVCache"},
		{"4 bits, qwen3", qwen, 256, 40, 4, generate.KVBits{Bits: 4, Group: 32, Start: 39}, "QuantizedKVCache"},
		{"8 bits at the last token, qwen3", qwen, 256, 40, 4, generate.KVBits{Bits: 8, Group: 32, Start: 40}, "QuantizedKVCache"},
		{"3 bits", qwen, 256, 30, 9, generate.KVBits{Bits: 3, Group: 32}, "QuantizedKVCache"},
		{"over one block", qwen, 256, 300, 5, generate.KVBits{Bits: 8, Group: 32}, "QuantizedKVCache"},
		{"not yet", qwen, 256, 30, 4, generate.KVBits{Bits: 8, Group: 32, Start: 31}, "KVCache"},
		{"a window", window, 520, 40, 5, generate.KVBits{Bits: 8, Group: 32}, "RotatingKVCache"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.bothWays(t)
		})
	}
}

// bothWays has each program go on from the other's file.
func (c cacheCase) bothWays(t *testing.T) {
	prompts := cachePrompts(c.prompt, c.more, c.vocab)
	list, count := writeJSON(t, "prompts.json", prompts), fmt.Sprint(asked)
	ours, theirs := filepath.Join(t.TempDir(), "ours.safetensors"), filepath.Join(t.TempDir(), "theirs.safetensors")
	c.save(t, ours, prompts[0])
	var first, second continuation
	t.Run("mlx-lm from Lentil's file", func(t *testing.T) {
		mlx(t, &first, "resume", c.path, list, ours, count)
		c.goesOn(t, ours, prompts[1], first)
	})
	if c.class == "RotatingKVCache" {
		return // which mlx-lm does not quantize
	}
	t.Run("Lentil from mlx-lm's file", func(t *testing.T) {
		mlx(t, &second, "cache", c.path, list, theirs, count, "0", fmt.Sprint(c.bits.Bits), fmt.Sprint(c.bits.Group), fmt.Sprint(c.bits.Start))
		c.goesOn(t, theirs, prompts[1], second)
	})
	t.Run("mlx-lm over either file", func(t *testing.T) {
		if d := away(first.Logits, second.Logits); d > quantizedCache {
			t.Errorf("logits differ by %.3g of the largest, allowed %g", d, quantizedCache)
		}
	})
	t.Run("settings of mlx-lm's file", func(t *testing.T) {
		p, _, _ := c.load(t, theirs, prompts[1])
		if want := c.class == "QuantizedKVCache"; p.Tokens != c.prompt || (p.Bits == c.bits.Bits && p.Group == c.bits.Group) != want {
			t.Errorf("%d tokens, %d bits in groups of %d", p.Tokens, p.Bits, p.Group)
		}
	})
}

// TestQuantizedCachePromptAsMLX: the commands of both programs, in all four pairs, give
// one answer to a prompt of which the beginning is in a quantized file.
func TestQuantizedCachePromptAsMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	const model, document, question = "testdata/mlx/llama-4bit", "Lentils are rich in protein and fibre.", " What are they rich in?"
	theirs := func(args ...string) string {
		return command(t, exec.Command("../.interop/venv/bin/mlx_lm", args...))
	}
	ours := func(args ...string) string { return lentil(t, append(args, "--exact")...) }
	quantized := []string{"--kv-bits", "4", "--kv-group-size", "32", "--quantized-kv-start", "0"}
	ask := append([]string{"generate", "--max-tokens", "16", "--verbose", "False", "--temp", "0", "--prompt", question}, quantized...)
	var want string
	for from, write := range map[string]func(...string) string{"mlx-lm": theirs, "Lentil": ours} {
		file := filepath.Join(t.TempDir(), "prompt.safetensors")
		write(append([]string{"cache_prompt", "--model", model, "--prompt", document, "--prompt-cache-file", file}, quantized...)...)
		for by, read := range map[string]func(...string) string{"mlx-lm": theirs, "Lentil": ours} {
			got := read(append(ask, "--prompt-cache-file", file)...)
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("from %s's file %s answers %q, others %q", from, by, got, want)
			}
		}
	}
}
