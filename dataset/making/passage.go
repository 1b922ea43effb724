package making

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/lentil-lm/lentil/book"
)

// A Passage is a run of blocks of a book below one heading: what a row is made of, and what stands beside it in a review.
type Passage struct {
	Book    string   `json:"book"` // path of the file
	Title   string   `json:"title,omitempty"`
	Path    []string `json:"path,omitempty"` // headings above it
	Chapter string   `json:"chapter,omitempty"`
	Page    string   `json:"page,omitempty"` // that it begins on
	From    int      `json:"from"`           // first block of the document
	To      int      `json:"to"`             // the block after its last
	Text    string   `json:"text"`

	doc   *book.Document
	plain string // normal(Text), once it was asked for
	unit  int    // of the split: passages of one unit lie on one side
	split string // train, valid or test
}

// place names a passage for people.
func (p *Passage) place() string {
	where := p.Book
	if p.Page != "" {
		return where + ", page " + p.Page
	}
	if len(p.Path) > 0 {
		return where + ", " + strings.Join(p.Path, " > ")
	}
	return fmt.Sprintf("%s, block %d", where, p.From+1)
}

// passageBytes is about how long a passage is; tables and lists stay whole, and so do paragraphs.
const passageBytes = 2400

// passagesOf cuts a book: at each heading, and where a passage would be long. The blocks of all passages are those of the
// book, each once.
func passagesOf(path string, d *book.Document) (out []*Passage) {
	from, size := 0, 0
	text := false // the passage has more than headings
	end := func(to int) {
		if to > from {
			out = append(out, newPassage(path, d, from, to))
		}
		from, size, text = to, 0, false
	}
	for i := range d.Blocks {
		b := &d.Blocks[i]
		if b.Kind == book.Heading && text || size > 0 && size+len(b.Text) > passageBytes && text && b.Kind != book.Caption {
			end(i)
		}
		size += len(b.Text)
		text = text || b.Kind != book.Heading
	}
	end(len(d.Blocks))
	return out
}

func newPassage(path string, d *book.Document, from, to int) *Passage {
	p := &Passage{Book: path, Title: d.Title, From: from, To: to, doc: d}
	at := from
	for at < to-1 && d.Blocks[at].Kind == book.Heading {
		at++
	}
	b := &d.Blocks[at]
	p.Path, p.Chapter, p.Page = b.Path, b.Chapter, d.Blocks[from].Page
	if b.Kind == book.Heading {
		p.Path = append(b.Path[:len(b.Path):len(b.Path)], oneLine(b.Text))
	}
	var parts []string
	for i := from; i < to; i++ {
		text := d.Blocks[i].Text
		if d.Blocks[i].Kind == book.Table {
			text = strings.ReplaceAll(text, "\t", " | ")
		}
		parts = append(parts, text)
	}
	p.Text = strings.Join(parts, "\n\n")
	return p
}

// Marks around the text of a Project Gutenberg book: what lies outside of them is a licence, and no text of the book's.
var (
	startMark = regexp.MustCompile(`(?i)^\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG`)
	endMark   = regexp.MustCompile(`(?i)^(?:\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|End of (?:the|this)? ?Project Gutenberg)`)
)

// boilerplate tells which blocks lie outside of the text of the book itself.
func boilerplate(d *book.Document) (from, to int) {
	from, to = 0, len(d.Blocks)
	for i := range d.Blocks {
		for line := range strings.SplitSeq(d.Blocks[i].Text, "\n") {
			line = strings.TrimSpace(line)
			if i < len(d.Blocks)/3 && startMark.MatchString(line) {
				from = i + 1
			}
			if i > len(d.Blocks)/2 && endMark.MatchString(line) {
				return from, i
			}
		}
	}
	return from, to
}
