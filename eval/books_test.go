package eval

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLibrary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "food.md"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# Foods\n\n## Lentils\n\nCooked lentils have 9 g of protein.\n\n## Chickpeas\n\nCooked chickpeas have 9 g of protein and much fibre.\n")
	l, err := OpenLibrary("books", dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for question, want := range map[string]string{
		"How much protein do lentils have?": "Foods › Lentils\nCooked lentils have 9 g of protein.\n\nFoods › Chickpeas\nCooked chickpeas have 9 g of protein and much fibre.",
		"Xylophone?":                        "",
	} {
		if got := l.Look(question, passages); got != want {
			t.Errorf("%s: %q, want %q", question, got, want)
		}
	}
	for n, want := range map[int]string{0: "", 1: "One ", 2: "One two\n", 9: "One two\nthree"} {
		if got := firstWords("One two\nthree", n); got != want {
			t.Errorf("%d words are %q", n, got)
		}
	}
	// Answers that were given beside other passages are not taken for these.
	was := l.version(true)
	if l.version(false) != "" {
		t.Error("a library that is not used has a version")
	}
	write("# Foods\n\nOther text.\n")
	if l, err = OpenLibrary("books", dir, nil); err != nil || l.version(true) == was {
		t.Error(l.version(true), err)
	}
}
