package cli

import (
	"os"
	"path/filepath"
	"strings"
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

// TestFiguresReplaceFigures: --json replaces what an earlier command wrote there, or nothing, but no file of the user's,
// and what cannot be written is told before the work.
func TestFiguresReplaceFigures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"mine.json": `{"cores": 3}`, "rows.json": `[{"text": "x"}]`, "empty.json": ""} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"mine.json": "holds no figures", "rows.json": "holds no figures", ".": "this is a folder", filepath.Join("none", "f.json"): "there is no folder",
	} {
		if code, out, errOut := lentil(t, "", "scan-cache", "--dir", t.TempDir(), "--json", at(name)); code != ExitUsage || out != "" || !strings.Contains(errOut, "--json") || !strings.Contains(errOut, want) {
			t.Errorf("%s: exit %d, %q, %q", name, code, out, errOut)
		}
	}
	if text, err := os.ReadFile(at("mine.json")); err != nil || string(text) != `{"cores": 3}` {
		t.Errorf("the user's file holds %q, %v", text, err)
	}
	for _, name := range []string{"new.json", "new.json", "empty.json"} {
		mustRun(t, "", "scan-cache", "--dir", t.TempDir(), "--json", at(name))
		var figures map[string]any
		if readInto(t, at(name), &figures); len(figures) < 2 {
			t.Errorf("%s: %v", name, figures)
		}
	}
}
