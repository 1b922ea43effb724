package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Charts are drawn in these units, which are pixels at their natural size.
const (
	chartWidth  = 640
	chartHeight = 260
	left        = 62 // of the plot
	right       = 16
	top         = 16
	bottom      = 42
)

// A drawing is a chart as shapes, which SVG and PNG draw alike. A class is a color and a style.
type drawing struct {
	id, title, description string
	width, height          float64
	legend                 []Legend // empty where one curve says what the title says
	shapes                 []shape
}

// A Legend names what a class stands for.
type Legend struct{ Class, Name string }

// A shape is a line through points, a mark at one, or a text there.
type shape struct {
	kind   byte // 'l' line, 'c' circle, 'd' diamond, 'r' rectangle of two corners, 't' text
	class  string
	points []float64 // x, y, x, y, ...
	size   float64   // of marks
	text   string
	anchor string // start, middle or end
}

func (d *drawing) line(class string, points ...float64) {
	d.shapes = append(d.shapes, shape{kind: 'l', class: class, points: points})
}

func (d *drawing) mark(kind byte, class string, x, y, size float64) {
	d.shapes = append(d.shapes, shape{kind: kind, class: class, points: []float64{x, y}, size: size})
}

func (d *drawing) rect(class string, x0, y0, x1, y1 float64) {
	d.shapes = append(d.shapes, shape{kind: 'r', class: class, points: []float64{x0, y0, x1, y1}})
}

func (d *drawing) text(class, anchor string, x, y float64, text string) {
	d.shapes = append(d.shapes, shape{kind: 't', class: class, anchor: anchor, points: []float64{x, y}, text: text})
}

// A curve is one line of a chart.
type curve struct {
	name  string
	class string // "a", "b", ...
	x, y  []float64
	marks byte // drawn at each point: 'c', 'd' or 0 for none
}

// A note is a point that is named.
type note struct {
	x, y float64
	text string
}

// A lineChart is curves over iterations.
type lineChart struct {
	id, title string
	curves    []curve
	notes     []note
	shows     []float64 // values that the axis has, whatever the curves are
}

// draw lays a chart out; nil while it has fewer than two points.
func (c *lineChart) draw() *drawing {
	x, y := newRange(), newRange()
	n := 0
	for _, line := range c.curves {
		for i := range line.x {
			if finite(line.y[i]) {
				x.include(line.x[i])
				y.include(line.y[i])
				n++
			}
		}
	}
	if n < 2 || x.low == x.high {
		return nil
	}
	for _, v := range c.shows {
		y.include(v)
	}
	y.widen()
	d := &drawing{id: c.id, title: c.title, width: chartWidth, height: chartHeight}
	px := func(v float64) float64 { return left + (v-x.low)/(x.high-x.low)*(chartWidth-left-right) }
	py := func(v float64) float64 {
		return chartHeight - bottom - (v-y.low)/(y.high-y.low)*(chartHeight-top-bottom)
	}
	for _, v := range ticks(y.low, y.high, 5) {
		d.line("grid", left, py(v), chartWidth-right, py(v))
		d.text("axis", "end", left-8, py(v)+4, number(v))
	}
	for _, v := range ticks(x.low, x.high, 6) {
		d.text("axis", "middle", px(v), chartHeight-bottom+18, number(v))
	}
	d.line("frame", left, chartHeight-bottom, chartWidth-right, chartHeight-bottom)
	d.text("axis", "end", chartWidth-right, chartHeight-6, "iteration")
	for _, line := range c.curves {
		line.draw(d, px, py)
		if len(c.curves) > 1 && len(line.x) > 0 {
			d.legend = append(d.legend, Legend{line.class, line.name})
		}
	}
	for _, m := range c.notes {
		d.mark('d', "note", px(m.x), py(m.y), 6)
		anchor, dx := "start", 9.0
		if px(m.x) > chartWidth*0.7 {
			anchor, dx = "end", -9
		}
		d.text("label", anchor, px(m.x)+dx, max(py(m.y)-8, top+4), m.text)
	}
	d.description = c.describe()
	return d
}

// mostPoints is how many points of a curve are drawn; more are averaged.
const mostPoints = 1500

func (c *curve) draw(d *drawing, px, py func(float64) float64) {
	var points []float64
	flush := func() {
		if len(points) >= 4 {
			d.line(c.class, points...)
		}
		points = nil
	}
	group := (len(c.x) + mostPoints - 1) / mostPoints
	for i := 0; i < len(c.x); i += max(group, 1) {
		x, y, n := 0.0, 0.0, 0.0
		for k := i; k < min(i+max(group, 1), len(c.x)); k++ {
			if finite(c.y[k]) {
				x, y, n = x+c.x[k], y+c.y[k], n+1
			}
		}
		if n == 0 {
			flush()
			continue
		}
		points = append(points, px(x/n), py(y/n))
		if c.marks != 0 && len(c.x) <= mostPoints {
			d.mark(c.marks, c.class, px(x/n), py(y/n), 3.5)
		}
	}
	flush()
}

// describe tells the chart to who does not see it.
func (c *lineChart) describe() string {
	var parts []string
	for _, l := range c.curves {
		if n := len(l.x); n > 0 {
			low := l.y[0]
			for _, v := range l.y {
				if finite(v) && !(v > low) {
					low = v
				}
			}
			parts = append(parts, fmt.Sprintf("%s: %s at iteration %s, %s at %s, lowest %s", l.name, number(l.y[0]), number(l.x[0]), number(l.y[n-1]), number(l.x[n-1]), number(low)))
		}
	}
	for _, m := range c.notes {
		parts = append(parts, fmt.Sprintf("%s: iteration %s", m.text, number(m.x)))
	}
	return strings.Join(parts, "; ") + "."
}

// A valueRange is what an axis spans.
type valueRange struct{ low, high float64 }

func newRange() valueRange { return valueRange{math.Inf(1), math.Inf(-1)} }

func (r *valueRange) include(v float64) { r.low, r.high = min(r.low, v), max(r.high, v) }

// widen leaves room around the values.
func (r *valueRange) widen() {
	span := r.high - r.low
	if span <= 1e-12*max(math.Abs(r.low), math.Abs(r.high)) {
		span = max(math.Abs(r.high), 1e-9)
	}
	if r.low != 0 {
		r.low -= 0.06 * span
	}
	r.high += 0.06 * span
}

// ticks are round values, 1, 2 or 5 times a power of ten apart, about n of them.
func ticks(low, high float64, n int) (out []float64) {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(n))))
	for _, m := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*m) <= float64(n) {
			step *= m
			break
		}
	}
	for k := math.Ceil(low/step - 1e-9); k*step <= high+1e-9*step; k++ {
		if out = append(out, k*step); len(out) > 20 {
			break
		}
	}
	return out
}

// number writes a value as briefly as its size allows.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case a == 0 || a < 1e-12:
		return "0"
	case a >= 1e6 || a < 1e-3:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 3, 64), "0"), ".")
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// bars draws a histogram of how many rows have which length.
func bars(id, title string, width int, counts []int) *drawing {
	most, sum := 0, 0
	for _, n := range counts {
		most, sum = max(most, n), sum+n
	}
	if most == 0 {
		return nil
	}
	d := &drawing{id: id, title: title, width: chartWidth, height: 200}
	d.description = fmt.Sprintf("%d rows in %d groups of lengths of %d tokens each; the largest group has %d rows.", sum, len(counts), width, most)
	base, high := d.height-bottom, d.height-bottom-top
	for _, v := range ticks(0, float64(most), 4) {
		if v == math.Trunc(v) {
			y := base - v/float64(most)*high
			d.line("grid", left, y, chartWidth-right, y)
			d.text("axis", "end", left-8, y+4, number(v))
		}
	}
	each := float64(chartWidth-left-right) / float64(len(counts))
	for i, n := range counts {
		x := left + float64(i)*each
		if n > 0 {
			d.rect("a", x+1, base-float64(n)/float64(most)*high, x+each-1, base)
		}
	}
	for _, v := range ticks(0, float64(len(counts)*width), 6) {
		d.text("axis", "middle", left+v/float64(width)*each, base+18, number(v))
	}
	d.line("frame", left, base, chartWidth-right, base)
	d.text("axis", "end", chartWidth-right, d.height-6, "tokens")
	return d
}
