package book

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/lentil-lm/lentil/fault"
)

// readHTML reads a page of HTML or XHTML.
func readHTML(name string, data []byte) (*Document, error) {
	w := newWriter(name)
	text, encoding := decode(data, true)
	w.doc.Encoding = encoding
	if err := w.html(name, text, nil); err != nil {
		return nil, err
	}
	return w.done()
}

// html adds a page to the document. chapters are the titles of the places in it that a table of contents knows, by id.
func (w *writer) html(name string, text []byte, chapters map[string]string) error {
	if bytes.Count(text, []byte("<")) > maxTags {
		return tooMuch(name, "tags", maxTags)
	}
	root, err := html.ParseWithOptions(bytes.NewReader(text), html.ParseOptionEnableScripting(false))
	if err != nil { // elements nested too deep; the parser reads anything else
		return fault.Of("%s: %w", name, err).Try("This is no page that was made to be read: save it in another format.")
	}
	p := page{writer: w, chapters: chapters, structured: map[*html.Node]bool{}}
	p.survey(root)
	p.walk(root, scope{kind: Paragraph})
	w.flush()
	return w.err
}

// A page is a tree of HTML on its way into a document.
type page struct {
	*writer
	chapters map[string]string
	// structured are the elements that hold a heading, table or preformatted text. Lists and tables among them
	// give the page its layout, and what they hold is read block by block.
	structured map[*html.Node]bool
}

// A scope is what the elements above a node say about it.
type scope struct {
	kind   Kind // of its paragraphs
	inline bool // in a heading, list, table or preformatted text: all in one block
	depth  int  // lists around it
}

var headings = []atom.Atom{atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6}

// blocks are the elements that begin on a line of their own.
var blocks = map[atom.Atom]bool{
	atom.Address: true, atom.Article: true, atom.Aside: true, atom.Blockquote: true, atom.Body: true, atom.Center: true, atom.Dd: true,
	atom.Details: true, atom.Div: true, atom.Dl: true, atom.Dt: true, atom.Fieldset: true, atom.Figcaption: true, atom.Figure: true,
	atom.Footer: true, atom.Form: true, atom.H1: true, atom.H2: true, atom.H3: true, atom.H4: true, atom.H5: true, atom.H6: true,
	atom.Header: true, atom.Hgroup: true, atom.Hr: true, atom.Legend: true, atom.Li: true, atom.Main: true, atom.Nav: true, atom.Ol: true,
	atom.P: true, atom.Pre: true, atom.Section: true, atom.Summary: true, atom.Table: true, atom.Tbody: true, atom.Td: true, atom.Tfoot: true,
	atom.Th: true, atom.Thead: true, atom.Tr: true, atom.Ul: true, atom.Caption: true, atom.Menu: true,
}

// survey fills structured, each element once, and takes the title and language from the head.
func (p *page) survey(root *html.Node) {
	for n := range root.Descendants() {
		switch {
		case n.DataAtom == atom.Table, n.DataAtom == atom.Pre, slices.Contains(headings, n.DataAtom):
			for up := n.Parent; up != nil && !p.structured[up]; up = up.Parent {
				p.structured[up] = true
			}
		case n.DataAtom == atom.Title && n.Parent.DataAtom == atom.Head && p.doc.Title == "":
			p.doc.Title = strings.Join(strings.Fields(content(n)), " ")
		case n.DataAtom == atom.Html && p.doc.Language == "":
			p.doc.Language = attribute(n, "lang")
		}
	}
}

// walk adds a node and all below it. The parser bounds how deep they nest.
func (p *page) walk(n *html.Node, c scope) {
	switch {
	case n.Type == html.TextNode:
		p.text(n.Data)
	case n.Type != html.ElementNode:
		p.children(n, c)
	case n.DataAtom == atom.Script, n.DataAtom == atom.Style, n.DataAtom == atom.Template, n.DataAtom == atom.Head:
		// not text
	default:
		id := attribute(n, "id")
		if chapter, ok := p.chapters[id]; ok && id != "" {
			p.chapter = chapter
		}
		p.element(n, c)
	}
}

func (p *page) children(n *html.Node, c scope) {
	for child := range n.ChildNodes() {
		p.walk(child, c)
	}
}

func (p *page) element(n *html.Node, c scope) {
	switch {
	case says(n, pageMarks):
		p.pageMark(n)
	case says(n, noteMarks):
		p.drop(content(n), NoteMark)
	case n.DataAtom == atom.Br && (!c.inline || p.asIs):
		p.cut('\n')
	case n.DataAtom == atom.Br:
		p.space = true
	case !blocks[n.DataAtom]:
		p.children(n, c)
	case c.inline:
		p.space = true
		p.inner(n, c)
		p.space = true
	default:
		was := p.part
		if part := partOf(n); part != "" {
			p.flush()
			p.part = part
		}
		p.block(n, c)
		p.begin(c.kind)
		p.part = was
	}
}

// block adds an element that has lines of its own.
func (p *page) block(n *html.Node, c scope) {
	if says(n, notes) {
		c.kind = Note
	}
	level := slices.Index(headings, n.DataAtom) + 1
	inside := scope{kind: c.kind, inline: true}
	switch {
	case level > 0:
		p.begin(Heading)
		p.level = level
		p.children(n, inside)
		return
	case n.DataAtom == atom.Pre:
		p.begin(Code)
		p.children(n, inside)
		return
	case n.DataAtom == atom.Table && !p.structured[n]:
		p.table(n, inside)
		return
	case isList(n) && !p.structured[n] && c.kind != Note:
		p.begin(List)
		p.list(n, inside)
		return
	case n.DataAtom == atom.Blockquote && c.kind == Paragraph:
		c.kind = Quote
	case n.DataAtom == atom.Figcaption, n.DataAtom == atom.Caption:
		c.kind = Caption
	}
	p.begin(c.kind)
	p.children(n, c)
}

// inner adds a block element within another block: lists keep their items.
func (p *page) inner(n *html.Node, c scope) {
	if p.kind != List || !isList(n) {
		p.children(n, c)
		return
	}
	depth, last := c.depth, Item{Depth: c.depth}
	if len(p.items) > 0 {
		last = p.items[len(p.items)-1]
	}
	c.depth++
	p.list(n, c)
	p.item(depth, last.Ordered) // what follows the inner list belongs to the outer one
}

func isList(n *html.Node) bool {
	return n.DataAtom == atom.Ul || n.DataAtom == atom.Ol || n.DataAtom == atom.Dl || n.DataAtom == atom.Menu
}

// list adds the items of a list to the block; the explanations of a definition list lie one deeper than its terms.
func (p *page) list(n *html.Node, c scope) {
	ordered := n.DataAtom == atom.Ol
	p.item(c.depth, ordered)
	for child := range n.ChildNodes() {
		depth := c.depth
		if child.DataAtom == atom.Dd {
			depth++
		}
		if child.Type == html.ElementNode {
			p.item(depth, ordered)
		}
		p.walk(child, scope{kind: c.kind, inline: true, depth: depth})
	}
}

// table adds a table that holds text alone, its caption before it.
func (p *page) table(n *html.Node, c scope) {
	var rows []*html.Node
	for d := range n.Descendants() {
		switch d.DataAtom {
		case atom.Caption:
			p.begin(Caption)
			p.children(d, c)
		case atom.Tr:
			rows = append(rows, d)
		}
	}
	p.begin(Table)
	var down [maxSpan]int // rows that a cell of a column still reaches down
	for i, row := range rows {
		if i > 0 {
			p.cut('\n')
		}
		column := 0
		skip := func() { // what cells of rows above reach down to
			for ; column < maxSpan && down[column] > 0; column++ {
				down[column]--
				if column > 0 {
					p.cut('\t')
				}
			}
		}
		for cell := range row.ChildNodes() {
			if cell.DataAtom != atom.Td && cell.DataAtom != atom.Th {
				p.walk(cell, c)
				continue
			}
			skip()
			if column > 0 {
				p.cut('\t')
			}
			p.walk(cell, c)
			width, rows := cellSpan(cell, "colspan"), cellSpan(cell, "rowspan")
			for k := range width {
				if k > 0 {
					p.cut('\t')
				}
				if column < maxSpan {
					down[column] = rows - 1
				}
				column++
			}
		}
		skip()
		p.space = false
	}
}

// cellSpan is how many columns or rows a cell takes.
func cellSpan(cell *html.Node, key string) int {
	n, err := strconv.Atoi(attribute(cell, key))
	if err != nil || n < 1 {
		return 1
	}
	return min(n, maxSpan)
}

// pageMark notes the number of the page that begins, and leaves it out of the text.
func (p *page) pageMark(n *html.Node) {
	mark := content(n)
	label := mark
	for _, name := range []string{"aria-label", "title"} {
		if strings.TrimSpace(label) == "" {
			label = attribute(n, name)
		}
	}
	if fields := strings.Fields(strings.Trim(strings.TrimSpace(label), "[](){}.")); len(fields) > 0 {
		p.page = fields[len(fields)-1]
	}
	p.drop(mark, PageMark)
}

// Words of the attributes epub:type, role and class that tell what an element is.
var (
	pageMarks = []string{"pagebreak", "doc-pagebreak", "pagenum", "pageno", "page-number"}
	noteMarks = []string{"noteref", "doc-noteref", "footnote-ref", "footnoteref", "fnanchor", "doc-backlink", "footnote-back", "footnote-backref"}
	notes     = []string{"footnote", "footnotes", "endnote", "endnotes", "rearnote", "rearnotes", "doc-footnote", "doc-endnote", "doc-endnotes"}
)

// partOf is the part of the book that an element says it is.
func partOf(n *html.Node) Part {
	if n.DataAtom != atom.Nav && n.DataAtom != atom.Section && n.DataAtom != atom.Div && n.DataAtom != atom.Ol && n.DataAtom != atom.Ul {
		return ""
	}
	switch section := n.DataAtom == atom.Nav || n.DataAtom == atom.Section; {
	case says(n, []string{"doc-toc", "toc", "loi", "lot", "landmarks", "page-list"}):
		return Contents
	case says(n, []string{"doc-index"}), section && says(n, []string{"index"}):
		return Index
	case says(n, []string{"doc-bibliography"}), section && says(n, []string{"bibliography"}):
		return Bibliography
	}
	return ""
}

// says tells whether an element names one of the words.
func says(n *html.Node, words []string) bool {
	for _, a := range n.Attr {
		if a.Key == "class" || a.Key == "role" || a.Key == "epub:type" {
			for word := range strings.FieldsSeq(a.Val) {
				if slices.Contains(words, strings.ToLower(word)) {
					return true
				}
			}
		}
	}
	return false
}

// attribute is the value of an attribute, empty where there is none.
func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// content is all text below a node.
func content(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}
