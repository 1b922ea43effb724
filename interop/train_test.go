package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/run"
)

const (
	// Float32 on both sides: 1e-6 is measured. Proof asks for 1e-3.
	lossTolerance = 2e-5
	// mlx-lm computes a bfloat16 model in bfloat16, Lentil in float32 over the same
	// stored weights. mlx-lm itself, run in float32, is up to 0.6 % away.
	bf16Tolerance = 1e-2
	// Dropout masks come from another stream: the curves are two draws of one run.
	dropoutTolerance = 2e-2
	// What mlx-lm's table prints: three decimals.
	printedTolerance = 0.0005 + 1e-4
)

// training is a golden run of mlx_lm.lora.
type training struct {
	Options       map[string]any   `json:"options"`
	Losses        []float64        `json:"losses"`
	LearningRates []float64        `json:"learning_rates"`
	TrainedTokens []int64          `json:"trained_tokens"`
	Valid         [][2]float64     `json:"valid"`
	TestLoss      float64          `json:"test_loss"`
	IDs           []int32          `json:"ids"`
	Printed       []string         `json:"printed"`
	Adapters      map[string][]any `json:"adapters"`
}

func readTraining(t *testing.T, name string) training {
	t.Helper()
	var g training
	readJSON(t, "testdata/training/"+name+".json", &g)
	if len(g.Losses) != 30 || len(g.Adapters) == 0 {
		t.Fatalf("golden %s has %d losses and %d adapter tensors", name, len(g.Losses), len(g.Adapters))
	}
	return g
}

// trainLentil runs `lentil lora --train --compat mlx` with a golden's options and
// returns its figures, unrounded as the event log has them.
func trainLentil(t *testing.T, options map[string]any, adapters string) training {
	t.Helper()
	return hubHome{env: os.Environ()}.train(t, options, adapters)
}

// train is trainLentil with the environment of h.
func (h hubHome) train(t *testing.T, options map[string]any, adapters string) training {
	t.Helper()
	options = maps.Clone(options)
	test := options["test"] == true
	delete(options, "test")
	options["adapter_path"] = adapters
	figures := filepath.Join(t.TempDir(), "figures.json")
	args := []string{"lora", "--train", "--compat", "mlx", "--config", writeJSON(t, "options.yaml", options), "--json", figures}
	if test {
		args = append(args, "--test")
	}
	command(t, h.lentil(t, args...))

	records, err := run.ReadLog(filepath.Join(adapters, run.LogName))
	if err != nil {
		t.Fatal(err)
	}
	got := training{TestLoss: testLoss(t, figures)}
	for _, r := range records {
		switch e := r.Event.(type) {
		case run.TrainReport:
			got.Losses = append(got.Losses, e.TrainLoss)
			got.LearningRates = append(got.LearningRates, e.LearningRate)
			got.TrainedTokens = append(got.TrainedTokens, e.TrainedTokens)
		case run.Validation:
			got.Valid = append(got.Valid, [2]float64{float64(e.Iteration), e.Loss})
		}
	}
	return got
}

// testLoss reads the test loss from what --json wrote; 0 without one.
func testLoss(t *testing.T, figures string) float64 {
	t.Helper()
	var got struct {
		TestLoss float64 `json:"test_loss"`
	}
	readJSON(t, figures, &got)
	return got.TestLoss
}

// sameCurve compares the losses of two runs step by step.
func sameCurve(t *testing.T, got, want training, tolerance float64) {
	t.Helper()
	if len(got.Losses) != len(want.Losses) || len(got.Valid) != len(want.Valid) {
		t.Fatalf("%d reports and %d validations, mlx-lm has %d and %d", len(got.Losses), len(got.Valid), len(want.Losses), len(want.Valid))
	}
	worst := 0.0
	compare := func(what string, got, want float64) {
		t.Helper()
		d := math.Abs(got-want) / want
		worst = max(worst, d)
		if !(d <= tolerance) {
			t.Errorf("%s: loss %.6f, mlx-lm has %.6f: off by %.1e, allowed %.1e", what, got, want, d, tolerance)
		}
	}
	for i := range want.Losses {
		compare(fmt.Sprintf("step %d", i+1), got.Losses[i], want.Losses[i])
	}
	for i, v := range want.Valid {
		if got.Valid[i][0] != v[0] {
			t.Errorf("validation %d is at step %v, mlx-lm's at %v", i, got.Valid[i][0], v[0])
		}
		compare(fmt.Sprintf("validation at step %v", v[0]), got.Valid[i][1], v[1])
	}
	if want.TestLoss != 0 {
		compare("test", got.TestLoss, want.TestLoss)
	}
	t.Logf("furthest loss: off by %.1e", worst)
	if !slices.Equal(got.TrainedTokens, want.TrainedTokens) {
		t.Errorf("trained tokens %v, mlx-lm has %v", got.TrainedTokens, want.TrainedTokens)
	}
	for i, lr := range want.LearningRates {
		if d := math.Abs(got.LearningRates[i] - lr); d > 1e-6*lr+1e-12 { // mlx-lm's are float32
			t.Errorf("step %d: learning rate %g, mlx-lm has %g", i+1, got.LearningRates[i], lr)
		}
	}
}

// sameAdapter compares names, types and shapes of the tensors in a folder, and
// the keys and values of its config.
func sameAdapter(t *testing.T, folder, name string, want training) {
	t.Helper()
	got := readArrays(t, filepath.Join(folder, "adapters.safetensors"))
	if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want.Adapters)); !slices.Equal(a, b) {
		t.Errorf("adapter tensors %v, mlx-lm has %v", a, b)
	}
	for k, x := range got {
		shape := []any{"float32"}
		for _, n := range x.shape {
			shape = append(shape, float64(n))
		}
		if x.dtype.String() != "F32" || !slices.Equal(shape, want.Adapters[k]) {
			t.Errorf("%s is %v %v, mlx-lm has %v", k, x.dtype, x.shape, want.Adapters[k])
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "0000020_adapters.safetensors")); err != nil {
		t.Errorf("no checkpoint of step 20: %v", err)
	}

	var ours, theirs map[string]any
	readJSON(t, filepath.Join(folder, "adapter_config.json"), &ours)
	readJSON(t, "testdata/training/"+name+"/adapter_config.json", &theirs)
	for key, v := range theirs {
		w, ok := ours[key]
		if !ok {
			t.Errorf("adapter_config.json lacks %s", key)
			continue
		}
		if key == "adapter_path" || key == "config" || key == "test" {
			continue // where this test put things
		}
		if a, b := fmt.Sprint(w), fmt.Sprint(v); a != b {
			t.Errorf("adapter_config.json: %s is %s, mlx-lm has %s", key, a, b)
		}
	}
}

// Proof 2: 30 steps with mlx-lm's arithmetic, data order and random numbers.
func TestTrainingAsMLX(t *testing.T) {
	t.Parallel()
	for name, tolerance := range map[string]float64{
		"defaults": lossTolerance, "mask": lossTolerance, "accumulate": lossTolerance, "adamw": lossTolerance,
		"sgd": lossTolerance, "muon": lossTolerance, "adafactor": lossTolerance, "adafactor-schedule": lossTolerance,
		"short": lossTolerance, "full": lossTolerance,
		"dora": lossTolerance, "dora-dense": lossTolerance, "dora-bf16": bf16Tolerance,
		"bf16": bf16Tolerance, "dropout": dropoutTolerance, "mixtral": lossTolerance, "qwen3_moe": lossTolerance,
	} {
		if testing.Short() && !slices.Contains([]string{"defaults", "full", "dora", "mixtral"}, name) {
			continue // one of each kind of what is trained
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := readTraining(t, name)
			folder := t.TempDir()
			sameCurve(t, trainLentil(t, want.Options, folder), want, tolerance)
			sameAdapter(t, folder, name, want)
		})
	}
}

// The goldens' unrounded figures are those that the command prints.
func TestGoldensArePrinted(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"defaults", "mask", "bf16", "accumulate", "dropout", "adamw", "sgd", "muon", "adafactor", "adafactor-schedule", "short", "full", "dora", "dora-dense", "dora-bf16", "mixtral", "qwen3_moe"} {
		g := readTraining(t, name)
		seen := 0
		for _, line := range g.Printed {
			var step int
			var loss float64
			if n, _ := fmt.Sscanf(line, "%d %f", &step, &loss); n != 2 {
				continue
			}
			seen++
			if d := math.Abs(loss - g.Losses[step-1]); d > printedTolerance {
				t.Errorf("%s: step %d prints %.3f, its golden loss is %.6f", name, step, loss, g.Losses[step-1])
			}
		}
		if seen != len(g.Losses) {
			t.Errorf("%s: %d lines with losses for %d steps", name, seen, len(g.Losses))
		}
	}
}

// Proof 2 against the live peer, with rows and settings that no golden has.
func TestTrainingAsMLXLive(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	given := map[string]any{
		"model": "testdata/mlx/llama-4bit", "data": completions(t), "mask_prompt": true, "batch_size": 2, "iters": 12,
		"steps_per_report": 1, "steps_per_eval": 6, "val_batches": 1, "save_every": 100, "seed": 7, "num_layers": 1,
		"learning_rate": 2e-4, "lora_parameters": map[string]any{"rank": 4, "scale": 10.0, "dropout": 0.0},
		"test": true, "test_batches": 1, // one of several: which one, the random numbers after the training decide
	}
	theirs := filepath.Join(t.TempDir(), "mlx")
	var want training
	withPath := maps.Clone(given)
	withPath["adapter_path"] = theirs
	mlx(t, &want, "train", writeJSON(t, "options.json", withPath))
	if want.TestLoss == 0 {
		t.Error("mlx-lm tested nothing")
	}
	sameCurve(t, trainLentil(t, given, t.TempDir()), want, lossTolerance)
}

// How far a parameter may be off after 30 updates, as a part of its largest number.
const (
	parameterTolerance = 1e-6
	// An adapter's second matrix starts as zeros and is nothing but updates: the
	// float32 rounding of the gradients, which differs, counts in full. 2.2e-6 is measured.
	adapterTolerance = 1e-5
)

// TestOptimizersAsMLXLive compares what is trained, not the losses alone: matrices,
// stacks of experts, vectors.
func TestOptimizersAsMLXLive(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	type options = map[string]any
	for name, more := range map[string]options{
		"muon":            {"model": "testdata/mlx/llama-4bit", "optimizer": "muon", "learning_rate": 1e-3},
		"muon, experts":   {"model": "testdata/mlx/qwen3_moe-4bit", "optimizer": "muon", "learning_rate": 1e-3, "optimizer_config": options{"muon": options{"nesterov": false, "ns_steps": 3}}},
		"adafactor":       {"model": "testdata/mlx/qwen3_moe-4bit", "optimizer": "adafactor", "optimizer_config": options{"adafactor": options{"beta_1": 0.9}}},
		"adafactor, full": {"model": "testdata/mlx/llama-dense", "fine_tune_type": "full", "optimizer": "adafactor", "learning_rate": 1e-3, "optimizer_config": options{"adafactor": options{"relative_step": false}}},
		"muon, full":      {"model": "testdata/mlx/llama-dense", "fine_tune_type": "full", "optimizer": "muon", "learning_rate": 1e-3},
	} {
		t.Run(name, func(t *testing.T) {
			given := options{
				"data": "testdata/chat", "batch_size": 2, "iters": 30, "steps_per_report": 1, "steps_per_eval": 100, "val_batches": 1,
				"save_every": 100, "num_layers": 2, "lora_parameters": options{"rank": 4, "scale": 10.0, "dropout": 0.0},
			}
			maps.Copy(given, more)
			tolerance := adapterTolerance
			if given["fine_tune_type"] == "full" {
				tolerance = parameterTolerance
			}
			theirs, ours := filepath.Join(t.TempDir(), "mlx"), t.TempDir()
			withPath := maps.Clone(given)
			withPath["adapter_path"] = theirs
			var want training
			mlx(t, &want, "train", writeJSON(t, "options.json", withPath))
			sameCurve(t, trainLentil(t, given, ours), want, lossTolerance)
			sameParameters(t, readArrays(t, filepath.Join(ours, "adapters.safetensors")), readArrays(t, filepath.Join(theirs, "adapters.safetensors")), tolerance)
		})
	}
}

func sameParameters(t *testing.T, got, want map[string]array, tolerance float64) {
	t.Helper()
	if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) || len(a) == 0 {
		t.Fatalf("parameters %v, mlx-lm has %v", a, b)
	}
	furthest := 0.0
	for name, w := range want {
		var worst, largest float64
		for i, v := range w.values {
			worst = max(worst, math.Abs(float64(got[name].values[i])-float64(v)))
			largest = max(largest, math.Abs(float64(v)))
		}
		furthest = max(furthest, worst/largest)
		if !(worst <= tolerance*largest) {
			t.Errorf("%s: off by %.2g of %.2g", name, worst, largest)
		}
	}
	t.Logf("furthest parameter: off by %.1e of its largest number", furthest)
}

// completions writes the chat rows as prompt and completion, some with an extra key:
// mlx-lm takes those last.
func completions(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, split := range []string{"train", "valid", "test"} {
		data, err := os.ReadFile("testdata/chat/" + split + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		var out []byte
		for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
			var row struct {
				Messages []struct{ Content string }
			}
			if err := json.Unmarshal(line, &row); err != nil {
				t.Fatal(err)
			}
			n := len(row.Messages)
			flat := map[string]any{"prompt": row.Messages[n-2].Content, "completion": row.Messages[n-1].Content}
			if i%3 == 1 {
				flat["source"] = i
			}
			text, err := json.Marshal(flat)
			if err != nil {
				t.Fatal(err)
			}
			out = append(append(out, text...), '\n')
		}
		if err := os.WriteFile(filepath.Join(folder, split+".jsonl"), out, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
