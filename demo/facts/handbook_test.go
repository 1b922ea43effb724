package facts

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// minWords is the least length of the handbook.
const minWords = 8000

func chapter(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "handbook", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestFactsStandInTheHandbook checks every fact, trained or unseen: its value stands on a line of
// its page with the words of its key, as a whole number or word.
func TestFactsStandInTheHandbook(t *testing.T) {
	t.Parallel()
	for _, f := range Facts() {
		value := strings.ReplaceAll(f.Value, "micrograms", "µg")
		if f.Page == "03-foods.md" { // the unit stands in the head of the column
			value, _, _ = strings.Cut(value, " ")
		}
		pattern := `(?i)(^|[^\w.])` + regexp.QuoteMeta(value) + `($|[^\w.])`
		find := regexp.MustCompile(pattern)
		found := false
		for line := range strings.Lines(chapter(t, f.Page)) {
			if strings.Contains(strings.ToLower(line), strings.ToLower(f.Key)) && find.MatchString(line) {
				found = true
				break
			}
		}
		if !found {
			t.Errorf("fact %s: no line of handbook/%s has both %q and %q", f.ID, f.Page, f.Key, value)
		}
	}
}

// TestFoodTable checks each figure of a food in its own column.
func TestFoodTable(t *testing.T) {
	t.Parallel()
	column := map[string]int{"energy": 2, "protein": 3, "fibre": 5, "water": 6}
	rows := map[string][]string{}
	for line := range strings.Lines(chapter(t, "03-foods.md")) {
		if cells := strings.Split(line, "|"); len(cells) == 8 {
			rows[strings.TrimSpace(cells[1])] = cells
		}
	}
	if len(rows) < 60 {
		t.Errorf("the tables hold %d foods, want at least 60", len(rows))
	}
	for _, f := range Facts() {
		if f.Page != "03-foods.md" {
			continue
		}
		kind, _, _ := strings.Cut(f.ID, "/")
		value, _, _ := strings.Cut(f.Value, " ")
		matches := 0
		for name, cells := range rows {
			if !strings.HasPrefix(name, f.Key) {
				continue
			}
			matches++
			if got := strings.TrimSpace(cells[column[kind]]); got != value {
				t.Errorf("fact %s: the handbook's %s is %q, the fact's %q", f.ID, kind, got, value)
			}
		}
		if matches != 1 {
			t.Errorf("fact %s: %d rows of the tables begin with %q, want 1", f.ID, matches, f.Key)
		}
	}
}

// TestHandbook checks its length, that each chapter lists its sources and uses each of them, and that the recipes named in
// the dataset exist.
func TestHandbook(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join("..", "handbook", "*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d chapters (%v)", len(pages), err)
	}
	words := 0
	for _, page := range pages {
		text := chapter(t, filepath.Base(page))
		for w := range strings.FieldsSeq(text) {
			if strings.ContainsAny(strings.ToLower(w), "abcdefghijklmnopqrstuvwxyz") {
				words++
			}
		}
		body, sources, ok := strings.Cut(text, "## Sources of this chapter")
		if !ok {
			if filepath.Base(page) != RecipePage {
				t.Errorf("%s lists no sources", page)
			}
			continue
		}
		listed := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^(\d+)\. `).FindAllStringSubmatch(sources, -1) {
			listed[m[1]] = true
			if !strings.Contains(body, "["+m[1]+"]") {
				t.Errorf("%s: source %s is never cited", page, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`\[(\d+)\]`).FindAllStringSubmatch(body, -1) {
			if !listed[m[1]] {
				t.Errorf("%s cites [%s], which is not in its list", page, m[1])
			}
		}
	}
	if words < minWords {
		t.Errorf("the handbook has %d words, want at least %d", words, minWords)
	}
	t.Logf("%d words in %d chapters", words, len(pages))
	recipes := chapter(t, RecipePage)
	for _, d := range ideas {
		if !strings.Contains(recipes, "### "+d.recipe+"\n") {
			t.Errorf("no recipe %q in the handbook", d.recipe)
		}
	}
}
