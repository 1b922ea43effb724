package interop

import (
	"maps"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// testLentil measures the loss of a model and adapter on the test rows.
func testLentil(t *testing.T, folder, adapters string) float64 {
	t.Helper()
	figures := filepath.Join(t.TempDir(), "figures.json")
	lentil(t, "lora", "--test", "--compat", "mlx", "--mask-prompt", "--model", folder, "--adapter-path", adapters,
		"--data", "testdata/chat", "--test-batches", "-1", "--json", figures)
	return testLoss(t, figures)
}

// testMLX is testLentil for mlx-lm.
func testMLX(t *testing.T, folder, adapters string) float64 {
	t.Helper()
	var got training
	mlx(t, &got, "test", writeJSON(t, "options.json", map[string]any{
		"model": folder, "adapter_path": adapters, "data": "testdata/chat", "mask_prompt": true, "test_batches": -1,
	}))
	return got.TestLoss
}

func sameLoss(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	d := math.Abs(got-want) / want
	t.Logf("%s: test loss %.6f and %.6f", what, got, want)
	if !(d <= tolerance) {
		t.Errorf("%s: test loss %.6f, expected %.6f: off by %.1e, allowed %.1e", what, got, want, d, tolerance)
	}
}

// Proof 3, one way: an adapter that mlx-lm trained, in Lentil.
func TestAdapterOfMLX(t *testing.T) {
	t.Parallel()
	t.Run("LoRA", func(t *testing.T) { adapterOfMLX(t, "mask") })
	t.Run("DoRA", func(t *testing.T) { adapterOfMLX(t, "dora") })
	t.Run("experts", func(t *testing.T) { adapterOfMLX(t, "mixtral") })
}

func adapterOfMLX(t *testing.T, name string) {
	folder := "testdata/training/" + name
	want := readTraining(t, name)
	base := want.Options["model"].(string)
	sameLoss(t, "adapter of mlx-lm", testLentil(t, base, folder), want.TestLoss, lossTolerance)

	m := open(t, base, folder)
	logits := readArrays(t, filepath.Join(folder, "logits.safetensors"))["logits"].values
	worst, row := furthest(forward(t, m, want.IDs), logits, m.Config.VocabSize)
	width := float64(slices.Max(logits) - slices.Min(logits))
	if !(worst <= width*tolerance) {
		t.Errorf("logits of token %d differ by %.3g, allowed %.3g", row, worst, width*tolerance)
	}
}

// Proof 3, the other way: adapters that Lentil trained, in mlx-lm.
func TestAdapterInMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	for name, more := range map[string]map[string]any{
		"lora":        {"model": "testdata/mlx/llama-4bit", "num_layers": 2.0, "lora_parameters": map[string]any{"rank": 6, "scale": 8.0, "dropout": 0.0}},
		"dora":        {"model": "testdata/mlx/llama-4bit", "fine_tune_type": "dora", "lora_parameters": map[string]any{"rank": 6, "scale": 8.0, "dropout": 0.0}},
		"dora, dense": {"model": "testdata/mlx/llama-dense", "num_layers": 1.0, "fine_tune_type": "dora"},
		"mixtral":     {"model": "testdata/mlx/mixtral-4bit"},
		"qwen3_moe":   {"model": "testdata/mlx/qwen3_moe-4bit", "lora_parameters": map[string]any{"rank": 5, "scale": 8.0, "dropout": 0.0}},
		"full":        {"model": "testdata/mlx/llama-dense", "num_layers": 1.0, "fine_tune_type": "full"},
	} {
		t.Run(name, func(t *testing.T) {
			options := maps.Clone(readTraining(t, "mask").Options)
			maps.Copy(options, more)
			options["learning_rate"] = 5e-4 // far enough from the base to be seen
			delete(options, "test")
			adapters := t.TempDir()
			trainLentil(t, options, adapters)
			folder := more["model"].(string)
			ours := testLentil(t, folder, adapters)
			sameLoss(t, name, ours, testMLX(t, folder, adapters), lossTolerance)
			if base := testLentil(t, folder, ""); math.Abs(base-ours) < 100*lossTolerance*base {
				t.Errorf("the adapter changes the test loss from %.5f to %.5f only: too little to tell", base, ours)
			}
		})
	}
}

// TestSavedAdapterInMLX: folders that adapter.Save writes, whose settings no training run
// has made, in mlx-lm.
func TestSavedAdapterInMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	for kind, folder := range map[string]string{"lora": "testdata/mlx/qwen3_moe-4bit", "dora": "testdata/mlx/llama-4bit", "full": "testdata/mlx/llama-dense"} {
		t.Run(kind, func(t *testing.T) {
			m := open(t, folder, "")
			adapters := t.TempDir()
			if kind != "full" {
				adapters = randomAdapter(t, m, kind, 3, 2)
			} else {
				if err := m.Unfreeze(1, false); err != nil {
					t.Fatal(err)
				}
				modeltest.Shake(t, m, 0.1)
				if err := adapter.Save(m, adapters); err != nil {
					t.Fatal(err)
				}
			}
			ours := testLentil(t, folder, adapters)
			sameLoss(t, kind, ours, testMLX(t, folder, adapters), lossTolerance)
			if base := testLentil(t, folder, ""); math.Abs(base-ours) < 100*lossTolerance*base {
				t.Errorf("the adapter changes the test loss from %.5f to %.5f only: too little to tell", base, ours)
			}
		})
	}
}
