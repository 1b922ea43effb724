package book

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/book/pdf"
)

// A span is words beside each other on one base line, with no gap that a column could begin at. Lengths are in
// points, from the lower left corner of the page.
type span struct {
	words                    []pdf.Word // from left to right
	left, bottom, right, top float64
	base, size               float64 // size is that of most of its letters
	bold, italic             bool    // all of it
	page                     int     // from 0
	table                    *part   // that stands here between lines that are drawn
}

func newSpan(words ...pdf.Word) span {
	s := span{words: words, left: math.Inf(1), bottom: math.Inf(1), right: math.Inf(-1), top: math.Inf(-1), bold: true, italic: true}
	sizes := map[float64]int{}
	for _, w := range words {
		s.left, s.right = min(s.left, w.Left), max(s.right, w.Right)
		s.bottom, s.top = min(s.bottom, w.Bottom), max(s.top, w.Top)
		if !hasLetter(w.Text) && len(words) > 1 {
			continue
		}
		s.bold, s.italic = s.bold && w.Bold, s.italic && w.Italic
		sizes[w.Size] += len(w.Text)
		if sizes[w.Size] > sizes[s.size] || s.size == 0 {
			s.size, s.base = w.Size, w.Base
		}
	}
	if s.size == 0 {
		s.size, s.base = words[0].Size, words[0].Base
	}
	return s
}

// text is the words with spaces between those that are not glued.
func (s *span) text() string {
	var b strings.Builder
	for i, w := range s.words {
		if i > 0 && !w.Glued {
			b.WriteByte(' ')
		}
		b.WriteString(w.Text)
	}
	return b.String()
}

// overlap is the share of the lower of two boxes' heights that they have in common.
func overlap(a, b *span) float64 {
	return (min(a.top, b.top) - max(a.bottom, b.bottom)) / max(0.1, min(a.top-a.bottom, b.top-b.bottom))
}

// Gaps between words, as a share of their size.
const (
	columnGap = 0.9  // and more may part columns
	sameBase  = 0.25 // and less between base lines is one line
)

// spans puts the words of a page together, from its top to its bottom and from left to right. Turned words are left out.
func spans(words []pdf.Word) []span {
	words = slices.DeleteFunc(slices.Clone(words), func(w pdf.Word) bool { return w.Turned })
	slices.SortStableFunc(words, func(a, b pdf.Word) int { return cmp.Compare(b.Base, a.Base) })
	var out []span
	for len(words) > 0 {
		n := 1
		for n < len(words) && words[0].Base-words[n].Base < sameBase*min(words[0].Size, words[n].Size) {
			n++
		}
		row := slices.Clone(words[:n])
		words = words[n:]
		slices.SortStableFunc(row, func(a, b pdf.Word) int { return cmp.Compare(a.Left, b.Left) })
		row = leaders(row)
		begin := 0
		for i := 1; i <= len(row); i++ {
			if i == len(row) || row[i].Left-row[i-1].Right > columnGap*max(row[i].Size, row[i-1].Size) || isLeader(row[i].Text) != isLeader(row[i-1].Text) {
				out = append(out, newSpan(row[begin:i]...))
				begin = i
			}
		}
	}
	return raise(out)
}

// raise puts what stands above or below a line in a smaller size (marks of notes, exponents) into the line beside it.
func raise(list []span) []span {
	for i := 0; i < len(list); i++ {
		small := &list[i]
		if len(small.words) > 2 {
			continue
		}
		for j := max(0, i-12); j < min(len(list), i+13); j++ {
			line := &list[j]
			if j == i || small.size > 0.85*line.size || overlap(small, line) < 0.4 || len(line.words) == 0 {
				continue
			}
			at := slices.IndexFunc(line.words, func(w pdf.Word) bool { return w.Left > small.left })
			if at < 0 {
				at = len(line.words)
			}
			near := func(gap float64) bool { return gap > -0.3*line.size && gap < 0.35*line.size }
			after := at > 0 && near(small.left-line.words[at-1].Right)
			before := at < len(line.words) && near(line.words[at].Left-small.right)
			if !after && !before {
				continue
			}
			if after {
				small.words[0].Glued = small.left-line.words[at-1].Right < 0.12*line.size
			}
			if at < len(line.words) {
				line.words[at].Glued = line.words[at].Left-small.right < 0.1*line.size && !after
			}
			list[j] = newSpan(slices.Insert(slices.Clone(line.words), at, small.words...)...)
			list = slices.Delete(list, i, i+1)
			i--
			break
		}
	}
	return list
}

// leaders makes one word of single dots beside each other.
func leaders(row []pdf.Word) []pdf.Word {
	isDot := func(w *pdf.Word) bool { return strings.Trim(w.Text, ".·") == "" && len(w.Text) <= 3 }
	out := row[:0]
	for i := 0; i < len(row); {
		end := i
		for end < len(row) && isDot(&row[end]) && (end == i || row[end].Left-row[end-1].Right < 2*row[end].Size) {
			end++
		}
		w := row[i]
		if end-i >= 4 {
			texts := make([]string, end-i)
			for k := range texts {
				texts[k] = row[i+k].Text
			}
			w.Text, w.Right = strings.Join(texts, " "), row[end-1].Right
			i = end
		} else {
			i++
		}
		out = append(out, w)
	}
	return out
}

// isLeader tells whether a word is the dots between an entry and its page.
func isLeader(word string) bool {
	return len(word) >= 3 && strings.Trim(word, ".·…_ ") == ""
}

func hasLetter(s string) bool { return strings.ContainsFunc(s, isWordRune) }

// A row is spans that stand beside each other, from left to right. Where cells of a table are in the middle of their
// row, spans are cells of several lines.
type row struct {
	spans       []span
	lines       []span // as they are read if this is no table
	bottom, top float64
}

// baseRows puts the spans of one column together that are on one base line.
func baseRows(list []span) []row {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b span) int { return cmp.Compare(b.base, a.base) })
	var out []row
	for _, s := range list {
		if n := len(out); n > 0 {
			first := &out[n-1].spans[0]
			if first.base-s.base < 0.4*min(first.size, s.size) && overlap(first, &s) > 0.5 && !slices.ContainsFunc(out[n-1].spans, func(o span) bool { return o.left < s.right-1 && s.left < o.right-1 }) {
				r := &out[n-1]
				r.spans = append(r.spans, s)
				r.bottom, r.top = min(r.bottom, s.bottom), max(r.top, s.top)
				continue
			}
		}
		out = append(out, row{spans: []span{s}, bottom: s.bottom, top: s.top})
	}
	for i := range out {
		slices.SortStableFunc(out[i].spans, func(a, b span) int { return cmp.Compare(a.left, b.left) })
		out[i].lines = []span{out[i].merged()}
	}
	return out
}

// rows is baseRows with those put together that stand beside each other at half height.
func rows(list []span) []row {
	lines := baseRows(list)
	var out []row
	for i := 0; i < len(lines); {
		band := lines[i]
		end := i + 1
		for end < len(lines) && lines[end].top > band.bottom+0.2*lines[end].spans[0].size && band.top-lines[end].bottom < 7*lines[end].spans[0].size {
			band.bottom, band.top = min(band.bottom, lines[end].bottom), max(band.top, lines[end].top)
			end++
		}
		tall := end < len(lines) && lines[end].top > band.bottom+0.2*lines[end].spans[0].size
		if cells := bandCells(lines[i:end]); end > i+1 && len(cells) > 1 && !tall {
			band.spans, band.lines = cells, nil
			for _, l := range lines[i:end] {
				band.lines = append(band.lines, l.lines...)
			}
			out = append(out, band)
		} else {
			out = append(out, lines[i:end]...)
		}
		i = end
	}
	return out
}

// bandCells puts spans together that stand above each other.
func bandCells(lines []row) []span {
	var all []span
	for _, l := range lines {
		all = append(all, l.spans...)
	}
	slices.SortStableFunc(all, func(a, b span) int { return cmp.Compare(a.left, b.left) })
	var groups [][]span
	right := math.Inf(-1)
	for _, s := range all {
		if s.left < right {
			groups[len(groups)-1] = append(groups[len(groups)-1], s)
		} else {
			groups = append(groups, []span{s})
		}
		right = max(right, s.right)
	}
	cells := make([]span, len(groups))
	for i, g := range groups {
		slices.SortStableFunc(g, func(a, b span) int { return cmp.Compare(b.base, a.base) })
		var words []pdf.Word
		for _, s := range g {
			first := len(words)
			words = append(words, s.words...)
			words[first].Glued = false
		}
		cells[i] = newSpan(words...)
		cells[i].page = g[0].page
	}
	return cells
}

// merged is a row as one span.
func (r *row) merged() span {
	if len(r.spans) == 1 {
		return r.spans[0]
	}
	var words []pdf.Word
	for _, s := range r.spans {
		words = append(words, s.words...)
	}
	s := newSpan(words...)
	s.page = r.spans[0].page
	return s
}

// regions parts the spans of a page into columns and what stands across them, in the order of reading. gutters are
// the places between columns that other pages of the book have.
func regions(list []span, gutters []float64) [][]span {
	if len(list) == 0 {
		return nil
	}
	x, top, bottom, ok := gutter(list, gutters, maxColumns)
	if !ok {
		return [][]span{list}
	}
	var above, left, right, below []span
	for _, s := range list {
		middle := (s.bottom + s.top) / 2
		switch {
		case middle > top:
			above = append(above, s)
		case middle < bottom:
			below = append(below, s)
		case s.left+s.right < 2*x:
			left = append(left, s)
		default:
			right = append(right, s)
		}
	}
	return slices.Concat(regions(above, gutters), regions(left, gutters), regions(right, gutters), regions(below, gutters))
}

const (
	maxColumns  = 4
	maxTries    = 200  // strips that are looked at closely: a page has few that promise anything
	maxLayedOut = 4000 // spans of a page; with more, its columns are not looked for
)

// gutter finds the white strip between two columns of text that has most lines beside it; the right one may be parted
// again, into so many columns in all.
func gutter(list []span, known []float64, columns int) (x, top, bottom float64, ok bool) {
	if len(list) > maxLayedOut || columns < 2 {
		return 0, 0, 0, false
	}
	byTop := slices.Clone(list)
	slices.SortStableFunc(byTop, func(a, b span) int { return cmp.Compare(b.base, a.base) })
	type strip struct {
		at         float64
		begin, end int // of the spans beside it
	}
	var strips []strip
	for _, at := range gaps(byTop) {
		begin := 0
		for i := 0; i <= len(byTop); i++ {
			if i < len(byTop) && (byTop[i].left > at-1 || byTop[i].right < at+1) {
				continue
			}
			if i-begin >= 3 {
				strips = append(strips, strip{at, begin, i})
			}
			begin = i + 1
		}
	}
	slices.SortStableFunc(strips, func(a, b strip) int { return cmp.Compare(b.end-b.begin, a.end-a.begin) })
	for _, s := range strips[:min(len(strips), maxTries)] {
		run := byTop[s.begin:s.end]
		expected := slices.ContainsFunc(known, func(k float64) bool { return math.Abs(k-s.at) < 8 })
		if !areColumns(run, s.at, expected, columns) {
			continue
		}
		first, last := &run[0], &run[len(run)-1]
		top, bottom = math.Inf(1), math.Inf(-1)
		if s.begin > 0 {
			top = max((byTop[s.begin-1].bottom+first.top)/2, first.base+0.3*first.size)
		}
		if s.end < len(byTop) {
			bottom = min(last.bottom, (byTop[s.end].top+last.bottom)/2, last.base)
		}
		return s.at, top, bottom, true
	}
	return 0, 0, 0, false
}

// gaps are the middles of the white between spans beside each other, each only once.
func gaps(byTop []span) []float64 {
	var out []float64
	seen := map[int]bool{}
	for i := range byTop {
		a := &byTop[i]
		best := math.Inf(1)
		for j := max(0, i-20); j < min(len(byTop), i+21); j++ {
			b := &byTop[j]
			if b.left > a.right && overlap(a, b) > 0.1 {
				best = min(best, b.left)
			}
		}
		if best == math.Inf(1) || best-a.right < 0.7*a.size {
			continue
		}
		for _, at := range []float64{(a.right + best) / 2, best - 3} {
			if !seen[int(at/2)] {
				seen[int(at/2)] = true
				out = append(out, at)
			}
		}
	}
	return out
}

// areColumns tells whether spans on both sides of a strip are two columns of text: lines that fill their column, or
// the entries of an index. A table's cells do neither.
func areColumns(run []span, at float64, expected bool, columns int) bool {
	n, size, end, begin := 0, 0.0, math.Inf(-1), math.Inf(1)
	for i := range run {
		s := &run[i]
		size = max(size, s.size)
		if s.right <= at {
			n++
			end = max(end, s.right)
		} else {
			begin = min(begin, s.left)
		}
	}
	if n == 0 || n == len(run) || begin-end < 0.7*size {
		return false
	}
	left, right := make([]span, 0, n), make([]span, 0, len(run)-n)
	for _, s := range run {
		if s.right <= at {
			left = append(left, s)
		} else {
			right = append(right, s)
		}
	}
	if isRecipe(left, right) {
		return true
	}
	a := measureColumn(left)
	if a.parted > 0.3 {
		return false
	}
	b := measureColumn(right)
	if b.parted > 0.3 {
		_, top, bottom, ok := gutter(right, nil, columns-1)
		if !ok || a.filled < 0.5 || a.words < 3 {
			return false
		}
		within := 0
		for _, s := range right {
			if s.base < top && s.base > bottom {
				within++
			}
		}
		return within*10 > len(right)*6
	}
	if expected && len(left) >= 2 && a.filled > 0.4 && b.letters > 0.5 {
		return true
	}
	if len(left) < 3 || len(right) < 3 {
		return false
	}
	if a.lines >= 6 && b.lines >= 6 && a.entries > 0.4 && b.entries > 0.4 && a.words >= 1.5 && b.words >= 1.5 {
		return true
	}
	return a.filled >= 0.5 && b.filled >= 0.5 && a.words >= 3 && b.words >= 3 && a.letters > 0.7 && b.letters > 0.7
}

// isRecipe tells whether two columns, from the top, are the ingredients of a recipe and what to do with them, each below its label.
func isRecipe(left, right []span) bool {
	a, b := &left[0], &right[0]
	return len(left) > 2 && len(right) > 2 && near(a.base, b.base) && labels.MatchString(a.text()) && labels.MatchString(b.text())
}

type columnMeasure struct {
	left, right, size float64
	lines             int
	filled            float64 // share of lines that reach from the left to near the right
	entries           float64 // share of lines that end in a number after letters, as those of an index
	words             float64 // in a line
	parted            float64 // share of lines that have gaps
	letters           float64 // share of lines that have words of letters
}

func measureColumn(list []span) columnMeasure {
	m := columnMeasure{left: math.Inf(1), right: math.Inf(-1)}
	for _, s := range list {
		m.left, m.right, m.size = min(m.left, s.left), max(m.right, s.right), max(m.size, s.size)
	}
	lines := baseRows(list)
	m.lines = len(lines)
	for _, r := range lines {
		l := r.merged()
		if l.right-l.left > 0.7*(m.right-m.left) {
			m.filled++
		}
		text := l.text()
		led := slices.ContainsFunc(r.spans, func(s span) bool { return isLeader(s.words[0].Text) })
		if hasLetter(text) {
			if last := text[len(text)-1]; last >= '0' && last <= '9' && (led || strings.Contains(text, ",")) {
				m.entries++
			}
			if len(strings.FieldsFunc(text, func(r rune) bool { return !isWordRune(r) })) >= 2 {
				m.letters++
			}
		}
		if len(r.spans) > 1 && !led && !mark.MatchString(r.spans[0].text()) {
			m.parted++
		}
		m.words += float64(len(l.words))
	}
	n := float64(len(lines))
	m.filled, m.entries, m.words, m.letters, m.parted = m.filled/n, m.entries/n, m.words/n, m.letters/n, m.parted/n
	return m
}
