package interop

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/run"
)

// preferenceTolerance of 20 steps of losses and figures in float32, against float64: of the
// figure, and of 1 where it is smaller.
const preferenceTolerance = 1e-4

// TestPreferenceAsFloat64 trains with DPO and ORPO, and compares each step's loss, rewards,
// margins, accuracies and log-probabilities with a float64 decoder that reads the rows, draws
// its gradients and takes its steps by itself.
func TestPreferenceAsFloat64(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm") // for its Python
	for _, c := range []struct {
		name, mode string
		mask       bool
		beta       float64
		row        func(i int, chosen, rejected string) any
	}{
		{"dpo of texts", "dpo", false, 0.1, func(i int, chosen, rejected string) any {
			return map[string]any{"prompt": question(i), "chosen": chosen, "rejected": rejected}
		}},
		{"orpo of conversations", "orpo", false, 0.4, func(i int, chosen, rejected string) any {
			begin := []any{message("system", "Answer shortly."), message("user", question(i))}
			return map[string]any{"chosen": append(begin[:2:2], message("assistant", chosen)), "rejected": append(begin[:2:2], message("assistant", rejected))}
		}},
		{"orpo of answers alone", "orpo", true, 0.1, func(i int, chosen, rejected string) any {
			return map[string]any{"prompt": []any{message("user", question(i))}, "chosen": []any{message("assistant", chosen)}, "rejected": []any{message("assistant", rejected)}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var rows strings.Builder
			for i, sides := range [][2]string{
				{"A legume.", "It is hard to say."}, {"About 9 kcal.", "Ask a doctor, they know better."}, {"Yes.", "No."},
				{"Lupins, lentils and peas are rich in it.", "Sugar."}, {"Fibre feeds the gut.", "Fibre is of no use."}, {"Once a week.", "Never, and do not ask again."},
			} {
				line, err := json.Marshal(c.row(i, sides[0], sides[1]))
				if err != nil {
					t.Fatal(err)
				}
				rows.Write(append(line, '\n'))
			}
			for _, split := range []string{"train", "valid"} {
				if err := os.WriteFile(filepath.Join(dir, split+".jsonl"), []byte(rows.String()), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			given := map[string]any{
				"model": "testdata/mlx/llama-4bit", "data": dir, "train_mode": c.mode, "beta": c.beta, "mask_prompt": c.mask,
				"iters": 20, "learning_rate": 3e-4, "num_layers": 2,
				"lora_parameters": map[string]any{"rank": 4, "scale": 10.0, "dropout": 0.0, "keys": []string{"self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"}},
				"init":            filepath.Join(dir, "init.safetensors"),
			}
			var want []map[string]float64
			peer := exec.Command("../.interop/venv/bin/python", "peer/preference.py", writeJSON(t, "options.json", given))
			if err := json.Unmarshal([]byte(command(t, peer)), &want); err != nil {
				t.Fatal(err)
			}
			given["resume_adapter_file"] = given["init"]
			delete(given, "init")
			for key, v := range map[string]any{"batch_size": 6, "steps_per_report": 1, "steps_per_eval": 10, "save_every": 100, "adapter_path": filepath.Join(dir, "adapters")} {
				given[key] = v
			}
			lentil(t, "lora", "--train", "--config", writeJSON(t, "options.yaml", given))
			records, err := run.ReadLog(filepath.Join(dir, "adapters", run.LogName))
			if err != nil {
				t.Fatal(err)
			}
			samePreference(t, records, want)
		})
	}
}

func message(role, content string) any { return map[string]any{"role": role, "content": content} }

func question(i int) string { return fmt.Sprintf("What of question number %d, in short?", i) }

// samePreference compares the reports and validations of a log, on the same rows, with figures of each step.
func samePreference(t *testing.T, records []run.Record, want []map[string]float64) {
	t.Helper()
	worst, reports, validations := 0.0, 0, 0
	compare := func(step int, loss float64, figures run.Figures) {
		t.Helper()
		all := append(run.Figures{{Name: "loss", Value: loss}}, figures...)
		if len(all) != len(want[step-1]) {
			t.Fatalf("step %d has %v, want the figures %v", step, all, want[step-1])
		}
		for _, f := range all {
			w, ok := want[step-1][f.Name]
			d := math.Abs(f.Value-w) / max(1, math.Abs(w))
			worst = max(worst, d)
			if !ok || !(d <= preferenceTolerance) {
				t.Errorf("step %d: %s is %.6f, float64 has %.6f", step, f.Name, f.Value, w)
			}
		}
	}
	for _, r := range records {
		switch e := r.Event.(type) {
		case run.TrainReport:
			compare(e.Iteration, e.TrainLoss, e.Figures)
			reports++
		case run.Validation:
			compare(e.Iteration, e.Loss, e.Figures)
			validations++
		}
	}
	if reports != len(want) || reports != 20 || validations != 3 {
		t.Errorf("%d reports and %d validations of %d steps", reports, validations, len(want))
	}
	first, last := want[0], want[len(want)-1]
	t.Logf("furthest figure: off by %.1e; loss %.4f to %.4f, margins %.4f to %.4f, accuracies %.2f to %.2f", worst,
		first["loss"], last["loss"], first["rewards/margins"], last["rewards/margins"], first["rewards/accuracies"], last["rewards/accuracies"])
}
