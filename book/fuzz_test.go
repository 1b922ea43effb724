package book

import (
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/internal/spoil"
)

// fuzz gives a reader whatever the fuzzer makes of the seeds: an error, or a document that keeps its promises.
func fuzz(f *testing.F, read reader, seeds ...string) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := read("fuzz", data)
		if err != nil {
			return
		}
		check(t, d)
		d.Markdown()
		if whole := d.Whole(); len(whole) < len(d.Text()) {
			t.Errorf("the whole %q is shorter than what was kept, %q", whole, d.Text())
		}
	})
}

func FuzzText(f *testing.F) {
	fuzz(f, readText, "\ufeffTITLE\n\n\n\nCHAPTER I\n\nA.\n\n- a\n  - b\n\na    1\nb    2\n", "\xff\xfea\x00", "cr\xe8me\r\rx\f1")
}

func FuzzMarkdown(f *testing.F) {
	fuzz(f, readMarkdown, "# a\n\n- b\n  1. c\n\n| d | e |\n|---|---|\n| f |\n\n> g[^1]\n\n[^1]: h\n\n<table><tr><td>i</table>\n", "```\na")
}

func FuzzHTML(f *testing.F) {
	fuzz(f, readHTML, testPage, testTwo, testNotes, "<ul><li><table><tr><td><ol>a", "<dl><dd><ul>a<dl><dt>b</ul>c")
}

func FuzzEPUB(f *testing.F) {
	fuzz(f, readEPUB, string(testEPUB(f, 2)), string(testEPUB(f, 3)))
}

// FuzzNav fuzzes what an EPUB holds beside its pages: the package file and both kinds of tables of contents.
func FuzzNav(f *testing.F) {
	f.Add(testPackage(`<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>`, "ncx"), testNav, testNCX)
	f.Fuzz(func(t *testing.T, opf, nav, ncx string) {
		d, err := readEPUB("fuzz", testEPUB(t, 2, "OEBPS/book.opf", opf, "OEBPS/nav.xhtml", nav, "OEBPS/toc.ncx", ncx))
		if err == nil {
			check(t, d)
		}
	})
}

// TestSpoiled: no byte that is changed or missing in a book makes its reader panic or take memory out of proportion.
func TestSpoiled(t *testing.T) {
	for name, c := range map[string]struct {
		read reader
		data string
	}{
		"html": {readHTML, testPage}, "epub2": {readEPUB, string(testEPUB(t, 2))}, "epub3": {readEPUB, string(testEPUB(t, 3))},
	} {
		t.Run(name, func(t *testing.T) {
			spoil.Each(t, []byte(c.data), spoil.Limit{Bytes: 16 << 20}, func(t *testing.T, spoiled []byte) {
				if d, err := c.read(name, spoiled); err == nil {
					check(t, d)
				}
			})
		})
	}
}

// TestGrowth: pages that are nothing but marks take memory within a bound, or are refused. Short
// tests take two kinds of marks.
func TestGrowth(t *testing.T) {
	units := []string{"<b>", "\u00ad", "<p>a", "<li>a", "<h1>a", "<td>a", "<br>"}
	if testing.Short() {
		units = units[:1]
	}
	spoil.Peak(t, 900, func(t *testing.T) {
		for _, unit := range units {
			n := maxTags / 2
			if _, err := readHTML("page", []byte(strings.Repeat(unit, n))); err != nil && !strings.Contains(err.Error(), "page") {
				t.Error(err)
			}
		}
	})
}
