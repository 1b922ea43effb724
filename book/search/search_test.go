package search

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
	table := "| Food | Iron |\n|---|---|\n" + strings.Repeat("| A food of some name | 3 mg |\n", 80)
	write("food.md", "# Foods\n\n## Contents\n\nLentils 1\n\nChickpeas 2\n\n## Lentils\n\nCooked lentils have 9 g of protein.\n\n## Chickpeas\n\nCooked chickpeas have 9 g of protein and much fibre.\n\n"+long+"\n\n## Table\n\n"+table)
	write("other.txt", long)
	write("broken.epub", "no book")
	warned := 0
	l, err := Open("books", []string{dir}, func(fault.Note) { warned++ })
	if err != nil || warned != 1 {
		t.Fatal(err, warned)
	}
	for question, want := range map[string]string{
		"How much protein do lentils have?": "food, Foods › Lentils: Cooked lentils have 9 g of protein.",
		"What about chickpea fiber?":        "food, Foods › Chickpeas: Cooked chickpeas have 9 g",
		"Xylophone?":                        "",
	} {
		hits := l.Look(question)
		got := ""
		if len(hits) > 0 {
			got = hits[0].Name() + ": " + hits[0].Text
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q first", question, got, want)
		}
	}
	hits := l.Look("protein of lentils")
	if best, other := hits[0], hits[1]; best.Share != 1 || best.Shared < 2 || best.Score <= other.Score || other.Share >= 1 {
		t.Errorf("%+v before %+v", best, other)
	}
	for i, p := range l.Passages() {
		if n := len(strings.Fields(p.Text)); n > 3*PassageWords || p.ID != i {
			t.Errorf("passage %d of %d words", p.ID, n)
		}
		if strings.Contains(p.Chapter, "Table") && !strings.HasPrefix(p.Text, "Food\tIron\n") {
			t.Errorf("a part of a table without its head: %q", p.Text)
		}
	}
	for path, want := range map[string]string{
		t.TempDir():                       "no text was found",
		filepath.Join(dir, "none"):        "no such",
		filepath.Join(dir, "broken.epub"): "broken.epub",
	} {
		if _, err := Open("books", []string{path}, nil); err == nil || !strings.Contains(err.Error(), want) || fault.SettingOf(err) != "books" {
			t.Errorf("%s: %v", path, err)
		}
	}
}
