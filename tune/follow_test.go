package tune

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// warnings are the texts of all warnings.
func (e events) warnings() (texts []string) {
	for _, event := range e {
		if w, ok := event.(run.Warning); ok {
			texts = append(texts, w.Text.String())
		}
	}
	return texts
}

// choosing are options of a user who chose the settings named.
func choosing(told *events, names ...string) Options {
	return Options{Report: told, Given: func(setting string) bool { return slices.Contains(names, setting) }}
}

// TestFollowAdapter: a test measures as the adapter was trained, unless it is told
// otherwise, and tells of both.
func TestFollowAdapter(t *testing.T) {
	t.Parallel()
	const file, manifest = adapter.ConfigFile, run.ManifestName
	trained := `{"fine_tune_type": "lora", "mask_prompt": true, "max_seq_length": 64, "iters": 5}`
	for name, c := range map[string]struct {
		files  map[string][]byte
		given  []string
		change func(*Recipe)
		mask   bool
		length int
		compat string
		said   string
		warned string
		err    string
	}{
		"as trained": {files: map[string][]byte{file: []byte(trained)}, mask: true, length: 64,
			said: "Measuring as the adapter was trained: mask_prompt true max_seq_length 64"},
		"one is chosen": {files: map[string][]byte{file: []byte(trained)}, given: []string{"max_seq_length"}, mask: true, length: 2048,
			said: "Measuring as the adapter was trained: mask_prompt true", warned: "the adapter was trained with max_seq_length 64: this test measures something else"},
		"chosen alike": {files: map[string][]byte{file: []byte(trained)}, given: []string{"mask_prompt", "max_seq_length"},
			change: func(r *Recipe) { r.MaskPrompt, r.MaxSeqLength = true, 64 }, mask: true, length: 64},
		"mlx-lm's rules in training": {files: map[string][]byte{file: []byte(trained), manifest: []byte(`{"settings": {"compat": "mlx"}}`)}, mask: true, length: 64, compat: "mlx",
			said: "Measuring as the adapter was trained: mask_prompt true max_seq_length 64 compat mlx"},
		"mlx-lm's rules in the test": {files: map[string][]byte{file: []byte(trained)}, given: []string{"compat"}, change: func(r *Recipe) { r.Compat = "mlx" }, length: 2048, compat: "mlx",
			warned: "the adapter was trained with mask_prompt true max_seq_length 64: this test measures something else"},
		"the defaults":     {files: map[string][]byte{file: []byte(`{"mask_prompt": false, "max_seq_length": 2048}`)}, length: 2048},
		"PEFT's settings":  {files: map[string][]byte{file: []byte(`{"r": 8, "peft_type": "LORA"}`)}, length: 2048},
		"nothing there":    {files: map[string][]byte{"else": nil}, length: 2048},
		"foreign manifest": {files: map[string][]byte{file: []byte(`{}`), manifest: []byte(`[1]`)}, length: 2048},
		"no adapter":       {files: map[string][]byte{file: []byte(trained)}, change: func(r *Recipe) { r.AdapterPath = "" }, length: 2048},
		"a training":       {files: map[string][]byte{file: []byte(trained)}, change: func(r *Recipe) { r.Train = true }, length: 2048},
		"of another kind":  {files: map[string][]byte{file: []byte(`{"mask_prompt": 1}`)}, err: file + ": mask_prompt: expected true or false, found 1"},
		"not to be used":   {files: map[string][]byte{file: []byte(`{"max_seq_length": 0}`)}, err: file + ": max_seq_length 0: expected 2 or more"},
		"not to be read":   {files: map[string][]byte{file: []byte("{\n!")}, err: file + ":2:1: "},
	} {
		r := New()
		r.Test, r.AdapterPath = true, folder(t, c.files)
		if c.change != nil {
			c.change(&r)
		}
		var told events
		j := &Job{Recipe: r, options: choosing(&told, c.given...)}
		err := j.followAdapter()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !errors.As(err, new(*fault.Mistake)) {
				t.Errorf("%s: error %v, want %s", name, err, c.err)
			}
			continue
		}
		got := j.Recipe
		if err != nil || got.MaskPrompt != c.mask || got.MaxSeqLength != c.length || got.Compat != c.compat || got.Iters != r.Iters {
			t.Errorf("%s: mask_prompt %v, max_seq_length %d, compat %q, %v", name, got.MaskPrompt, got.MaxSeqLength, got.Compat, err)
		}
		if said := told.text("Measuring"); said != c.said {
			t.Errorf("%s: said %q", name, said)
		}
		if got := strings.Join(told.warnings(), "; "); got != c.warned {
			t.Errorf("%s: warned %q", name, got)
		}
	}
}

// TestTestFollowsTraining: a test alone gives the loss that the training's own test gave.
func TestTestFollowsTraining(t *testing.T) {
	t.Parallel()
	r := demoRecipe(t)
	r.Test, r.Iters, r.MaxSeqLength = true, 2, 40
	trained, err := Run(t.Context(), r, Options{})
	if err != nil {
		t.Fatal(err)
	}
	alone := New()
	alone.Test, alone.Model, alone.Data, alone.AdapterPath, alone.Threads, alone.BatchSize = true, r.Model, r.Data, r.AdapterPath, 1, r.BatchSize
	var told events
	tested, err := Run(t.Context(), alone, choosing(&told, "model", "data", "adapter_path"))
	if err != nil || tested.Tested.Loss != trained.Tested.Loss || tested.Tested.Tokens != trained.Tested.Tokens {
		t.Errorf("tested as %+v, %v; after training as %+v", tested.Tested, err, trained.Tested)
	}
	otherwise, err := Run(t.Context(), alone, Options{Report: &told})
	if err != nil || otherwise.Tested.Loss == trained.Tested.Loss || len(told.warnings()) == 0 {
		t.Errorf("told otherwise: %+v, %v, %v", otherwise.Tested, err, told.warnings())
	}
	if _, err := os.Stat(filepath.Join(r.AdapterPath, run.LogName)); err != nil {
		t.Error(err)
	}
}

// TestFollowModel: a default that the model is too small for fits itself, and what the
// user chose is refused.
func TestFollowModel(t *testing.T) {
	t.Parallel()
	r := demoRecipe(t)
	r.NumLayers, r.BatchSize, r.Iters = New().NumLayers, 100, 1
	var told events
	if _, err := Run(t.Context(), r, choosing(&told, "iters")); err != nil {
		t.Fatal(err)
	}
	if got := told.text("The model has"); got != "The model has 6 layers: all of them are trained, instead of num_layers 16." {
		t.Errorf("said %q", got)
	}
	if got := told.warnings(); len(got) != 1 || got[0] != "batch_size 100 is more than the 8 rows of the training set: each step takes all of them" {
		t.Errorf("warned %q", got)
	}
	m, err := run.ReadManifest(r.AdapterPath)
	if err != nil || m.Settings["num_layers"] != 6.0 {
		t.Errorf("run.json: %v, %v", m.Settings["num_layers"], err)
	}
	r.AdapterPath = t.TempDir()
	if _, err := Run(context.Background(), r, choosing(&told, "num_layers")); fault.SettingOf(err) != "num_layers" {
		t.Errorf("chosen: %v", err)
	}
}
