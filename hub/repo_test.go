package hub

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/fault"
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

// TestLooksLikeRepo tells names of repositories from paths.
func TestLooksLikeRepo(t *testing.T) {
	for name, want := range map[string]bool{
		"org/model": true, "org/model@v1": true, "org/model.v2": true, "org/model.gguf": false, "org/model.safetensors": false, "model": false,
		"./model": false, "../model": false, "/model": false, "model/": false, "a/b/c": false, "": false,
	} {
		if got := LooksLikeRepo(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

// TestMark: what a user can put right is a mistake of theirs, a server out of order is none.
func TestMark(t *testing.T) {
	for err, want := range map[error]bool{
		ErrNotFound: true, ErrDenied: true, ErrNoToken: true, ErrOffline: true, ErrNotCached: false, nil: false,
		&StatusError{Status: 404}: true, &StatusError{Status: 401}: true, &StatusError{Status: 500}: false,
	} {
		if got := Mark(err); errors.As(got, new(*fault.Mistake)) != want || !errors.Is(got, err) {
			t.Errorf("%v: %v, want a mistake: %v", err, got, want)
		}
	}
}
