package tune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// stopAt runs a recipe until it has done an iteration.
func stopAt(t *testing.T, r Recipe, iteration int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := Run(ctx, r, Options{Report: reporter(func(e run.Event) {
		if s, ok := e.(run.Step); ok && s.Iteration == iteration {
			cancel()
		}
	})}); !errors.Is(err, train.ErrInterrupted) {
		t.Fatal(err)
	}
}

// lossesOf are the losses in the log of a folder.
func lossesOf(t *testing.T, dir string) (out []string) {
	t.Helper()
	records, err := run.ReadLog(filepath.Join(dir, run.LogName))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		switch e := r.Event.(type) {
		case run.TrainReport:
			out = append(out, fmt.Sprintf("%d: %v", e.Iteration, e.TrainLoss))
		case run.Validation:
			out = append(out, fmt.Sprintf("%d: val %v", e.Iteration, e.Loss))
		case run.TestReport:
			out = append(out, fmt.Sprintf("test %v", e.Loss))
		}
	}
	return out
}

// sameFiles demands that two folders of adapters hold the same weights and logged the same losses.
func sameFiles(t *testing.T, name, got, want string) {
	t.Helper()
	if a, b := lossesOf(t, got), lossesOf(t, want); !slices.Equal(a, b) {
		t.Errorf("%s: losses %v, want %v", name, a, b)
	}
	files := func(dir string) map[string]string {
		all := map[string]string{}
		paths, _ := filepath.Glob(filepath.Join(dir, "*.safetensors"))
		for _, path := range append(paths, filepath.Join(dir, stateDir, "state.safetensors")) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(path)] = string(text)
		}
		return all
	}
	a, b := files(got), files(want)
	for file := range b {
		if a[file] != b[file] {
			t.Errorf("%s: %s differs", name, file)
		}
	}
}

// TestGoesOn: a run that was stopped goes on with the same recipe, and what it leaves is that of a run without a stop. One
// that has come to its end is done, and goes on with more iterations.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	r := demoRecipe(t)
	r.Test, r.LoRA.Dropout, r.GradAccumulation = true, 0.1, 2
	want := r
	want.AdapterPath = filepath.Join(t.TempDir(), "whole")
	wanted, err := Run(t.Context(), want, Options{})
	if err != nil {
		t.Fatal(err)
	}
	stopAt(t, r, 3)
	longer, other := r, r
	longer.Iters, other.Seed = 7, 9
	if !Waiting(r) || Waiting(longer) || Waiting(other) || Waiting(want) {
		t.Errorf("waiting: %v, with more iterations %v, another seed %v, when finished %v", Waiting(r), Waiting(longer), Waiting(other), Waiting(want))
	}
	var told events
	got, err := Run(t.Context(), r, Options{Report: &told, Resume: true})
	if err != nil || told.text("Going on from") != "Going on from iteration 3 of 6." || *got.Trained != *wanted.Trained || got.Tested.Loss != wanted.Tested.Loss {
		t.Fatalf("%v, %v: %+v, want %+v", err, told.kinds(), got, wanted)
	}
	os.Remove(filepath.Join(r.AdapterPath, "0000003_adapters.safetensors"))
	sameFiles(t, "stopped", r.AdapterPath, want.AdapterPath)

	// The same again is done, and measures the same.
	began, err := run.ReadManifest(r.AdapterPath)
	if err != nil {
		t.Fatal(err)
	}
	told = nil
	file := filepath.Join(r.AdapterPath, adapter.File)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	got, err = Run(t.Context(), r, Options{Report: &told})
	if err != nil || told.text("The run in") == "" || slices.Contains(told.kinds(), "Start") || *got.Trained != *wanted.Trained || got.Tested.Loss != wanted.Tested.Loss {
		t.Errorf("again: %v, %+v, %v", err, got, told.kinds())
	}
	if a, b := spoil.ReadFile(t, file), spoil.ReadFile(t, filepath.Join(want.AdapterPath, adapter.File)); !bytes.Equal(a, b) {
		t.Error("again: another adapter")
	}
	// More iterations are those of a longer run.
	want.AdapterPath, want.Iters, want.StepsPerEval = filepath.Join(t.TempDir(), "longer"), 12, 3
	r.AdapterPath, r.StepsPerEval = filepath.Join(t.TempDir(), "short"), 3
	for _, step := range []struct {
		r     *Recipe
		iters int
	}{{&want, 12}, {&r, 6}, {&r, 12}} {
		step.r.Iters = step.iters
		if _, err = Run(t.Context(), *step.r, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	sameFiles(t, "longer", r.AdapterPath, want.AdapterPath)
	if m, err := run.ReadManifest(r.AdapterPath); err != nil || m.Settings["iters"] != 12.0 || !m.Started.After(began.Started) {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestIndecisive: the settings that may change between the parts of a run are settings.
func TestIndecisive(t *testing.T) {
	t.Parallel()
	for _, name := range indecisive {
		if !slices.Contains(Settings(), name) {
			t.Errorf("%s is no setting", name)
		}
	}
	r := New()
	all, err := r.decisive()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Settings() {
		if _, decides := all[name]; decides == slices.Contains(indecisive, name) && !slices.Contains(mappings, name) {
			t.Errorf("%s decides: %v", name, decides)
		}
	}
}

// TestGoesOnRefused: what would make other numbers is refused, by its name; what would not is not.
func TestGoesOnRefused(t *testing.T) {
	t.Parallel()
	r := demoRecipe(t)
	stopAt(t, r, 3)
	text, err := os.ReadFile(filepath.Join(r.Data, "train.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := filepath.Glob(filepath.Join(r.AdapterPath, "*", "*"))
	other := folder(t, map[string][]byte{"train.jsonl": text[:strings.LastIndex(string(text[:len(text)-1]), "\n")+1], "valid.jsonl": text})
	for want, test := range map[string]struct {
		setting fault.Setting
		change  func(*Recipe)
	}{
		"learning_rate: it is 0.002, and the run in DIR was begun with 0.001\nGive learning_rate 0.001 to go on with it.": {"learning_rate", func(r *Recipe) { r.LearningRate = 2e-3 }},
		"seed: it is 1, and the run in DIR was begun with 0":                                                              {"seed", func(r *Recipe) { r.Seed = 1 }},
		"batch_size: it is 1, ": {"batch_size", func(r *Recipe) { r.BatchSize = 1 }},
		"fine_tune_type: it is dora, and the run in DIR was begun with lora":                 {"fine_tune_type", func(r *Recipe) { r.FineTuneType = "dora" }},
		"lora_parameters.rank: it is 4, and the run in DIR was begun with 8":                 {"lora_parameters.rank", func(r *Recipe) { r.LoRA.Rank = 4 }},
		`optimizer_config: it is {"betas":[0.9,0.99]}, and the run in DIR was begun with {}`: {"optimizer_config", func(r *Recipe) { r.OptimizerOptions = map[string]any{"betas": []any{0.9, 0.99}} }},
		"mask_prompt: it is false, and the run in DIR was begun with true":                   {"mask_prompt", func(r *Recipe) { r.MaskPrompt = false }},
		"lr_schedule: it is {": {"lr_schedule", func(r *Recipe) {
			r.LRSchedule = &train.ScheduleConfig{Name: "cosine_decay", Arguments: []float64{1e-3, 6}}
		}},
		"compat: it is mlx, and the run in DIR was begun with none\nLeave compat out to go on": {"compat", func(r *Recipe) { r.Compat = "mlx" }},
		"threads 2: the run in DIR was begun with 1":                                           {"threads", func(r *Recipe) { r.Threads = 2 }},
		"data: the train set is not that of the run in DIR: ":                                  {"data", func(r *Recipe) { r.Data = other }},
		"iters 3: expected more than 3, which the run in DIR has done of its 6":                {"iters", func(r *Recipe) { r.Iters = 3 }},
	} {
		r := r
		test.change(&r)
		_, err := Run(t.Context(), r, Options{})
		want = strings.ReplaceAll(want, "DIR", r.AdapterPath)
		if err == nil || fault.SettingOf(err) != test.setting || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "overwrite to begin anew") {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	if after, _ := filepath.Glob(filepath.Join(r.AdapterPath, "*", "*")); !slices.Equal(before, after) {
		t.Errorf("what is refused leaves %v, before %v", after, before)
	}
	for _, o := range []Options{{Resume: true, Overwrite: true}, {Resume: true}} {
		r := r
		if !o.Overwrite {
			r.AdapterPath = filepath.Join(t.TempDir(), "new")
		}
		if _, err := Run(t.Context(), r, o); err == nil || !strings.Contains(err.Error(), "resume") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	// Another processor, or another model in the place of the old one, is told by what the run was begun with.
	begun := filepath.Join(r.AdapterPath, stateDir, identityName)
	sound, err := os.ReadFile(begun)
	if err != nil {
		t.Fatal(err)
	}
	for member, want := range map[string]string{
		`"kernels": "`: "was begun on cpu with the kernels x", `"device": "`: "was begun on xcpu", `"weights": "`: "model " + r.Model + ": these are other weights",
		`"valid": "`: "data: the valid set is not that of the run",
	} {
		if err := os.WriteFile(begun, []byte(strings.Replace(string(sound), member, member+"x", 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), r, Options{}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "overwrite to begin anew") {
			t.Errorf("%s: %v\nwant %s", member, err, want)
		}
	}
	if err := os.WriteFile(begun, sound, 0o644); err != nil {
		t.Fatal(err)
	}
	spoiled := filepath.Join(r.AdapterPath, stateDir, "state.json")
	state, err := os.ReadFile(spoiled)
	if err != nil {
		t.Fatal(err)
	}
	for broken, want := range map[string]string{
		string(state[1:]): "state.json:",
		strings.Replace(string(state), `"iterations": 3`, `"iterations": 99`, 1):           "99 iterations are done of the 6 that identity.json tells of",
		strings.Replace(string(state), `"order_at": `, `"order_at": 9`, 1):                 "not the state of this run: the place in the order",
		strings.Replace(string(state), `"dropout_keys": [`, `"dropout_keys": [[1, 2],`, 1): "it is that of 2 workers, and here 1 would go on",
	} {
		if err := os.WriteFile(spoiled, []byte(broken), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Run(t.Context(), r, Options{})
		if fault.SettingOf(err) != "adapter_path" || !strings.Contains(err.Error(), "the run there cannot go on: ") || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "overwrite to begin anew") {
			t.Errorf("a spoiled state: %v\nwant %s", err, want)
		}
	}
	if err := os.WriteFile(spoiled, state, 0o644); err != nil {
		t.Fatal(err)
	}
	// What changes no number may be another.
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(r.AdapterPath, moved); err != nil {
		t.Fatal(err)
	}
	r.AdapterPath, r.Iters, r.SaveEvery, r.GradCheckpoint, r.NoFrozenCache, r.StepsPerReport = moved, 5, 1, true, true, 1
	var told events
	if _, err := Run(t.Context(), r, Options{Report: &told, Version: "2"}); err != nil || told.text("Going on from iteration 3 of 5.") == "" {
		t.Errorf("%v, %v", err, told.kinds())
	}
	if !slices.ContainsFunc(told.warnings(), func(w string) bool { return strings.Contains(w, "this is 2: the numbers may not be those") }) {
		t.Errorf("no word of another version: %q", told.warnings())
	}
	// 5 iterations have validated where 6 would not have.
	r.Iters = 6
	if _, err := Run(t.Context(), r, Options{}); fault.SettingOf(err) != "iters" || !strings.Contains(err.Error(), "validated before its last one") {
		t.Errorf("more iterations: %v", err)
	}
	// Who begins with these weights, or over them, begins a new run.
	r.ResumeAdapterFile, r.Iters, r.Seed = filepath.Join(moved, adapter.File), 1, 7
	for _, o := range []Options{{}, {Overwrite: true}} {
		told = nil
		o.Report = &told
		if _, err := Run(t.Context(), r, o); err != nil || told.text("Loading fine-tuned weights") == "" {
			t.Errorf("%+v: %v, %v", o, err, told.kinds())
		}
	}
}
