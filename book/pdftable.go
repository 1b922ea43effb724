package book

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/book/pdf"
)

// An interval is from left to right.
type interval struct{ left, right float64 }

// columnsOf are the intervals that hold words in more than a few of the rows; what is between them is white.
func columnsOf(list []row) []interval {
	type edge struct {
		x float64
		d int
	}
	var edges []edge
	n := 0
	for _, r := range list {
		if len(r.spans) < 2 {
			continue
		}
		n++
		for _, s := range r.spans {
			edges = append(edges, edge{s.left, 1}, edge{s.right, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.x, b.x), cmp.Compare(a.d, b.d)) })
	few := n / 5 // a head or a long cell across columns does not close the white between them
	depth := 0
	var out []interval
	for _, e := range edges {
		was := depth > few
		depth += e.d
		switch is := depth > few; {
		case is && !was && len(out) > 0 && e.x-out[len(out)-1].right < narrowGap: // no column's edge
			out[len(out)-1].right = e.x
		case is && !was:
			out = append(out, interval{e.x, e.x})
		case was && !is:
			out[len(out)-1].right = e.x
		}
	}
	return out
}

// narrowGap, in points, and less is no white between columns.
const narrowGap = 3

// fineGap, as a share of the size, is more than stands between the words of a cell.
const fineGap = 0.5

// maxTableRows of one page are looked at together.
const maxTableRows = 200

// mark is a span that is only the sign before an item of a list.
var mark = regexp.MustCompile(`^(?:[•◦▪‣·●○■□–—*-]|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)])$`)

// tableEnd is how many of the rows, from the first, are a table; 0 if none are. All of them are of one column of the page.
func tableEnd(list []row) int {
	if len(list[0].spans) < 2 || mark.MatchString(list[0].spans[0].text()) {
		return 0
	}
	// What may be of it: rows of several cells, and single lines (heads within it, second lines of cells) between them.
	size := list[0].spans[0].size
	ends := []int{1} // after each row of several cells
	for end := 1; end < min(len(list), maxTableRows); end++ {
		next := &list[end]
		if list[end-1].bottom-next.top > 2.5*size || mark.MatchString(next.spans[0].text()) {
			break
		}
		if len(next.spans) > 1 {
			ends = append(ends, end+1)
			continue
		}
		before := list[end-1].spans
		wide := next.spans[0].right-next.spans[0].left > 0.7*(list[0].spans[len(list[0].spans)-1].right-list[0].spans[0].left)
		if s := &next.spans[0]; end-ends[len(ends)-1] >= 2 || wide && len(before) == 1 || captionStart.MatchString(s.text()) || s.size > 1.1*size || s.bold && !isBold(&list[ends[len(ends)-1]-1]) {
			break // a heading, or text again
		}
	}
	// As many rows as leave the columns that the first ones show.
	most, best := 0, 0
	for n, end := range ends {
		if n == 0 {
			continue
		}
		columns := len(columnsOf(list[:end]))
		if n >= 2 {
			most = max(most, columns)
		}
		if columns >= max(2, most-1) {
			best = n
		} else if n > best+8 {
			break // the white has closed
		}
	}
	if best == 0 || best == 1 && !agree(list[:ends[1]]) {
		return 0
	}
	end := ends[best]
	if parted(list[:end], best+1) {
		return 0
	}
	for end < len(list) && len(list[end].spans) == 1 && continuesCell(list[:end], &list[end]) {
		end++
	}
	return end
}

// parted tells whether lines of text go across the white between the columns of so many rows all over: these are no table then, but lines with a gap
// and what is said of each.
func parted(list []row, full int) bool {
	columns := columnsOf(list)
	if len(columns) < 2 {
		return false
	}
	across := 0
	for i := range list {
		s := &list[i].spans[0]
		last := columns[len(columns)-1]
		if len(list[i].spans) == 1 && s.left < columns[0].right && s.right > min(last.left+s.size, last.right) && len(s.words) > 3 {
			across++
		}
	}
	return across*2 >= full
}

func isBold(r *row) bool {
	return !slices.ContainsFunc(r.spans, func(s span) bool { return !s.bold })
}

// agree tells whether two rows are enough of a table: their cells begin or end at the same places, and are not sentences.
func agree(list []row) bool {
	var full []row
	for _, r := range list {
		if len(r.spans) > 1 {
			full = append(full, r)
		}
	}
	if len(full) != 2 || len(full[0].spans) != len(full[1].spans) {
		return len(full) > 2
	}
	for i := range full[0].spans {
		a, b := &full[0].spans[i], &full[1].spans[i]
		if near(a.left, b.left) || near(a.right, b.right) || near(a.left+a.right, b.left+b.right) {
			continue
		}
		return false
	}
	return true
}

func near(a, b float64) bool { return a-b < 3 && b-a < 3 }

// continuesCell tells whether a row of one span can be a second line of a cell above: it stands close below and
// within one column that is not the first.
func continuesCell(so []row, next *row) bool {
	s := &next.spans[0]
	if so[len(so)-1].bottom-next.top > 0.35*s.size {
		return false
	}
	columns := columnsOf(so)
	if len(columns) < 2 {
		return false
	}
	for i, c := range columns {
		if s.left >= c.left-2 && s.right <= c.right+2 {
			text := s.text()
			lower := text != "" && text[0] >= 'a' && text[0] <= 'z'
			return i > 0 && (near(s.left, c.left) || near(s.right, c.right)) || i == 0 && lower
		}
	}
	return false
}

// A cell of a table is its lines.
type cell []span

// cells puts the rows of a table into its columns. Lines that a cell was broken into become one.
func cells(list []row) [][]cell {
	columns := columnsOf(list)
	if finer := refine(list); len(list) > 2 {
		if c := columnsOf(finer); len(c) >= len(columns) && filled(finer, c) {
			list, columns = finer, c
		}
	}
	grid := make([][][]pdf.Word, len(list)) // [line, column, word]
	for i, r := range list {
		grid[i] = make([][]pdf.Word, len(columns))
		for _, s := range r.spans {
			at := columnOf(columns, &s)
			for _, part := range split(&s, columns, &at) {
				grid[i][at] = append(grid[i][at], part...)
				at++
			}
		}
	}
	merge := brokenRows(list, grid, columns)
	var out [][]cell
	for i := range grid {
		if i == 0 || !merge[i] {
			out = append(out, make([]cell, len(columns)))
		}
		last := out[len(out)-1]
		for c, words := range grid[i] {
			if len(words) > 0 {
				s := newSpan(words...)
				s.page = list[i].spans[0].page
				last[c] = append(last[c], s)
			}
		}
	}
	return out
}

// filled tells whether most rows have something in all columns.
func filled(list []row, columns []interval) bool {
	n := 0
	for _, r := range list {
		some := make([]bool, len(columns))
		for i := range r.spans {
			some[columnOf(columns, &r.spans[i])] = true
		}
		if !slices.Contains(some, false) {
			n++
		}
	}
	return n*2 >= len(list)
}

// tableBegin is how many rows right above a table belong to it though their gaps are small: their words stand within its columns.
func tableBegin(above, table []row) int {
	n := 0
	columns := columnsOf(table)
	for n < min(4, len(above)) {
		r := &above[len(above)-1-n]
		next := &table[0]
		if n > 0 {
			next = &above[len(above)-n]
		}
		if r.bottom-next.top > 1.2*next.spans[0].size || len(r.lines) != 1 || r.spans[0].bold != next.spans[0].bold {
			return n
		}
		in := map[int]bool{}
		for _, s := range refine([]row{*r})[0].spans {
			c := columnOf(columns, &s)
			if near := s.left >= columns[c].left-2*narrowGap && s.right <= columns[c].right+2*narrowGap; !near && !(c == 0 && s.right < columns[1].left-1) {
				return n
			}
			if in[c] {
				return n
			}
			in[c] = true
		}
		if len(in) < 2 {
			return n
		}
		n++
	}
	return n
}

// refine parts the cells of rows at smaller gaps, that only many rows together show to be white between columns.
func refine(list []row) []row {
	out := slices.Clone(list)
	for i := range out {
		var parts []span
		for _, s := range out[i].spans {
			begin := 0
			for k := 1; k <= len(s.words); k++ {
				if k == len(s.words) || s.words[k].Left-s.words[k-1].Right > fineGap*s.size && near(s.words[k].Base, s.words[k-1].Base) {
					part := newSpan(s.words[begin:k]...)
					part.page = s.page
					parts = append(parts, part)
					begin = k
				}
			}
		}
		out[i].spans = parts
	}
	return out
}

// columnOf is the column that most of a span lies in: the first of those that it covers.
func columnOf(columns []interval, s *span) int {
	best, most := 0, -1e9
	for i, c := range columns {
		if common := min(s.right, c.right) - max(s.left, c.left); common > most {
			best, most = i, common
		}
	}
	for i, c := range columns {
		if i < best && s.left < c.right && s.right > c.left {
			return i
		}
	}
	return best
}

// split parts a span where the white between two columns goes through it, and only there.
func split(s *span, columns []interval, at *int) [][]pdf.Word {
	if s.right <= columns[*at].right+narrowGap || *at == len(columns)-1 {
		return [][]pdf.Word{s.words}
	}
	var parts [][]pdf.Word
	begin := 0
	for c := *at; c < len(columns)-1; c++ {
		i := slices.IndexFunc(s.words, func(w pdf.Word) bool { return w.Left >= columns[c+1].left-1 })
		if i <= begin || s.words[i-1].Right > columns[c+1].left-1 || s.words[i-1].Right > columns[c].right+narrowGap && s.words[i].Left-s.words[i-1].Right < fineGap*s.size {
			return append(parts, s.words[begin:])
		}
		parts = append(parts, s.words[begin:i])
		begin = i
		if s.right <= columns[c+1].right+narrowGap {
			break
		}
	}
	return append(parts, s.words[begin:])
}

// brokenRows tells which lines go on with the row above them. Lines of one row stand closer than rows do, or one of
// them begins within a sentence.
func brokenRows(list []row, grid [][][]pdf.Word, columns []interval) []bool {
	out := make([]bool, len(list))
	steps := make([]float64, len(list)) // white between a line and all above it
	bottom := list[0].bottom
	var sorted []float64
	for i := 1; i < len(list); i++ {
		steps[i] = bottom - list[i].top
		bottom = min(bottom, list[i].bottom)
		sorted = append(sorted, steps[i])
	}
	slices.Sort(sorted)
	size := list[0].spans[0].size
	jump, limit := 0.15*size, -1e9
	for i := 1; i < len(sorted); i++ {
		if d := sorted[i] - sorted[i-1]; d > jump && sorted[i-1] < 0.6*size {
			jump, limit = d, (sorted[i]+sorted[i-1])/2
		}
	}
	for i := 1; i < len(list); i++ {
		both, here, above := 0, 0, 0
		for c := range grid[i] {
			if len(grid[i][c]) > 0 {
				here++
				if len(grid[i-1][c]) > 0 {
					both++
				}
			}
			if len(grid[i-1][c]) > 0 {
				above++
			}
		}
		half := steps[i] < -0.25*size // lines beside each other in the middle of their row
		switch {
		case half, brokenAbove(grid[i-1], grid[i]):
			out[i] = true
		case steps[i] < limit:
			out[i] = !hadRoom(grid[i-1], grid[i], columns)
		case len(grid[i][0]) == 0 && here < above && both == here && limit < -1e8 && startsLow(grid[i]):
			out[i] = true
		case here == 1 && len(grid[i][0]) > 0 && steps[i] < 0.35*size && startsLow(grid[i]) && len(grid[i-1][0]) > 0:
			out[i] = true
		}
	}
	return out
}

// hadRoom tells whether the first word of a cell would have had room in the line above it, and begins no later part of a sentence.
func hadRoom(above, line [][]pdf.Word, columns []interval) bool {
	for c := range line {
		if len(above[c]) == 0 || len(line[c]) == 0 {
			continue
		}
		first := line[c][0]
		if isFigure(first.Text) && isFigure(above[c][0].Text) && len(line[c]) <= 2 {
			return true
		}
		low, _ := utf8.DecodeRuneInString(first.Text)
		width := above[c][len(above[c])-1].Right - above[c][0].Left
		if !unicode.IsLower(low) && width+first.Right-first.Left+0.5*first.Size < columns[c].right-columns[c].left {
			return true
		}
	}
	return false
}

// brokenAbove tells whether a word of the line above goes on in the same cell.
func brokenAbove(above, line [][]pdf.Word) bool {
	for c := range line {
		if n := len(above[c]); n > 0 && len(line[c]) > 0 && isBroken(above[c][n-1].Text) {
			if first, _ := utf8.DecodeRuneInString(line[c][0].Text); unicode.IsLower(first) {
				return true
			}
		}
	}
	return false
}

// isFigure tells whether a word begins with a digit.
func isFigure(word string) bool { return word != "" && word[0] >= '0' && word[0] <= '9' }

// startsLow tells whether all cells of a line begin in lower case, as the rest of a sentence does.
func startsLow(line [][]pdf.Word) bool {
	low := false
	for _, cell := range line {
		if len(cell) > 0 {
			c := cell[0].Text[0]
			if c < 'a' || c > 'z' {
				return false
			}
			low = true
		}
	}
	return low
}

// tableText is rows of cells as the text of a block.
func tableText(rows [][]cell) string {
	var b strings.Builder
	for i, r := range rows {
		if i > 0 {
			b.WriteByte('\n')
		}
		for c, cell := range r {
			if c > 0 {
				b.WriteByte('\t')
			}
			for k := range cell {
				b.WriteString(cell[k].text() + " ")
			}
		}
	}
	return b.String()
}
