package tune

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// demoRecipe trains the demo's model on a few questions, in a folder of its own.
func demoRecipe(t *testing.T) Recipe {
	t.Helper()
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	r := New()
	r.Model, r.AdapterPath = filepath.Join(dir, "model"), filepath.Join(dir, "adapters")
	r.Train, r.MaskPrompt, r.Threads = true, true, 1
	r.Iters, r.BatchSize, r.NumLayers, r.LearningRate, r.ValBatches = 6, 2, 2, 1e-3, 1
	r.StepsPerReport, r.StepsPerEval, r.SaveEvery = 2, 4, 4
	data := map[string][]byte{}
	for _, split := range []string{"train", "valid", "test"} {
		text, err := os.ReadFile(filepath.Join(dir, "data", split+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfterN(string(text), "\n", 9)
		data[split+".jsonl"] = []byte(strings.Join(lines[:8], ""))
	}
	r.Data = folder(t, data)
	return r
}

// kinds are the types of events, in order, those of progress left out.
func (e events) kinds() (kinds []string) {
	for _, event := range e {
		if _, progress := event.(run.Progress); !progress {
			kinds = append(kinds, strings.TrimPrefix(fmt.Sprintf("%T", event), "run."))
		}
	}
	return kinds
}

func (e events) text(kind string) string {
	for i := len(e) - 1; i >= 0; i-- {
		if m, ok := e[i].(run.Message); ok && strings.HasPrefix(m.Text.String(), kind) {
			return m.Text.String()
		}
	}
	return ""
}

func TestRun(t *testing.T) {
	t.Parallel()
	r := demoRecipe(t)
	r.Test = true
	var told events
	result, err := Run(t.Context(), r, Options{Report: &told, Version: "1.2", Command: []string{"me", "--token", "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := result.Trained; got.Iterations != 6 || !(got.TrainLoss > 0) || !(got.ValLoss > 0) || got.TrainedTokens == 0 || !(result.Tested.Loss > 0) {
		t.Errorf("%+v, %+v", got, result.Tested)
	}
	want := "Message Message Message Data Data Plan Start Message Validation Step Step TrainReport Step Validation Step TrainReport Saved Step Validation Step TrainReport Saved End Message Data TestReport"
	if got := strings.Join(told.kinds(), " "); got != want {
		t.Errorf("events\n%s, want\n%s", got, want)
	}

	// What it leaves is what the recipe says, and what was measured.
	if text, err := os.ReadFile(filepath.Join(r.AdapterPath, adapter.ConfigFile)); err != nil || string(text) != configText(t, r) {
		t.Errorf("adapter_config.json: %v\n%s", err, text)
	}
	if want := filepath.Join(r.AdapterPath, "0000004_adapters.safetensors"); result.Checkpoint != want {
		t.Errorf("checkpoint %s, want %s", result.Checkpoint, want)
	}
	m, err := run.ReadManifest(r.AdapterPath)
	if err != nil || m.Version != "1.2" || !slices.Equal(m.Command, []string{"me", "--token", "***"}) || len(m.Data) != 3 || m.Settings["threads"] != 1.0 || m.Settings["iters"] != 6.0 {
		t.Errorf("%+v, %v", m, err)
	}
	var card hub.Card
	if err := Describe(&card, r.AdapterPath); err != nil || card.Data != "train.jsonl" || card.Measured != "valid.jsonl, test.jsonl" || card.BaseModel != "" ||
		len(card.Results) != 2 || card.Results[0].Base == "" || card.Results[0].Tuned == "" || card.Results[1].Tuned != perplexityText(result.Tested.Loss) || !slices.Contains(card.Settings, hub.CardRow{Name: "iters", Value: "6"}) {
		t.Errorf("%+v, %v", card, err)
	}
	again := r
	again.Train = false
	tested, err := Run(t.Context(), again, Options{})
	if err != nil || tested.Trained != nil || tested.Tested.Loss != result.Tested.Loss {
		t.Errorf("the saved adapter tests as %+v, %v, want %+v", tested.Tested, err, result.Tested)
	}
	again.AdapterPath = ""
	if base, err := Run(t.Context(), again, Options{}); err != nil || base.Tested.Loss <= result.Tested.Loss {
		t.Errorf("the base tests as %+v, %v, the tuned model as %+v", base.Tested, err, result.Tested)
	}
}

// TestInterrupted ends a run early, and goes on with what it saved.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	r := demoRecipe(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told events
	result, err := Run(ctx, r, Options{Report: reporter(func(e run.Event) {
		told.Report(e)
		if s, ok := e.(run.Step); ok && s.Iteration == 3 {
			cancel()
		}
	})})
	if !errors.Is(err, train.ErrInterrupted) || result.Trained.Iterations != 3 || filepath.Base(result.Checkpoint) != "0000003_adapters.safetensors" {
		t.Fatalf("%+v, %v", result, err)
	}
	want := "To go on from iteration 3 of 6, give the same command again."
	if got := told.text("To go on"); got != want {
		t.Errorf("advice %q, want %q", got, want)
	}
	r.ResumeAdapterFile, r.Iters = result.Checkpoint, 1
	told = nil
	if _, err := Run(t.Context(), r, Options{Report: &told}); err != nil || told.text("Loading fine-tuned weights from "+result.Checkpoint) == "" {
		t.Errorf("resumed: %v, %v", err, told.kinds())
	}
	// The card names the iterations of all parts, also from the last weights and in another folder.
	iters := func(dir string) string {
		var card hub.Card
		if err := Describe(&card, dir); err != nil {
			t.Error(err)
		}
		for _, row := range card.Settings {
			if row.Name == "iters" {
				return row.Value
			}
		}
		return ""
	}
	if got := iters(r.AdapterPath); got != "4 (3 + 1)" {
		t.Errorf("resumed: iters %s", got)
	}
	r.ResumeAdapterFile, r.Iters = filepath.Join(r.AdapterPath, adapter.File), 2
	r.AdapterPath = filepath.Join(t.TempDir(), "other")
	if _, err := Run(t.Context(), r, Options{}); err != nil || iters(r.AdapterPath) != "6 (3 + 1 + 2)" {
		t.Errorf("resumed twice: iters %s, %v", iters(r.AdapterPath), err)
	}
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if err := os.RemoveAll(filepath.Join(r.AdapterPath, stateDir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), r, Options{}); fault.SettingOf(err) != "adapter_path" || !strings.Contains(err.Error(), "a run of 2 iterations") {
		t.Errorf("over a finished run without a state: %v", err)
	}
	if _, err := Run(cancelled, r, Options{Overwrite: true}); !errors.Is(err, context.Canceled) && !errors.Is(err, train.ErrInterrupted) {
		t.Errorf("cancelled before it began: %v", err)
	}
}

type reporter func(run.Event)

func (r reporter) Report(e run.Event) { r(e) }

func TestRunMistakes(t *testing.T) {
	t.Parallel()
	r := demoRecipe(t)
	held, err := run.OpenFolder(filepath.Join(t.TempDir(), "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	empty := folder(t, map[string][]byte{"valid.jsonl": rows(1)})
	for want, change := range map[string]func(*Recipe){
		"num_layers 9: expected at most 6":                             func(r *Recipe) { r.NumLayers = 9 },
		"model ./nowhere: there is no such folder or file":             func(r *Recipe) { r.Model = "./nowhere" },
		"Training set not found or empty":                              func(r *Recipe) { r.Data = empty },
		"Test set not found or empty":                                  func(r *Recipe) { r.Train, r.Test, r.Data, r.AdapterPath = false, true, empty, "" },
		"adapter_path ./nowhere: there is no such folder":              func(r *Recipe) { r.Train, r.Test, r.AdapterPath = false, true, "./nowhere" },
		"resume_adapter_file: ":                                        func(r *Recipe) { r.ResumeAdapterFile = filepath.Join(empty, "valid.jsonl") },
		"lora_parameters.rank 0":                                       func(r *Recipe) { r.LoRA.Rank = 0 },
		"lora_parameters: key \"q\" names no projection of this model": func(r *Recipe) { r.LoRA.Keys = []string{"q"} },
		"full fine-tuning needs a dense base":                          func(r *Recipe) { r.FineTuneType = "full" },
		"Prompt masking not supported for text dataset":                func(r *Recipe) { r.Data = folder(t, map[string][]byte{"train.jsonl": rows(4)}) },
		"is held by process":                                           func(r *Recipe) { r.AdapterPath = held.Path("") },
	} {
		r := r
		change(&r)
		_, err := Run(t.Context(), r, Options{})
		var locked *run.LockedError
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, new(*fault.Mistake)) && !errors.As(err, &locked) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}
