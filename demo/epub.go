package demo

import (
	"archive/zip"
	"bytes"
	"fmt"
	"html"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// EPUBName is the handbook as a book, below the demo's folder.
const EPUBName = "handbook.epub"

// EPUB writes the handbook as an EPUB 3 book, a file a chapter. It is the same each time.
func EPUB() ([]byte, error) {
	chapters, err := fs.Glob(files, "handbook/*.md")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	add := func(name, text string, method uint16) {
		if err != nil {
			return
		}
		w, failed := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err = failed; err == nil {
			_, err = w.Write([]byte(text))
		}
	}
	add("mimetype", "application/epub+zip", zip.Store) // first, and as it is: readers look for it at this place
	add("META-INF/container.xml", `<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>`, zip.Deflate)
	var manifest, spine, nav strings.Builder
	for i, name := range chapters {
		text, failed := files.ReadFile(name)
		if failed != nil {
			return nil, failed
		}
		body, title := xhtml(string(text))
		file := strings.TrimSuffix(path.Base(name), ".md") + ".xhtml"
		add(file, document(title, body), zip.Deflate)
		fmt.Fprintf(&manifest, `<item id="c%d" href="%s" media-type="application/xhtml+xml"/>`, i, file)
		fmt.Fprintf(&spine, `<itemref idref="c%d"/>`, i)
		fmt.Fprintf(&nav, `<li><a href="%s">%s</a></li>`, file, html.EscapeString(title))
	}
	add("nav.xhtml", document("Contents", `<nav epub:type="toc"><ol>`+nav.String()+`</ol></nav>`), zip.Deflate)
	add("book.opf", `<?xml version="1.0" encoding="utf-8"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">`+
		`<dc:identifier id="id">lentil-nutrition-handbook</dc:identifier><dc:title>Nutrition Handbook</dc:title><dc:language>en</dc:language><meta property="dcterms:modified">2024-01-01T00:00:00Z</meta></metadata>`+
		`<manifest><item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>`+manifest.String()+`</manifest><spine>`+spine.String()+`</spine></package>`, zip.Deflate)
	if err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func document(title, body string) string {
	return `<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><head><title>` +
		html.EscapeString(title) + "</title></head><body>" + body + "</body></html>"
}

var (
	strong = regexp.MustCompile(`\*\*(.+?)\*\*`)
	number = regexp.MustCompile(`^\d+\. `)
	rule   = regexp.MustCompile(`^\|[-|: ]+\|$`)
)

// xhtml writes a chapter of the handbook, whose Markdown is headings, paragraphs, flat lists and tables, as XHTML.
func xhtml(text string) (body, title string) {
	var b strings.Builder
	inline := func(s string) string { return strong.ReplaceAllString(html.EscapeString(s), "<strong>$1</strong>") }
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		lines := strings.Split(strings.Trim(part, "\n"), "\n")
		switch first := lines[0]; {
		case strings.HasPrefix(first, "#"):
			level := len(first) - len(strings.TrimLeft(first, "#"))
			name := strings.TrimSpace(first[level:])
			if title == "" {
				title = name
			}
			fmt.Fprintf(&b, "<h%d>%s</h%d>", level, inline(name), level)
			if len(lines) > 1 {
				b.WriteString("<p>" + inline(strings.Join(lines[1:], " ")) + "</p>")
			}
		case strings.HasPrefix(first, "|"):
			b.WriteString("<table>")
			for i, line := range lines {
				if rule.MatchString(line) {
					continue
				}
				cell := "td"
				if i == 0 {
					cell = "th"
				}
				b.WriteString("<tr>")
				for c := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
					fmt.Fprintf(&b, "<%s>%s</%s>", cell, inline(strings.TrimSpace(c)), cell)
				}
				b.WriteString("</tr>")
			}
			b.WriteString("</table>")
		case strings.HasPrefix(first, "- "), number.MatchString(first):
			list := "ul"
			if number.MatchString(first) {
				list = "ol"
			}
			var items []string
			for _, line := range lines {
				switch mark := number.FindString(line); {
				case mark != "":
					items = append(items, line[len(mark):])
				case strings.HasPrefix(line, "- "):
					items = append(items, line[2:])
				default: // goes on
					items[len(items)-1] += " " + strings.TrimSpace(line)
				}
			}
			b.WriteString("<" + list + ">")
			for _, it := range items {
				b.WriteString("<li>" + inline(it) + "</li>")
			}
			b.WriteString("</" + list + ">")
		default:
			b.WriteString("<p>" + inline(strings.Join(lines, " ")) + "</p>")
		}
	}
	return b.String(), title
}
