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
	"github.com/lentil-lm/lentil/book/pdf"
)

func TestMain(m *testing.M) {
	pdf.Serve()
	os.Exit(m.Run())
}

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
	path := filepath.Join(t.TempDir(), "handbook.epub")
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

// TestPDF: the pages have the words of the handbook, its headings and tables, and no sign that their font has not.
func TestPDF(t *testing.T) {
	t.Parallel()
	data, err := PDF()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := PDF(); err != nil || !bytes.Equal(data, again) {
		t.Error("the book is another each time")
	}
	for _, r := range Handbook() {
		if r > 0xff && !strings.ContainsRune("–−", r) {
			t.Errorf("no sign of the font is %q", r)
		}
	}
	if testing.Short() {
		t.Skip("starts a reader of PDF")
	}
	path := filepath.Join(t.TempDir(), "handbook.pdf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := book.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	count := func(s string) map[string]int {
		n := map[string]int{}
		for _, w := range strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			n[w]++
		}
		return n
	}
	want, got := count(plain(Handbook())), count(d.Text())
	all, found := 0, 0
	for w, n := range want {
		all += n
		found += min(n, got[w])
	}
	if found < all*98/100 {
		t.Errorf("%d of %d words", found, all)
	}
	headings, wanted := 0, 0
	for line := range strings.SplitSeq(Handbook(), "\n") {
		if strings.HasPrefix(line, "#") {
			wanted++
		}
	}
	tables := 0
	for _, b := range d.Blocks {
		switch b.Kind {
		case book.Heading:
			headings++
		case book.Table:
			tables++
		}
		if b.Page == "" {
			t.Fatalf("no page: %q", b.Text)
		}
	}
	if headings < wanted*95/100 || headings > wanted*105/100 || tables < 15 {
		t.Errorf("%d of %d headings, %d tables", headings, wanted, tables)
	}
}
