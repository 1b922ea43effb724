package book

import (
	"bytes"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/lentil-lm/lentil/fault"
)

// readMarkdown reads Markdown as the HTML that it stands for: CommonMark with tables, strikethrough, footnotes and
// definition lists.
func readMarkdown(name string, data []byte) (*Document, error) {
	source, encoding := decode(data, false)
	if err := checkNesting(name, source); err != nil {
		return nil, err
	}
	markdown := goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.Footnote, extension.DefinitionList),
		goldmark.WithParserOptions(parser.WithInlineParsers(util.Prioritized(fewMarks{}, 0))),
		goldmark.WithRendererOptions(html.WithUnsafe())) // HTML within Markdown is text of the book, too
	var page bytes.Buffer
	if err := markdown.Convert(source, &page); err != nil {
		return nil, fault.Of("%s: %w", name, err)
	}
	w := newWriter(name)
	w.doc.Encoding = encoding
	if err := w.html(name, page.Bytes(), nil); err != nil {
		return nil, err
	}
	return w.done()
}

// fewMarks takes the marks of emphasis and links in a paragraph past maxMarks for plain text: the time that the parser
// takes grows with the square of their number.
type fewMarks struct{}

// marksSoFar counts the marks of the paragraph that is being read.
type marksSoFar struct {
	paragraph ast.Node
	n         int
}

var marksKey = parser.NewContextKey()

func (fewMarks) Trigger() []byte { return []byte("*_[]!~") }

func (fewMarks) Parse(parent ast.Node, block text.Reader, pc parser.Context) ast.Node {
	so, _ := pc.Get(marksKey).(*marksSoFar)
	if so == nil || so.paragraph != parent {
		so = &marksSoFar{paragraph: parent}
		pc.Set(marksKey, so)
	}
	if so.n++; so.n <= maxMarks {
		return nil // another parser reads it
	}
	_, at := block.PeekLine()
	block.Advance(1)
	return ast.NewTextSegment(at.WithStop(at.Start + 1))
}

// checkNesting refuses lines that open more blocks, and lists of more references, than the parser can follow in good time.
func checkNesting(name string, source []byte) error {
	line, references := 0, 0
	for row := range bytes.Lines(source) {
		line++
		// A rule is one mark, however long it is.
		if marks := openers(row); marks > maxNested && len(bytes.Trim(row, "-*+ \t\r\n")) > 0 {
			return fault.Of("%s:%d: %d marks of quotes and lists at the begin of a line, the most that is read is %d", name, line, marks, maxNested).
				Try("If this is a book, save it in another format.")
		}
		references++
		if !bytes.HasPrefix(bytes.TrimLeft(row, "> \t-+*"), []byte("[")) {
			references = 0
		}
		if references > maxReferences {
			return fault.Of("%s:%d: more than %d lines of references, the most that is read", name, line, maxReferences).
				Try("Put empty lines between some of them.")
		}
	}
	return nil
}

// openers counts the marks of quotes, lists and links that a line begins with.
func openers(row []byte) int {
	marks := 0
	for _, c := range row {
		switch {
		case bytes.IndexByte([]byte(">-+*[.)"), c) >= 0:
			marks++
		case c != ' ' && c != '\t' && (c < '0' || c > '9'):
			return marks
		}
	}
	return marks
}
