package tune

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
)

// TestSaveBest: the adapter of the best validation lies in a folder of its own, which is tested as any other; run.json, the
// log, the card and a run that begins with it tell which it is. A run that ended early is done.
func TestSaveBest(t *testing.T) {
	t.Parallel()
	r := demoRecipe(t)
	r.LearningRate, r.Iters, r.StepsPerEval, r.ValBatches, r.EarlyStop, r.SaveBest, r.SaveEvery = 2e-3, 30, 2, -1, 3, true, 100
	var told events
	result, err := Run(t.Context(), r, Options{Report: &told})
	if err != nil || !result.Trained.Early || result.Trained.Best.Iteration < 2 {
		t.Fatalf("%v, %+v: this tests nothing", err, result.Trained)
	}
	best := result.Trained.Best
	m, err := run.ReadManifest(r.AdapterPath)
	if path := filepath.Join(r.AdapterPath, bestDir, adapter.File); err != nil || m.Best == nil || *m.Best != (run.BestSaved{Iteration: best.Iteration, Loss: best.Loss, Path: path}) {
		t.Errorf("run.json tells of %+v, %v; want %+v", m.Best, err, best)
	}
	if want := fmt.Sprintf("The best validation was that of iteration %d", best.Iteration); told.text("The best") == "" || !strings.HasPrefix(told.text("The best"), want) {
		t.Errorf("told %q, want %s", told.text("The best"), want)
	}
	// The validation set is the test set now.
	valid, err := os.ReadFile(filepath.Join(r.Data, "valid.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	test := r
	test.Train, test.Test, test.TestBatches, test.SaveBest, test.EarlyStop = false, true, -1, false, 0
	test.Data = folder(t, map[string][]byte{"test.jsonl": valid})
	loss := func(dir string) float64 {
		test.AdapterPath = dir
		got, err := Run(t.Context(), test, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return got.Tested.Loss
	}
	if got := loss(filepath.Join(r.AdapterPath, bestDir)); !(math.Abs(got-best.Loss) <= 1e-6*best.Loss) { // batches in another order
		t.Errorf("the best adapter has a loss of %v, validated as %v", got, best.Loss)
	}
	if last := loss(r.AdapterPath); !(last > best.Loss) {
		t.Errorf("the last adapter has a loss of %v, the best %v", last, best.Loss)
	}
	for dir, want := range map[string]string{
		r.AdapterPath: fmt.Sprintf("best validation: iteration %d, loss %.3f: best/adapters.safetensors", best.Iteration, best.Loss),
		filepath.Join(r.AdapterPath, bestDir) + "/": fmt.Sprintf("iters: %d, of a run that went on", best.Iteration-1),
	} {
		var card hub.Card
		if err := Describe(&card, dir); err != nil {
			t.Fatal(err)
		}
		var rows []string
		for _, row := range card.Settings {
			rows = append(rows, row.Name+": "+row.Value)
		}
		if text := strings.Join(rows, "\n"); !strings.Contains(text, want) {
			t.Errorf("card of %s:\n%s\nwant %s", dir, text, want)
		}
		if strings.HasSuffix(dir, bestDir+"/") && (len(card.Results) != 1 || card.Results[0].Tuned != perplexityText(best.Loss) || card.Results[0].Base == "") {
			t.Errorf("figures of the best adapter: %+v", card.Results)
		}
	}
	if got := earlier(filepath.Join(r.AdapterPath, bestDir, adapter.File)); !slices.Equal(got, []int{best.Iteration - 1}) {
		t.Errorf("a run that begins with it comes after %v", got)
	}
	// It has ended, also for who wants more iterations.
	r.Iters = 40
	told = nil
	if _, err := Run(t.Context(), r, Options{Report: &told}); err != nil || told.text("The run in") == "" {
		t.Errorf("again: %v, %v", err, told.kinds())
	}
	// Who begins anew has no best one yet.
	r.Iters, r.EarlyStop, r.SaveBest = 1, 0, false
	if _, err := Run(t.Context(), r, Options{Overwrite: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(r.AdapterPath, bestDir)); !os.IsNotExist(err) {
		t.Errorf("the folder of an older run: %v", err)
	}
}

// TestKeepCheckpoints: the oldest numbered copies go, but none that the run has not written. What lies there at once is no
// more than the plan says.
func TestKeepCheckpoints(t *testing.T) {
	t.Parallel()
	r := demoRecipe(t)
	r.Iters, r.SaveEvery, r.ValBatches, r.KeepCheckpoints, r.SaveBest = 9, 2, 0, 2, false
	mine := filepath.Join(r.AdapterPath, "0000001_adapters.safetensors")
	if err := os.MkdirAll(r.AdapterPath, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	there := func() (names []string) {
		paths, _ := filepath.Glob(filepath.Join(r.AdapterPath, "0*"))
		for _, path := range paths {
			names = append(names, filepath.Base(path)[:7])
		}
		return names
	}
	var plan run.Plan
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	Run(ctx, r, Options{Report: reporter(func(e run.Event) {
		switch e := e.(type) {
		case run.Plan:
			plan = e
		case run.Saved:
			if got, want := there()[1:], []string{fmt.Sprintf("%07d", e.Iteration-2), fmt.Sprintf("%07d", e.Iteration)}; e.Iteration > 2 && !slices.Equal(got, want) {
				t.Errorf("saved at %d: %v, want %v", e.Iteration, got, want)
			}
			if e.Iteration == 6 {
				cancel()
			}
		}
	})})
	if got, want := there(), []string{"0000001", "0000004", "0000006"}; !slices.Equal(got, want) {
		t.Errorf("stopped: %v, want %v", got, want)
	}
	if _, err := Run(t.Context(), r, Options{}); err != nil {
		t.Fatal(err)
	}
	if got, want := there(), []string{"0000001", "0000006", "0000008"}; !slices.Equal(got, want) {
		t.Errorf("gone on: %v, want %v", got, want)
	}
	var size int64
	filepath.WalkDir(r.AdapterPath, func(path string, e fs.DirEntry, _ error) error {
		if info, err := e.Info(); err == nil && strings.HasSuffix(path, ".safetensors") {
			size += info.Size()
		}
		return nil
	})
	if size > plan.DiskBytes || size < plan.DiskBytes/3 {
		t.Errorf("%d bytes lie there, planned at most %d", size, plan.DiskBytes)
	}
	// A new run in the folder leaves the old one's alone, also once it has been stopped.
	r.Iters, r.SaveEvery, r.KeepCheckpoints = 18, 9, 1
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	Run(ctx, r, Options{Overwrite: true, Report: reporter(func(e run.Event) {
		if s, ok := e.(run.Saved); ok && s.Iteration == 9 {
			cancel()
		}
	})})
	if _, err := Run(t.Context(), r, Options{Resume: true}); err != nil {
		t.Fatal(err)
	}
	if got, want := there(), []string{"0000001", "0000006", "0000008", "0000018"}; !slices.Equal(got, want) {
		t.Errorf("begun anew: %v, want %v", got, want)
	}
	r.KeepCheckpoints = -1
	if _, err := Run(t.Context(), r, Options{}); err == nil || !strings.Contains(err.Error(), "keep_checkpoints -1: expected 0 for all, or more") {
		t.Errorf("less than none: %v", err)
	}
}
