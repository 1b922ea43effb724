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

// TestQuantizedCacheWithMLX: a quantized cache that either program writes is continued
// by the other with the same logits and the same tokens.
func TestQuantizedCacheWithMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	window := withTokenizer(t, modeltest.Spec{Type: "llama", Config: map[string]any{
		"vocab_size": 520, "hidden_size": 128, "layer_types": []string{"full_attention", "sliding_attention"}, "sliding_window": 16,
	}})
	const llama, qwen = "testdata/mlx/llama-4bit", "testdata/mlx/qwen3-mixed-3-6"
	for _, tt := range []struct {
		name, path   string
		vocab        int
		prompt, more int // tokens
		bits         generate.KVBits
		class        string // of the last layer's cache
	}{
		{"4 bits", llama, 512, 20, 7, generate.KVBits{Bits: 4, Group: 32}, "QuantizedKVCache"},
		{"8 bits", llama, 512, 20, 7, generate.KVBits{Bits: 8, Group: 32}, "QuantizedKVCache"},
		{"4 bits, qwen3", qwen, 256, 40, 4, generate.KVBits{Bits: 4, Group: 32, Start: 39}, "QuantizedKVCache"},
		{"8 bits at the last token, qwen3", qwen, 256, 40, 4, generate.KVBits{Bits: 8, Group: 32, Start: 40}, "QuantizedKVCache"},
		{"3 bits", qwen, 256, 30, 9, generate.KVBits{Bits: 3, Group: 32}, "QuantizedKVCache"},
		{"over one block", qwen, 256, 300, 5, generate.KVBits{Bits: 8, Group: 32}, "QuantizedKVCache"},
		{"not yet", qwen, 256, 30, 4, generate.KVBits{Bits: 8, Group: 32, Start: 31}, "KVCache"},
		{"a window", window, 520, 40, 5, generate.KVBits{Bits: 8, Group: 32}, "RotatingKVCache"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const count = 20
			prompts := cachePrompts(tt.prompt, tt.more, tt.vocab)
			list := writeJSON(t, "prompts.json", prompts)
			load := func(file string) (*generate.PromptCache, []float32, []int32) {
				p, err := generate.OpenPromptCache(file)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				s := cachedSession(t, tt.path, 0)
				if err := s.Load(p); err != nil {
					t.Fatal(err)
				}
				logits, err := s.Prefill(context.Background(), prompts[1], 0)
				if err != nil {
					t.Fatal(err)
				}
				logits = slices.Clone(logits)
				return p, logits, likeliest(t, s, prompts[1], count)
			}
			compare := func(file string, got continuation) {
				t.Helper()
				_, logits, ids := load(file)
				if d := away(logits, got.Logits); d > quantizedCache {
					t.Errorf("logits differ by %.3g of the largest, allowed %g", d, quantizedCache)
				}
				if at := firstDifference(got.IDs, ids); at >= 0 {
					t.Errorf("mlx-lm goes on with %v, Lentil with %v: token %d, where mlx-lm's lead is %g", got.IDs, ids, at, got.Gaps[min(at, len(got.Gaps)-1)])
				}
				if last := got.Classes[len(got.Classes)-1]; last != tt.class {
					t.Errorf("mlx-lm reads %v, expected %s", got.Classes, tt.class)
				}
			}

			s := cachedSession(t, tt.path, 0)
			if err := s.QuantizeKV(tt.bits); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Prefill(context.Background(), prompts[0], 0); err != nil {
				t.Fatal(err)
			}
			ours := filepath.Join(t.TempDir(), "ours.safetensors")
			if err := s.Save(ours, map[string]string{"model": tt.path, "tokenizer_config": "{}"}); err != nil {
				t.Fatal(err)
			}
			var first continuation
			mlx(t, &first, "resume", tt.path, list, ours, fmt.Sprint(count))
			compare(ours, first)
			if tt.class == "RotatingKVCache" {
				return // which mlx-lm does not quantize
			}

			theirs := filepath.Join(t.TempDir(), "theirs.safetensors")
			var second continuation
			mlx(t, &second, "cache", tt.path, list, theirs, fmt.Sprint(count), "0", fmt.Sprint(tt.bits.Bits), fmt.Sprint(tt.bits.Group), fmt.Sprint(tt.bits.Start))
			compare(theirs, second)
			if d := away(first.Logits, second.Logits); d > quantizedCache {
				t.Errorf("over both files mlx-lm's logits differ by %.3g of the largest, allowed %g", d, quantizedCache)
			}
			p, _, _ := load(theirs)
			if want := tt.class == "QuantizedKVCache"; p.Tokens != tt.prompt || (p.Bits == tt.bits.Bits && p.Group == tt.bits.Group) != want {
				t.Errorf("mlx-lm's file: %d tokens, %d bits in groups of %d", p.Tokens, p.Bits, p.Group)
			}
		})
	}
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
