package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFiguresThroughLink: what --json names may be a link, which stays one.
func TestFiguresThroughLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join("..", filepath.Base(dir), "real.json"), filepath.Join(dir, "link.json")); err != nil {
		t.Skip(err)
	}
	if err := writeFigures(filepath.Join(dir, "link.json"), []int{1}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "real.json"))
	if err != nil || string(text) != "[\n    1\n]\n" {
		t.Errorf("%q, %v", text, err)
	}
	if info, err := os.Lstat(filepath.Join(dir, "link.json")); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is %v now, %v", info.Mode(), err)
	}
}
