//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/internal/atomicfile/killtest"
	"github.com/lentil-lm/lentil/report"
	"github.com/lentil-lm/lentil/run"
)

// TestKilledTraining kills trainings at random moments, and the same command goes on: at the end there are, byte for byte,
// the files of a training that nobody killed, and the same losses in the log.
func TestKilledTraining(t *testing.T) {
	t.Parallel()
	kills := 10 // of each kind of training
	if testing.Short() {
		kills = 2
	}
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, split := range []string{"train", "valid"} { // few rows, so that epochs end
		text, err := os.ReadFile(filepath.Join(at("data"), split+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(at("rows"), split+".jsonl"), strings.Join(strings.SplitAfterN(string(text), "\n", 10)[:9], ""))
	}
	must(t, lentil(t, "convert", "--hf-path", at("model"), "--mlx-path", at("dense"), "--dequantize"))
	common := []string{"lora", "--train", "--data", at("rows"), "--iters", "14", "--batch-size", "2", "--num-layers", "1", "--threads", "1",
		"--steps-per-report", "3", "--steps-per-eval", "5", "--val-batches", "2", "--learning-rate", "1e-3", "--seed", "3"}
	for name, kind := range map[string]struct{ config, flags string }{
		"plain":        {"", "--save-every 3"},
		"accumulation": {"", "--save-every 2 --grad-accumulation-steps 3 --dropout 0.1"},
		"schedule": {"optimizer: adamw\noptimizer_config: {adamw: {weight_decay: 0.1, bias_correction: true}}\n" +
			"lr_schedule: {name: cosine_decay, arguments: [1e-3, 10, 1e-5], warmup: 3}\n", "--save-every 1"},
		"full": {"", "--fine-tune-type full --save-every 4"},
		"DoRA": {"", "--fine-tune-type dora --grad-checkpoint --dropout 0.2 --save-every 2"},
		"muon": {"optimizer: muon\n", "--save-every 3 --batch-size 3 --num-layers 2 --steps-per-eval 2 --early-stop 2 --save-best --keep-checkpoints 2"},
		"mlx":  {"optimizer: adafactor\n", "--save-every 3 --compat mlx --grad-accumulation-steps 2 --max-grad-norm 0.5"},
	} {
		if testing.Short() && name != "accumulation" && name != "full" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			model, config := at("model"), at(name+".yaml")
			if name == "full" {
				model = at("dense")
			}
			write(t, config, kind.config)
			train := func(adapter string) *exec.Cmd {
				args := append(slices.Clone(common), "--model", model, "--config", config, "--adapter-path", adapter)
				return lentil(t, append(args, strings.Fields(kind.flags)...)...)
			}
			whole := filepath.Join(t.TempDir(), "whole")
			began := time.Now()
			must(t, train(whole))
			longest := time.Since(began)
			killed, ended := 0, 0
			for killed < kills {
				folder := filepath.Join(t.TempDir(), "killed")
				for {
					cmd := train(folder)
					var out strings.Builder
					cmd.Stdout, cmd.Stderr = &out, &out
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					timer := time.AfterFunc(rand.N(longest*2/3), func() { cmd.Process.Kill() })
					if killed == kills {
						timer.Stop()
					}
					err := cmd.Wait()
					timer.Stop()
					if err == nil {
						break
					}
					if killed++; cmd.ProcessState.ExitCode() != -1 {
						t.Fatalf("%v\n%s", err, out.String())
					}
				}
				ended++
				compareRuns(t, folder, whole)
			}
			t.Logf("%d kills of %d trainings of %v", killed, ended, longest.Round(time.Millisecond))
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compareRuns demands that two trainings left the same.
func compareRuns(t *testing.T, got, want string) {
	t.Helper()
	files, left := killtest.Lie(t, got)
	wanted, _ := killtest.Lie(t, want)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, all := range []map[string]string{files, wanted} {
		delete(all, run.ManifestName)
		delete(all, run.LogName)
		delete(all, report.PageName)    // tells times
		delete(all, adapter.ConfigFile) // names the folder
		delete(all, "best/"+adapter.ConfigFile)
		all["state/state.json"] = withoutTime(t, all["state/state.json"])
	}
	if !slices.Equal(slices.Sorted(maps.Keys(files)), slices.Sorted(maps.Keys(wanted))) {
		t.Errorf("files %v, want %v", slices.Sorted(maps.Keys(files)), slices.Sorted(maps.Keys(wanted)))
	}
	for name := range wanted {
		if files[name] != wanted[name] {
			t.Errorf("%s differs", name)
		}
	}
	if a, b := logged(t, got), logged(t, want); !slices.Equal(a, b) {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

// withoutTime leaves the time out that the steps since the last report took.
func withoutTime(t *testing.T, figures string) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(figures), &all); err != nil {
		t.Fatal(err)
	}
	delete(all["window"].(map[string]any), "spent")
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// logged is what a log tells of losses.
func logged(t *testing.T, dir string) (out []string) {
	t.Helper()
	records, err := run.ReadLog(filepath.Join(dir, run.LogName))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		switch e := r.Event.(type) {
		case run.TrainReport:
			out = append(out, fmt.Sprintf("train %d %v %v %d", e.Iteration, e.TrainLoss, e.LearningRate, e.TrainedTokens))
		case run.Validation:
			out = append(out, fmt.Sprintf("validation %d %v", e.Iteration, e.Loss))
		case run.BestSaved:
			out = append(out, fmt.Sprintf("best %d %v", e.Iteration, e.Loss))
		}
	}
	return out
}
