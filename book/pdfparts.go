package book

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/book/pdf"
)

// A part is a block of a page before it is known what the whole book makes of it.
type part struct {
	kind  Kind
	level int // of a heading
	page  int // from 0
	lines []span
	cells [][]cell // of a table, row by row
	// left and right are the edges of the column that it stands in.
	left, right float64
	// above is the white above it, in points; the top of a column has none.
	above  float64
	region int  // the columns of the book, counted
	aside  bool // a note in the margin
	led    bool // a table whose cells were parted by dots
}

func (p *part) text() string {
	if p.kind == Table {
		return tableText(p.cells)
	}
	texts := make([]string, len(p.lines))
	for i := range p.lines {
		texts[i] = p.lines[i].text()
	}
	return strings.Join(texts, " ")
}

func (p *part) bottom() float64 { return p.lines[len(p.lines)-1].bottom }

// A layout is what all pages of a book have in common.
type layout struct {
	size    float64 // of most letters
	leading float64 // from one base line to the next within a paragraph, as a share of size
	gutters []float64
	typed   bool // all of the book is set like a typescript
}

// parts takes one column of a page apart.
func (l *layout) parts(page int, list []span) []part {
	var tables []span
	list = slices.DeleteFunc(slices.Clone(list), func(s span) bool {
		if s.table != nil {
			tables = append(tables, s)
		}
		return s.table != nil
	})
	var left, right float64
	if len(list) > 0 {
		left, right = edges(rows(list))
	}
	slices.SortStableFunc(tables, func(a, b span) int { return cmp.Compare(b.top, a.top) })
	var out []part
	for _, t := range tables {
		middle := (t.top + t.bottom) / 2
		var above, below []span
		for _, s := range list {
			if (s.top+s.bottom)/2 > middle {
				above = append(above, s)
			} else {
				below = append(below, s)
			}
		}
		out = append(append(out, l.partsOf(page, above, left, right)...), *t.table)
		list = below
	}
	out = append(out, l.partsOf(page, list, left, right)...)
	for i := 1; i < len(out); i++ {
		out[i].above = out[i-1].bottom() - out[i].lines[0].top
	}
	return out
}

// partsOf takes what stands between tables that lines make apart.
func (l *layout) partsOf(page int, list []span, left, right float64) []part {
	rs := rows(list)
	var out []part
	var lines []span
	begin := 0 // of the rows that lines are of
	flush := func() {
		out = append(out, l.paragraphs(page, lines, left, right)...)
		lines = nil
	}
	for i := 0; i < len(rs); {
		n := 0
		if i == 0 || !isStretched(&rs[i-1], &rs[i], left, right) {
			n = tableEnd(rs[i:])
		}
		if n > 0 && !l.typed && allTyped(rs[i:i+n]) {
			n = 0 // a program
		}
		led := ledRows(rs[i:])
		if led > n {
			n = led
		}
		if n == 0 {
			lines = append(lines, rs[i].lines...)
			i++
			continue
		}
		table := part{kind: Table, page: page, left: left, right: right}
		for _, r := range rs[i : i+n] {
			table.lines = append(table.lines, r.lines...)
		}
		if table.led = led == n; table.led {
			table.cells = ledCells(rs[i : i+n])
		} else {
			table.cells = cells(rs[i : i+n])
		}
		if begin = max(begin, i-4); !table.led && n > 1 {
			if k := tableBegin(rs[begin:i], rs[i:i+n]); k > 0 && k <= len(lines) {
				taken := rs[i-k : i+n]
				lines = lines[:len(lines)-k]
				table.lines = nil
				for _, r := range taken {
					table.lines = append(table.lines, r.lines...)
				}
				table.cells = cells(taken)
			}
		}
		if len(table.cells) < 2 && !table.led { // one line with a gap
			lines = append(lines, table.lines...)
			i += n
			continue
		}
		flush()
		out = append(out, table)
		i += n
		begin = i
	}
	flush()
	return out
}

// isStretched tells whether a row with gaps is a line of a paragraph that was stretched to fill its column, as the line above it was.
func isStretched(above, r *row, left, right float64) bool {
	s, last := &r.spans[0], &r.spans[len(r.spans)-1]
	return len(r.spans) > 1 && len(above.spans) == 1 && near(s.left, left) && near(last.right, right) && near(above.spans[0].right, right) &&
		above.spans[0].right-above.spans[0].left > 0.7*(right-left) && above.bottom-r.top < 0.6*s.size
}

// allTyped tells whether rows are set like a typescript, in which spaces make the columns.
func allTyped(rs []row) bool {
	for _, r := range rs {
		for i := range r.spans {
			if !isTyped(&r.spans[i]) {
				return false
			}
		}
	}
	return true
}

// ledRows is how many rows, from the first, have dots that lead from a text to its number.
func ledRows(list []row) int {
	n, last := 0, 0
	for n < len(list) && n-last < 2 { // an entry may take a line more
		led := slices.ContainsFunc(list[n].spans, func(s span) bool { return isLeader(s.words[0].Text) })
		if !led && isBold(&list[n]) {
			return last // a heading
		}
		n++
		if led {
			last = n
		} else if n == 1 {
			return 0
		}
	}
	return last
}

// ledCells parts rows at their dots. A row without some is the begin of the next one.
func ledCells(list []row) [][]cell {
	var out [][]cell
	var before cell
	for _, r := range list {
		var line []cell
		led := false
		text := before
		for _, s := range r.spans {
			if isLeader(s.words[0].Text) {
				led = true
				line, text = append(line, append(text, s)), nil
				continue
			}
			text = append(text, s)
		}
		if before = nil; !led {
			before = text
			continue
		}
		out = append(out, append(line, text))
	}
	if before != nil {
		out = append(out, []cell{before})
	}
	return out
}

// edges are where most lines of a column begin and end.
func edges(rs []row) (left, right float64) {
	var ls, rt []float64
	for _, r := range rs {
		ls, rt = append(ls, r.spans[0].left), append(rt, r.spans[len(r.spans)-1].right)
	}
	slices.Sort(ls)
	slices.Sort(rt)
	return ls[len(ls)/10], rt[len(rt)-1-len(rt)/10]
}

// paragraphs parts lines where one of them begins anew.
func (l *layout) paragraphs(page int, lines []span, left, right float64) []part {
	if len(lines) == 0 {
		return nil
	}
	hanging, entries := hangs(lines, right), 0
	for i := range lines {
		if entryEnd.MatchString(lines[i].text()) {
			entries++
		}
	}
	index := entries > 3 && entries*2 > len(lines)
	var out []part
	start := 0
	for i := range lines {
		next := i > 0 && index && entryEnd.MatchString(lines[i-1].text()) && lines[i].left < lines[i-1].left+0.5*lines[i].size
		if i == 0 || next || l.begins(lines, start, i, left, right, hanging) {
			start = i
			out = append(out, part{kind: Paragraph, page: page, left: left, right: right})
		}
		p := &out[len(out)-1]
		p.lines = append(p.lines, lines[i])
	}
	return out
}

// entryEnd is how an entry of an index ends: in pages after a comma.
var entryEnd = regexp.MustCompile(`\pL,\s*\d{1,4}(?:[\d\s,–-]|ff?\b|n\b)*\.?$`)

// fitsAbove tells whether the first word of a line would have had room in the line before it, so that the line was ended on purpose.
func fitsAbove(before, line *span, right float64) bool {
	end := 1
	for end < len(line.words) && line.words[end].Glued {
		end++
	}
	return before.right+0.3*before.size+(line.words[end-1].Right-line.words[0].Left) < right-0.3*before.size
}

// sameSize tells whether two lines can be of one paragraph: one that is mostly of another font has words of the other's size.
func sameSize(a, b *span) bool {
	has := func(s *span, size float64) bool {
		return slices.ContainsFunc(s.words, func(w pdf.Word) bool { return math.Abs(w.Size-size) < 0.08*size })
	}
	return has(a, b.size) || has(b, a.size) && math.Abs(a.size-b.size) < 0.2*a.size
}

// hangs tells whether all lines of an entry but the first are indented, as in an index or a bibliography.
func hangs(lines []span, right float64) bool {
	in, out, total := 0, 0, 0
	for i := 1; i < len(lines); i++ {
		a, b := &lines[i-1], &lines[i]
		if !fitsAbove(a, b, right) {
			continue
		}
		total++
		switch d := b.left - a.left; {
		case d > 0.7*a.size:
			in++
		case d < -0.7*a.size:
			out++
		}
	}
	return out >= 3 && out > 2*in && out*3 > total
}

// begins tells whether line i begins a paragraph; the last one began with line start.
func (l *layout) begins(lines []span, start, i int, left, right float64, hanging bool) bool {
	a, b := &lines[i-1], &lines[i]
	step := a.base - b.base
	size := max(a.size, b.size)
	if full := func(w pdf.Word) bool { return math.Abs(w.Size-l.size) < 0.08*l.size }; size < l.size && (slices.ContainsFunc(a.words, full) || slices.ContainsFunc(b.words, full)) {
		size = l.size // most of both is set smaller, as names in programs are
	}
	dent := b.left - a.left
	switch {
	case !sameSize(a, b) && !isCap(a) && !isCap(b), a.bold != b.bold && len(b.words) > 1 && len(a.words) > 1, step < 0.5*size:
		return true
	case step > l.leading*size+0.35*size:
		return true
	case areIngredients(a, b):
		return true
	case isItem(b.text()) && (fitsAbove(a, b, right) || math.Abs(dent) > 0.5*size || isItem(a.text()) || ends(a.text())):
		return true
	case a.italic != b.italic && len(a.words) > 1 && len(b.words) > 1 && (b.left > left+size || a.left > left+size) && fitsAbove(a, b, right):
		return true
	case isItem(lines[start].text()) && b.left > lines[start].left+0.5*size && (i-1 == start && len(a.words) > 1 && math.Abs(b.left-a.words[1].Left) < 0.6*size || i-1 > start && near(a.left, b.left)):
		return false // further lines of an item
	case a.bold && b.bold && a.size > 1.15*l.size:
		return false // a heading of two lines
	case hanging:
		return dent < -0.7*size || b.left < left+0.5*size && a.left < left+0.5*size && fitsAbove(a, b, right)
	case dent > 0.7*size && b.left > left+0.7*size && (i < 2 || lines[i-2].left > a.left+0.7*size || math.Abs(lines[i-2].left-a.left) < 0.7*size || fitsAbove(a, b, right)):
		// The first line of a paragraph, unless both are in the middle.
		return !areCentered(a, b, left, right)
	case fitsAbove(a, b, right):
		first, _ := utf8.DecodeRuneInString(strings.TrimLeft(b.text(), `"'“‘([`))
		if areCentered(a, b, left, right) {
			return false
		}
		return !unicode.IsLower(first) && (ends(a.text()) || b.words[0].Right-b.words[0].Left+a.right < right-4*size)
	}
	return false
}

// areIngredients tells whether two lines below each other are ingredients of a recipe: one of them surely.
func areIngredients(a, b *span) bool {
	if len(a.words) > 8 || len(b.words) > 8 || !isFigure(a.words[0].Text) && !isFigure(b.words[0].Text) {
		return false
	}
	can, sure := ingredientLine(a.text())
	can2, sure2 := ingredientLine(b.text())
	return can && can2 && (sure || sure2)
}

// ends tells whether a text ends as sentences do.
func ends(text string) bool {
	last, _ := utf8.DecodeLastRuneInString(strings.TrimRight(text, `"'”’)]`))
	return strings.ContainsRune(".!?:;…", last)
}

// areCentered tells whether two lines are in the middle of their column, as those of a title are.
func areCentered(a, b *span, left, right float64) bool {
	middle := func(s *span) bool {
		return math.Abs(s.left-left-(right-s.right)) < 1.2*s.size && s.left > left+s.size
	}
	return middle(a) && middle(b)
}

// isCap tells whether a line begins with an initial that is larger than the rest.
func isCap(s *span) bool {
	return s.words[0].Size > 1.5*s.size && utf8.RuneCountInString(s.words[0].Text) <= 2
}

// item is the sign that an item of a list begins with.
var item = regexp.MustCompile(`^(?:[•◦▪‣·●○■□*–—-]\s|(?:\d{1,2}|[a-z]|[ivx]{2,4})[.)]\s|\((?:\d{1,2}|[a-z]|[ivx]{1,4})\)\s)`)

// bulletSign are the signs of items that have no number.
var bulletSign = regexp.MustCompile(`^[•◦▪‣·●○■□*–—-]\s+`)

func isItem(text string) bool { return item.MatchString(text) }

// captionStart is how the text below a picture or above a table begins.
var captionStart = regexp.MustCompile(`^(?:Figure|Fig\.|FIGURE|FIG\.|Table|TABLE|Plate|PLATE|Illustration|Chart|Diagram|Photo|Map)\s+(?:\d+|[IVXLC]+|[A-Z])(?:[.:\-–]\d+)*[.:)\s–—-]`)

// initials puts the large first letter of a chapter before its word: "T" and "he", or "A" and "book".
func initials(words []pdf.Word, size float64) []pdf.Word {
	for i := range words {
		cap := &words[i]
		if cap.Size < 1.7*size || utf8.RuneCountInString(cap.Text) != 1 || !hasLetter(cap.Text) || cap.Turned {
			continue
		}
		best := -1
		for j := range words {
			w := &words[j]
			gap := w.Left - cap.Right
			if j == i || w.Size > 0.7*cap.Size || gap < -0.3*w.Size || gap > 1.2*w.Size || w.Top > cap.Top+0.6*w.Size || w.Base < cap.Base+0.5*w.Size {
				continue
			}
			if best < 0 || w.Base > words[best].Base {
				best = j
			}
		}
		if best < 0 {
			continue
		}
		line := words[best].Base
		inset := 0
		for j := range words { // there has to be a line below it that makes room, too
			w := &words[j]
			if gap := w.Left - cap.Right; j != best && gap > -0.3*w.Size && gap < 1.2*w.Size && w.Base < line-0.5*w.Size && w.Base > cap.Base-0.3*w.Size {
				w.Left = cap.Left
				inset++
			}
		}
		if inset == 0 {
			continue
		}
		next := &words[best]
		cap.Base, cap.Bottom, cap.Top = next.Base, next.Bottom, next.Top
		cap.Right = min(cap.Right, next.Left-0.1)
		next.Glued = !(strings.EqualFold(cap.Text, "A") || cap.Text == "I") || next.Left-cap.Right < 0.05*next.Size
	}
	return words
}
