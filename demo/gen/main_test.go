package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDataIsCurrent regenerates demo/data and demands the same bytes.
func TestDataIsCurrent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := run([]string{"--out", dir}); err != nil {
		t.Fatal(err)
	}
	for _, split := range []string{"train", "valid", "test", "unseen", "questions", "held"} {
		got, err := os.ReadFile(filepath.Join(dir, split+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("..", "data", split+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("demo/data/%s.jsonl is not what the tables give; run: go run ./demo/gen", split)
		}
	}
}

func TestCorpusCommand(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "for", "this")
	if err := run([]string{"corpus", "--out", dir, "--rows", "400"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"train.jsonl": 400, "valid.jsonl": 2} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Count(data, []byte("\n")); got != want {
			t.Errorf("%s has %d rows, want %d", name, got, want)
		}
	}
	for _, bad := range [][]string{{"corpus"}, {"corpus", "--out", dir, "--rows", "0"}, {"--out", filepath.Join(dir, "none", "there")}} {
		if err := run(bad); err == nil {
			t.Errorf("gen %s: no error", strings.Join(bad, " "))
		}
	}
}

func TestPicture(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "demo.svg")
	text := "== A heading\n" + strings.Repeat("a line <of> text\n", 40) + strings.Repeat("word ", 60) + "\n✓ right\n"
	if err := writePicture([]string{"--out", path}, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	texts := 0
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "text" {
			texts++
		}
	}
	if texts != 1+1+40+3+1 || !bytes.Contains(svg, []byte("prefers-reduced-motion")) {
		t.Errorf("%d texts in %s", texts, svg[:600])
	}
	if err := writePicture(nil, strings.NewReader("x")); err == nil {
		t.Error("no --out")
	}
	if err := writePicture([]string{"--out", path}, strings.NewReader("")); err == nil {
		t.Error("no lines")
	}
}
