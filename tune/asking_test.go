package tune

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// TestAsking: the weights with the most right answers are kept, not those with the lowest loss.
func TestAsking(t *testing.T) {
	t.Parallel()
	r := demoRecipe(t)
	r.EvalQuestions, r.EvalEvery, r.SaveBest = "questions.jsonl", 2, true
	rights := []int{9, 1, 3, 2, 9}
	var told events
	o := Options{Report: &told, Ask: func(_ context.Context, e *engine.Engine, tokens int) (run.Asked, error) {
		if tokens != 0 {
			t.Errorf("asked every 2 iterations as was said, but for %d tokens", tokens)
		}
		right := rights[0]
		rights = rights[1:]
		return run.Asked{Questions: 10, Right: right}, nil
	}}
	r.Iters = 6
	if _, err := Run(t.Context(), r, o); err != nil {
		t.Fatal(err)
	}
	var asked []int
	var best []run.BestSaved
	for _, e := range told {
		switch e := e.(type) {
		case run.Asked:
			asked = append(asked, e.Iteration)
		case run.BestSaved:
			best = append(best, e)
		}
	}
	text, err := json.Marshal([]any{asked, best})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.AdapterPath, "best", "adapters.safetensors")
	want := `[[0,2,4,6],[{"iteration":3,"val_loss":0,"right_answers":1,"questions":10,"path":"` + path + `"},{"iteration":5,"val_loss":0,"right_answers":3,"questions":10,"path":"` + path + `"}]]`
	if string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
	var card hub.Card
	if err := Describe(&card, r.AdapterPath); err != nil {
		t.Fatal(err)
	}
	if told := fmt.Sprintf("%+v", card); !strings.Contains(told, "most right answers") || !strings.Contains(told, "3 of 10 after iteration 4: best/") || !strings.Contains(card.Measured, "questions.jsonl") {
		t.Errorf("the card: %s", told)
	}
	r.AdapterPath = t.TempDir()
	if _, err := Run(t.Context(), r, Options{}); fault.SettingOf(err) != "eval_questions" {
		t.Error(err)
	}
}

// TestAskWarning: a warning that questions take long names the setting that makes them take less. With eval_every all would be asked.
func TestAskWarning(t *testing.T) {
	t.Parallel()
	for every, want := range map[int]string{0: "with steps_per_eval ", 2: "with eval_every "} {
		r := demoRecipe(t)
		r.EvalQuestions, r.EvalEvery, r.StepsPerEval, r.Iters = "questions.jsonl", every, 2, 4
		var told events
		if _, err := Run(t.Context(), r, Options{Report: &told, Ask: func(context.Context, *engine.Engine, int) (run.Asked, error) {
			asked := run.Asked{Questions: 10, Seconds: 1000}
			if every == 0 {
				asked.Of = 200
			}
			return asked, nil
		}}); err != nil {
			t.Fatal(err)
		}
		said := ""
		for _, e := range told {
			if w, ok := e.(run.Warning); ok {
				said += w.Text.String() + "\n"
			}
		}
		if !strings.Contains(said, want) {
			t.Errorf("every %d: %q lacks %q", every, said, want)
		}
	}
}

// TestAskTokens: what asking takes at the default is a twentieth of what is trained on, however often it is asked.
func TestAskTokens(t *testing.T) {
	t.Parallel()
	r := New()
	r.BatchSize, r.MaxSeqLength = 4, 30
	for _, tt := range []struct{ iters, every, want int }{
		{1000, 200, 666}, // at 0, 200, ..., 1000: 6 times a sixth of 5 % of 80 tokens in each of 1000 steps
		{1000, 300, 800}, // at 0, 300, 600, 900, 1000
		{100, 200, 200},  // at 0 and 100
		{1, 200, 2},
	} {
		r.Iters, r.StepsPerEval = tt.iters, tt.every
		if got := r.askTokens([]int{10, 20, 20, 100}); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
	if r.EvalEvery = 7; r.askTokens([]int{10}) != 0 {
		t.Error("who says how often has all questions asked")
	}
}

// TestReplay: rows of a file come among those of the data, in their share, and are told as trained on.
func TestReplay(t *testing.T) {
	t.Parallel()
	r := demoRecipe(t)
	rows, err := os.ReadFile(filepath.Join(r.Data, "test.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "more.jsonl")
	if err := os.WriteFile(file, rows, 0o600); err != nil {
		t.Fatal(err)
	}
	r.Replay = file + ":60%"
	var told events
	if _, err := Run(t.Context(), r, Options{Report: &told}); err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, e := range told {
		if m, ok := e.(run.Message); ok {
			said += m.Text.String() + "\n"
		}
	}
	if !strings.Contains(said, "12 of 20 rows are replayed from more.jsonl (8 there).") {
		t.Errorf("said %q", said)
	}
	m, err := run.ReadManifest(r.AdapterPath)
	if err != nil {
		t.Fatal(err)
	}
	if trained, _ := namesOf(m.Data, false); strings.Join(trained, " ") != "train.jsonl more.jsonl" {
		t.Errorf("trained on %v", trained)
	}
	r = demoRecipe(t)
	r.Replay, r.KL = file+":20%", 0.5
	if result, err := Run(t.Context(), r, Options{}); err != nil || !(result.Trained.TrainLoss > 0) {
		t.Errorf("near the base: %v", err)
	}
	r.AdapterPath, r.FineTuneType = t.TempDir(), "full"
	if _, err := Run(t.Context(), r, Options{}); err == nil || !strings.Contains(err.Error(), "kl goes with an adapter") {
		t.Errorf("near a base that changes: %v", err)
	}
	for replay, want := range map[string]string{
		"rows.jsonl": "expected FILE:SHARE", "rows.jsonl:2": "between 0 and 0.99", "rows.jsonl:0": "between 0 and 0.99", "rows.jsonl:0.99999999": "between 0 and 0.99", "rows.jsonl:x": "between 0 and 0.99", filepath.Join(t.TempDir(), "none") + ":0.5": "none",
	} {
		r := demoRecipe(t)
		r.Replay = replay
		if _, err := Run(t.Context(), r, Options{}); fault.SettingOf(err) != "replay" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", replay, err, want)
		}
	}
}

// TestObjective: the weight of kl is the one that is given.
func TestObjective(t *testing.T) {
	t.Parallel()
	r := New()
	if r.objective() != (train.CrossEntropy{}) {
		t.Errorf("%+v", r.objective())
	}
	if r.KL = 3; r.objective() != (train.Near{Weight: 3}) {
		t.Errorf("%+v", r.objective())
	}
}

// TestNothingToDo: settings that would do nothing are refused.
func TestNothingToDo(t *testing.T) {
	t.Parallel()
	for setting, set := range map[fault.Setting]func(*Recipe){
		"kl":         func(r *Recipe) { r.KL, r.MaskPrompt = 1, false },
		"eval_every": func(r *Recipe) { r.EvalEvery = 10 },
	} {
		r := demoRecipe(t)
		set(&r)
		if _, err := Run(t.Context(), r, Options{}); fault.SettingOf(err) != setting {
			t.Errorf("%s: %v", setting, err)
		}
	}
}
