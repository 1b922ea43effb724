package demo

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/lentil-lm/lentil/book"
)

// TestEPUB: the book has the words of the handbook, in its order, and its tables, and is the same each time.
func TestEPUB(t *testing.T) {
	t.Parallel()
	data, err := EPUB()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := EPUB(); err != nil || !bytes.Equal(data, again) {
		t.Error("the book is another each time")
	}
	path := filepath.Join(t.TempDir(), EPUBName)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := book.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	words := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) })
	}
	if got, want := words(d.Whole()), words(Handbook()); !slices.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("word %d: %q, expected %q", i, got[max(0, i-5):min(len(got), i+5)], want[max(0, i-5):min(len(want), i+5)])
			}
		}
		t.Fatalf("%d words, expected %d", len(got), len(want))
	}
	tables := 0
	for _, b := range d.Blocks {
		if b.Kind == book.Table {
			tables++
		}
	}
	if want := strings.Count(Handbook(), "|---|"); tables == 0 || tables > want {
		t.Errorf("%d tables", tables)
	}
}
