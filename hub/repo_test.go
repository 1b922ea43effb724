package hub

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRepoOf(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(filepath.Join("here", "model"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"org/model": "org/model", "org/model@v1.0": "org/model", "here/model": "", "./org/model": "", "/org/model": "", "org/model/": "",
		"model": "", "a/b/c": "", "org/model.gguf": "", "org/adapter.safetensors": "", "": "", "org/..": "",
	} {
		if got := RepoOf(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
