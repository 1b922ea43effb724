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
const EPUBName = "books/handbook.epub"

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
		chapter := parse(string(text))
		body, title := xhtml(chapter), plain(chapter[0].lines[0])
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

// The kinds of pieces that the handbook's Markdown has.
type pieceKind int

const (
	paragraph pieceKind = iota
	heading
	bullets
	numbers
	table
)

// A piece is a heading, a paragraph, a flat list or a table of a chapter.
type piece struct {
	kind  pieceKind
	level int        // of a heading
	lines []string   // the text, or each item of a list, without marks
	rows  [][]string // of a table
}

// parse reads a chapter of the handbook. Strong words keep their stars, which plain takes off.
func parse(text string) (out []piece) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		lines := strings.Split(strings.Trim(part, "\n"), "\n")
		switch first := lines[0]; {
		case strings.HasPrefix(first, "#"):
			level := len(first) - len(strings.TrimLeft(first, "#"))
			out = append(out, piece{kind: heading, level: level, lines: []string{strings.TrimSpace(first[level:])}})
			if len(lines) > 1 {
				out = append(out, piece{lines: []string{strings.Join(lines[1:], " ")}})
			}
		case strings.HasPrefix(first, "|"):
			p := piece{kind: table}
			for _, line := range lines {
				if rule.MatchString(line) {
					continue
				}
				var row []string
				for c := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
					row = append(row, strings.TrimSpace(c))
				}
				p.rows = append(p.rows, row)
			}
			out = append(out, p)
		case strings.HasPrefix(first, "- "), number.MatchString(first):
			p := piece{kind: bullets}
			if number.MatchString(first) {
				p.kind = numbers
			}
			for _, line := range lines {
				switch mark := number.FindString(line); {
				case mark != "":
					p.lines = append(p.lines, line[len(mark):])
				case strings.HasPrefix(line, "- "):
					p.lines = append(p.lines, line[2:])
				default: // goes on
					p.lines[len(p.lines)-1] += " " + strings.TrimSpace(line)
				}
			}
			out = append(out, p)
		default:
			out = append(out, piece{lines: []string{strings.Join(lines, " ")}})
		}
	}
	return out
}

// plain takes the stars of strong words off.
func plain(text string) string { return strong.ReplaceAllString(text, "$1") }

// xhtml writes a chapter as XHTML.
func xhtml(chapter []piece) string {
	var b strings.Builder
	inline := func(s string) string { return strong.ReplaceAllString(html.EscapeString(s), "<strong>$1</strong>") }
	for _, p := range chapter {
		switch p.kind {
		case heading:
			fmt.Fprintf(&b, "<h%d>%s</h%d>", p.level, inline(p.lines[0]), p.level)
		case table:
			b.WriteString("<table>")
			for i, row := range p.rows {
				cell := "td"
				if i == 0 {
					cell = "th"
				}
				b.WriteString("<tr>")
				for _, c := range row {
					fmt.Fprintf(&b, "<%s>%s</%s>", cell, inline(c), cell)
				}
				b.WriteString("</tr>")
			}
			b.WriteString("</table>")
		case bullets, numbers:
			list := map[pieceKind]string{bullets: "ul", numbers: "ol"}[p.kind]
			b.WriteString("<" + list + ">")
			for _, it := range p.lines {
				b.WriteString("<li>" + inline(it) + "</li>")
			}
			b.WriteString("</" + list + ">")
		default:
			b.WriteString("<p>" + inline(p.lines[0]) + "</p>")
		}
	}
	return b.String()
}
