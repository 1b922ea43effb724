package book

import (
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A twin is what the source of a web page says of a book that exists in another format, too.
type twin struct {
	words    []string
	headings map[string]int // as words
	cells    map[string]int // of tables, those with a text
}

var unseenElement = regexp.MustCompile(`(?is)<(script|style|title|head)\b.*?</(?:script|style|title|head)>|<!--.*?-->`)

// readTwin reads a page by regular expressions, so that no fault of our reader of pages hides one of another format.
func readTwin(page string) twin {
	w := twin{headings: map[string]int{}, cells: map[string]int{}}
	text := func(s, space string) []string { return words(html.UnescapeString(anyTag.ReplaceAllString(s, space))) }
	page = unseenElement.ReplaceAllString(page, "")
	w.words = text(inlineTag.ReplaceAllString(page, ""), " ")
	for _, m := range headingElement.FindAllStringSubmatch(page, -1) {
		if h := headingKey(html.UnescapeString(anyTag.ReplaceAllString(m[1], ""))); h != "" {
			w.headings[h]++
		}
	}
	for _, table := range tableElement.FindAllString(page, -1) {
		var cells []string
		frame := true // around a text: a cell in each row
		for _, row := range rowElement.FindAllString(table, -1) {
			n := 0
			for _, m := range cellElement.FindAllStringSubmatch(row, -1) {
				if c := strings.Join(text(inlineTag.ReplaceAllString(m[1], ""), " "), " "); c != "" {
					cells = append(cells, c)
					n++
				}
			}
			frame = frame && n < 2
		}
		for _, c := range cells {
			if !frame {
				w.cells[c]++
			}
		}
	}
	return w
}

var rowElement = regexp.MustCompile(`(?is)<tr\b.*?</tr>`)

// inlineTag are tags within words.
var inlineTag = regexp.MustCompile(`(?i)</?(?:a|b|i|em|strong|span|code|tt|sup|sub|small|kbd|samp|var|wbr)\b[^>]*>`)

// headingKey is the words of a heading without its number, which not all formats print.
func headingKey(s string) string {
	return strings.Join(words(titleNumber.ReplaceAllString(strings.Join(strings.Fields(s), " "), "")), " ")
}

// common is how many of the counted things two have in common, and how many each has.
func common(a, b map[string]int) (both, inA, inB int) {
	for k, n := range a {
		inA += n
		both += min(n, b[k])
	}
	for _, n := range b {
		inB += n
	}
	return both, inA, inB
}

func tally(list []string) map[string]int {
	n := map[string]int{}
	for _, w := range list {
		n[w]++
	}
	return n
}

// TestTwins measures books of the folder that LENTIL_TEST_TWINS names (interop/books.sh makes one): NAME.pdf, .epub or .docx against NAME.html.
func TestTwins(t *testing.T) {
	folder := os.Getenv("LENTIL_TEST_TWINS")
	if folder == "" {
		t.Skip("LENTIL_TEST_TWINS names no folder of books")
	}
	pages, _ := filepath.Glob(filepath.Join(folder, "*.html"))
	for _, path := range pages {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := readTwin(string(page))
		name := strings.TrimSuffix(path, ".html")
		others, _ := filepath.Glob(name + ".*")
		for _, other := range others {
			if other != path {
				t.Run(filepath.Base(other), func(t *testing.T) { measureTwin(t, want, other) })
			}
		}
	}
}

func measureTwin(t *testing.T, want twin, path string) {
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := words(d.Text())
	headings := map[string]int{}
	for _, b := range d.Blocks {
		if b.Kind == Heading && (b.Part == "" || want.headings[headingKey(b.Text)] > 0) { // the letters of an index have none in a page
			headings[headingKey(b.Text)]++
		}
	}
	cells := tableCells(d)
	both, all, found := common(want.headings, headings)
	in, have, got := common(want.cells, cells)
	for i := range d.Blocks { // pages link to what contents and indexes list
		if d.Blocks[i].Part != "" {
			for _, n := range tableCells(&Document{Blocks: d.Blocks[i : i+1]}) {
				got -= n
			}
		}
	}
	t.Logf("%s: recall %.4f order %.4f headings %.4f of %d, %d found; cells %.4f of %d, %d found", filepath.Base(path),
		recall(want.words, kept), order(want.words, kept), float64(both)/float64(max(1, all)), all, found, float64(in)/float64(max(1, have)), have, got)
	if os.Getenv("LENTIL_TEST_TELL") == "" {
		return
	}
	tell := func(what string, a, b map[string]int) {
		for k, n := range a {
			if m := n - b[k]; m > 0 {
				t.Logf("%s %dx %q", what, m, k)
			}
		}
	}
	tell("no word", tally(want.words), tally(kept))
	tell("odd word", tally(kept), tally(want.words))
	tell("no heading", want.headings, headings)
	tell("odd heading", headings, want.headings)
	tell("no cell", want.cells, cells)
	tell("odd cell", cells, want.cells)
}
