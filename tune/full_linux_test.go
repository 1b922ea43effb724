package tune

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/run"
)

// TestFullDisk: the adapter of a run that is done is kept also where its state has no room. Where not even it has, what was
// there stays.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1200k"); err != nil {
		t.Skip("a small disk takes the right to mount one: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	r := demoRecipe(t)
	r.AdapterPath, r.NumLayers, r.SaveEvery = filepath.Join(dir, "adapters"), 6, 3
	var told events
	_, err := Run(t.Context(), r, Options{Report: &told})
	w := told.warnings()
	if err != nil || len(w) < 3 || !strings.Contains(w[len(w)-2], "iteration 6 could not be saved") || !strings.Contains(w[len(w)-1], "the adapter is saved, and what a larger iters would need") {
		t.Fatalf("%v, %q", err, w)
	}
	path := filepath.Join(r.AdapterPath, adapter.File)
	first, err := os.Stat(path)
	if err != nil || hasState(r.AdapterPath) {
		t.Fatalf("%v, a state: %t", err, hasState(r.AdapterPath))
	}
	test := r
	test.Train, test.Test = false, true
	if got, err := Run(t.Context(), test, Options{}); err != nil || !(got.Tested.Loss > 0) {
		t.Errorf("the adapter: %+v, %v", got.Tested, err)
	}
	// A second one does not fit beside it.
	if _, err := Run(t.Context(), r, Options{Overwrite: true}); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("no room: %v", err)
	}
	if left, err := os.Stat(path); err != nil || left.Size() != first.Size() || !left.ModTime().Equal(first.ModTime()) {
		t.Errorf("the first adapter: %v", err)
	}
	if m, err := run.ReadManifest(r.AdapterPath); err != nil || m.Model != r.Model {
		t.Errorf("run.json: %+v, %v", m, err)
	}
}
