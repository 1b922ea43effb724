package eval

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/fault"
)

func TestLibrary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := strings.Repeat("Plain words about nothing much stand here. ", 60)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("food.md", "# Foods\n\n## Lentils\n\nCooked lentils have 9 g of protein.\n\n## Chickpeas\n\nCooked chickpeas have 9 g of protein and much fibre.\n\n"+long)
	write("other.txt", long)
	write("broken.epub", "no book")
	warned := 0
	l, err := OpenLibrary("books", dir, func(fault.Note) { warned++ })
	if err != nil || warned != 1 {
		t.Fatal(err, warned)
	}
	for question, want := range map[string]string{
		"How much protein do lentils have?": "Foods › Lentils\nCooked lentils have 9 g of protein.",
		"What about chickpea fiber?":        "Foods › Chickpeas\nCooked chickpeas",
		"Xylophone?":                        "",
	} {
		if got := l.Look(question, passages); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q first", question, got, want)
		}
	}
	for n, want := range map[int]string{0: "", 1: "One ", 2: "One two\n", 9: "One two\nthree"} {
		if got := firstWords("One two\nthree", n); got != want {
			t.Errorf("%d words are %q", n, got)
		}
	}
	for _, p := range l.passages {
		if n := len(strings.Fields(p.text)); n > 3*passageWords {
			t.Errorf("a passage of %d words", n)
		}
	}
	if _, err := OpenLibrary("books", t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "no text was found") {
		t.Error(err)
	}
}
