package book

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/html"
)

// open writes a file and reads it as a book.
func open(t *testing.T, name, text string) (*Document, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return Open(path)
}

// mustOpen is open for a file that has to be read, and that keeps the promises of a Document.
func mustOpen(t *testing.T, name, text string) *Document {
	t.Helper()
	d, err := open(t, name, text)
	if err != nil {
		t.Fatal(err)
	}
	check(t, d)
	return d
}

// check holds a document to what its comments say: offsets are those of the text, lists and paths fit, removals are in order.
func check(t *testing.T, d *Document) {
	t.Helper()
	text, last := d.Text(), 0
	for i, b := range d.Blocks {
		switch {
		case b.Offset < last || b.Offset+len(b.Text) > len(text) || text[b.Offset:b.Offset+len(b.Text)] != b.Text:
			t.Fatalf("block %d: %q is not at %d", i, b.Text, b.Offset)
		case strings.TrimSpace(b.Text) == "":
			t.Fatalf("block %d is empty", i)
		case (b.Kind == Heading) != (b.Level > 0), len(b.Path) > 6:
			t.Fatalf("block %d: %s of level %d below %q", i, b.Kind, b.Level, b.Path)
		case (b.Kind == List || b.Kind == Recipe) && len(b.Items) != strings.Count(b.Text, "\n")+1:
			t.Fatalf("block %d: %d items for %q", i, len(b.Items), b.Text)
		case slices.ContainsFunc(b.Items, func(it Item) bool { return it.Depth < 0 || it.Depth > maxList }):
			t.Fatalf("block %d: items %+v", i, b.Items)
		}
		last = b.Offset + len(b.Text)
	}
	at := 0
	for _, r := range d.Removed {
		if r.Offset < at || r.Offset > len(text) || r.Text == "" {
			t.Fatalf("removal %+v after %d of %d", r, at, len(text))
		}
		at = r.Offset
	}
}

// solid is a text without its white space.
func solid(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
}

// bodyText is the text of a page as its parser sees it, by a walk that knows nothing of blocks.
func bodyText(t *testing.T, page []byte) string {
	t.Helper()
	root, err := html.ParseWithOptions(strings.NewReader(string(page)), html.ParseOptionEnableScripting(false))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range root.Descendants() {
		hidden := n.Type != html.TextNode
		for up := n.Parent; up != nil; up = up.Parent {
			hidden = hidden || slices.Contains([]string{"head", "script", "style", "template"}, up.Data)
		}
		if !hidden {
			b.WriteString(n.Data)
		}
	}
	return b.String()
}

// tell writes blocks as "kind level path: text".
func tell(d *Document) string {
	var b strings.Builder
	for _, block := range d.Blocks {
		fmt.Fprintf(&b, "%s", block.Kind)
		if block.Level > 0 {
			fmt.Fprintf(&b, "%d", block.Level)
		}
		fmt.Fprintf(&b, " %s", strings.Join(block.Path, ">"))
		for _, item := range block.Items {
			fmt.Fprintf(&b, " %d", item.Depth)
		}
		fmt.Fprintf(&b, ": %q\n", block.Text)
	}
	return b.String()
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.TrimLeft(want, "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// testPage has every kind of block, page marks, note marks and soft hyphens.
const testPage = `<html lang="en"><head><title>A  Book</title><style>p {}</style></head><body>
<h1>One</h1><p>First <i>para</i>graph,<br>two lines.<span class="pagenum">[Pg 12]</span> Nutri&shy;tion<a class="noteref" href="#n1">1</a>.</p>
<h3>Deep</h3><ul><li>salt<ul><li>sea</li><li>rock</li></ul>and more</li><li></li><li><p>oil</p><p>olive</p></li></ul>
<h2>Two</h2><table><caption>Food</caption><tr><th>Food</th><th>kcal</th></tr><tr><td></td><td>352<br>(dry)</td></tr></table>
<blockquote><p>Said.</p></blockquote><pre>a  b
 c</pre><figure><img alt=x><figcaption>A pan</figcaption></figure>
<table><tr><td><h2>Boxed</h2><p>In a layout</p></td></tr></table>
<dl><dt>Ghee</dt><dd>Butter</dd></dl><script>var no</script>
<aside epub:type="footnote" id="n1"><p>A note.</p></aside></body></html>`

func TestHTML(t *testing.T) {
	t.Parallel()
	d := mustOpen(t, "a.html", testPage)
	same(t, tell(d), `
heading1 : "One"
paragraph One: "First paragraph,\ntwo lines. Nutrition."
heading3 One: "Deep"
list One>Deep 0 1 1 0 0: "salt\nsea\nrock\nand more\noil olive"
heading2 One: "Two"
caption One>Two: "Food"
table One>Two: "Food\tkcal\n\t352 (dry)"
quote One>Two: "Said."
code One>Two: "a  b\n c"
caption One>Two: "A pan"
heading2 One: "Boxed"
paragraph One>Boxed: "In a layout"
list One>Boxed 0 1: "Ghee\nButter"
note One>Boxed: "A note."
`)
	if d.Title != "A Book" || d.Language != "en" || d.Encoding != "utf-8" || d.Format != "html" {
		t.Errorf("%q, %q, %q, %q", d.Title, d.Language, d.Encoding, d.Format)
	}
	if b := d.Blocks; b[1].Page != "" || b[2].Page != "12" {
		t.Errorf("pages %q, %q", b[1].Page, b[2].Page)
	}
	var removed []string
	for _, r := range d.Removed {
		removed = append(removed, fmt.Sprintf("%s %q", r.Reason, r.Text))
	}
	same(t, strings.Join(removed, "\n"), `page mark "[Pg 12]"
soft hyphen "\u00ad"
note mark "1"`)
	if rows := d.Blocks[6].Rows(); len(rows) != 2 || !slices.Equal(rows[1], []string{"", "352 (dry)"}) {
		t.Errorf("rows %q", rows)
	}
}

// TestNothingVanishes: what was kept and what was removed are together the text of the page.
func TestNothingVanishes(t *testing.T) {
	t.Parallel()
	pages := [][]byte{[]byte(testPage)}
	if data, err := os.ReadFile(dietPath("html")); err == nil {
		text, _ := decode(data, true)
		pages = append(pages, text)
	}
	for i, page := range pages {
		d, err := readHTML("page", page)
		if err != nil {
			t.Fatal(err)
		}
		check(t, d)
		if got, want := solid(d.Whole()), solid(bodyText(t, page)); got != want {
			t.Errorf("page %d: %d characters of %d", i, len(got), len(want))
		}
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	d := mustOpen(t, "a.md", "# Pulses\n\nRed *lentils*[^1].\n\n1. rinse\n2. boil\n   - gently\n\n| food | kcal |\n|---|---|\n| peas | 81 |\n\n> Said\n\n```\nx  y\n```\n\n[^1]: Lens culinaris.\n")
	same(t, tell(d), `
heading1 : "Pulses"
paragraph Pulses: "Red lentils."
list Pulses 0 0 1: "rinse\nboil\ngently"
table Pulses: "food\tkcal\npeas\t81"
quote Pulses: "Said"
code Pulses: "x  y"
note Pulses: "Lens culinaris."
`)
	again := mustOpen(t, "b.md", d.Markdown())
	if again.Text() != d.Text() {
		t.Errorf("as Markdown and back:\n%s\nwas\n%s", again.Text(), d.Text())
	}
}

// TestManyMarks: a paragraph of marks takes no time out of proportion, and keeps its text.
func TestManyMarks(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"*a_ ", "[a](", "**a __b"} {
		begin := time.Now()
		d := mustOpen(t, "a.md", strings.Repeat(unit, 50_000))
		if took := time.Since(begin); took > marksTime {
			t.Errorf("%q took %v", unit, took)
		}
		if n := strings.Count(d.Text(), "a"); n != 50_000 {
			t.Errorf("%q: %d of 50000 letters", unit, n)
		}
	}
	same(t, tell(mustOpen(t, "b.md", strings.Repeat("*a* b\n", maxMarks/2)+"\n*c*\n")), fmt.Sprintf("paragraph : %q\nparagraph : %q\n",
		strings.TrimSpace(strings.Repeat("a b ", maxMarks/2)), "c"))
}

// marksTime is far above what these pages take on a busy machine (under 2 s), and below the 17 s and more that they take with no limit.
const marksTime = 10 * time.Second

func TestText(t *testing.T) {
	t.Parallel()
	text := "\ufeffTHE BOOK\r\n\r\n\r\n\r\nCHAPTER I\r\n\r\nA para-\r\ngraph of\r\nthree lines.\r\n\r\n- salt\r\n- oil\r\n\r\nBeans      81\r\nPeas      100\r\n"
	d := mustOpen(t, "a.txt", text)
	same(t, tell(d), `
heading1 : "THE BOOK"
heading1 : "CHAPTER I"
paragraph CHAPTER I: "A paragraph of three lines."
list CHAPTER I 0 0: "- salt\n- oil"
code CHAPTER I: "Beans      81\nPeas      100"
`)
	if got, want := solid(d.Whole()), solid(strings.TrimPrefix(text, "\ufeff")); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, text, encoding string }{
		"windows-1252": {"a.txt", "cr\xe8me br\xfbl\xe9e", "windows-1252"},
		"utf-16":       {"b.txt", "\xff\xfec\x00r\x00\xe8\x00m\x00e\x00 \x00b\x00r\x00\xfb\x00l\x00\xe9\x00e\x00", "utf-16"},
		"declared":     {"c.html", `<?xml version="1.0" encoding="iso-8859-15"?><p>cr` + "\xe8me br\xfbl\xe9e", "iso-8859-15"},
		"meta":         {"d.html", `<meta charset="windows-1250"><p>cr` + "\xe8me br\xfbl\xe9e", "windows-1250"},
	} {
		d := mustOpen(t, c.file, c.text)
		want := "crème brûlée"
		if name == "meta" {
			want = "crčme brűlée"
		}
		if d.Text() != want || d.Encoding != c.encoding {
			t.Errorf("%s: %q in %s", name, d.Text(), d.Encoding)
		}
	}
}

// TestRefused: what is no book is named, with a remedy.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"a.pdf", "%PDF-1.7", "is no PDF file, or it is damaged"},
		{"a.doc", "x", `".doc" are not read`},
		{"a.txt", "PK\x03\x04zip", "a zip file"},
		{"a.md", "a\x00b", "bytes that no text has"},
		{"a.html", "<p> </p>", "has no text"},
		{"a.epub", "no zip", "is no zip file"},
		{"b.html", strings.Repeat("<div>", 5000), "512"},
		{"c.html", strings.Repeat("<", maxTags+1), "tags"},
		{"c.md", strings.Repeat("1. ", maxNested+1) + "a", "marks of quotes"},
		{"d.md", strings.Repeat("[a]: b\n", maxReferences+1), "lines of references"},
		{"b.md", strings.Repeat(">", 1<<20) + "a", "marks of quotes"},
	} {
		if _, err := open(t, c[0], c[1]); err == nil || !strings.Contains(err.Error(), c[2]) || !strings.Contains(err.Error(), c[0]) || !strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, expected %q and a remedy", c[0], err, c[2])
		}
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Error(err)
	}
}

// TestIndentedFirst: a list whose first item stands further in than others has no item outside of it.
func TestIndentedFirst(t *testing.T) {
	d := mustOpen(t, "a.txt", "They are:\n\n    - peas\n- beans\n  - old beans\n")
	same(t, d.Markdown(), "They are:\n\n      - peas\n- beans\n   - old beans\n")
}
