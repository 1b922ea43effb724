package book

import (
	"testing"

	"github.com/lentil-lm/lentil/book/pdf"
)

// TestRuledTables: lines tell cells apart whose words stand closer than columns do, cells of several lines, those that take several columns and rows, and rows
// that nothing but their words parts. A frame around a text is no table.
func TestRuledTables(t *testing.T) {
	t.Parallel()
	m := new(paperMaker)
	m.page().lines(50, 560, "Peas and beans are weighed in jars, and what they weigh is written down, with the", "day and the hour of the weighing, in the tables that follow here.")
	for _, y := range []float64{530, 510, 480, 460, 440} {
		m.ruled(50, y, 250, y)
	}
	m.ruled(50, 530, 50, 440).ruled(250, 530, 250, 440).ruled(120, 510, 120, 440).ruled(190, 510, 190, 440)
	m.put("B", 10, 54, 516, "What jars hold")
	m.put("R", 10, 54, 498, "Green peas,").put("R", 10, 54, 486, "nutri-").put("R", 10, 123, 498, "of the year 1918").put("R", 10, 192, 498, "5 g")
	m.put("R", 10, 54, 466, "Beans").put("R", 10, 123, 466, "old").put("R", 10, 192, 466, "7 g")
	m.put("R", 10, 54, 446, "Oats").put("R", 10, 192, 446, "9 g")
	// Open sides, and rows without lines between them. Each cell has a border of its own.
	m.boxed(50, 400, 119, 416).boxed(121, 400, 200, 416).boxed(50, 340, 119, 398).boxed(121, 340, 200, 398)
	m.put("B", 10, 54, 404, "Food").put("B", 10, 125, 404, "kcal")
	for i, row := range [][2]string{{"Peas", "81"}, {"Beans", "90"}, {"Lentils", "116"}} {
		m.put("R", 10, 54, 386-14*float64(i), row[0]).put("R", 10, 125, 386-14*float64(i), row[1])
	}
	m.boxed(50, 250, 350, 320)
	m.lines(60, 300, "Whoever weighs peas should know that a jar weighs more than they do,", "and write that down, too.")
	d := mustOpen(t, "a.pdf", string(m.bytes()))
	same(t, tell(d), `
paragraph : "Peas and beans are weighed in jars, and what they weigh is written down, with the day and the hour of the weighing, in the tables that follow here."
table : "What jars hold\t\t\nGreen peas, nutri-\tof the year 1918\t5 g\nBeans\told\t7 g\nOats\t\t9 g"
table : "Food\tkcal\nPeas\t81\nBeans\t90\nLentils\t116"
paragraph : "Whoever weighs peas should know that a jar weighs more than they do, and write that down, too."
`)
	checkLetters(t, m.bytes(), d)
}

// TestGrids: lines that do not touch are different tables; more columns than any table has are a drawing.
func TestGrids(t *testing.T) {
	var rules []pdf.Rule
	for _, at := range []float64{0, 200} {
		for i := 0.0; i < 3; i++ {
			rules = append(rules, pdf.Rule{Left: at, Bottom: 100 - 20*i, Right: at + 100, Top: 100 - 20*i}, pdf.Rule{Left: at + 50*i, Bottom: 60, Right: at + 50*i, Top: 100})
		}
	}
	for i := 0.0; i < 80; i++ {
		rules = append(rules, pdf.Rule{Left: 0, Bottom: 300 + 6*i, Right: 500, Top: 300 + 6*i}, pdf.Rule{Left: 6 * i, Bottom: 300, Right: 6 * i, Top: 780})
	}
	found := grids(rules)
	if len(found) != 2 {
		t.Fatalf("%d grids, expected 2", len(found))
	}
	if r, c, ok := found[1].find(280, 70); !ok || r != 1 || c != 1 {
		t.Errorf("row %d, column %d, %v", r, c, ok)
	}
}
