package book

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A place is where a block begins.
type place struct{ chapter, page string }

// A writer makes a document, block by block. Text goes into the block that is open; runs of white space become one space.
type writer struct {
	name string // of the file, for messages
	doc  *Document
	end  int // of the text so far, in bytes

	path    []string
	levels  []int // of the headings in path
	chapter string
	page    string
	begun   place // of the open block's first word

	// The block that is open:
	kind    Kind
	level   int
	asIs    bool // its white space counts
	buf     []byte
	space   bool // white space waits for a word
	items   []Item
	removed []Removal // offsets in buf

	part     Part
	words    vocabulary // of a file whose lines break words
	removals int
	err      error
}

func newWriter(name string) *writer {
	return &writer{name: name, doc: &Document{Blocks: []Block{}, Removed: []Removal{}}, kind: Paragraph}
}

// begin closes the block that is open and begins another.
func (w *writer) begin(kind Kind) {
	w.flush()
	w.kind, w.asIs = kind, kind == Code
}

// text adds to the block.
func (w *writer) text(s string) {
	for i, r := range s {
		if len(w.buf) == 0 {
			w.begun = place{w.chapter, w.page}
		}
		switch {
		case r == '\u00ad':
			w.drop(s[i:i+utf8.RuneLen(r)], SoftHyphen)
		case isControl(r):
			w.drop(string(r), Control)
		case w.asIs:
			w.buf = utf8.AppendRune(w.buf, r)
		case unicode.IsSpace(r):
			w.space = true
		default:
			w.gap()
			w.buf = utf8.AppendRune(w.buf, r)
		}
	}
}

// isControl tells what no text has: to a terminal that shows a book it would be commands.
func isControl(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }

func withoutControls(s string) string {
	if strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return -1
		}
		return r
	}, s)
}

// gap writes the space that waits, except at the begin of a line or cell.
func (w *writer) gap() {
	if n := len(w.buf); w.space && n > 0 && w.buf[n-1] != '\n' && w.buf[n-1] != '\t' {
		w.buf = append(w.buf, ' ')
	}
	w.space = false
}

// drop leaves a text out of the block.
func (w *writer) drop(s string, reason Reason) {
	if s == "" {
		return
	}
	if w.removals++; w.removals > maxBlocks {
		w.fail(tooMuch(w.name, "marks, soft hyphens and control characters", maxBlocks))
		return
	}
	w.removed = append(w.removed, Removal{len(w.buf), s, reason})
}

// cut ends a line or a cell.
func (w *writer) cut(end byte) {
	w.space = false
	w.buf = append(w.buf, end)
}

// flush closes the block that is open, if it has a text.
func (w *writer) flush() {
	text := strings.TrimLeft(string(w.buf), "\n")
	lead := len(w.buf) - len(text)
	if w.kind == Table { // whose last cell may be empty
		text = strings.TrimRight(text, "\n")
	} else {
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	}
	at := w.end
	if strings.TrimSpace(text) == "" {
		text = ""
	} else {
		at = w.add(text)
	}
	for _, r := range w.removed {
		r.Offset = at + min(max(r.Offset-lead, 0), len(text))
		w.doc.Removed = append(w.doc.Removed, r)
	}
	w.kind, w.level, w.asIs, w.space = Paragraph, 0, false, false
	w.buf, w.items, w.removed = w.buf[:0], nil, w.removed[:0]
}

// add puts a block into the document and gives the offset of its text.
func (w *writer) add(text string) int {
	if len(w.doc.Blocks) >= maxBlocks {
		w.fail(tooMuch(w.name, "blocks", maxBlocks))
		return w.end
	}
	if w.end > 0 {
		w.end += len(separator)
	}
	if w.kind == Heading {
		for len(w.levels) > 0 && w.levels[len(w.levels)-1] >= w.level {
			w.levels, w.path = w.levels[:len(w.levels)-1], w.path[:len(w.path)-1]
		}
	}
	at := w.end
	w.doc.Blocks = append(w.doc.Blocks, Block{Kind: w.kind, Level: w.level, Path: slices.Clip(w.path), Chapter: w.begun.chapter, Page: w.begun.page, Part: w.part, Offset: at, Text: text, Items: w.lines(text)})
	if w.kind == Heading {
		// A path is shared by the blocks below it: a longer one is another slice.
		w.path = append(slices.Clip(w.path), shorten(text))
		w.levels = append(w.levels, w.level)
	}
	w.end += len(text)
	return at
}

// shorten bounds a title that many blocks repeat.
func shorten(title string) string {
	title = strings.ReplaceAll(title, "\n", " ")
	if len(title) <= maxTitle {
		return title
	}
	return strings.ToValidUTF8(title[:maxTitle], "") + "…"
}

// item begins an item of a list, in the place of the last one if that has no text.
func (w *writer) item(depth int, ordered bool) {
	it := Item{Depth: min(max(depth, 0), maxList), Ordered: ordered}
	n := len(w.buf)
	if len(w.items) > 0 && (n == 0 || w.buf[n-1] == '\n') {
		w.items[len(w.items)-1] = it
		w.space = false
		return
	}
	if n > 0 {
		w.cut('\n')
	}
	w.items = append(w.items, it)
}

// lines is the items of the list that is open, without one that has no text at the end.
func (w *writer) lines(text string) []Item {
	if w.kind != List {
		return nil
	}
	return w.items[:strings.Count(text, "\n")+1]
}

// fail keeps the first error.
func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// done closes the last block and gives the document.
func (w *writer) done() (*Document, error) {
	w.flush()
	d := w.doc
	d.Title = withoutControls(d.Title)
	for i, name := range d.Authors {
		d.Authors[i] = withoutControls(name)
	}
	for i := range d.Blocks {
		b := &d.Blocks[i]
		b.Chapter, b.Page = withoutControls(b.Chapter), withoutControls(b.Page)
	}
	return w.doc, w.err
}
