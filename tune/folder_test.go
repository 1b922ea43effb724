package tune

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// TestCheckFolder: what should not be lost is not trained over, unless the user goes on from it.
func TestCheckFolder(t *testing.T) {
	t.Parallel()
	begun := run.Start{FirstIteration: 1}
	resumed := run.Start{FirstIteration: 1, Earlier: []int{5}}
	stopped := run.Saved{Iteration: 5, Checkpoint: "0000005_adapters.safetensors"}
	done := run.Saved{Iteration: 7}
	for name, test := range map[string]struct {
		events []run.Event // of a run of ours; nil for none
		files  map[string]string
		want   string // "" where a run may begin
	}{
		"an empty folder":              {},
		"other files":                  {files: map[string]string{"notes.txt": "mine"}},
		"mlx-lm's":                     {files: map[string]string{adapter.File: "x"}, want: "adapters.safetensors that Lentil did not write"},
		"a config":                     {files: map[string]string{adapter.ConfigFile: "{}"}, want: "adapter_config.json that Lentil did not write"},
		"another program's run.json":   {files: map[string]string{run.ManifestName: `{"laps": 3}`}, want: "run.json that Lentil did not write"},
		"another program's run.jsonl":  {files: map[string]string{run.LogName: "{\"km\": 7}\n"}, want: "run.jsonl that Lentil did not write"},
		"killed before the first step": {events: []run.Event{}},
		"killed":                       {events: []run.Event{begun}},
		"interrupted":                  {events: []run.Event{begun, stopped, run.End{Outcome: run.Interrupted}}},
		"finished":                     {events: []run.Event{begun, stopped, done, run.End{Outcome: run.Done}}, want: "a run of 7 iterations, begun on 2026-11-28, has come to its end"},
		"killed after its last save":   {events: []run.Event{begun, done}, want: "a run of 7 iterations"},
		"finished and tested":          {events: []run.Event{begun, done, run.TestReport{}}, want: "a run of 7 iterations"},
		"resumed, then killed":         {events: []run.Event{begun, done, resumed}, want: "a run that was resumed"},
		"finished, then trained over":  {events: []run.Event{begun, done, begun, stopped}},
	} {
		dir := t.TempDir()
		for file, text := range test.files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if test.events != nil {
			folder, err := run.OpenFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := folder.WriteManifest(run.Manifest{Started: time.Date(2026, 11, 28, 1, 2, 3, 0, time.UTC)}); err != nil {
				t.Fatal(err)
			}
			for _, e := range test.events {
				folder.Report(e)
			}
			if err := folder.Close(); err != nil {
				t.Fatal(err)
			}
		}
		err := checkFolder(dir, "")
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want != "" && (fault.SettingOf(err) != "adapter_path" || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "overwrite")):
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if err := checkFolder(dir, filepath.Join(dir, adapter.File)); err != nil {
			t.Errorf("%s, gone on with: %v", name, err)
		}
	}
	if err := checkFolder(filepath.Join(t.TempDir(), "new"), ""); err != nil {
		t.Error(err)
	}
}
