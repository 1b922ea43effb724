package tune

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/hub/hubtest"
	"github.com/lentil-lm/lentil/run"
)

// rows are n rows of JSON.
func rows(n int) []byte { return []byte(strings.Repeat(`{"text": "Lentils are pulses."}`+"\n", n)) }

// folder writes files of the given contents.
func folder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// events keeps what is reported.
type events []run.Event

func (e *events) Report(event run.Event) { *e = append(*e, event) }

// lengths are the numbers of rows of the splits.
func lengths(s *dataset.Splits) [3]int { return [3]int{s.Train.Len(), s.Valid.Len(), s.Test.Len()} }

func TestLocalData(t *testing.T) {
	t.Parallel()
	plain := folder(t, map[string][]byte{"train.jsonl": rows(4), "valid.jsonl": rows(2), "test.jsonl": rows(1)})
	carded := folder(t, map[string][]byte{
		"README.md": []byte("---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: rows/*\n---\n"), "rows/x.jsonl": rows(3), "other.jsonl": rows(9),
	})
	for _, c := range []struct {
		query DataQuery
		want  [3]int
	}{
		{DataQuery{Data: plain}, [3]int{4, 2, 1}},
		{DataQuery{Data: filepath.Join(plain, "valid.jsonl")}, [3]int{2, 0, 0}},
		{DataQuery{Data: carded}, [3]int{3, 0, 0}},
		{DataQuery{Train: true, Valid: true, Sources: []Source{{Path: plain, Train: "train[:3]", Valid: "validation[-1:]"}, {Path: carded, Train: "train"}}}, [3]int{6, 1, 0}},
		{DataQuery{Train: true, Sources: []Source{{Path: carded, Train: "train", Valid: "train", Files: dataset.Layout{{Split: "train", Files: []string{"other.*"}}}}}}, [3]int{9, 0, 0}},
	} {
		got, err := FindData(t.Context(), c.query, Options{})
		if err != nil {
			t.Errorf("%+v: %v", c.query, err)
		} else if lengths(got) != c.want {
			t.Errorf("%+v: %v rows, want %v", c.query, lengths(got), c.want)
		}
	}
	for want, q := range map[string]DataQuery{
		`data "./nowhere": no such folder or file`: {Data: "./nowhere"},
		"rows/x.jsonl:1: unknown row format":       {Data: carded, Features: Features{Text: "body"}},
		"there is no split test; there is train":   {Test: true, Sources: []Source{{Path: carded, Test: "test"}}},
		`there is no configuration "b"`:            {Train: true, Sources: []Source{{Path: carded, Config: "b", Train: "train"}}},
	} {
		if _, err := FindData(t.Context(), q, Options{}); err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, new(*fault.Mistake)) {
			t.Errorf("%+v: %v\nwant %s", q, err, want)
		}
	}
}

// TestHubData downloads what is needed of a repository, and says so.
func TestHubData(t *testing.T) {
	s := hubtest.New()
	t.Cleanup(s.Close)
	t.Setenv("HF_ENDPOINT", s.URL)
	t.Setenv("HF_HOME", t.TempDir())
	for _, name := range []string{"HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_DISABLE_PROGRESS_BARS"} {
		t.Setenv(name, "")
	}
	s.Add("datasets/org/rows", map[string][]byte{"train.jsonl": rows(4), "validation.jsonl": rows(2), "test.jsonl": rows(1)})
	fetched := func() (names []string) {
		found, _ := filepath.Glob(filepath.Join(os.Getenv("HF_HOME"), "hub/datasets--org--rows/snapshots/*/*"))
		for _, path := range found {
			names = append(names, filepath.Base(path))
		}
		return names
	}
	var told events
	var asked, heard []string
	o := Options{Report: &told, Download: func(repo string) (func(hub.Progress), func()) {
		asked = append(asked, repo)
		return func(p hub.Progress) {
			if p.Finished {
				heard = append(heard, p.File)
			}
		}, func() { heard = append(heard, "end") }
	}}
	got, err := FindData(t.Context(), DataQuery{Data: "org/rows", Valid: true}, o)
	if err != nil || lengths(got) != [3]int{0, 2, 0} {
		t.Fatalf("%v, %v", got, err)
	}
	if names := fetched(); !slices.Equal(names, []string{"validation.jsonl"}) {
		t.Errorf("fetched %v", names)
	}
	if !slices.Equal(asked, []string{"org/rows"}) || !slices.Equal(heard, []string{"validation.jsonl", "end"}) {
		t.Errorf("asked for %v, heard %v", asked, heard)
	}
	if len(told) != 1 || told[0].(run.Message).Text.String() != "Loading Hugging Face dataset org/rows." {
		t.Errorf("reported %v", told)
	}
	got, err = FindData(t.Context(), DataQuery{Data: "org/rows@main", Train: true, Valid: true, Test: true}, Options{})
	if err != nil || lengths(got) != [3]int{4, 2, 1} {
		t.Errorf("%v, %v", got, err)
	}
	// mlx-lm takes no validation set by that name, and nothing is no error before rows are needed.
	if got, err := FindData(t.Context(), DataQuery{Data: "org/rows", Valid: true, CompatMLX: true}, Options{}); err != nil || lengths(got) != [3]int{} {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := FindData(t.Context(), DataQuery{Data: "org/none", Train: true}, Options{}); !errors.As(err, new(*fault.Mistake)) || !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("no such dataset: %v", err)
	}
}

func FuzzDatasetCard(f *testing.F) {
	f.Add("configs:\n- config_name: a\n  data_files:\n  - split: train\n    path: [x/*]\n")
	f.Add("configs: [{data_files: [a, b], default: true, data_dir: c}]\n")
	path := filepath.Join(f.TempDir(), "README.md")
	f.Fuzz(func(t *testing.T, head string) {
		if err := os.WriteFile(path, []byte("---\n"+head+"\n---\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		configs, err := readCard(path)
		if err != nil {
			return
		}
		(&Source{}).layout([]string{"a", "b/train.jsonl"}, configs) // must not panic
	})
}

func TestCards(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"no front": "", "---\nlicense: mit\n---\n": "", "---\nconfigs: none\n---\n": "", "---\nconfigs:\n- config_name: a\n": "", // not closed
		"---\r\nconfigs:\r\n- config_name: a\r\n---\r\n":                     "",
		"---\nconfigs:\n- config_name: a\n  features: [x]\n---\n":            "",
		"---\nconfigs: [1]\n---\n":                                           "configs: expected a mapping, found 1",
		"---\nconfigs:\n- default: maybe\n---\n":                             "configs: default: expected true or false",
		"---\nconfigs: [\n---\n":                                             "its YAML, line 1: ",
		"---\nconfigs:\n- data_files: [{split: a, path: b}, c]\n---\n":       "configs: data_files: expected a mapping with split and path, found \"c\"",
		"---\nx: " + strings.Repeat("y", 1<<20) + "\nconfigs: []\n---\ntext": "too large",
	} {
		dir := folder(t, map[string][]byte{"README.md": []byte(text)})
		_, err := readCard(filepath.Join(dir, "README.md"))
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), dir)) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}
