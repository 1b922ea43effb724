package interop

import (
	"encoding/json"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/tokenizer"
)

const (
	// Greedy answers of two float32 engines may part where the two best logits are
	// nearer than their rounding.
	nearTie = 1e-4
	// mlx-lm's losses of a bfloat16 model are computed in bfloat16.
	bf16TestTolerance = 2e-3
)

// fusions are the ways to fuse that Proof 4 covers. A case without a rate takes the
// adapter that mlx-lm trained, the others train one.
var fusions = []struct {
	name, model string
	kind        string  // of fine-tuning; LoRA if empty
	rate        float64 // learning rate; a small one makes updates that 4 bits cannot hold
	flags       []string
	tolerance   float64
}{
	{"requantized", "testdata/mlx/llama-4bit", "", 0, nil, lossTolerance},
	{"bits raised", "testdata/mlx/llama-4bit", "", 1e-5, nil, lossTolerance},
	{"left dense", "testdata/mlx/llama-4bit", "", 1e-6, nil, lossTolerance}, // too small for 8 bits even
	{"bits kept", "testdata/mlx/llama-4bit", "", 1e-6, []string{"--keep-bits"}, lossTolerance},
	{"dequantized", "testdata/mlx/llama-4bit", "", 0, []string{"--dequantize"}, lossTolerance},
	{"bfloat16", "testdata/mlx/llama-4bit-bf16", "", 0, nil, bf16TestTolerance},
	{"dense", "testdata/mlx/llama-dense", "", 5e-4, nil, lossTolerance},
	{"DoRA", "testdata/mlx/llama-4bit", "dora", 5e-4, nil, lossTolerance},
	{"DoRA, dense", "testdata/mlx/llama-dense", "dora", 5e-4, nil, lossTolerance},
	{"experts", "testdata/mlx/mixtral-4bit", "", 5e-4, []string{"--keep-bits"}, lossTolerance},
	{"experts, dequantized", "testdata/mlx/mixtral-4bit", "", 5e-4, []string{"--dequantize"}, lossTolerance},
	{"qwen3_moe, dequantized", "testdata/mlx/qwen3_moe-4bit", "", 5e-4, []string{"--dequantize"}, lossTolerance},
}

// Proof 4: a fused folder in mlx-lm gives the same 50 tokens as in Lentil.
func TestFusedInMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	for _, c := range fusions {
		t.Run(c.name, func(t *testing.T) {
			adapter := "testdata/training/mask"
			if c.rate > 0 {
				adapter = t.TempDir()
				options := readTraining(t, "mask").Options
				options["model"], options["learning_rate"] = c.model, c.rate
				if c.kind != "" {
					options["fine_tune_type"] = c.kind
				}
				delete(options, "test")
				trainLentil(t, options, adapter)
			}
			fused := filepath.Join(t.TempDir(), "fused")
			lentil(t, append([]string{"fuse", "--model", c.model, "--adapter-path", adapter, "--save-path", fused}, c.flags...)...)
			var config struct{ Quantization map[string]any }
			readJSON(t, filepath.Join(fused, "config.json"), &config)
			if overrides := len(config.Quantization) - 3; (overrides > 0) != (c.name == "bits raised") {
				t.Errorf("config.json has quantization %v", config.Quantization)
			}
			sameGreedy(t, fused)
			ours := testLentil(t, fused, "")
			sameLoss(t, "fused", ours, testMLX(t, fused, ""), c.tolerance)
			if slices.Contains(c.flags, "--dequantize") || c.model == "testdata/mlx/llama-dense" {
				sameLoss(t, "adapter beside the model", ours, testLentil(t, c.model, adapter), lossTolerance)
			}
		})
	}
}

// sameGreedy compares the greedy answers of Lentil and mlx-lm to three prompts.
func sameGreedy(t *testing.T, folder string) {
	t.Helper()
	tok, err := tokenizer.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, folder, "")
	var prompts [][]int32
	for _, text := range []string{"How much salt a day is too much?", "Name a food rich in iron.", "Hello!"} {
		prompts = append(prompts, encode(t, tok, "<|im_start|>user\n"+text+"<|im_end|>\n<|im_start|>assistant\n", false))
	}
	var theirs []answer
	mlx(t, &theirs, "greedy", folder, writeJSON(t, "prompts.json", prompts), "50")
	for i, prompt := range prompts {
		got, want := greedy(t, m, true, prompt, 50, -1), theirs[i]
		if len(got.IDs) != 50 || len(want.IDs) != 50 {
			t.Fatalf("%d and %d tokens, expected 50", len(got.IDs), len(want.IDs))
		}
		if at := firstDifference(got.IDs, want.IDs); at >= 0 && got.Gaps[at] > nearTie {
			t.Errorf("prompt %d: token %d is %d with a lead of %.4g, mlx-lm takes %d with %.4g",
				i, at, got.IDs[at], got.Gaps[at], want.IDs[at], want.Gaps[at])
		}
	}
}

// The dense weights of a fused folder are mlx_lm.fuse's, tensor by tensor.
func TestFusedAsMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	t.Run("LoRA", func(t *testing.T) { fusedAsMLX(t, "testdata/training/mask") })
	t.Run("DoRA", func(t *testing.T) { fusedAsMLX(t, "testdata/training/dora") })
	t.Run("experts", func(t *testing.T) { fusedAsMLX(t, "testdata/training/mixtral") })
}

func fusedAsMLX(t *testing.T, adapter string) {
	base := readTraining(t, filepath.Base(adapter)).Options["model"].(string)
	ours, theirs := filepath.Join(t.TempDir(), "lentil"), filepath.Join(t.TempDir(), "mlx")
	lentil(t, "fuse", "--model", base, "--adapter-path", adapter, "--save-path", ours, "--dequantize")
	command(t, exec.Command("../.interop/venv/bin/python", "-m", "mlx_lm", "fuse", "--model", base, "--adapter-path", adapter,
		"--save-path", theirs, "--dequantize"))
	got, want := readModel(t, ours), readModel(t, theirs)
	for name, w := range want {
		g, ok := got[name]
		if !ok || g.dtype != w.dtype || !slices.Equal(g.shape, w.shape) {
			t.Errorf("%s is %v %v, mlx-lm writes %v %v", name, g.dtype, g.shape, w.dtype, w.shape)
			continue
		}
		for i, v := range w.values {
			if d := math.Abs(float64(g.values[i] - v)); d > 1e-6 { // float32 weights below 2: a few roundings
				t.Errorf("%s: value %d is %v, mlx-lm has %v", name, i, g.values[i], v)
				break
			}
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d tensors, mlx-lm writes %d", len(got), len(want))
	}
}

// The generate command, as a user runs it, says what mlx_lm.generate says.
func TestGenerateAsMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	t.Run("LoRA", func(t *testing.T) { generateAsMLX(t, "testdata/training/mask") })
	t.Run("DoRA", func(t *testing.T) { generateAsMLX(t, "testdata/training/dora") })
}

func generateAsMLX(t *testing.T, adapter string) {
	const base, prompt = "testdata/mlx/llama-4bit", "Why is too much salt a problem?"
	figures := filepath.Join(t.TempDir(), "figures.json")
	lentil(t, "generate", "--model", base, "--adapter-path", adapter, "--prompt", prompt, "--max-tokens", "40", "--exact", "--json", figures)
	var got struct{ Text string }
	readJSON(t, figures, &got)
	printed := command(t, exec.Command("../.interop/venv/bin/python", "-m", "mlx_lm", "generate", "--model", base, "--adapter-path", adapter,
		"--prompt", prompt, "--max-tokens", "40", "--verbose", "False"))
	want, err := json.Marshal(strings.TrimSuffix(printed, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := json.Marshal(got.Text); string(text) != string(want) {
		t.Errorf("answer %s\nmlx-lm's %s", text, want)
	}
}
