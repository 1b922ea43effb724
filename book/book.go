// Package book reads books into blocks: headings, paragraphs, lists, tables, quotes, notes, captions and
// preformatted text, each with the headings above it, its chapter or page, and where its text lies in the whole.
//
// Plain text, Markdown, HTML, EPUB 2 and 3, DOCX and PDF are read. A file is hostile until it is read: the limits in
// limits.go bound what it may unpack to, nest and grow to, and nothing outside of it is opened.
//
// PDF files are read by package book/pdf, five times as fast in programs that call pdf.Serve at their begin.
//
// Nothing vanishes silently: what a reader leaves out of the text of a book (page marks, marks of notes, soft
// hyphens) is in Document.Removed, and Document.Whole puts it back.
package book

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// A Kind says what a block of a book is.
type Kind string

// The kinds of blocks.
const (
	Paragraph Kind = "paragraph"
	Heading   Kind = "heading"
	List      Kind = "list"
	Table     Kind = "table"
	Quote     Kind = "quote"
	Note      Kind = "note"
	Code      Kind = "code" // preformatted: its spaces and line ends count
	Caption   Kind = "caption"
	Recipe    Kind = "recipe" // ingredients and steps, as the roles of its items tell
)

// A Document is a book as its reader understood it.
type Document struct {
	Format   string    `json:"format"`   // "text", "markdown", "html", "epub", "docx", "pdf"
	Encoding string    `json:"encoding"` // of the file's text: "utf-8", "windows-1252", ...
	Title    string    `json:"title,omitempty"`
	Authors  []string  `json:"authors,omitempty"`
	Language string    `json:"language,omitempty"`
	Blocks   []Block   `json:"blocks"`
	Removed  []Removal `json:"removed"` // in the order of the book
	// Pages is how many pages a PDF has, Unread those that gave no text.
	Pages  int      `json:"pages,omitempty"`
	Unread []Unread `json:"unread,omitempty"`
	// OCR are the pages, from 1, whose text a command has read off their picture.
	OCR []int `json:"ocr,omitempty"`
}

// An Unread page is one that could not be read.
type Unread struct {
	Page int    `json:"page"` // from 1, as programs that show the file count
	Why  string `json:"why"`
}

// A Block is a piece of a book that belongs together.
type Block struct {
	Kind  Kind     `json:"kind"`
	Level int      `json:"level,omitempty"` // of a heading, 1 to 6
	Path  []string `json:"path,omitempty"`  // the headings above it, outermost first
	// Chapter is what the table of contents calls the part of the book that the block lies in.
	Chapter string `json:"chapter,omitempty"`
	Page    string `json:"page,omitempty"` // as printed ("xii", "104"), where the file tells
	Part    Part   `json:"part,omitempty"` // contents, index or bibliography
	Offset  int    `json:"offset"`         // of Text in Document.Text, in bytes
	// Text has an item of a list in each line; a row of a table in each line, with tabs between its cells.
	Text  string `json:"text"`
	Items []Item `json:"items,omitempty"` // of a list or recipe, one for each line of Text
}

// An Item of a list says how its line of text stands in it.
type Item struct {
	Depth   int  `json:"depth"` // 0 for the outermost list
	Ordered bool `json:"ordered,omitempty"`
	Role    Role `json:"role,omitempty"` // in a recipe
}

// Rows are the cells of a table, row by row.
func (b *Block) Rows() [][]string {
	var rows [][]string
	for line := range strings.SplitSeq(b.Text, "\n") {
		rows = append(rows, strings.Split(line, "\t"))
	}
	return rows
}

// A Reason says why a text was left out.
type Reason string

// The reasons.
const (
	PageMark    Reason = "page mark"
	NoteMark    Reason = "note mark"
	SoftHyphen  Reason = "soft hyphen"
	LineHyphen  Reason = "hyphen at a line's end"
	RunningHead Reason = "running head"
	ListMark    Reason = "list mark"
	Leader      Reason = "leader dots"
	Turned      Reason = "text in another direction"
	Control     Reason = "control character"
)

// A Removal is a text that was left out, and where it stood.
type Removal struct {
	Offset int    `json:"offset"` // in Document.Text, in bytes
	Text   string `json:"text"`
	Reason Reason `json:"reason"`
}

// separator stands between blocks in the text of a document.
const separator = "\n\n"

// Text is the text that was kept, with an empty line between blocks.
func (d *Document) Text() string {
	var b strings.Builder
	for i := range d.Blocks {
		if i > 0 {
			b.WriteString(separator)
		}
		b.WriteString(d.Blocks[i].Text)
	}
	return b.String()
}

// Whole is Text with all that was removed back in its place.
func (d *Document) Whole() string {
	text, at := d.Text(), 0
	var b strings.Builder
	for _, r := range d.Removed {
		b.WriteString(text[at:r.Offset])
		b.WriteString(r.Text)
		at = r.Offset
	}
	b.WriteString(text[at:])
	return b.String()
}

// reader reads the bytes of a file of one format; name is for messages.
type reader func(name string, data []byte) (*Document, error)

// A format is known by the ends of file names.
type format struct {
	name string
	ends []string
	most int64 // bytes of a file
	text bool  // the file is text
	read reader
}

var formats = []format{
	{"text", []string{".txt", ".text"}, maxText, true, readText},
	{"markdown", []string{".md", ".markdown"}, maxMarkdown, true, readMarkdown},
	{"html", []string{".html", ".htm", ".xhtml"}, maxMarkup, true, readHTML},
	{"epub", []string{".epub"}, maxBook, false, readEPUB},
	{"docx", []string{".docx", ".docm"}, maxBook, false, readDOCX},
	{"pdf", []string{".pdf"}, maxBook, false, nil}, // Options.readPDF
}

// Options say how books are read.
type Options struct {
	// OCR is a command that reads the text off the pages of a PDF that are pictures: it gets the path of a picture
	// (PNG, 300 dots an inch) in the place of {}, else as its last word, and prints the text. Empty leaves them unread.
	OCR string
	// Progress, if there is one, is told how many pages of a PDF are done, first of those that are read and then of those that OCR reads. It is called by
	// one goroutine at a time.
	Progress func(done, of int)

	words []string // of OCR
}

// Open reads a book. The end of its name says what it is; a file that is something else, is damaged, encrypted or
// past the limits is a mistake (package fault) that names the file and the part of it at fault.
func Open(path string) (*Document, error) { return Options{}.Open(context.Background(), path) }

// Open is the function Open with options. A context that is done ends the reading of a PDF.
func (o Options) Open(ctx context.Context, path string) (*Document, error) {
	if o.OCR != "" {
		var err error
		if o.words, err = splitCommand(o.OCR); err != nil {
			return nil, err
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fault.Of("%s is a folder, expected a book", path).Try("Give one file: %s.", bookEnds())
	}
	i := formatOf(path)
	if i < 0 {
		return nil, fault.Of("%s: books that end in %q are not read, expected %s", path, strings.ToLower(filepath.Ext(path)), bookEnds()).
			Try("Convert it to one of these, or rename it if it is one.")
	}
	f := formats[i]
	data, err := smallfile.Read(path, f.most)
	if err != nil {
		return nil, fault.Mark(err)
	}
	if f.text {
		if err := checkText(path, data); err != nil {
			return nil, err
		}
	}
	var d *Document
	if f.read != nil {
		d, err = f.read(path, data)
	} else {
		d, err = o.readPDF(ctx, path, data)
	}
	if err != nil {
		return nil, err
	}
	d.Format = f.name
	d.recognize()
	if len(d.Blocks) == 0 {
		m := fault.Of("%s has no text", path)
		if n := len(d.Unread); n > 0 && o.OCR != "" {
			return nil, fault.Of("%s has no text; page %d of %d: %s", path, d.Unread[0].Page, n, d.Unread[0].Why).Try("Try the command on a picture of a page by itself.")
		}
		if len(d.Unread) > 0 {
			return nil, m.Try("Its pages are pictures: give a command that reads them, like %v 'tesseract {} stdout'.", fault.Setting("ocr"))
		}
		return nil, m.Try("It is empty, or has nothing but pictures.")
	}
	return d, nil
}

// checkText refuses a file that is no text, whatever its name says.
func checkText(name string, data []byte) error {
	begin := data[:min(len(data), 1024)]
	for magic, what := range map[string]string{"PK\x03\x04": "a zip file, as EPUB and DOCX are", "%PDF-": "a PDF file"} {
		if bytes.HasPrefix(begin, []byte(magic)) {
			return fault.Of("%s is %s, expected text", name, what).Try("Give it the end of name that fits, if that is read.")
		}
	}
	if _, marked := byteOrder(begin); !marked && bytes.IndexByte(begin, 0) >= 0 {
		return fault.Of("%s has bytes that no text has, expected text", name).Try("Give a text file, saved as UTF-8.")
	}
	return nil
}
