package screen

import (
	"fmt"
	"math"
	"strings"
)

// A point of a loss curve.
type point struct {
	iteration int
	loss      float64
}

// chart draws train losses as a line and validation losses as marks, rows high and about width wide, with
// a scale on the left. The horizontal axis runs from first to last iteration, so the curve grows to the
// right as the run goes on. It gives nil while there is too little to draw.
func (s *terminal) chart(train, val []point, first, last, width, rows int) []string {
	const scale = 7 // " 2.345 " before the curve
	columns := min(width-scale-2, 72)
	if columns < 12 || rows < 2 || last <= first {
		return nil
	}
	xDots, yDots := columns*2, rows*4
	x := func(iteration int) int {
		return min(max((iteration-first)*(xDots-1)/(last-first), 0), xDots-1)
	}
	means := columnMeans(train, x, xDots)
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range append(means, val...) {
		if isFinite(p.loss) {
			low, high = min(low, p.loss), max(high, p.loss)
		}
	}
	if len(means) < 2 || low > high {
		return nil
	}
	if high-low < 1e-3 {
		low, high = low-5e-4, high+5e-4
	}
	y := func(loss float64) int {
		return min(max(int((high-loss)/(high-low)*float64(yDots-1)+0.5), 0), yDots-1)
	}

	grid := newDots(columns, rows)
	for i := 1; i < len(means); i++ {
		grid.line(means[i-1].iteration, y(means[i-1].loss), means[i].iteration, y(means[i].loss))
	}
	marks := map[[2]int]bool{} // column, row
	for _, p := range val {
		if isFinite(p.loss) {
			marks[[2]int{x(p.iteration) / 2, y(p.loss) / 4}] = true
		}
	}
	return s.chartLines(grid, marks, low, high)
}

func (s *terminal) chartLines(grid dots, marks map[[2]int]bool, low, high float64) []string {
	lines := make([]string, grid.rows)
	for row := range lines {
		label := strings.Repeat(" ", 6)
		switch row {
		case 0:
			label = fmt.Sprintf("%6.3f", high)
		case grid.rows - 1:
			label = fmt.Sprintf("%6.3f", low)
		}
		var b strings.Builder
		b.WriteString(s.paint(dim, label+s.pick(" ┤", " |")))
		for column := range grid.columns {
			if marks[[2]int{column, row}] {
				b.WriteString(s.paint(alarm, s.pick("●", "o")))
				continue
			}
			cell := grid.cell(column, row)
			if !s.unicode && cell != ' ' {
				cell = '*'
			}
			b.WriteRune(cell)
		}
		lines[row] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// columnMeans averages the losses that fall on the same dot column. In the result, iteration is the column.
func columnMeans(train []point, x func(int) int, columns int) []point {
	sums := make([]float64, columns)
	counts := make([]int, columns)
	for _, p := range train {
		if isFinite(p.loss) {
			sums[x(p.iteration)] += p.loss
			counts[x(p.iteration)]++
		}
	}
	var means []point
	for i, n := range counts {
		if n > 0 {
			means = append(means, point{i, sums[i] / float64(n)})
		}
	}
	return means
}

func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// dots is a picture of braille characters, each 2 dots wide and 4 high.
type dots struct {
	columns, rows int
	bits          []uint8
}

func newDots(columns, rows int) dots {
	return dots{columns, rows, make([]uint8, columns*rows)}
}

// set lights the dot x from the left and y from the top.
func (d dots) set(x, y int) {
	// Bits of a braille cell by column and row, from the Unicode standard's chart U+2800.
	bit := [2][4]uint8{{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}[x%2][y%4]
	d.bits[y/4*d.columns+x/2] |= bit
}

// line lights the dots from (x0, y0) to (x1, y1), where x1 >= x0.
func (d dots) line(x0, y0, x1, y1 int) {
	steps := max(x1-x0, y1-y0, y0-y1, 1)
	for i := 0; i <= steps; i++ {
		t := float64(i) / float64(steps)
		d.set(x0+int(t*float64(x1-x0)+0.5), y0+int(math.Round(t*float64(y1-y0))))
	}
}

func (d dots) cell(column, row int) rune {
	bits := d.bits[row*d.columns+column]
	if bits == 0 {
		return ' '
	}
	return 0x2800 + rune(bits)
}
