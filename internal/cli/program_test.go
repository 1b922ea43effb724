package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestProgramName: commands are printed as the user types them, also under go run.
func TestProgramName(t *testing.T) {
	hash := strings.Repeat("0123456789abcdef", 4)
	t.Chdir(t.TempDir())
	const module = "go run github.com/lentil-lm/lentil/cmd/lentil"
	paths := map[string]string{
		"/usr/local/bin/lentil": "lentil", "/home/me/go-build/lentil": "lentil", "/tmp/go-build123/b001/exe/lentil": module,
		"/home/me/.cache/go-build/0f/" + hash + "-d/lentil": module, "/home/me/.cache/go-build/0f/" + hash + "/lentil": "lentil",
	}
	for path, want := range paths {
		if got := programAt(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if err := os.MkdirAll(filepath.Join("cmd", "lentil"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("cmd", "lentil", "main.go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := programAt("/tmp/go-build123/b001/exe/lentil"); got != "go run ./cmd/lentil" {
		t.Errorf("in a clone: %q", got)
	}
}

func TestTyped(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"See: lentil lora --help":                 "See: RUN lora --help",
		"lentil login":                            "RUN login",
		"`lentil train` and `lentil test`":        "`RUN train` and `RUN test`",
		"  lentil COMMAND [flags]":                "  RUN COMMAND [flags]",
		"lentil: unknown command \"x\"":           "lentil: unknown command \"x\"",
		"/srv/lentil lora is a folder":            "/srv/lentil lora is a folder",
		"a lentil stew, ./model/lentil-7b":        "a lentil stew, ./model/lentil-7b",
		"Try: lentil scan-cache --revisions":      "Try: RUN scan-cache --revisions",
		"log in again: lentil login":              "log in again: RUN login",
		"lentil --help lists all commands":        "RUN --help lists all commands",
		"Run lentil login in a terminal, or wait": "Run RUN login in a terminal, or wait",
	} {
		if got := typedAs(text, "RUN"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if got := typedAs(text, "lentil"); got != text {
			t.Errorf("%q: %q under its own name", text, got)
		}
	}
}
