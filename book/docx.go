package book

import (
	"bytes"
	"fmt"
	"html"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/fault"
)

// readDOCX reads a text of Word's as the HTML that it stands for. Headings and lists are told by styles and numbering;
// heads and feet of pages are left out, deleted text of tracked changes is no text.
func readDOCX(name string, data []byte) (*Document, error) {
	if bytes.HasPrefix(data, []byte("\xd0\xcf\x11\xe0")) {
		return nil, fault.Of("%s is encrypted, or a file of an older Word", name).Try("Save it without a password, as .docx.")
	}
	a, err := openArchive(name, data)
	if err != nil {
		return nil, err
	}
	x := docx{archive: a, styles: map[string]docxStyle{}, formats: map[string]bool{}, notes: map[string]*element{}}
	body, err := x.load()
	if err != nil {
		return nil, err
	}
	x.blocks(body)
	x.endList(0)
	x.finish()
	w := newWriter(name)
	w.doc.Encoding = "utf-8"
	w.doc.Title, w.doc.Language, w.doc.Authors = x.title, x.language, x.authors
	for _, text := range x.margins {
		w.drop(text, RunningHead)
	}
	if err := w.html(a.in("word/document.xml"), []byte(x.page.String()), nil); err != nil {
		return nil, err
	}
	return w.done()
}

// A docxStyle is what a style of paragraphs means.
type docxStyle struct {
	base    string
	name    string // in lower case, as Word calls it in English
	level   int    // of a heading; 0 for none
	ordered string // the numbering that it brings
	depth   int
}

// A docx is a file of Word's on its way into HTML.
type docx struct {
	*archive
	styles   map[string]docxStyle
	formats  map[string]bool // whether a level of a numbering counts: by "numId level"
	notes    map[string]*element
	margins  []string
	title    string
	language string
	authors  []string
	page     strings.Builder
	lists    []bool   // that are open: whether they count
	waiting  []string // ids of notes, until their paragraph ends
	told     int      // notes so far
	pageNo   int
	boxes    []*element // text in boxes, until the paragraph ends
	within   int        // tables, notes and boxes around
}

// load reads the files of the archive and gives the body of the text.
func (x *docx) load() (*element, error) {
	main := "word/document.xml"
	if rels, err := x.optional("_rels/.rels"); err != nil {
		return nil, err
	} else if rels != nil {
		for _, r := range rels.at("Relationships").all("Relationship") {
			if strings.HasSuffix(r.attr("Type"), "/officeDocument") {
				main = strings.TrimPrefix(path.Clean("/"+r.attr("Target")), "/")
			}
		}
	}
	folder := path.Dir(main) + "/"
	root, err := x.readTree(main)
	if err != nil {
		return nil, err
	}
	body := root.at("document", "body")
	if body == nil {
		return nil, fault.Of("%s has no body of text", x.in(main)).Try("Get the file again, or save it anew with the program that made it.")
	}
	if body.contains("lastRenderedPageBreak") { // Word noted where pages begin
		x.page.WriteString(`<span class="pagebreak" title="1"></span>`)
	}
	for _, part := range []struct {
		file string
		take func(*element)
	}{{folder + "styles.xml", x.takeStyles}, {folder + "numbering.xml", x.takeNumbering}, {folder + "footnotes.xml", x.takeNotes}, {folder + "endnotes.xml", x.takeNotes}, {"docProps/core.xml", x.takeCore}} {
		tree, err := x.optional(part.file)
		if err != nil {
			return nil, err
		}
		if tree != nil {
			part.take(tree)
		}
	}
	var margins []string
	for file := range x.files {
		if rest, ok := strings.CutPrefix(file, folder); ok && (strings.HasPrefix(rest, "header") || strings.HasPrefix(rest, "footer")) && strings.HasSuffix(rest, ".xml") {
			margins = append(margins, file)
		}
	}
	slices.Sort(margins)
	for _, file := range margins {
		tree, err := x.readTree(file)
		if err != nil {
			return nil, err
		}
		if text := strings.Join(strings.Fields(tree.plain()), " "); text != "" && !slices.Contains(x.margins, text) {
			x.margins = append(x.margins, text)
		}
	}
	return body, nil
}

// optional is readTree for a file that may be missing.
func (x *docx) optional(file string) (*element, error) {
	if x.files[file] == nil {
		return nil, nil
	}
	return x.readTree(file)
}

// all are the children of a name.
func (e *element) all(name string) []*element {
	var out []*element
	if e != nil {
		for _, c := range e.children {
			if c.name == name {
				out = append(out, c)
			}
		}
	}
	return out
}

// contains tells whether an element of a name is anywhere below.
func (e *element) contains(name string) bool {
	return slices.ContainsFunc(e.children, func(c *element) bool { return c.name == name || c.contains(name) })
}

// plain is all text below, with spaces between paragraphs.
func (e *element) plain() string {
	var b strings.Builder
	var walk func(e *element)
	walk = func(e *element) {
		if e.name == "t" {
			b.WriteString(e.text)
		}
		for _, c := range e.children {
			walk(c)
		}
		if e.name == "p" || e.name == "tab" {
			b.WriteByte(' ')
		}
	}
	walk(e)
	return b.String()
}

func (x *docx) takeStyles(root *element) {
	for _, s := range root.at("styles").all("style") {
		st := docxStyle{base: s.at("basedOn").attr("val"), name: strings.ToLower(s.at("name").attr("val"))}
		p := s.at("pPr")
		if level := p.at("outlineLvl").attr("val"); len(level) == 1 && level < "6" {
			st.level = int(level[0]-'0') + 1
		}
		if rest, ok := strings.CutPrefix(st.name, "heading "); ok && len(rest) == 1 && rest >= "1" && rest <= "9" {
			st.level = min(int(rest[0]-'0'), 6)
		}
		if st.name == "title" {
			st.level = 1
		}
		st.ordered = p.at("numPr", "numId").attr("val")
		st.depth, _ = strconv.Atoi(p.at("numPr", "ilvl").attr("val"))
		x.styles[s.attr("styleId")] = st
	}
}

// style is a paragraph's, with what it has from those that it is based on.
func (x *docx) style(id string) (st docxStyle, names []string) {
	for range 12 { // loops end
		s, ok := x.styles[id]
		if !ok {
			break
		}
		names = append(names, s.name)
		if st.level == 0 {
			st.level = s.level
		}
		if st.ordered == "" {
			st.ordered, st.depth = s.ordered, s.depth
		}
		id = s.base
	}
	return st, names
}

func (x *docx) takeNumbering(root *element) {
	counts := map[string]map[string]bool{}
	numbering := root.at("numbering")
	for _, n := range numbering.all("abstractNum") {
		levels := map[string]bool{}
		for _, l := range n.all("lvl") {
			format := l.at("numFmt").attr("val")
			levels[l.attr("ilvl")] = format != "bullet" && format != "none"
		}
		counts[n.attr("abstractNumId")] = levels
	}
	for _, n := range numbering.all("num") {
		for level, ordered := range counts[n.at("abstractNumId").attr("val")] {
			x.formats[n.attr("numId")+" "+level] = ordered
		}
	}
}

func (x *docx) takeNotes(root *element) {
	for kind, prefix := range map[string]string{"footnote": "f", "endnote": "e"} {
		for _, n := range root.at(kind + "s").all(kind) {
			if t := n.attr("type"); t == "" || t == "normal" {
				x.notes[prefix+n.attr("id")] = n
			}
		}
	}
}

func (x *docx) takeCore(root *element) {
	core := root.at("coreProperties")
	// readTree keeps the text of elements named t alone: these are read on their own.
	var c struct {
		Title    string `xml:"title"`
		Creator  string `xml:"creator"`
		Language string `xml:"language"`
	}
	if core == nil || x.readXML("docProps/core.xml", &c) != nil {
		return
	}
	x.title, x.language = strings.Join(strings.Fields(c.Title), " "), strings.TrimSpace(c.Language)
	for author := range strings.SplitSeq(c.Creator, ";") {
		if author = strings.TrimSpace(author); author != "" {
			x.authors = append(x.authors, author)
		}
	}
}

// blocks writes the paragraphs and tables of a body, cell or note.
func (x *docx) blocks(e *element) {
	for _, c := range e.children {
		switch c.name {
		case "p":
			x.paragraph(c)
		case "tbl":
			x.endList(0)
			x.table(c)
			x.finish()
		case "sdt":
			if gallery := c.at("sdtPr", "docPartObj", "docPartGallery").attr("val"); gallery == "Table of Contents" {
				x.endList(0)
				x.page.WriteString(`<nav class="toc">`)
				x.blocks(c.at("sdtContent").orEmpty())
				x.page.WriteString("</nav>")
				continue
			}
			x.blocks(c.at("sdtContent").orEmpty())
		case "customXml", "ins", "moveTo", "smartTag", "sdtContent":
			x.blocks(c)
		case "AlternateContent":
			x.blocks(c.at("Choice").orEmpty())
		}
	}
}

func (e *element) orEmpty() *element {
	if e == nil {
		return &element{}
	}
	return e
}

// wraps are the elements of HTML for the styles that Word comes with.
var wraps = []struct{ style, begin, end string }{
	{"caption", "<figcaption>", "</figcaption>"},
	{"quote", "<blockquote><p>", "</p></blockquote>"},
	{"block text", "<blockquote><p>", "</p></blockquote>"},
	{"intense quote", "<blockquote><p>", "</p></blockquote>"},
	{"html preformatted", "<pre>", "</pre>"},
	{"source code", "<pre>", "</pre>"},
	{"macro", "<pre>", "</pre>"},
	{"toc", `<nav class="toc"><p>`, "</p></nav>"},
	{"index", `<section class="index"><p>`, "</p></section>"},
	{"bibliography", `<section class="bibliography"><p>`, "</p></section>"},
	{"footnote text", `<aside class="footnote"><p>`, "</p></aside>"},
	{"endnote text", `<aside class="footnote"><p>`, "</p></aside>"},
}

func (x *docx) paragraph(p *element) {
	prop := p.at("pPr")
	st, names := x.style(prop.at("pStyle").attr("val"))
	if level := prop.at("outlineLvl").attr("val"); len(level) == 1 && level < "6" {
		st.level = int(level[0]-'0') + 1
	}
	if num := prop.at("numPr"); num != nil {
		if id := num.at("numId").attr("val"); id != "" {
			st.ordered = id
		}
		if level := num.at("ilvl").attr("val"); level != "" {
			st.depth, _ = strconv.Atoi(level)
		}
	}
	var text strings.Builder
	waiting, boxes := x.waiting, x.boxes // of a list that ends here
	x.waiting, x.boxes = nil, nil
	x.runs(p, &text)
	own, ownBoxes := x.waiting, x.boxes
	x.waiting, x.boxes = waiting, boxes
	defer x.finish()
	begin, end := "<p>", "</p>"
	switch {
	case strings.TrimSpace(text.String()) == "":
		x.page.WriteString(text.String()) // the begin of a page, say
		x.waiting, x.boxes = append(x.waiting, own...), append(x.boxes, ownBoxes...)
		return
	case st.level > 0:
		begin, end = fmt.Sprintf("<h%d>", st.level), fmt.Sprintf("</h%d>", st.level)
	case st.ordered != "" && st.ordered != "0":
		x.item(st, text.String())
		x.waiting, x.boxes = append(x.waiting, own...), append(x.boxes, ownBoxes...)
		return
	default:
		for _, w := range wraps {
			if slices.ContainsFunc(names, func(n string) bool {
				return n == w.style || strings.HasPrefix(n, w.style+" ") && len(n) == len(w.style)+2
			}) {
				begin, end = w.begin, w.end
				break
			}
		}
	}
	x.endList(0)
	x.page.WriteString(begin + text.String() + end)
	x.waiting, x.boxes = append(x.waiting, own...), append(x.boxes, ownBoxes...)
}

// item writes a paragraph of a list, at its depth.
func (x *docx) item(st docxStyle, text string) {
	depth := min(max(st.depth, 0), 8) + 1
	ordered := x.formats[st.ordered+" "+strconv.Itoa(st.depth)]
	x.endList(depth)
	if len(x.lists) == depth && x.lists[depth-1] != ordered {
		x.endList(depth - 1)
	}
	if len(x.lists) == depth {
		x.page.WriteString("</li>")
	}
	for len(x.lists) < depth {
		if ordered {
			x.page.WriteString("<ol>")
		} else {
			x.page.WriteString("<ul>")
		}
		x.lists = append(x.lists, ordered)
		if len(x.lists) < depth {
			x.page.WriteString("<li>")
		}
	}
	x.page.WriteString("<li>" + text)
}

// endList closes the lists that are deeper.
func (x *docx) endList(depth int) {
	if len(x.lists) <= depth {
		return
	}
	for len(x.lists) > depth {
		n := len(x.lists) - 1
		if x.lists[n] {
			x.page.WriteString("</li></ol>")
		} else {
			x.page.WriteString("</li></ul>")
		}
		x.lists = x.lists[:n]
	}
	if depth == 0 {
		x.finish()
	}
}

// finish writes the notes and boxes of the text before, once no paragraph or list is open.
func (x *docx) finish() {
	if len(x.lists) > 0 || x.within > 0 {
		return
	}
	x.within++
	for len(x.boxes) > 0 || len(x.waiting) > 0 {
		boxes, notes := x.boxes, x.waiting
		x.boxes, x.waiting = nil, nil
		for _, b := range boxes {
			x.blocks(b)
			x.endList(0)
		}
		for _, id := range notes {
			n := x.notes[id]
			delete(x.notes, id) // one that is told twice is one text
			if n != nil {
				x.page.WriteString(`<aside class="footnote">`)
				x.blocks(n)
				x.endList(0)
				x.page.WriteString("</aside>")
			}
		}
	}
	x.within--
}

// table writes the rows of a table. What cells share over several rows or columns stands in the first of them.
func (x *docx) table(t *element) {
	x.within++
	x.page.WriteString("<table>")
	x.rows(t)
	x.page.WriteString("</table>")
	x.within--
}

func (x *docx) rows(t *element) {
	for _, r := range t.children {
		switch r.name {
		case "sdt":
			x.rows(r.at("sdtContent").orEmpty())
		case "tr":
			x.page.WriteString("<tr>")
			x.cells(r)
			x.page.WriteString("</tr>")
		}
	}
}

func (x *docx) cells(r *element) {
	for _, c := range r.children {
		switch c.name {
		case "sdt":
			x.cells(c.at("sdtContent").orEmpty())
		case "tc":
			span := c.at("tcPr", "gridSpan").attr("val")
			fmt.Fprintf(&x.page, `<td colspan="%s">`, html.EscapeString(span))
			outer := x.lists
			x.lists = nil
			x.blocks(c)
			x.endList(0)
			x.lists = outer
			x.page.WriteString("</td>")
		}
	}
}

// runs writes the text of a paragraph.
func (x *docx) runs(e *element, out *strings.Builder) {
	for _, c := range e.children {
		switch c.name {
		case "t":
			out.WriteString(html.EscapeString(c.text))
		case "tab", "ptab":
			out.WriteString("\t")
		case "br", "cr":
			if t := c.attr("type"); t == "" || t == "textWrapping" {
				out.WriteString("<br>")
			}
		case "noBreakHyphen":
			out.WriteString("\u2011")
		case "softHyphen":
			out.WriteString("\u00ad")
		case "lastRenderedPageBreak":
			x.pageNo++
			fmt.Fprintf(out, `<span class="pagebreak" title="%d"></span>`, x.pageNo+1)
		case "footnoteReference", "endnoteReference":
			x.told++
			x.waiting = append(x.waiting, c.name[:1]+c.attr("id"))
			fmt.Fprintf(out, `<a class="noteref">%d</a>`, x.told)
		case "txbxContent":
			x.boxes = append(x.boxes, c)
		case "AlternateContent":
			x.runs(c.at("Choice").orEmpty(), out)
		case "pPr", "rPr", "del", "moveFrom", "instrText", "delText", "sdtPr":
			// not text
		default:
			x.runs(c, out)
		}
	}
}
