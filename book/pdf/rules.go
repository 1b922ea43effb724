package pdf

import (
	"math"

	"github.com/klippa-app/go-pdfium/enums"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"
)

// A Rule is a straight line that is drawn across or down a page, from its begin to its end, in points from the lower left corner. A line across has
// Bottom == Top, one down Left == Right.
type Rule struct{ Left, Bottom, Right, Top float64 }

// Across tells whether the line runs from left to right.
func (r *Rule) Across() bool { return r.Bottom == r.Top }

// Limits of what is looked at on a page for lines, and of what is a line.
const (
	maxObjects  = 4000 // things that are drawn
	maxForms    = 2    // drawings within each other
	maxSegments = 1000 // lines and curves of a drawing
	maxRules    = 2000
	ruleWidth   = 3.5 // points; what is wider is a box
	ruleLength  = 5   // points; what is shorter is a dot or a part of a picture
	// maxHandles are what go-pdfium keeps for each thing that was looked at until the file is closed, 250 bytes for each.
	maxHandles = 1 << 19
)

// A matrix takes the places of a drawing to those of the page.
type matrix struct{ a, b, c, d, e, f float64 }

func (m matrix) at(x, y float64) (float64, float64) { return m.a*x + m.c*y + m.e, m.b*x + m.d*y + m.f }

// times is n after m.
func (m matrix) times(n matrix) matrix {
	return matrix{m.a*n.a + m.b*n.c, m.a*n.b + m.b*n.d, m.c*n.a + m.d*n.c, m.c*n.b + m.d*n.d, m.e*n.a + m.f*n.c + n.e, m.e*n.b + m.f*n.d + n.f}
}

// rules finds the straight lines of a page.
func (f *pdfium) rules(page requests.Page) []Rule {
	count, err := f.pdf.FPDFPage_CountObjects(&requests.FPDFPage_CountObjects{Page: page})
	if err != nil {
		return nil
	}
	var found ruled
	for i := range min(count.Count, maxObjects) {
		if o, err := f.pdf.FPDFPage_GetObject(&requests.FPDFPage_GetObject{Page: page, Index: i}); err == nil {
			f.object(o.PageObject, matrix{a: 1, d: 1}, maxForms, &found)
		}
	}
	f.handles += found.handles
	return found.rules
}

// object adds the lines of a thing that is drawn.
func (f *pdfium) object(o references.FPDF_PAGEOBJECT, m matrix, deep int, found *ruled) {
	found.handles++
	kind, err := f.pdf.FPDFPageObj_GetType(&requests.FPDFPageObj_GetType{PageObject: o})
	if err != nil || len(found.rules) >= maxRules || found.handles > maxObjects+maxRules {
		return
	}
	switch {
	case kind.Type == enums.FPDF_PAGEOBJ_PATH:
		f.path(o, m, found)
	case kind.Type == enums.FPDF_PAGEOBJ_FORM && deep > 0:
		own, err := f.matrix(o)
		count, err2 := f.pdf.FPDFFormObj_CountObjects(&requests.FPDFFormObj_CountObjects{PageObject: o})
		if err != nil || err2 != nil {
			return
		}
		for i := range min(count.Count, maxObjects-found.handles) {
			if part, err := f.pdf.FPDFFormObj_GetObject(&requests.FPDFFormObj_GetObject{PageObject: o, Index: uint64(i)}); err == nil {
				f.object(part.PageObject, own.times(m), deep-1, found)
			}
		}
	}
}

func (f *pdfium) matrix(o references.FPDF_PAGEOBJECT) (matrix, error) {
	r, err := f.pdf.FPDFPageObj_GetMatrix(&requests.FPDFPageObj_GetMatrix{PageObject: o})
	if err != nil {
		return matrix{}, err
	}
	m := r.Matrix
	return matrix{float64(m.A), float64(m.B), float64(m.C), float64(m.D), float64(m.E), float64(m.F)}, nil
}

// path adds the lines of a path: a thin box is one, and so are the straight pieces of one that is drawn as lines.
func (f *pdfium) path(o references.FPDF_PAGEOBJECT, m matrix, found *ruled) {
	bounds, err := f.pdf.FPDFPageObj_GetBounds(&requests.FPDFPageObj_GetBounds{PageObject: o})
	if err != nil {
		return
	}
	x1, y1 := m.at(float64(bounds.Left), float64(bounds.Bottom))
	x2, y2 := m.at(float64(bounds.Right), float64(bounds.Top))
	if found.add(x1, y1, x2, y2) {
		return
	}
	if math.Abs(x2-x1) < ruleLength && math.Abs(y2-y1) < ruleLength {
		return
	}
	mode, err := f.pdf.FPDFPath_GetDrawMode(&requests.FPDFPath_GetDrawMode{PageObject: o})
	count, err2 := f.pdf.FPDFPath_CountSegments(&requests.FPDFPath_CountSegments{PageObject: o})
	own, err3 := f.matrix(o)
	if err != nil || err2 != nil || err3 != nil || count.Count > maxSegments || !mode.Stroke && count.Count < 8 { // one box that is filled
		return
	}
	m = own.times(m)
	var sx, sy, x, y float64                                           // where the figure and the last piece of it began
	l, b, r, t := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1) // of the figure
	end := func() {
		if !mode.Stroke && r >= l {
			found.add(l, b, r, t)
		}
		l, b, r, t = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	}
	for i := range count.Count {
		found.handles++
		s, err := f.pdf.FPDFPath_GetPathSegment(&requests.FPDFPath_GetPathSegment{PageObject: o, Index: i})
		if err != nil {
			return
		}
		kind, err := f.pdf.FPDFPathSegment_GetType(&requests.FPDFPathSegment_GetType{PathSegment: s.PathSegment})
		point, err2 := f.pdf.FPDFPathSegment_GetPoint(&requests.FPDFPathSegment_GetPoint{PathSegment: s.PathSegment})
		closed, err3 := f.pdf.FPDFPathSegment_GetClose(&requests.FPDFPathSegment_GetClose{PathSegment: s.PathSegment})
		if err != nil || err2 != nil || err3 != nil {
			return
		}
		nx, ny := m.at(float64(point.X), float64(point.Y))
		switch kind.Type {
		case enums.FPDF_SEGMENT_MOVETO:
			end()
			sx, sy = nx, ny
		case enums.FPDF_SEGMENT_LINETO:
			if mode.Stroke {
				found.add(x, y, nx, ny)
			}
		}
		l, b, r, t = min(l, nx), min(b, ny), max(r, nx), max(t, ny)
		if x, y = nx, ny; closed.IsClose {
			if mode.Stroke {
				found.add(x, y, sx, sy)
			}
			x, y = sx, sy
		}
	}
	end()
}

// ruled gathers lines, and counts what was looked at for them.
type ruled struct {
	rules   []Rule
	handles int
}

// add takes a box if it is a line.
func (r *ruled) add(x1, y1, x2, y2 float64) bool {
	x1, x2 = min(x1, x2), max(x1, x2)
	y1, y2 = min(y1, y2), max(y1, y2)
	switch {
	case len(r.rules) >= maxRules, math.IsNaN(x1 + x2 + y1 + y2), math.IsInf(x2-x1+y2-y1, 0):
		return false
	case y2-y1 <= ruleWidth && x2-x1 >= ruleLength && x2-x1 > 2*(y2-y1):
		y := (y1 + y2) / 2
		r.rules = append(r.rules, Rule{x1, y, x2, y})
	case x2-x1 <= ruleWidth && y2-y1 >= ruleLength && y2-y1 > 2*(x2-x1):
		x := (x1 + x2) / 2
		r.rules = append(r.rules, Rule{x, y1, x, y2})
	default:
		return false
	}
	return true
}
