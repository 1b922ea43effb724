package book

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Chunk is a piece of a book that a reader can understand, of a bounded length. Those of a document tile its text:
// each goes on where the last one ended.
type Chunk struct {
	Path    []string `json:"path,omitempty"` // the headings above its first block
	Chapter string   `json:"chapter,omitempty"`
	Page    string   `json:"page,omitempty"`     // that it begins on
	EndPage string   `json:"end_page,omitempty"` // that its last block begins on
	Part    Part     `json:"part,omitempty"`     // contents, index or bibliography
	Offset  int      `json:"offset"`             // of its own text in Document.Text, in bytes
	// Overlap is how many bytes at the begin of Text are the end of the chunk before.
	Overlap int    `json:"overlap,omitempty"`
	Text    string `json:"text"`
	Tokens  int    `json:"tokens"`
	Blocks  []int  `json:"blocks"` // of the document, that it has text of
}

// Own is the text of a chunk without what the one before has, too.
func (c *Chunk) Own() string { return c.Text[c.Overlap:] }

// Chunking says how long chunks are.
type Chunking struct {
	// Tokens is the most that a chunk may have. A table or recipe is whole even where it has more.
	Tokens int
	// Overlap is how many tokens of the chunk before a chunk may begin with, in whole sentences; 0 for none.
	Overlap int
	// Count tells how many tokens a text is to the model that the chunks are for.
	Count func(text string) int
}

// A piece is what is not parted: a block, or a sentence or line of a long one, with the white space after it.
type piece struct {
	block  int
	text   string
	tokens int
	whole  bool // a table, a recipe, a heading: no piece of a running text
}

// Chunks parts the text of a document: at headings where there is enough before them, else between blocks, and within
// long blocks between sentences. All own texts together are Text.
func (d *Document) Chunks(c Chunking) []Chunk {
	b := chunker{Document: d, Chunking: c}
	pieces := b.pieces()
	for i := range pieces {
		p := &pieces[i]
		if len(b.open) > 0 && (b.breaks(p) || !b.fits(p)) {
			b.close()
		}
		b.open = append(b.open, *p)
		b.sum += p.tokens
	}
	b.close()
	return b.out
}

type chunker struct {
	*Document
	Chunking
	out    []Chunk
	open   []piece
	sum    int // of the tokens of the open pieces, about
	offset int
	tail   []piece // of the running text that the last chunk ended with
}

// pieces parts blocks that are too long. The separators after blocks belong to them.
func (b *chunker) pieces() []piece {
	var out []piece
	for i := range b.Blocks {
		block := &b.Blocks[i]
		text := block.Text
		if i+1 < len(b.Blocks) {
			text += separator
		}
		whole := block.Kind == Table || block.Kind == Recipe || block.Kind == Heading
		n := b.Count(text)
		if n <= b.Tokens || whole {
			out = append(out, piece{i, text, n, whole})
			continue
		}
		for _, t := range b.split(text, block.Kind) {
			out = append(out, piece{i, t, b.Count(t), false})
		}
	}
	return out
}

// split parts a long block between lines where they count, else between sentences, and those that are too long between words.
func (b *chunker) split(text string, kind Kind) []string {
	parts := sentences(text)
	if kind == List || kind == Code {
		parts = strings.SplitAfter(text, "\n")
	}
	var out []string
	for _, p := range parts {
		out = append(out, b.halve(p, 0)...)
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// halve parts a text until each part is short enough: after a semicolon or comma near its middle, else after a space.
func (b *chunker) halve(text string, depth int) []string {
	if depth > 24 || utf8.RuneCountInString(text) < 2 || b.Count(text) <= b.Tokens {
		return []string{text}
	}
	middle := len(text) / 2
	best, cost := -1, len(text)
	for i, r := range text {
		if i == 0 || !unicode.IsSpace(r) {
			continue
		}
		far := max(i-middle, middle-i)
		if !strings.ContainsRune(",;:–—", rune(text[i-1])) {
			far += len(text) / 8
		}
		if end := i + utf8.RuneLen(r); far < cost && end < len(text) {
			best, cost = end, far
		}
	}
	if best < 0 {
		for best = middle; !utf8.RuneStart(text[best]); best++ {
		}
	}
	return append(b.halve(text[:best], depth+1), b.halve(text[best:], depth+1)...)
}

// breaks tells whether a piece begins something new: a part of the book, a chapter, or a heading after enough text.
func (b *chunker) breaks(p *piece) bool {
	block, last := &b.Blocks[p.block], &b.Blocks[b.open[len(b.open)-1].block]
	switch {
	case block.Part != last.Part:
		return true
	case block.Kind != Heading || last.Kind == Heading:
		return false
	case block.Level == 1:
		return true
	}
	return b.sum*3 >= b.Tokens
}

// fits tells whether a piece can be added. Counts of pieces do not add up to that of their text: near the end it is counted.
func (b *chunker) fits(p *piece) bool {
	sum := b.sum + p.tokens
	switch {
	case sum*10 <= b.Tokens*9:
		return true
	case sum > b.Tokens*5/4:
		return false
	}
	return b.Count(b.text()+p.text) <= b.Tokens
}

func (b *chunker) text() string {
	var s strings.Builder
	for i := range b.open {
		s.WriteString(b.open[i].text)
	}
	return s.String()
}

// close makes a chunk of the open pieces. Headings at their end stay for the next one.
func (b *chunker) close() {
	n := len(b.open)
	for n > 0 && b.Blocks[b.open[n-1].block].Kind == Heading {
		n--
	}
	if n == 0 { // nothing but headings: those at the end of the book
		n = len(b.open)
		if n == 0 || b.open[n-1].block < len(b.Blocks)-1 {
			return
		}
	}
	rest := slices.Clone(b.open[n:])
	b.open = b.open[:n]
	first, last := &b.Blocks[b.open[0].block], &b.Blocks[b.open[n-1].block]
	own := b.text()
	c := Chunk{Path: first.Path, Chapter: first.Chapter, Page: first.Page, EndPage: last.Page, Part: first.Part, Offset: b.offset}
	for _, p := range b.open {
		if k := len(c.Blocks); k == 0 || c.Blocks[k-1] != p.block {
			c.Blocks = append(c.Blocks, p.block)
		}
	}
	before := b.overlap(first)
	c.Overlap, c.Text = len(before), before+own
	c.Tokens = b.Count(c.Text)
	b.out = append(b.out, c)
	b.offset += len(own)
	b.keepTail()
	b.open, b.sum = rest, 0
	for _, p := range rest {
		b.sum += p.tokens
	}
}

// keepTail keeps the sentences that the open pieces end with, as many as overlap.
func (b *chunker) keepTail() {
	b.tail = nil
	if b.Overlap <= 0 {
		return
	}
	sum := 0
	for i := len(b.open) - 1; i >= 0 && !b.open[i].whole; i-- {
		parts := sentences(b.open[i].text)
		for k := len(parts) - 1; k >= 0; k-- {
			n := b.Count(parts[k])
			if sum += n; sum > b.Overlap {
				return
			}
			b.tail = slices.Insert(b.tail, 0, piece{block: b.open[i].block, text: parts[k]})
		}
	}
}

// overlap is the end of the chunk before, if the text below the same heading goes on.
func (b *chunker) overlap(first *Block) string {
	var s strings.Builder
	for _, p := range b.tail {
		if last := &b.Blocks[p.block]; first.Kind == Heading || !slices.Equal(last.Path, first.Path) || last.Part != first.Part {
			return ""
		}
		s.WriteString(p.text)
	}
	return s.String()
}
