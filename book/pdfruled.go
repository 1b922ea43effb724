package book

import (
	"cmp"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/book/pdf"
)

// A grid is what lines that cross or touch each other part a piece of a page into.
type grid struct {
	xs, ys       []float64 // where columns and rows are parted: from left to right, from top to bottom
	down, across []pdf.Rule
}

const (
	sameRule = 4.5 // points, and less between lines beside each other is the border of one cell, or of two neighbors
	maxGrid  = 64  // columns; what has more is a drawing
	maxBands = 400 // rows between lines
)

// grids finds the lines of a page that make tables, the largest first.
func grids(rules []pdf.Rule) []grid {
	across, down := joinRules(rules)
	owner := make([]int, len(across)+len(down))
	for i := range owner {
		owner[i] = i
	}
	root := func(i int) int {
		for owner[i] != i {
			owner[i] = owner[owner[i]]
			i = owner[i]
		}
		return i
	}
	for i, h := range across {
		for j, v := range down {
			if h.Left-sameRule <= v.Left && v.Left <= h.Right+sameRule && v.Bottom-sameRule <= h.Top && h.Top <= v.Top+sameRule {
				owner[root(i)] = root(len(across) + j)
			}
		}
	}
	groups := map[int]*grid{}
	var order []*grid
	at := func(i int) *grid {
		g := groups[root(i)]
		if g == nil {
			g = new(grid)
			groups[root(i)] = g
			order = append(order, g)
		}
		return g
	}
	for i, h := range across {
		g := at(i)
		g.across = append(g.across, h)
	}
	for j, v := range down {
		g := at(len(across) + j)
		g.down = append(g.down, v)
	}
	var out []grid
	for _, g := range order {
		if len(g.across) > 0 && len(g.down) > 0 && g.part() {
			out = append(out, *g)
		}
	}
	slices.SortStableFunc(out, func(a, b grid) int { return cmp.Compare(b.width()*b.height(), a.width()*a.height()) })
	return out
}

func (g *grid) width() float64  { return g.xs[len(g.xs)-1] - g.xs[0] }
func (g *grid) height() float64 { return g.ys[0] - g.ys[len(g.ys)-1] }

// joinRules puts pieces of lines together that go on from each other.
func joinRules(rules []pdf.Rule) (across, down []pdf.Rule) {
	for _, r := range rules {
		if r.Across() {
			across = append(across, r)
		} else {
			down = append(down, r)
		}
	}
	slices.SortFunc(across, func(a, b pdf.Rule) int { return cmp.Or(cmp.Compare(b.Top, a.Top), cmp.Compare(a.Left, b.Left)) })
	slices.SortFunc(down, func(a, b pdf.Rule) int { return cmp.Or(cmp.Compare(a.Left, b.Left), cmp.Compare(a.Bottom, b.Bottom)) })
	join := func(list []pdf.Rule, goesOn func(a, b *pdf.Rule) bool) []pdf.Rule {
		var out []pdf.Rule
		for _, r := range list {
			if n := len(out); n > 0 && goesOn(&out[n-1], &r) {
				a := &out[n-1]
				a.Right, a.Top = max(a.Right, r.Right), max(a.Top, r.Top)
				if r.Across() {
					a.Top = a.Bottom
				} else {
					a.Right = a.Left
				}
				continue
			}
			out = append(out, r)
		}
		return out
	}
	across = join(across, func(a, b *pdf.Rule) bool { return a.Top-b.Top < 0.5 && b.Left < a.Right+1 })
	down = join(down, func(a, b *pdf.Rule) bool { return b.Left-a.Left < 0.5 && b.Bottom < a.Top+1 })
	return across, down
}

// part finds where the lines part columns and rows; false where they part none.
func (g *grid) part() bool {
	left, right, bottom, top := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	var xs, ys []float64
	for _, r := range g.across {
		ys = append(ys, -r.Top)
		left, right = min(left, r.Left), max(right, r.Right)
	}
	for _, r := range g.down {
		xs = append(xs, r.Left)
		bottom, top = min(bottom, r.Bottom), max(top, r.Top)
	}
	// Sides may be open.
	g.xs = clusters(append(xs, left, right))
	g.ys = clusters(append(ys, -top, -bottom))
	for i := range g.ys {
		g.ys[i] = -g.ys[i]
	}
	return len(g.xs) > 2 && len(g.ys) > 1 && len(g.xs) <= maxGrid+1 && len(g.ys) <= maxBands+1
}

// clusters are the middles of places that are close to each other.
func clusters(at []float64) []float64 {
	slices.Sort(at)
	var out []float64
	begin := 0
	for i := 1; i <= len(at); i++ {
		if i == len(at) || at[i]-at[i-1] > sameRule {
			out = append(out, (at[begin]+at[i-1])/2)
			begin = i
		}
	}
	return out
}

// find gives the cell that a place is in, as its row and column; false outside of all.
func (g *grid) find(x, y float64) (r, c int, ok bool) {
	if x < g.xs[0] || x > g.xs[len(g.xs)-1] || y > g.ys[0] || y < g.ys[len(g.ys)-1] {
		return 0, 0, false
	}
	c, _ = slices.BinarySearch(g.xs[1:], x)
	r, _ = slices.BinarySearchFunc(g.ys[1:], y, func(a, y float64) int { return cmp.Compare(y, a) })
	return min(r, len(g.ys)-2), min(c, len(g.xs)-2), true
}

// spansCells tells for each piece between the lines which cell it belongs to: the first of those that no line parts it from.
func (g *grid) roots() []int {
	rows, columns := len(g.ys)-1, len(g.xs)-1
	owner := make([]int, rows*columns)
	for i := range owner {
		owner[i] = i
	}
	root := func(i int) int {
		for owner[i] != i {
			i = owner[i]
		}
		return i
	}
	unite := func(a, b int) {
		a, b = root(a), root(b)
		owner[max(a, b)] = min(a, b)
	}
	wall := make([]bool, rows*columns)  // to the right of a piece
	floor := make([]bool, rows*columns) // below it
	mark := func(list []bool, r, c int) {
		if r >= 0 && c >= 0 && r < rows && c < columns {
			list[r*columns+c] = true
		}
	}
	for _, v := range g.down {
		c := nearest(g.xs, v.Left) - 1
		for r := range rows {
			if mid := (g.ys[r] + g.ys[r+1]) / 2; v.Bottom <= mid && mid <= v.Top {
				mark(wall, r, c)
			}
		}
	}
	for _, h := range g.across {
		r := nearest(g.ys, h.Top) - 1
		for c := range columns {
			if mid := (g.xs[c] + g.xs[c+1]) / 2; h.Left <= mid && mid <= h.Right {
				mark(floor, r, c)
			}
		}
	}
	for r := range rows {
		for c := range columns {
			if c+1 < columns && !wall[r*columns+c] {
				unite(r*columns+c, r*columns+c+1)
			}
			if r+1 < rows && !floor[r*columns+c] {
				unite(r*columns+c, (r+1)*columns+c)
			}
		}
	}
	for i := range owner {
		owner[i] = root(i)
	}
	return owner
}

// widerSteps gives the step between lines above which they are of different rows; 0 where all are much the same.
func widerSteps(bases []float64) float64 {
	var steps []float64
	for k := 1; k < len(bases); k++ {
		steps = append(steps, bases[k]-bases[k-1])
	}
	slices.Sort(steps)
	jump, limit := 1.15, 0.0
	for i := 1; i < len(steps); i++ {
		if d := steps[i] / max(steps[i-1], 1); d > jump {
			jump, limit = d, (steps[i]+steps[i-1])/2
		}
	}
	return limit
}

// nearest is the index of the place that is next to x.
func nearest(list []float64, x float64) int {
	best := 0
	for i, at := range list {
		if math.Abs(at-x) < math.Abs(list[best]-x) {
			best = i
		}
	}
	return best
}

// ruledTables takes the tables that lines make out of a page. Each becomes a span that holds its place.
func (b *paper) ruledTables(i int) {
	for _, g := range grids(b.pages[i].Rules) {
		if table, rest, ok := b.ruledTable(&g, b.spans[i]); ok {
			table.table.page, table.page = i, i
			b.spans[i] = append(rest, table)
		}
	}
}

// ruledTable makes a table of what stands within a grid.
func (b *paper) ruledTable(g *grid, list []span) (table span, rest []span, ok bool) {
	roots, columns := g.roots(), len(g.xs)-1
	lines := map[int][]span{} // of each cell
	var all []pdf.Word
	crossing := 0
	for _, s := range list {
		var outside []pdf.Word
		in := map[int][]pdf.Word{}
		if s.table == nil {
			for _, w := range s.words {
				r, c, ok := g.find((w.Left+w.Right)/2, (w.Bottom+w.Top)/2)
				if !ok {
					outside = append(outside, w)
					continue
				}
				root := roots[r*columns+c]
				if r2, c2, ok := g.find(w.Left+0.25*(w.Right-w.Left), (w.Bottom+w.Top)/2); ok && roots[r2*columns+c2] != root {
					crossing++
				}
				in[root] = append(in[root], w)
				all = append(all, w)
			}
		}
		if len(in) == 0 {
			rest = append(rest, s)
			continue
		}
		for root, words := range in {
			line := newSpan(words...)
			line.page = s.page
			lines[root] = append(lines[root], line)
		}
		if len(outside) > 0 {
			line := newSpan(outside...)
			line.page = s.page
			rest = append(rest, line)
		}
	}
	if len(lines) < 2 || crossing*20 > len(all) {
		return table, nil, false
	}
	for root := range lines {
		slices.SortStableFunc(lines[root], func(a, b span) int { return cmp.Or(cmp.Compare(b.base, a.base), cmp.Compare(a.left, b.left)) })
	}
	cells := g.cells(lines)
	if !isGridTable(cells) {
		return table, nil, false
	}
	table = newSpan(all...)
	table.left, table.right, table.bottom, table.top = g.xs[0], g.xs[len(g.xs)-1], g.ys[len(g.ys)-1], g.ys[0]
	table.base = table.top - table.size
	held := table
	table.table = &part{kind: Table, lines: []span{held}, cells: cells}
	return table, rest, true
}

// isGridTable tells tables from frames around texts.
func isGridTable(cells [][]cell) bool {
	rows, columns, words := 0, map[int]bool{}, 0
	for _, row := range cells {
		some := false
		for c, cell := range row {
			for i := range cell {
				words += len(cell[i].words)
				columns[c], some = true, true
			}
		}
		if some {
			rows++
		}
	}
	return len(columns) >= 2 && (rows >= 2 || words < 40)
}

// cells puts the lines of each cell into rows and columns. Columns without a text are left out; so are rows between
// lines that have none.
func (g *grid) cells(lines map[int][]span) [][]cell {
	rows, columns := len(g.ys)-1, len(g.xs)-1
	used := make([]bool, columns)
	bands := 0
	for r := range rows {
		some := false
		for c := range columns {
			if len(lines[r*columns+c]) > 0 {
				used[c], some = true, true
			}
		}
		if some {
			bands++
		}
	}
	var out [][]cell
	for r := range rows {
		var row []cell
		some := false
		for c := range columns {
			if used[c] {
				row = append(row, lines[r*columns+c])
				some = some || len(lines[r*columns+c]) > 0
			}
		}
		switch {
		case !some:
		case bands <= 3:
			out = append(out, g.openRows(row)...)
		default:
			out = append(out, row)
		}
	}
	return out
}

// openRows parts what stands between two lines into rows, where lines of the cells begin beside each other though
// there was room for their words in the lines above them.
func (g *grid) openRows(row []cell) [][]cell {
	var bases []float64 // of the lines of all cells, from the top
	for _, c := range row {
		for i := range c {
			bases = append(bases, -c[i].base)
		}
	}
	bases = clusters(bases)
	at := func(s *span) int { return nearest(bases, -s.base) }
	both, starts := 0, make([]bool, len(bases))
	some := make([]int, len(bases))
	for _, c := range row {
		for i := range c {
			k := at(&c[i])
			some[k]++
			right := g.xs[len(g.xs)-1]
			for _, x := range g.xs {
				if x > c[i].left {
					right = x
					break
				}
			}
			if i > 0 && fitsAbove(&c[i-1], &c[i], right-2) && utf8.RuneCountInString(c[i-1].text()) > 1 {
				starts[k] = true
			}
		}
	}
	for _, n := range some {
		if n > 1 {
			both++
		}
	}
	switch limit := widerSteps(bases); {
	case len(bases) < 2:
		return [][]cell{row}
	case limit > 0: // rows stand further apart than the lines of a cell
		for k := 1; k < len(bases); k++ {
			starts[k] = bases[k]-bases[k-1] > limit
		}
	case both*10 < len(bases)*7:
		return [][]cell{row}
	}
	out := [][]cell{}
	for k := range bases {
		if k == 0 || starts[k] {
			out = append(out, make([]cell, len(row)))
		}
		last := out[len(out)-1]
		for c := range row {
			for i := range row[c] {
				if at(&row[c][i]) == k {
					last[c] = append(last[c], row[c][i])
				}
			}
		}
	}
	return out
}
