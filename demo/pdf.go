package demo

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
)

// title of the handbook.
const title = "Nutrition Handbook"

// PDFName is the handbook as printed pages, below the demo's folder.
const PDFName = "books/handbook.pdf"

// The pages of the PDF: A5, in points.
const (
	pageWidth, pageHeight = 420.0, 595.0
	margin                = 45.0
	bodySize, bodyLead    = 9.0, 12.0
	cellGap               = 12.0
)

// A printer sets the handbook on pages.
type printer struct {
	pages  []*bytes.Buffer
	titles []struct {
		page int
		text string
	} // of chapters
	y float64 // base line of the next line
}

// PDF writes the handbook as a PDF with page numbers, running heads and an outline. It is the same each time.
func PDF() ([]byte, error) {
	chapters, err := fs.Glob(files, "handbook/*.md")
	if err != nil {
		return nil, err
	}
	var p printer
	for _, name := range chapters {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		p.set(parse(plain(string(text))))
	}
	return p.bytes(), nil
}

// set begins a chapter on a new page.
func (p *printer) set(chapter []piece) {
	for i, b := range chapter {
		if i == 0 {
			p.page()
			p.titles = append(p.titles, struct {
				page int
				text string
			}{len(p.pages) - 1, b.lines[0]})
		}
		switch b.kind {
		case heading:
			size := []float64{18, 14, 11.5}[min(b.level, 3)-1]
			p.room(size + 3*bodyLead) // a heading does not end a page
			p.y -= size
			p.line("B", size, margin, b.lines[0])
			p.y -= 1.1 * size
		case table:
			p.table(b.rows)
		default:
			for k, text := range b.lines {
				mark, left := "", margin
				switch b.kind {
				case bullets:
					mark, left = "\u2022", margin+12
				case numbers:
					mark, left = fmt.Sprintf("%d.", k+1), margin+16
				}
				for n, line := range wrap(text, bodySize, pageWidth-margin-left) {
					p.room(bodyLead)
					if n == 0 && mark != "" {
						p.put("R", bodySize, margin, p.y, mark)
					}
					p.line("R", bodySize, left, line)
					p.y -= bodyLead
				}
			}
			p.y -= 0.6 * bodyLead
		}
	}
}

// table sets rows in columns as wide as their texts ask for; the first row is its head.
func (p *printer) table(rows [][]string) {
	wide := make([]float64, len(rows[0]))
	sum := 0.0
	for c := range wide {
		for r, row := range rows {
			w := width(row[c], bodySize)
			if r == 0 {
				w *= 1.1 // bold
			}
			wide[c] = max(wide[c], min(w, 160))
		}
		sum += wide[c]
	}
	room := pageWidth - 2*margin - cellGap*float64(len(wide)-1)
	for c := range wide {
		wide[c] *= min(1, room/sum)
	}
	p.y -= 0.2 * bodyLead
	for r, row := range rows {
		cells, high := make([][]string, len(row)), 0
		for c, text := range row {
			cells[c] = wrap(text, bodySize, wide[c]+1)
			high = max(high, len(cells[c]))
		}
		p.room(float64(high) * bodyLead)
		x := margin
		for c, lines := range cells {
			for n, line := range lines {
				p.put(map[bool]string{true: "B", false: "R"}[r == 0], bodySize, x, p.y-float64(n)*bodyLead, line)
			}
			x += wide[c] + cellGap
		}
		p.y -= float64(high)*bodyLead + 2
	}
	p.y -= 0.8 * bodyLead
}

// page begins one, with the book's title above and its number below.
func (p *printer) page() {
	p.pages = append(p.pages, &bytes.Buffer{})
	if len(p.pages) > 1 {
		p.put("R", 8, margin, pageHeight-30, title)
	}
	number := fmt.Sprint(len(p.pages))
	p.put("R", 8, (pageWidth-width(number, 8))/2, 25, number)
	p.y = pageHeight - margin - bodySize
}

// room has the next so many points on one page.
func (p *printer) room(high float64) {
	if p.y-high < margin {
		p.page()
	}
}

func (p *printer) line(font string, size, x float64, text string) { p.put(font, size, x, p.y, text) }

// put sets a text: font R or B, size, place of its begin.
func (p *printer) put(font string, size, x, y float64, text string) {
	fmt.Fprintf(p.pages[len(p.pages)-1], "BT /%s %g Tf %.2f %.2f Td (%s) Tj ET\n", font, size, x, y, escaped(text))
}

// escaped is a text of a PDF in Windows' Latin encoding.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '(' || r == ')' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '–':
			b.WriteByte(0x96)
		case r == '\u2022':
			b.WriteByte(0x95)
		case r == '−':
			b.WriteByte('-')
		case r < 0x100:
			b.WriteByte(byte(r))
		default:
			b.WriteByte('?') // TestPDF: the handbook has none
		}
	}
	return b.String()
}

// bytes writes the file.
func (p *printer) bytes() []byte {
	var out bytes.Buffer
	var at []int
	object := func(format string, args ...any) int {
		at = append(at, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n", len(at))
		fmt.Fprintf(&out, format, args...)
		out.WriteString("\nendobj\n")
		return len(at)
	}
	out.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	// 1 catalog, 2 pages, 3 and 4 fonts, 5 outline; then a page and its content each, then the marks of the outline.
	const first = 6
	marks := first + 2*len(p.pages)
	object("<< /Type /Catalog /Pages 2 0 R /Outlines 5 0 R /Lang (en) >>")
	var kids strings.Builder
	for i := range p.pages {
		fmt.Fprintf(&kids, "%d 0 R ", first+2*i)
	}
	object("<< /Type /Pages /Count %d /Kids [%s] >>", len(p.pages), kids.String())
	for _, name := range []string{"Helvetica", "Helvetica-Bold"} {
		object("<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>", name)
	}
	object("<< /Type /Outlines /First %d 0 R /Last %d 0 R /Count %d >>", marks, marks+len(p.titles)-1, len(p.titles))
	for i, text := range p.pages {
		object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %g %g] /Resources << /Font << /R 3 0 R /B 4 0 R >> >> /Contents %d 0 R >>", pageWidth, pageHeight, first+2*i+1)
		object("<< /Length %d >>\nstream\n%s\nendstream", text.Len(), text.String())
	}
	for i, t := range p.titles {
		beside := ""
		if i > 0 {
			beside += fmt.Sprintf(" /Prev %d 0 R", marks+i-1)
		}
		if i < len(p.titles)-1 {
			beside += fmt.Sprintf(" /Next %d 0 R", marks+i+1)
		}
		object("<< /Title (%s) /Parent 5 0 R%s /Dest [%d 0 R /Fit] >>", escaped(t.text), beside, first+2*t.page)
	}
	info := object("<< /Title (%s) >>", title)
	end := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, offset := range at {
		fmt.Fprintf(&out, "%010d 00000 n \n", offset)
	}
	fmt.Fprintf(&out, "trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, info, end)
	return out.Bytes()
}

// wrap cuts a text into lines.
func wrap(text string, size, room float64) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if longer := strings.TrimSpace(line + " " + word); line == "" || width(longer, size) <= room {
			line = longer
			continue
		}
		lines = append(lines, line)
		line = word
	}
	return append(lines, line)
}

// widths of Helvetica from the space to the tilde, in thousandths of its size (Adobe's font metrics, Helvetica.afm).
var widths = [...]int{
	278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
	1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
	333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
}

// width of a text in Helvetica, in points. Signs beyond ASCII are about as wide as a figure.
func width(text string, size float64) float64 {
	sum := 0
	for _, r := range text {
		if i := int(r) - ' '; i >= 0 && i < len(widths) {
			sum += widths[i]
		} else {
			sum += 556
		}
	}
	return float64(sum) * size / 1000
}
