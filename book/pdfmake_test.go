package book

import (
	"bytes"
	"fmt"
	"strings"
)

// A paperMaker makes small PDF files: each page is a list of texts with their places.
type paperMaker struct {
	pages []strings.Builder
	marks []string // "page title" of the outline
	turn  int      // degrees that pages are shown turned by, clockwise
}

// page begins one of 400 by 600 points.
func (m *paperMaker) page() *paperMaker {
	m.pages = append(m.pages, strings.Builder{})
	return m
}

// put sets a text: font R, B, I or M (regular, bold, italic, typewriter), size, place of its begin.
func (m *paperMaker) put(font string, size, x, y float64, text string) *paperMaker {
	text = strings.NewReplacer(`\`, `\\`, `(`, `\(`, `)`, `\)`).Replace(text)
	fmt.Fprintf(&m.pages[len(m.pages)-1], "BT /%s %g Tf %g %g Td (%s) Tj ET\n", font, size, x, y, text)
	return m
}

// turned sets a text that runs upwards, its base line so far from the left.
func (m *paperMaker) turned(x, y float64, text string) *paperMaker {
	fmt.Fprintf(&m.pages[len(m.pages)-1], "BT /R 10 Tf 0 1 -1 0 %g %g Tm (%s) Tj ET\n", x, y, text)
	return m
}

// draw puts a picture on a page: a black square.
func (m *paperMaker) draw() *paperMaker {
	m.pages[len(m.pages)-1].WriteString("50 50 100 100 re f\n")
	return m
}

// ruled draws a line.
func (m *paperMaker) ruled(x1, y1, x2, y2 float64) *paperMaker {
	fmt.Fprintf(&m.pages[len(m.pages)-1], "0.5 w %g %g m %g %g l S\n", x1, y1, x2, y2)
	return m
}

// boxed draws a box.
func (m *paperMaker) boxed(x1, y1, x2, y2 float64) *paperMaker {
	fmt.Fprintf(&m.pages[len(m.pages)-1], "0.5 w %g %g %g %g re S\n", x1, y1, x2-x1, y2-y1)
	return m
}

// lines sets lines below each other, 12 points apart, and gives the height of the next one.
func (m *paperMaker) lines(x, y float64, lines ...string) float64 {
	for _, l := range lines {
		m.put("R", 10, x, y, l)
		y -= 12
	}
	return y
}

// bytes writes the file. It is locked if key says so: then it asks for a password.
func (m *paperMaker) bytes() []byte {
	var out bytes.Buffer
	var at []int
	object := func(text string) int {
		at = append(at, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", len(at), text)
		return len(at)
	}
	out.WriteString("%PDF-1.4\n")
	const fonts = 4
	for _, name := range []string{"Times-Roman", "Times-Bold", "Times-Italic", "Courier"} {
		object("<</Type/Font/Subtype/Type1/BaseFont/" + name + "/Encoding/WinAnsiEncoding>>")
	}
	tree := fonts + 2*len(m.pages) + 1
	var kids []string
	for i := range m.pages {
		text := m.pages[i].String()
		object(fmt.Sprintf("<</Length %d>>stream\n%s\nendstream", len(text), text))
		kids = append(kids, fmt.Sprintf("%d 0 R", object(fmt.Sprintf("<</Type/Page/Parent %d 0 R/Rotate %d/MediaBox[0 0 400 600]/Contents %d 0 R/Resources<</Font<</R 1 0 R/B 2 0 R/I 3 0 R/M 4 0 R>>>>>>", tree, m.turn, len(at)))))
	}
	object(fmt.Sprintf("<</Type/Pages/Kids[%s]/Count %d>>", strings.Join(kids, " "), len(kids)))
	outline := ""
	if len(m.marks) > 0 {
		first := len(at) + 2
		for i, mark := range m.marks {
			var page int
			fmt.Sscan(mark, &page)
			_, title, _ := strings.Cut(mark, " ")
			next := ""
			if i+1 < len(m.marks) {
				next = fmt.Sprintf("/Next %d 0 R", first+i)
			}
			if i == 0 {
				object(fmt.Sprintf("<</Type/Outlines/First %d 0 R/Last %d 0 R/Count %d>>", first, first+len(m.marks)-1, len(m.marks)))
				outline = fmt.Sprintf("/Outlines %d 0 R", len(at))
			}
			if next != "" {
				next = fmt.Sprintf("/Next %d 0 R", first+i+1)
			}
			object(fmt.Sprintf("<</Title(%s)/Parent %d 0 R%s/Dest[%s /Fit]>>", title, first-1, next, kids[page]))
		}
	}
	root := object(fmt.Sprintf("<</Type/Catalog/Pages %d 0 R%s>>", tree, outline))
	info := object("<</Title(Pulses)/Author(A. Cook)>>")
	xref := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, a := range at {
		fmt.Fprintf(&out, "%010d 00000 n \n", a)
	}
	fmt.Fprintf(&out, "trailer<</Size %d/Root %d 0 R/Info %d 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, root, info, xref)
	return out.Bytes()
}
