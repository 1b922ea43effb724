package tune

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
)

// pairRecipe trains the demo's model on pairs: a short answer is chosen.
func pairRecipe(t *testing.T, mode string) Recipe {
	t.Helper()
	r := demoRecipe(t)
	data := map[string][]byte{}
	for i, split := range []string{"train", "valid", "test"} {
		var rows strings.Builder
		for k := range 6 {
			fmt.Fprintf(&rows, `{"prompt": "Is food number %d good?", "chosen": "Yes.", "rejected": "That is not easily said of number %d."}`+"\n", 10*i+k, k)
		}
		data[split+".jsonl"] = []byte(rows.String())
	}
	r.Data, r.TrainMode, r.Beta, r.MaskPrompt, r.Test = folder(t, data), mode, 0.2, false, true
	r.LearningRate = 3e-4
	return r
}

// TestPreference trains in both modes, tests the adapter as it was trained, and goes on
// with a stopped run exactly.
func TestPreference(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{dpo, orpo} {
		r := pairRecipe(t, mode)
		var told events
		result, err := Run(t.Context(), r, Options{Report: &told})
		if err != nil {
			t.Fatal(mode, err)
		}
		first, last := 0.0, 0.0
		for _, e := range told {
			if v, ok := e.(run.Validation); ok {
				last, _ = v.Figures.Get(run.RewardsMargins)
				if v.Iteration == 1 {
					first = last
				}
			}
		}
		if last <= first || mode == dpo && first != 0 {
			t.Errorf("%s: margins from %g to %g", mode, first, last)
		}
		m, err := run.ReadManifest(r.AdapterPath)
		if err != nil || m.Settings["train_mode"] != mode || m.Settings["beta"] != 0.2 {
			t.Errorf("%s: %v, %v", mode, m.Settings, err)
		}
		var card hub.Card
		if err := Describe(&card, r.AdapterPath); err != nil || !slices.Contains(card.Settings, hub.CardRow{Name: "train mode", Value: mode}) ||
			!slices.Contains(card.Settings, hub.CardRow{Name: "beta", Value: "0.2"}) || len(card.Results) != 2 || !strings.Contains(card.Results[1].Tuned, "margin") {
			t.Errorf("%s: %+v, %v", mode, card, err)
		}

		alone := New()
		alone.Test, alone.Model, alone.Data, alone.AdapterPath, alone.Threads, alone.BatchSize = true, r.Model, r.Data, r.AdapterPath, 1, r.BatchSize
		tested, err := Run(t.Context(), alone, choosing(&told, "model", "data", "adapter_path"))
		if err != nil {
			t.Fatal(err)
		}
		if tested.Tested.Loss != result.Tested.Loss || !slices.Equal(tested.Tested.Figures, result.Tested.Figures) || len(tested.Tested.Figures) == 0 {
			t.Errorf("%s: tested as %+v; after training as %+v", mode, tested.Tested, result.Tested)
		}
		if text := told.text("Measuring"); text != "Measuring as the adapter was trained: train_mode "+mode+" beta 0.2" {
			t.Errorf("%s: %q", mode, text)
		}
		if !math.IsNaN(tested.Tested.Perplexity()) {
			t.Errorf("%s: a perplexity of %g", mode, tested.Tested.Perplexity())
		}

		stopped := pairRecipe(t, mode)
		stopped.Data = r.Data
		stopAt(t, stopped, 3)
		if _, err := Run(t.Context(), stopped, Options{Resume: true}); err != nil {
			t.Fatal(err)
		}
		os.Remove(filepath.Join(stopped.AdapterPath, "0000003_adapters.safetensors"))
		sameFiles(t, mode, stopped.AdapterPath, r.AdapterPath)
	}
}

func TestPreferenceMistakes(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(r *Recipe){
		"train_mode kto: expected sft, dpo or orpo":           func(r *Recipe) { r.TrainMode = "kto" },
		"train_mode dpo compares with the model without its":  func(r *Recipe) { r.FineTuneType = "full" },
		"train_mode dpo is not in mlx-lm, whose rules compat": func(r *Recipe) { r.Compat = "mlx" },
		"beta NaN: expected a number above 0":                 func(r *Recipe) { r.Beta = math.NaN() },
		"beta 0: expected a number above 0":                   func(r *Recipe) { r.TrainMode, r.Beta = orpo, 0 },
		"train.jsonl:1: the rows are pairs of a chosen and a": func(r *Recipe) { r.TrainMode = sft },
		"train.jsonl:1: the rows are no pairs: expected":      func(r *Recipe) { r.Data = filepath.Join("..", "interop", "testdata", "chat") },
		"train.jsonl: no row has a token to learn":            func(r *Recipe) { r.MaxSeqLength = 4 },
	} {
		r := pairRecipe(t, dpo)
		change(&r)
		if _, err := Run(t.Context(), r, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
