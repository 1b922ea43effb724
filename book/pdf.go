package book

import (
	"cmp"
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"github.com/lentil-lm/lentil/book/pdf"
	"github.com/lentil-lm/lentil/fault"
)

// readPDF reads the text of a PDF file: its words by their places on the pages become lines, columns, paragraphs,
// tables, lists, headings and notes.
func (o Options) readPDF(ctx context.Context, name string, data []byte) (*Document, error) {
	head, pages, unread, err := pdfPages(ctx, name, data, o.Progress)
	if err != nil {
		return nil, err
	}
	var texts map[int]string
	if o.words != nil {
		if texts, unread, err = recognizeText(ctx, o.words, data, unread, o.Progress); err != nil {
			return nil, err
		}
	}
	w := newWriter(name)
	w.doc.Encoding = "utf-8"
	w.doc.Title, w.doc.Pages, w.doc.Unread = head.Title, head.Pages, unread
	if head.Author != "" {
		w.doc.Authors = []string{head.Author}
	}
	for page := range texts {
		w.doc.OCR = append(w.doc.OCR, page+1)
	}
	slices.Sort(w.doc.OCR)
	newPaper(w, pages, texts, head.Outline).write()
	return w.done()
}

// noText is why a page that is a picture is not read.
const noText = "no text: it is a picture"

// pdfPages takes all pages apart, several at a time. A page that cannot be read is nil, and the reason is told.
func pdfPages(ctx context.Context, name string, data []byte, progress func(done, of int)) (head pdf.Head, pages []*pdf.Page, unread []Unread, err error) {
	first, err := pdf.Open(data)
	if err == nil {
		defer first.Close()
		head, err = first.Head()
	}
	switch {
	case errors.Is(err, pdf.ErrLocked):
		return head, nil, nil, fault.Of("%s is encrypted: %w", name, err).Try("Lentil reads no books that are locked: give a copy that you may read without a password.")
	case errors.Is(err, pdf.ErrNoPDF), errors.Is(err, pdf.ErrBroken), errors.Is(err, pdf.ErrTime):
		return head, nil, nil, fault.Of("%s: %w", name, err).Try("Get the file again, or save it anew with a program that shows it.")
	case err != nil:
		return head, nil, nil, err
	case head.Pages > maxPages:
		return head, nil, nil, tooMuch(name, "pages", maxPages)
	}
	pages = make([]*pdf.Page, head.Pages)
	var next, words, failed, slow atomic.Int64
	var lock sync.Mutex
	done := 0
	work := func(f *pdf.File) {
		for {
			i := int(next.Add(1)) - 1
			if ctx.Err() != nil || i >= len(pages) || failed.Load() > maxFailures || slow.Load() > maxSlow || words.Load() > maxPDFWords {
				return
			}
			p, err := f.Page(i)
			why := ""
			switch {
			case err != nil:
				failed.Add(1)
				if errors.Is(err, pdf.ErrTime) {
					slow.Add(1)
				}
				why = err.Error()
			case len(p.Words) == 0 && !p.Blank:
				why = noText
			default:
				words.Add(int64(len(p.Words)))
			}
			pages[i] = p
			lock.Lock()
			if done++; progress != nil {
				progress(done, len(pages))
			}
			if why != "" {
				unread = append(unread, Unread{i + 1, why})
			}
			lock.Unlock()
		}
	}
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 4, len(pages)/16+1) - 1 {
		all.Go(func() {
			if f, err := pdf.Open(data); err == nil {
				defer f.Close()
				work(f)
			}
		})
	}
	work(first)
	all.Wait()
	switch {
	case ctx.Err() != nil:
		return head, nil, nil, ctx.Err()
	case words.Load() > maxPDFWords:
		return head, nil, nil, tooMuch(name, "words", maxPDFWords)
	case failed.Load() > maxFailures, slow.Load() > maxSlow:
		return head, nil, nil, fault.Of("%s: %d pages cannot be read; page %d: %s", name, failed.Load(), unread[0].Page, unread[0].Why).Try("Get the file again, or save it anew with a program that shows it.")
	}
	slices.SortFunc(unread, func(a, b Unread) int { return cmp.Compare(a.Page, b.Page) })
	return head, pages, unread, nil
}

// A paper is the pages of a PDF on their way into a document.
type paper struct {
	*writer
	layout
	pages   []*pdf.Page
	spans   [][]span       // of each page, without its furniture
	texts   map[int]string // of pages that a command has read, or that have too many words to find columns and tables in
	labels  []string       // of the pages
	outline []pdf.Bookmark
	parts   []part
	found   []furnished
	turned  map[int]string // the text of a page that runs in other directions
	told    int            // pages whose furniture was dropped
	marks   map[string]bool
	marked  map[int][]pdf.Bookmark // the outline by pages
	heads   map[pageTitle]bool     // the headings of pages
}

func newPaper(w *writer, pages []*pdf.Page, texts map[int]string, outline []pdf.Bookmark) *paper {
	w.words = vocabulary{}
	if texts == nil {
		texts = map[int]string{}
	}
	pages = leftward(pages)
	b := &paper{writer: w, pages: pages, texts: texts, outline: outline, turned: map[int]string{}, marks: map[string]bool{}}
	b.measureSize()
	b.spans = make([][]span, len(pages))
	for i, p := range pages {
		if p == nil {
			continue
		}
		if len(p.Words) > maxPageWords {
			b.texts[i] = inOrder(p.Words)
			continue
		}
		b.spans[i] = spans(initials(p.Words, b.size))
		for j := range b.spans[i] {
			b.spans[i][j].page = i
		}
		var turned []string
		for _, word := range p.Words {
			if word.Turned {
				turned = append(turned, word.Text)
			}
		}
		b.turned[i] = strings.Join(turned, " ")
	}
	b.found = furniture(b.spans, pages, b.size)
	b.label()
	b.clear()
	b.eachPage(func(i int) {
		if pages[i] != nil && len(b.spans[i]) > 0 {
			b.ruledTables(i)
		}
	})
	b.measureLeading()
	b.findGutters()
	b.takeApart()
	return b
}

// leftward shows the pages of a book that is written from right to left in a mirror, so that they are read as all others are. What runs from left to right
// on them, as numbers do, stays so.
func leftward(pages []*pdf.Page) []*pdf.Page {
	left, all := 0, 0
	for _, p := range pages {
		if p == nil {
			continue
		}
		for i := range p.Words {
			for _, r := range p.Words[i].Text {
				if unicode.IsLetter(r) {
					all++
					if pdf.IsLeftward(r) {
						left++
					}
				}
			}
		}
	}
	if left*2 <= all {
		return pages
	}
	out := make([]*pdf.Page, len(pages))
	for i, p := range pages {
		if p != nil {
			out[i] = mirror(p)
		}
	}
	return out
}

func mirror(p *pdf.Page) *pdf.Page {
	m := *p
	m.Rules, m.Words = slices.Clone(p.Rules), slices.Clone(p.Words)
	for i := range m.Rules {
		r := &m.Rules[i]
		r.Left, r.Right = p.Width-r.Right, p.Width-r.Left
	}
	for begin := 0; begin < len(m.Words); {
		end := begin + 1 // of the words that run from left to right beside each other
		for end < len(m.Words) && !strings.ContainsFunc(m.Words[begin].Text, pdf.IsLeftward) && !strings.ContainsFunc(m.Words[end].Text, pdf.IsLeftward) {
			a, w := &m.Words[end-1], &m.Words[end]
			if gap := w.Left - a.Right; !near(a.Base, w.Base) || gap < -0.1*w.Size || gap > 0.6*w.Size {
				break
			}
			end++
		}
		left, right := p.Width-m.Words[end-1].Right, p.Width-m.Words[begin].Left
		if end == begin+1 {
			m.Words[begin].Left, m.Words[begin].Right = left, right
		} else {
			shift := left - m.Words[begin].Left
			for i := begin; i < end; i++ {
				m.Words[i].Left, m.Words[i].Right = m.Words[i].Left+shift, m.Words[i].Right+shift
			}
		}
		begin = end
	}
	return &m
}

// inOrder is the words of a page as the file has them, a line for each base line.
func inOrder(words []pdf.Word) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0 || w.Glued:
		case near(w.Base, words[i-1].Base):
			b.WriteByte(' ')
		default:
			b.WriteByte('\n')
		}
		b.WriteString(ligatures.Replace(w.Text))
	}
	return b.String()
}

// measureSize finds the size of most letters.
func (b *paper) measureSize() {
	count := map[float64]int{}
	typed, all := 0, 0
	for _, p := range b.pages {
		if p != nil {
			for _, w := range p.Words {
				all++
				if isTyped(&span{words: []pdf.Word{w}}) {
					typed++
				}
				count[math.Round(w.Size*10)/10] += len(w.Text)
			}
		}
	}
	b.typed = typed*2 > all
	b.size = 10
	most := 0
	for size, n := range count {
		if n > most || n == most && size < b.size {
			b.size, most = size, n
		}
	}
}

// clear takes the furniture off the pages, and counts the words of what is left.
func (b *paper) clear() {
	for _, f := range b.found {
		for _, i := range f.spans {
			b.spans[f.page][i].words = nil
		}
	}
	for i, list := range b.spans {
		for line := range strings.SplitSeq(b.texts[i], "\n") {
			b.words.add(line, false)
		}
		b.spans[i] = slices.DeleteFunc(list, func(s span) bool { return s.words == nil })
		broken := false
		for j := range b.spans[i] {
			broken = b.words.add(b.spans[i][j].text(), broken)
		}
	}
}

// label gives each page a name: what the file calls it, else the number that is printed on it, or would be by those
// of the pages around it, else its place in the file.
func (b *paper) label() {
	b.labels = make([]string, len(b.pages))
	named := slices.ContainsFunc(b.pages, func(p *pdf.Page) bool { return p != nil && p.Label != "" })
	printed := map[int]string{}
	for _, f := range b.found {
		if f.number != "" {
			printed[f.page] = f.number
		}
	}
	offset, known := 0, false
	for i, p := range b.pages {
		switch text := printed[i]; {
		case named && p != nil && p.Label != "":
			b.labels[i] = p.Label
		case named:
			b.labels[i] = strconv.Itoa(i + 1)
		case text != "":
			b.labels[i] = text
			offset, known = value(text)-i, text[0] >= '0' && text[0] <= '9'
		case known:
			b.labels[i] = strconv.Itoa(i + offset)
		default:
			b.labels[i] = strconv.Itoa(i + 1)
		}
	}
	if named {
		return
	}
	for i := len(b.pages) - 1; i >= 0; i-- { // the pages before the first number
		if text := printed[i]; text != "" {
			offset, known = value(text)-i, text[0] >= '0' && text[0] <= '9'
		}
		if n := i + offset; known && n > 0 && b.labels[i] == strconv.Itoa(i+1) {
			b.labels[i] = strconv.Itoa(n)
		}
	}
}

// measureLeading finds the usual step from one base line to the next.
func (b *paper) measureLeading() {
	count := map[int]int{}
	for _, list := range b.spans {
		for i := 1; i < len(list); i++ {
			a, s := &list[i-1], &list[i]
			if step := a.base - s.base; step > 0.8*b.size && step < 2.5*b.size && near(a.left, s.left) && math.Abs(a.size-b.size) < 0.5 && math.Abs(s.size-b.size) < 0.5 {
				count[int(math.Round(step/b.size*20))]++
			}
		}
	}
	l, most := 24, 0
	for step, n := range count {
		if n > most || n == most && step < l {
			l, most = step, n
		}
	}
	b.leading = float64(l) / 20
}

// findGutters learns where the book's columns are parted from the pages that show it plainly.
func (b *paper) findGutters() {
	count := map[int]int{}
	where := map[int]float64{}
	found := make([]float64, len(b.spans)) // 0 is none
	b.eachPage(func(i int) {
		list, _ := b.sidenotes(b.spans[i])
		if x, top, bottom, ok := gutter(list, nil, maxColumns); ok && top-bottom > 10*b.size {
			found[i] = x
		}
	})
	some := 0
	for i, x := range found {
		if len(b.spans[i]) > 0 {
			some++
		}
		if x != 0 {
			count[int(x/8)]++
			where[int(x/8)] = x
		}
	}
	for at, n := range count {
		if n+count[at-1]+count[at+1] >= max(3, some/5) {
			b.gutters = append(b.gutters, where[at])
		}
	}
	slices.Sort(b.gutters)
}

// takeApart makes parts of all pages.
func (b *paper) takeApart() {
	pages := make([][]part, len(b.spans))
	regionsOf := make([]int, len(b.spans))
	b.eachPage(func(i int) {
		list, aside := b.sidenotes(b.spans[i])
		var of []part
		for _, column := range regions(list, b.gutters) {
			if len(column) == 0 {
				continue
			}
			regionsOf[i]++
			list := b.layout.parts(i, column)
			for j := range list {
				list[j].region = regionsOf[i]
			}
			of = append(of, list...)
		}
		pages[i] = putBeside(of, aside)
	})
	before := 0
	for i, list := range pages {
		for j := range list {
			if !list[j].aside {
				list[j].region += before
			}
		}
		before += regionsOf[i]
		b.parts = append(b.parts, list...)
	}
	b.classify()
	b.join()
}

// eachPage works on all pages, several at a time.
func (b *paper) eachPage(work func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(b.spans)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(b.spans); i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	all.Wait()
}
