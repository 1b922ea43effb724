package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAddresses: an address from the hub's pages does as a name does, for models, data, downloads and uploads.
func TestAddresses(t *testing.T) {
	s := testHub(t)
	model, data := tinyModel(t)
	s.Add("org/tiny", filesOf(t, model))
	rows, err := os.ReadFile(filepath.Join(data, "train.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	s.Add("datasets/org/rows", map[string][]byte{"train.jsonl": rows, "more/other.jsonl": rows, "more/notes.txt": []byte("x")})

	dir := strings.TrimSpace(mustRun(t, "", "download", s.URL+"/org/tiny/resolve/main/config.json", "--quiet"))
	if names := filesOf(t, dir); len(names) != 1 || names["config.json"] == nil {
		t.Errorf("one file: %d in %s", len(names), dir)
	}
	dir = strings.TrimSpace(mustRun(t, "", "download", s.URL+"/datasets/org/rows/tree/main/more", "--quiet"))
	if names := filesOf(t, dir); len(names) != 2 || names["more/notes.txt"] == nil {
		t.Errorf("a folder: %d files in %s", len(names), dir)
	}
	for _, address := range []string{"/datasets/org/rows", "/datasets/org/rows/blob/main/more/other.jsonl"} {
		adapter := filepath.Join(t.TempDir(), "adapter")
		out := mustRun(t, "", "train", "--model", s.URL+"/org/tiny", "--data", s.URL+address, "--iters", "1", "--batch-size", "1", "--adapter-path", adapter)
		if !strings.Contains(out, "Saved final weights") {
			t.Errorf("%s: %s", address, out)
		}
	}
	for want, args := range map[string][]string{
		"names main":                             {"download", s.URL + "/org/tiny/tree/main", "--revision", "v1"},
		"uploaded to the main branch":            {"upload", "--path", model, "--upload-repo", s.URL + "/org/tiny/blob/main/config.json"},
		"this is a space, expected a dataset":    {"train", "--model", model, "--data", s.URL + "/spaces/org/rows"},
		"is a dataset, expected a model":         {"tokenize", "--model", s.URL + "/datasets/org/rows", "x"},
		"example.org is not the hub: models and": {"download", "https://example.org/org/tiny"},
	} {
		if code, _, text := lentil(t, "", args...); code != ExitUsage || !strings.Contains(text, want) {
			t.Errorf("%v: exit %d, %s", args, code, text)
		}
	}
	mustRun(t, "", "cache", "delete", "--yes", s.URL+"/org/tiny")
	if left := cachedModels(); len(left) != 0 {
		t.Errorf("%q is left", left)
	}
}
