package book

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/book/pdf"
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
		d.recognize()
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

func FuzzDOCX(f *testing.F) {
	fuzz(f, readDOCX, string(testDOCX(f, docxBody)))
}

// FuzzDOCXText fuzzes the text, the styles and the numbering of an archive that is whole.
func FuzzDOCXText(f *testing.F) {
	f.Add(docxBody, docxStyles, docxNumbering, docxNotes)
	f.Fuzz(func(t *testing.T, body, styles, numbering, notes string) {
		d, err := readDOCX("fuzz", testDOCX(t, body, "word/styles.xml", styles, "word/numbering.xml", numbering, "word/footnotes.xml", notes))
		if err == nil {
			check(t, d)
		}
	})
}

// FuzzPaper makes pages of words of whatever the fuzzer gives: no places of words break the layout, or lose one.
func FuzzPaper(f *testing.F) {
	_, pages, _, err := pdfPages(f.Context(), "seed", testPaper().bytes(), nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range pages {
		var seed []byte
		for _, w := range p.Words {
			seed = append(seed, byte(w.Left/2), byte(w.Base/3), byte(w.Size*8), byte(len(w.Text)))
			seed = append(seed, w.Text...)
		}
		f.Add(seed)
		for i := range byte(4) { // a grid around the words
			seed = append(seed, 20, 10+40*i, 254, 30, 20+40*i, 10, 254, 15)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		pages := []*pdf.Page{{}, nil}
		letters := 0
		for len(data) > 4 {
			x, y, size, n := data[0], data[1], data[2], int(data[3]%32)
			data = data[4:]
			text := strings.Map(func(r rune) rune {
				if unicode.IsSpace(r) || unicode.IsControl(r) || r == utf8.RuneError {
					return -1
				}
				return r
			}, string(data[:min(n, len(data))]))
			data = data[min(n, len(data)):]
			if p := pages[len(pages)-1]; size == 254 && p != nil { // a line across or down
				r := pdf.Rule{Left: float64(x) * 2, Bottom: float64(y) * 3, Right: float64(x) * 2, Top: float64(y) * 3}
				if n%2 == 0 {
					r.Right += float64(8 * n)
				} else {
					r.Top += float64(8 * n)
				}
				p.Rules = append(p.Rules, r)
				continue
			}
			if text == "" {
				pages = append(pages, &pdf.Page{})
				continue
			}
			w := pdf.Word{Text: text, Left: float64(x) * 2, Base: float64(y) * 3, Size: 1 + float64(size)/8, Bold: size&1 > 0, Turned: size == 255, Glued: size&2 > 0}
			w.Right, w.Bottom, w.Top = w.Left+w.Size*float64(len(text))/2, w.Base-0.2*w.Size, w.Base+0.8*w.Size
			p := pages[len(pages)-1]
			if p == nil {
				p = &pdf.Page{}
				pages = append(pages, p)
			}
			p.Words = append(p.Words, w)
			letters += len(ligatures.Replace(text))
		}
		w := newWriter("fuzz")
		newPaper(w, pages, nil, nil).write()
		d, err := w.done()
		if err != nil {
			t.Fatal(err)
		}
		check(t, d)
		if n := len(strings.ReplaceAll(solid(d.Whole()), "\t", "")); n != letters {
			t.Errorf("%d bytes of %d", n, letters)
		}
	})
}

// TestSpoiled: no byte that is changed or missing in a book makes its reader panic or take memory out of proportion.
func TestSpoiled(t *testing.T) {
	for name, c := range map[string]struct {
		read reader
		data string
	}{
		"html": {readHTML, testPage}, "epub2": {readEPUB, string(testEPUB(t, 2))}, "epub3": {readEPUB, string(testEPUB(t, 3))}, "docx": {readDOCX, string(testDOCX(t, docxBody))},
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

// TestCrowded: pages of more words than any book's, wherever they stand, take no time out of proportion.
func TestCrowded(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of layout: not in short tests")
	}
	t.Parallel()
	begin := time.Now()
	for _, n := range []int{maxPageWords, maxPageWords + 1} {
		p := &pdf.Page{}
		for i := range n { // a grid in two sizes, in which each gap may part columns
			w := pdf.Word{Text: "pea", Left: float64(i%40) * 20, Base: 9000 - float64(i/40)*12, Size: 4 + float64(i%2)*6}
			w.Right, w.Bottom, w.Top = w.Left+w.Size*1.2, w.Base-0.2*w.Size, w.Base+0.8*w.Size
			p.Words = append(p.Words, w)
		}
		w := newWriter("crowded")
		newPaper(w, []*pdf.Page{p}, nil, nil).write()
		d, err := w.done()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(d.Text(), "pea"); got != n {
			t.Errorf("%d of %d words", got, n)
		}
	}
	var page strings.Builder
	page.WriteString(strings.Repeat("<p>2 eggs</p>", 20_000))
	d, err := readHTML("eggs", []byte(page.String()))
	if err != nil {
		t.Fatal(err)
	}
	d.recognize()
	if took := time.Since(begin); took > crowdTime {
		t.Errorf("took %v", took)
	}
}

// crowdTime is far above what these take on a busy machine (under 6 s); without limits they take minutes.
const crowdTime = 60 * time.Second
