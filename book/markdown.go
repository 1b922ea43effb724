package book

import (
	"bytes"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"

	"github.com/lentil-lm/lentil/fault"
)

// readMarkdown reads Markdown as the HTML that it stands for: CommonMark with tables, strikethrough, footnotes and
// definition lists.
func readMarkdown(name string, data []byte) (*Document, error) {
	text, encoding := decode(data, false)
	if err := checkNesting(name, text); err != nil {
		return nil, err
	}
	markdown := goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.Footnote, extension.DefinitionList),
		goldmark.WithRendererOptions(html.WithUnsafe())) // HTML within Markdown is text of the book, too
	var page bytes.Buffer
	if err := markdown.Convert(text, &page); err != nil {
		return nil, fault.Of("%s: %w", name, err)
	}
	w := newWriter(name)
	w.doc.Encoding = encoding
	if err := w.html(name, page.Bytes(), nil); err != nil {
		return nil, err
	}
	return w.done()
}

// checkNesting refuses lines that open more blocks than the parser should have to follow.
func checkNesting(name string, text []byte) error {
	line := 0
	for row := range bytes.Lines(text) {
		line++
		marks := 0
		for _, c := range row {
			if c == '>' || c == '-' || c == '+' || c == '*' || c == '[' {
				marks++
			} else if c != ' ' && c != '\t' {
				break
			}
		}
		// A rule is one mark, however long it is.
		if marks > maxNested && len(bytes.Trim(row, "-*+ \t\r\n")) > 0 {
			return fault.Of("%s:%d: %d marks of quotes and lists at the begin of a line, the most that is read is %d", name, line, marks, maxNested).
				Try("If this is a book, save it in another format.")
		}
	}
	return nil
}
