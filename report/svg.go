package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// svg writes a drawing as an element of a page, whose style sheet has its classes.
func (d *drawing) svg() template.HTML {
	if d == nil {
		return ""
	}
	var b strings.Builder
	id := html.EscapeString(d.id)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-t %s-d">`, coordinate(d.width), coordinate(d.height), id, id)
	fmt.Fprintf(&b, `<title id="%s-t">%s</title><desc id="%s-d">%s</desc>`, id, html.EscapeString(d.title), id, html.EscapeString(d.description))
	for _, s := range d.shapes {
		s.svg(&b)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

func (s *shape) svg(b *strings.Builder) {
	p, class := s.points, html.EscapeString(s.class)
	switch s.kind {
	case 'l':
		fmt.Fprintf(b, `<polyline class="line %s" points="`, class)
		for i := 0; i+1 < len(p); i += 2 {
			fmt.Fprintf(b, "%s,%s ", coordinate(p[i]), coordinate(p[i+1]))
		}
		b.WriteString(`"/>`)
	case 'c':
		fmt.Fprintf(b, `<circle class="mark %s" cx="%s" cy="%s" r="%s"/>`, class, coordinate(p[0]), coordinate(p[1]), coordinate(s.size))
	case 'd':
		x, y, r := p[0], p[1], s.size
		fmt.Fprintf(b, `<path class="mark %s" d="M%s %sL%s %sL%s %sL%s %sZ"/>`, class, coordinate(x), coordinate(y-r), coordinate(x+r), coordinate(y), coordinate(x), coordinate(y+r), coordinate(x-r), coordinate(y))
	case 'r':
		fmt.Fprintf(b, `<rect class="mark %s" x="%s" y="%s" width="%s" height="%s"/>`, class, coordinate(p[0]), coordinate(p[1]), coordinate(max(p[2]-p[0], 0.5)), coordinate(max(p[3]-p[1], 0.5)))
	case 't':
		fmt.Fprintf(b, `<text class="%s" text-anchor="%s" x="%s" y="%s">%s</text>`, class, s.anchor, coordinate(p[0]), coordinate(p[1]), html.EscapeString(s.text))
	}
}

// coordinate writes a place to a tenth of a unit.
func coordinate(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}
