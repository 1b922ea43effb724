package book

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
)

// testPaper is a book of four pages: running heads and page numbers, a chapter with its initial, words broken at line
// ends, a list, a table, a note, two columns, and a paragraph that goes on over the page.
func testPaper() *paperMaker {
	m := &paperMaker{marks: []string{"0 On Peas", "2 On Oats"}}
	head := func(n int) {
		m.page().put("R", 9, 170, 570, "THE PULSES").put("R", 9, 195, 30, fmt.Sprint(n))
	}
	head(11)
	m.put("B", 16, 150, 530, "On Peas")
	m.put("R", 30, 50, 477, "P").put("R", 10, 69, 490, "eas are pulses. They were grown before bread was baked, and are nu-")
	m.put("R", 10, 69, 478, "tritious. A nutritious meal of split peas needs no meat at all, and well-")
	y := m.lines(50, 466, "known dishes such as soup are well-known for that; a diet of pulses", "costs little.")
	y = m.lines(62, y, "Green peas are sown in March, and picked in June. The dry ones keep for")
	y = m.lines(50, y, "years if they are kept in jars.")
	m.put("R", 6, 163.8, y+16, "1")
	y = m.lines(62, y-6, "\x95 rinse them", "\x95 soak them over night", "\x95 boil them")
	m.put("B", 10, 50, y-10, "Values")
	for i, row := range [][3]string{{"Food", "kcal", "Protein"}, {"Green peas", "81", "5.4 g"}, {"Split peas", "341", "24.6 g"}, {"Chick peas", "364", "19.3 g"}} {
		for c, cell := range row {
			m.put("R", 10, []float64{60, 170, 250}[c], y-30-14*float64(i), cell)
		}
	}
	m.put("R", 8, 50, 60, "1 Those of the garden, not of the field; see also the chapter on beans.")
	head(12)
	y = 540
	for i := range 9 {
		m.lines(50, y-float64(12*i), fmt.Sprintf("Left line %s of a column, which runs on", "abcdefghi"[i:i+1]))
		m.lines(220, y-float64(12*i), fmt.Sprintf("right line %s of a column, which runs on", "abcdefghi"[i:i+1]))
	}
	m.lines(50, y-12*9, "to its end and then across to the", "other column, where the words of the")
	head(13)
	m.put("B", 16, 150, 530, "On Oats")
	m.lines(50, 500, "Oats are a grain and no pulse, but what is said of peas is true of them too, as", "every cook knows who has had to feed many with little, and what they")
	head(14)
	m.lines(50, 540, "left was given to the hens.")
	m.put("M", 10, 50, 500, "for pea in jar {").put("M", 10, 50, 488, "    soak(pea)")
	return m
}

func TestPDF(t *testing.T) {
	t.Parallel()
	data := testPaper().bytes()
	d := mustOpen(t, "a.pdf", string(data))
	same(t, tell(d), `
heading1 : "On Peas"
paragraph On Peas: "Peas are pulses. They were grown before bread was baked, and are nutritious. A nutritious meal of split peas needs no meat at all, and well-known dishes such as soup are well-known for that; a diet of pulses costs little."
paragraph On Peas: "Green peas are sown in March, and picked in June. The dry ones keep for years if they are kept in jars."
list On Peas 0 0 0: "rinse them\nsoak them over night\nboil them"
heading2 On Peas: "Values"
table On Peas>Values: "Food\tkcal\tProtein\nGreen peas\t81\t5.4 g\nSplit peas\t341\t24.6 g\nChick peas\t364\t19.3 g"
note On Peas>Values: "1 Those of the garden, not of the field; see also the chapter on beans."
paragraph On Peas>Values: "Left line a of a column, which runs on Left line b of a column, which runs on Left line c of a column, which runs on Left line d of a column, which runs on Left line e of a column, which runs on Left line f of a column, which runs on Left line g of a column, which runs on Left line h of a column, which runs on Left line i of a column, which runs on to its end and then across to the other column, where the words of the right line a of a column, which runs on right line b of a column, which runs on right line c of a column, which runs on right line d of a column, which runs on right line e of a column, which runs on right line f of a column, which runs on right line g of a column, which runs on right line h of a column, which runs on right line i of a column, which runs on"
heading1 : "On Oats"
paragraph On Oats: "Oats are a grain and no pulse, but what is said of peas is true of them too, as every cook knows who has had to feed many with little, and what they left was given to the hens."
code On Oats: "for pea in jar {\n    soak(pea)"
`)
	if d.Title != "Pulses" || strings.Join(d.Authors, "") != "A. Cook" || d.Pages != 4 || d.Format != "pdf" {
		t.Errorf("%q, %q, %d pages, %s", d.Title, d.Authors, d.Pages, d.Format)
	}
	var places []string
	for _, b := range d.Blocks {
		places = append(places, b.Page+" "+b.Chapter)
	}
	same(t, strings.Join(places, ", "), "11 On Peas, 11 On Peas, 11 On Peas, 11 On Peas, 11 On Peas, 11 On Peas, 11 On Peas, 12 On Peas, 13 On Oats, 13 On Oats, 14 On Oats")
	removed := map[Reason]string{}
	for _, r := range d.Removed {
		removed[r.Reason] += "|" + r.Text
	}
	same(t, fmt.Sprint(removed), "map[hyphen at a line's end:|- list mark:|\u2022|\u2022|\u2022 note mark:|1 page mark:|11|12|13|14 running head:|THE PULSES|THE PULSES|THE PULSES|THE PULSES]")
	checkLetters(t, data, d)
}

// TestPDFParts: contents with dots, programs, recipes and an index in two columns.
func TestPDFParts(t *testing.T) {
	t.Parallel()
	m := new(paperMaker)
	m.page().put("B", 18, 50, 540, "Contents").lines(50, 500, "Peas . . . . . . . . . . . . . . . . . . . . 2", "Soups ........................... 2", "Index ........................... 3")
	m.page().put("B", 18, 50, 540, "Peas")
	y := m.lines(50, 500, "The program below counts the peas of a jar, and prints how many of them are green,", "which is what cooks ask for.")
	m.put("M", 10, 50, y-6, "int    green;   /* of them */").put("M", 10, 50, y-18, "double weight;  /* in grams */").put("M", 10, 50, y-30, "char   name;    /* of the jar */")
	m.put("B", 18, 50, y-70, "Soups")
	m.lines(50, y-100, "500 g split peas", "2 onions", "1 tbsp. oil", "Heat the oil and fry the onions in it. Add the peas and water, and boil all of it until", "they are soft.")
	m.page().put("B", 18, 50, 540, "Index")
	for i := range 8 {
		m.lines(50, 500-float64(12*i), fmt.Sprintf("%cpples, %d, %d", 'a'+i, i+1, i+12))
		m.lines(220, 500-float64(12*i), fmt.Sprintf("%core beans, %d", 'l'+i, i+1))
	}
	d := mustOpen(t, "a.pdf", string(m.bytes()))
	got := tell(d)
	before, index, _ := strings.Cut(got, "paragraph Index")
	same(t, before, `
heading1 : "Contents"
table Contents: "Peas\t2\nSoups\t2\nIndex\t3"
heading1 : "Peas"
paragraph Peas: "The program below counts the peas of a jar, and prints how many of them are green, which is what cooks ask for."
code Peas: "int    green;   /* of them */\ndouble weight;  /* in grams */\nchar   name;    /* of the jar */"
heading1 : "Soups"
recipe Soups 0 0 0 0: "500 g split peas\n2 onions\n1 tbsp. oil\nHeat the oil and fry the onions in it. Add the peas and water, and boil all of it until they are soft."
heading1 : "Index"
`)
	if lines := strings.Split(strings.TrimSpace(index), "\n"); len(lines) != 16 || !strings.Contains(lines[7], "hpples, 8, 19") || !strings.Contains(lines[8], "lore beans, 1") {
		t.Errorf("%s", index)
	}
	for i, want := range map[int]Part{0: Contents, 1: Contents, 2: "", 7: Index, 8: Index} {
		if d.Blocks[i].Part != want {
			t.Errorf("block %d is %q, expected %q", i, d.Blocks[i].Part, want)
		}
	}
	checkLetters(t, m.bytes(), d)
}

// TestTurnedPage: a page that is shown turned reads as it is shown; text that is turned on it is listed.
func TestTurnedPage(t *testing.T) {
	t.Parallel()
	m := (&paperMaker{turn: 90}).page()
	for i, line := range []string{"Peas are shown on a page that lies on its side, as pages with", "wide tables do; gypsum and jelly have tails, and ox has none.", "", "Food", "Peas"} {
		if line != "" {
			m.turned(60+float64(14*i), 50, line)
		}
		if i > 2 {
			m.turned(60+float64(14*i), 250, []string{"kcal", "81"}[i-3])
		}
	}
	m.put("R", 10, 50, 20, "turned")
	d := mustOpen(t, "a.pdf", string(m.bytes()))
	same(t, tell(d), `
paragraph : "Peas are shown on a page that lies on its side, as pages with wide tables do; gypsum and jelly have tails, and ox has none."
table : "Food\tkcal\nPeas\t81"
`)
	if len(d.Removed) != 1 || d.Removed[0].Text != "turned" || d.Removed[0].Reason != Turned {
		t.Errorf("%+v", d.Removed)
	}
}

// checkLetters holds kept and removed text together against all characters of the pages, whatever their order.
func checkLetters(t *testing.T, data []byte, d *Document) {
	t.Helper()
	_, pages, _, err := pdfPages(t.Context(), "a.pdf", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[rune]int{}
	for _, p := range pages {
		for _, w := range p.Words {
			for _, r := range ligatures.Replace(w.Text) {
				counts[r]++
			}
		}
	}
	for _, r := range d.Whole() {
		if !unicode.IsSpace(r) {
			counts[r]--
		}
	}
	for r, n := range counts {
		if n != 0 && !unicode.IsSpace(r) {
			t.Errorf("%q: %d too few", r, n)
		}
	}
}
