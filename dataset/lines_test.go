package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlaced: rows that stay in their file are those that are read into memory, with the same places.
func TestPlaced(t *testing.T) {
	t.Parallel()
	text := "\xef\xbb\xbf \t{\"text\": \"a\"}\r\n\n  \n{\"text\": \"" + strings.Repeat("é", readAhead) + "\"}  \n\u00a0{\"text\": \"c\"}\n[1]\n{\"text\": \"d\"}"
	path := filepath.Join(t.TempDir(), "train.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := openLines(f)
	if err != nil {
		t.Fatal(err)
	}
	src, err := openSource(path, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := src.(*lineSource)
	if got.len() != want.len() || want.len() != 5 {
		t.Fatalf("%d rows, want %d", got.len(), want.len())
	}
	for i := range want.len() {
		a, err := got.text(i)
		b, _ := want.text(i)
		if err != nil || string(a) != string(b) || got.where(i) != want.where(i) {
			t.Errorf("row %d: %.20q at %s, want %.20q at %s, %v", i, a, got.where(i), b, want.where(i), err)
		}
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := got.row(4); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("%v", err)
	}
}

// TestInPlace: large files of lines are read where they lie, and keep their checks.
func TestInPlace(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("writes 64 MiB")
	}
	path := filepath.Join(t.TempDir(), "train.jsonl")
	row := `{"text": "` + strings.Repeat("beans and lentils ", 3000) + `"}` + "\n"
	rows := inPlaceBytes/len(row) + 1
	if err := os.WriteFile(path, []byte(strings.Repeat(row, rows)+"{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, Options{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("train.jsonl:%d: invalid JSON", rows+1)) {
		t.Errorf("%v", err)
	}
	src, err := openSource(path, &Options{})
	if _, ok := src.(*placedSource); !ok {
		t.Errorf("%T, %v", src, err)
	}
}
