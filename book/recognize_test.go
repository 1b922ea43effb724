package book

import (
	"fmt"
	"strings"
	"testing"
)

const partsPage = `<h1>Pulses</h1><h2>Contents</h2><p>Peas 3<br>Beans 12<br>Lentils and Grains 20</p><p>Index 41</p>
<h2>Peas</h2><p>Index of all things. Contents may vary.</p><h2>Lentils and Grains</h2><p>They are small, 1 to 2 mm.</p>
<h2>References</h2><p>Cook, A. Peas. London: Pea Press, 1918.</p><p>Baker, B. "Beans." Journal of Beans 4 (1920), 12-19.</p><p>Miller, C., ed. Grains, their trade, and history.</p>
<h2>Index</h2><h3>B</h3><p>beans, 12, 14-16<br>broth, see Soups</p><h3>P</h3><p>peas, green, 3<br>peas, split, 4, 9n</p>`

// TestParts: contents, indexes and bibliographies are told by their heading and their lines, and by what markup says.
func TestParts(t *testing.T) {
	t.Parallel()
	parts := func(d *Document) string {
		var b strings.Builder
		for _, block := range d.Blocks {
			fmt.Fprintf(&b, "%s: %.12q\n", block.Part, block.Text)
		}
		return b.String()
	}
	same(t, parts(mustOpen(t, "a.html", partsPage)), `
: "Pulses"
contents: "Contents"
contents: "Peas 3\nBeans"
contents: "Index 41"
: "Peas"
: "Index of all"
: "Lentils and "
: "They are sma"
bibliography: "References"
bibliography: "Cook, A. Pea"
bibliography: "Baker, B. \"B"
bibliography: "Miller, C., "
index: "Index"
index: "B"
index: "beans, 12, 1"
index: "P"
index: "peas, green,"
`)
	same(t, parts(mustOpen(t, "b.html", `<nav epub:type="toc"><ol><li>One</ol></nav><h1>Contents</h1><p>A jar holds what it holds, and no more than that.</p><section epub:type="index"><p>peas</p></section><p>end</p>`)), `
contents: "One"
: "Contents"
: "A jar holds "
index: "peas"
: "end"
`)
}

const recipePage = `<h2>Pea Soup</h2><p>Serves 4</p><h3>Ingredients</h3><ul><li>500 g split peas<li>1 ½ litres water<li>2 onions, chopped<li>salt</ul><h3>Method</h3><ol><li>Soak the peas over&shy;night.<li>Boil them with the onions until soft.</ol><p>Peas keep well.</p>
<h2>Bread</h2><p>2 cups flour</p><p>1 tsp. salt</p><p>3/4 cup water</p><p>Mix all and knead it. Bake for an hour.</p><p>There were 2 bakers in the village, and 3 mills.</p>
<h2>Figures</h2><ul><li>2 cups a day<li>3 meals a day</ul><p>More is too much.</p>`

// TestRecipes: ingredients and steps become one block, and nothing is lost.
func TestRecipes(t *testing.T) {
	t.Parallel()
	d := mustOpen(t, "a.html", recipePage)
	same(t, tell(d), `
heading2 : "Pea Soup"
recipe Pea Soup 0 0 0 0 0 0 0 0 0: "Serves 4\nIngredients\n500 g split peas\n1 ½ litres water\n2 onions, chopped\nsalt\nMethod\nSoak the peas overnight.\nBoil them with the onions until soft."
paragraph Pea Soup: "Peas keep well."
heading2 : "Bread"
recipe Bread 0 0 0 0: "2 cups flour\n1 tsp. salt\n3/4 cup water\nMix all and knead it. Bake for an hour."
paragraph Bread: "There were 2 bakers in the village, and 3 mills."
heading2 : "Figures"
list Figures 0 0: "2 cups a day\n3 meals a day"
paragraph Figures: "More is too much."
`)
	ingredients, steps := d.Blocks[1].Recipe()
	if len(ingredients) != 4 || len(steps) != 2 || steps[0] != "Soak the peas overnight." {
		t.Errorf("%q, %q", ingredients, steps)
	}
	if got, want := solid(d.Whole()), solid(bodyText(t, []byte(recipePage))); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !strings.Contains(d.Whole(), "over\u00adnight") {
		t.Error(d.Whole())
	}
	if m := d.Markdown(); !strings.Contains(m, "- 500 g split peas\n") || !strings.Contains(m, "1. Soak the peas") {
		t.Error(m)
	}
}
