package book

import (
	"fmt"
	"strings"
	"testing"
)

// TestTitledHeads: running heads that name the section and so change from page to page are left out, the number of a chapter is one with its title, and
// bold lines that an outline of all other headings does not know are text.
func TestTitledHeads(t *testing.T) {
	t.Parallel()
	m := new(paperMaker)
	names := []string{"Green peas", "Split peas", "Black beans", "Broad beans", "Red lentils", "Brown lentils", "White oats", "Winter rye", "Spring barley", "Old spelt"}
	for i, name := range names {
		m.marks = append(m.marks, fmt.Sprintf("%d %s", i, name))
		m.page()
		y := 540.0
		if i == 0 {
			m.put("B", 16, 50, 540, "Chapter 3").put("B", 20, 50, 510, "What grows")
			m.marks = append(m.marks, "0 What grows")
			y = 480
		} else {
			m.put("R", 9, 50, 570, "Chapter 3. What grows").put("R", 9, 250, 570, names[i-1])
		}
		m.put("B", 12, 50, y, name)
		y = m.lines(50, y-24, "They are sown when the last frost is over, and they stand in the field until the days", "grow short again, which is when they are brought in.")
		m.put("B", 10, 50, y-12, "Mind")
		m.lines(50, y-28, "No frost must come to them while they are young, or all of the work was done in", "vain.")
	}
	d := mustOpen(t, "a.pdf", string(m.bytes()))
	var heads, gone []string
	for _, b := range d.Blocks {
		if b.Kind == Heading {
			heads = append(heads, b.Text)
		}
	}
	for _, r := range d.Removed {
		gone = append(gone, r.Text)
	}
	same(t, strings.Join(heads, "|"), "Chapter 3 What grows|"+strings.Join(names, "|"))
	if len(gone) != 9 || gone[8] != "Chapter 3. What grows Spring barley" {
		t.Errorf("left out: %q", gone)
	}
	checkLetters(t, m.bytes(), d)
}

// TestGapLines: lines with a gap of which something is said below each are no table.
func TestGapLines(t *testing.T) {
	t.Parallel()
	m := new(paperMaker).page()
	for i := range 4 {
		y := 560 - 50*float64(i)
		m.put("R", 10, 50, y, "weigh(jar)").put("R", 10, 300, y, "[Function]")
		m.lines(65, y-12, "Weighs a jar that has something in it, and says what that weighs, too.")
	}
	d := mustOpen(t, "a.pdf", string(m.bytes()))
	for _, b := range d.Blocks {
		if b.Kind == Table {
			t.Errorf("a table: %q", b.Text)
		}
	}
}

// TestRecipeBeside: the ingredients of a recipe, and beside them what to do, are read one after the other.
func TestRecipeBeside(t *testing.T) {
	t.Parallel()
	m := new(paperMaker).page().put("B", 16, 50, 550, "Lentil soup")
	m.lines(50, 520, "This is cooked wherever there is little fuel, for it needs one pot, and no oven that has to", "be hot for hours.")
	m.put("B", 10, 50, 480, "Ingredients").put("B", 10, 200, 480, "Method")
	m.lines(50, 464, "200 g red lentils", "1 onion, chopped", "2 tbsp olive oil", "1 l water")
	m.lines(200, 464, "1. Heat the oil and fry the onion.", "2. Add the lentils and the water, and", "simmer for 25 minutes.", "3. Season with salt and serve.")
	d := mustOpen(t, "a.pdf", string(m.bytes()))
	for _, b := range d.Blocks {
		if b.Kind == Recipe {
			ingredients, steps := b.Recipe()
			same(t, strings.Join(append(ingredients, steps...), "|"), "200 g red lentils|1 onion, chopped|2 tbsp olive oil|1 l water|1. Heat the oil and fry the onion.|2. Add the lentils and the water, and simmer for 25 minutes.|3. Season with salt and serve.")
			return
		}
	}
	t.Errorf("no recipe: %s", tell(d))
}
