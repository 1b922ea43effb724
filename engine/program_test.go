package engine_test

import (
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/internal/readme"
)

// TestGenerateProgram builds and runs the README's program that asks a model, from another module.
func TestGenerateProgram(t *testing.T) {
	p := readme.Find(t, "..", "engine")
	if n := p.Lines(); n > 12 {
		t.Errorf("asking a model takes %d lines, expected 12 at most", n)
	}
	p.IsExample(t, "example_test.go")
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	got := p.Run(t, dir)
	e, err := engine.Open(t.Context(), filepath.Join(dir, "model"), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	want, _, err := e.Answer(t.Context(), "What is fibre good for?", generate.Options{MaxTokens: 200})
	if err != nil || want == "" || got != want+"\n" {
		t.Errorf("the program prints %q, want %q, %v", got, want, err)
	}
}
