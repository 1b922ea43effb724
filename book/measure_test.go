package book

import (
	"html"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

// word is a run of letters or of digits.
var word = regexp.MustCompile(`\p{L}+|\p{N}+`)

// words are the words of a text, in lower case. Fractions are spelled as the plain text of a book spells them.
func words(text string) []string {
	text = strings.NewReplacer("½", " 1/2", "¼", " 1/4", "¾", " 3/4", "⅓", " 1/3", "⅔", " 2/3", "⅛", " 1/8", "⅕", " 1/5").Replace(text)
	return word.FindAllString(strings.ToLower(norm.NFKC.String(text)), -1)
}

// marks are words that the transcribers put into the plain text alone.
var marks = regexp.MustCompile(`\[(?:Sidenote|Illustration)\b`)

// recall is the share of the words of want that got has, each as often.
func recall(want, got []string) float64 {
	counts := map[string]int{}
	for _, w := range got {
		counts[w]++
	}
	found := 0
	for _, w := range want {
		if counts[w] > 0 {
			counts[w]--
			found++
		}
	}
	return float64(found) / float64(max(1, len(want)))
}

// order is the share of the words that both have only once which stand in the same order: the longest such chain.
func order(want, got []string) float64 {
	once := func(list []string) map[string]int {
		at, twice := map[string]int{}, map[string]bool{}
		for i, w := range list {
			if _, seen := at[w]; seen {
				twice[w] = true
			}
			at[w] = i
		}
		maps.DeleteFunc(at, func(w string, _ int) bool { return twice[w] })
		return at
	}
	a, b := once(want), once(got)
	var ends []int // of the chains of each length, as small as they can be
	common := 0
	for i, w := range want {
		at, ok := b[w]
		if j, single := a[w]; !ok || !single || i != j {
			continue
		}
		common++
		k := sort.SearchInts(ends, at)
		if k == len(ends) {
			ends = append(ends, at)
		} else {
			ends[k] = at
		}
	}
	return float64(len(ends)) / float64(max(1, common))
}

func TestMeasures(t *testing.T) {
	a := strings.Fields("a b c d e f g h")
	if r := recall(a, a[:6]); r != 0.75 {
		t.Errorf("recall %v", r)
	}
	if o := order(a, strings.Fields("b c d a e f g h")); o != 7.0/8 {
		t.Errorf("order %v", o)
	}
}

func dietPath(ext string) string {
	return filepath.Join("..", "..", "shared", "books", "diet-and-health."+ext)
}

// diet is a scanned book of 1918 with tables, side notes and a wealth of headings, in several formats.
func diet(t *testing.T, ext string) (path string) {
	t.Helper()
	path = dietPath(ext)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("shared test data %s is not here", path)
	}
	return path
}

// headingElement finds the headings in the source of a page, whatever our parser does.
var (
	headingElement = regexp.MustCompile(`(?is)<h[1-6][^>]*>(.*?)</h[1-6]>`)
	anyTag         = regexp.MustCompile(`(?s)<[^>]*>`)
)

// TestDietAndHealth: the formats of one book agree in their words, their order and their headings.
func TestDietAndHealth(t *testing.T) {
	plain, err := os.ReadFile(diet(t, "txt"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(diet(t, "html"))
	if err != nil {
		t.Fatal(err)
	}
	wantWords := words(marks.ReplaceAllString(string(plain), "["))
	var want []string
	for _, m := range headingElement.FindAllStringSubmatch(string(page), -1) {
		if h := strings.Join(words(html.UnescapeString(anyTag.ReplaceAllString(m[1], ""))), " "); h != "" {
			want = append(want, h)
		}
	}
	for _, ext := range []string{"txt", "html", "epub", "docx", "pdf"} {
		d, err := Open(diet(t, ext))
		if err != nil {
			t.Error(err)
			continue
		}
		kept := words(d.Text())
		var found []string
		for _, b := range d.Blocks {
			if b.Kind == Heading {
				found = append(found, strings.Join(words(b.Text), " "))
			}
		}
		r, o, h := recall(wantWords, kept), order(wantWords, kept), recall(want, found)
		t.Logf("%s: recall %.4f, order %.4f, headings %.4f (%d found, %d in the page)", ext, r, o, h, len(found), len(want))
		headings := 0.95
		if ext == "txt" { // which marks none: they are guessed from empty lines and capitals
			headings = 0.6
		}
		least := [2]float64{0.995, 0.99}
		if ext == "pdf" { // whose words and order are guessed from places on the page
			least = [2]float64{0.98, 0.97}
		}
		if r < least[0] || o < least[1] || h < headings {
			t.Errorf("%s: recall %.4f, order %.4f, headings %.4f, expected %.3f, %.2f, %.2f or more", ext, r, o, h, least[0], least[1], headings)
		}
	}
}

// tableCells are the cells of all tables that have a text, as words.
func tableCells(d *Document) map[string]int {
	cells := map[string]int{}
	for i := range d.Blocks {
		if b := &d.Blocks[i]; b.Kind == Table || b.Kind == Recipe {
			for _, row := range b.Rows() {
				for _, cell := range row {
					if w := strings.Join(words(cell), " "); w != "" {
						cells[w]++
					}
				}
			}
		}
	}
	return cells
}

var (
	tableElement = regexp.MustCompile(`(?is)<table.*?</table>`)
	cellElement  = regexp.MustCompile(`(?is)<t[dh][^>]*>(.*?)</t[dh]>`)
)

// TestDietTables: the cells in the source of the page are those that each format's tables have. The bound of the PDF is a little below
// what was measured (0.80), to notice when it gets worse: many of its tables have no lines, and one cell in most rows.
func TestDietTables(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(diet(t, "html"))
	if err != nil {
		t.Fatal(err)
	}
	want, total := map[string]int{}, 0
	for _, table := range tableElement.FindAll(page, -1) {
		for _, m := range cellElement.FindAllSubmatch(table, -1) {
			if w := strings.Join(words(html.UnescapeString(anyTag.ReplaceAllString(string(m[1]), " "))), " "); w != "" {
				want[w]++
				total++
			}
		}
	}
	for ext, least := range map[string]float64{"html": 0.99, "epub": 0.99, "docx": 0.99, "pdf": 0.78} {
		d, err := Open(diet(t, ext))
		if err != nil {
			t.Error(err)
			continue
		}
		found := 0
		for w, n := range tableCells(d) {
			found += min(n, want[w])
		}
		share := float64(found) / float64(total)
		t.Logf("%s: %.4f of %d cells", ext, share, total)
		if share < least {
			t.Errorf("%s: %.4f of the cells, expected %.2f or more", ext, share, least)
		}
	}
}
