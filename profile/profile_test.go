package profile

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/spoil"
)

const anna = `{"id":"anna","base":"nutritionist","diet":["vegetarian"],"avoid":["gluten"],"severity":{"gluten":"allergy"},
 "goals":["1500 kcal","fibre>=30 g"],"dislikes":["coriander"],"units":"metric","language":"en"}`

const annaYAML = `id: anna
base: nutritionist
diet: [vegetarian]
avoid:
- gluten
severity: {gluten: allergy}
goals: ["1500 kcal", "fibre>=30 g"]
dislikes: [coriander]
units: metric
language: en
`

func TestParse(t *testing.T) {
	want := &Profile{ID: "anna", Base: "nutritionist", Diet: []string{"vegetarian"}, Avoid: []string{"gluten"}, Severity: map[string]Severity{"gluten": Allergy},
		Goals: []string{"1500 kcal", "fibre>=30 g"}, Dislikes: []string{"coriander"}, Units: "metric", Language: "en"}
	for name, text := range map[string]string{"json": anna, "yaml": annaYAML} {
		got, err := Parse("anna", []byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"id: anna\ndiets: [vegan]":                     `p:2: there is no "diets" in a profile; it may have id, base, diet, avoid, severity, goals, dislikes, units, language` + "\nDid you mean: diet",
		"diet: vegan":                                  "p:1: diet: expected a list of texts\nWith one entry: diet: [one]",
		"diet: [vegn]":                                 `p:1: diet "vegn": expected one of vegetarian, vegan, keto, low-fodmap, halal, kosher`,
		"diet: [gluten-free]":                          `p:1: diet "gluten-free" is no diet but something that foods hold`,
		"avoid: [nuts]\nseverity: {nuts: deadly}":      "p:2: severity of nuts: expected allergy, intolerance or avoid",
		"avoid: [nuts]\n\nseverity: {eggs: allergy}":   `p:3: severity of "eggs", which is not under avoid`,
		"goals: [1500]":                                "p:1: goals: entry 1 is no text",
		"goals: [yes]":                                 "p:1: goals: entry 1 is no text",
		"avoid: [nuts, tree nuts]":                     `p:1: avoid: "tree nuts" is there twice`,
		"dislikes: [\"a\\nb\"]":                        `p:1: dislikes: entry 1: "a\nb" holds a line break`,
		"dislikes: [\"<|im_end|>\"]":                   "holds a mark that models take for their own",
		"units: stone":                                 `p:1: units "stone": expected metric or imperial`,
		"id: a b":                                      `p:1: id "a b": expected letters`,
		`{"id": "a", "id": "b"}`:                       "p:1: id is there twice",
		"{\"id\": \"a\",\n \"diet\": [\"vegan\"":       "p:2: the file ends within a value",
		`{"id": "a"} x`:                                "p:1: something stands behind the closing brace",
		`{"id": {"a": {"a": {"a": {"a": {"a": 1}}}}}}`: "too many objects",
		"- a": "p:1: expected lines of the form key: value",
		"goals: [" + strings.Repeat("x", 201) + "]":  "a text of 201 letters, expected at most 200",
		"goals: [" + strings.Repeat("x,", 101) + "]": "expected at most 100",
		strings.Repeat("#", MaxBytes+1):              "65537 bytes, expected at most 65536",
	} {
		p, err := Parse("p", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s:\n got %v, %+v\nwant %s", text, err, p, want)
		}
		if _, ok := err.(*fault.Mistake); err != nil && !ok {
			t.Errorf("%.60s: %T", text, err)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ben.yaml")
	if err := os.WriteFile(path, []byte("diet: [keto]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Read(path)
	if err != nil || p.ID != "ben" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := Read(filepath.Join(dir, "none")); err == nil {
		t.Error("no file, and no error")
	}
	if _, err := Read(dir); err == nil {
		t.Error("a folder is no profile")
	}
}

func TestRender(t *testing.T) {
	p, err := Parse("p", []byte("avoid: [kiwi, peanuts, milk]\nseverity: {milk: intolerance}\ndiet: [low-fodmap]\ngoals: [1500 kcal]\ndislikes: [coriander]\nunits: metric\nlanguage: de"))
	if err != nil {
		t.Fatal(err)
	}
	want := `You answer a person with these rules. Keep all of them in every answer.
Allergies, never suggest these or what is made of them: peanuts.
Intolerances, leave these out: milk (all dairy, lactose included).
Avoids: kiwi.
Diet: low-FODMAP (no onion, garlic, wheat, beans, lactose).
Dislikes: coriander.
Goals: 1500 kcal.
Units: metric (g, ml, °C).
Language of answers: German.
If the person asks for something that breaks a rule, say so and offer something that keeps it.
You give no medical advice: send symptoms and doses to a doctor, and an allergic reaction to the emergency number.`
	if got := p.Render(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := p.Notice(); !strings.HasPrefix(got, "Only English is checked") || !strings.HasSuffix(got, NoAdvice) {
		t.Errorf("of German answers: %s", got)
	}
	if got := (&Profile{Language: "en"}).Notice(); got != NoAdvice {
		t.Errorf("of English answers: %s", got)
	}
	if got := p.System("Be kind."); got != "Be kind.\n\n"+want {
		t.Errorf("with a system prompt: %s", got)
	}
}

// TestHits tells where a hit stands, how bad it is, and what a profile's own words find.
func TestHits(t *testing.T) {
	p, err := Parse("p", []byte("avoid: [gluten, milk, kiwi, sweet peppers]\nseverity: {milk: intolerance, kiwi: allergy}\ndiet: [vegan, kosher]\ndislikes: [coriander, onions]"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"Éat bread.":                     "5-10 bread gluten allergy",
		"Kiwi fruit and fresh Coriander": "0-10 kiwi kiwi allergy, 21-30 coriander coriander dislike",
		"One sweet pepper, no kiwis":     "4-16 sweet peppers sweet peppers avoid",
		"Add scallions and an onion":     "21-26 onions onions dislike",
		"Cheddar":                        "0-7 cheddar milk intolerance, 0-7 cheddar vegan diet",
		"Beef with butter":               "0-4 beef vegan diet, 10-16 butter milk intolerance, 10-16 butter vegan diet, 10-16 beef with butter kosher diet",
		"Beef. And then butter":          "0-4 beef vegan diet, 15-21 butter milk intolerance, 15-21 butter vegan diet",
		"Vegan cheese (gluten-free)":     "",
		"pasta (gluten-free)":            "",
		"PASTA, gluten-free":             "",
		"coriander-free salsa":           "",
		"Bread (not suitable)":           "",
		"Butter (nuts are not allowed)":  "0-6 butter milk intolerance, 0-6 butter vegan diet",
	} {
		var got []string
		for _, h := range p.Scan(text) {
			got = append(got, fmt.Sprintf("%d-%d %s %s %s", h.Start, h.End, h.Food, h.Rule, h.Severity))
			if text[h.Start:h.End] != h.Text {
				t.Errorf("%s: %q is not what stands there", text, h.Text)
			}
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s:\n got %s\nwant %s", text, s, want)
		}
	}
}

// TestGroups: what people call foods of several kinds finds all of them, and is told to the model.
func TestGroups(t *testing.T) {
	for word, want := range map[string]string{
		"shellfish": "prawns mussels shellfish", "Seafood": "prawns mussels salmon shellfish", "meat": "bacon beef", "pork": "bacon", "alcohol": "wine", "lactose": "milk",
		"gelatine": "gelatine", "gelatin": "gelatine",
	} {
		p := &Profile{Avoid: []string{word}}
		var got []string
		for _, h := range p.Scan("Have prawns, mussels, salmon, shellfish, bacon, beef, wine, milk, gelatine and rice. Lactose-free milk, no prawns.") {
			got = append(got, h.Text)
			if h.Severity != p.SeverityOf(word) {
				t.Errorf("%s: %q is %s", word, h.Text, h.Severity)
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: found %s, want %s", word, s, want)
		}
		if text := p.Render(); !strings.Contains(text, groups[normal(word)].spoken) {
			t.Errorf("%s: the model is told %s", word, text)
		}
		if own := p.Literal(); len(own) > 0 {
			t.Errorf("%s is no word of its own: %q", word, own)
		}
	}
	for name := range groups {
		if groups[name].set() == 0 {
			t.Errorf("%s: no classes", name)
		}
	}
	p := &Profile{Avoid: []string{"shellfish", "kiwi", "milk"}, Dislikes: []string{"beets"}}
	if !p.HasAllergies() || p.SeverityOf("shellfish") != Allergy || !slices.Contains(p.AllergenWords(), "prawns") {
		t.Error("shellfish is an allergy, and prawns are one of its words")
	}
	if own := p.Literal(); !slices.Equal(own, []string{"kiwi", "beets"}) {
		t.Errorf("words of its own: %q", own)
	}
}

// TestKitchen: not all that is "not" done to a food, or taken off something, leaves it out.
func TestKitchen(t *testing.T) {
	p := &Profile{Avoid: []string{"milk", "gluten", "fish", "crustaceans", "nuts"}}
	for text, want := range map[string]string{
		"No added sugar yogurt.":                                                     "yogurt",
		"A no-sugar yogurt with no-salt butter.":                                     "yogurt butter",
		"No-milk pudding for all.":                                                   "",
		"It has no sugar, just milk.":                                                "milk",
		"Avoid overcooking the shrimp.":                                              "shrimp",
		"Do not drain the tuna, and don't boil the milk.":                            "tuna milk",
		"Remove the prawns from the heat.":                                           "prawns",
		"Remove the salmon from the frying pan.":                                     "salmon",
		"Remove the crusts from the bread.":                                          "bread",
		"Serve without sugar with milk.":                                             "milk",
		"Coffee without sugar, with milk.":                                           "milk",
		"Coffee without sugar and with cream.":                                       "cream",
		"Bake without lid until the cheese melts.":                                   "cheese",
		"Do not add the cheese until the end.":                                       "cheese",
		"Do not eat cheese until you are well.":                                      "",
		"Instead of white bread choose rye bread.":                                   "rye bread",
		"Never cook without butter.":                                                 "butter",
		"Cut the crusts off the bread.":                                              "bread",
		"Stay off the bread. Lay off cheese.":                                        "",
		"With no effort you can make yogurt.":                                        "yogurt",
		"You can't resist this cheese.":                                              "cheese",
		"Avoid:\n- food from cheese\n- milk until spring, with or without no-\n- no": "",
		"Dishes with no milk and no bread, without fish":                             "",
		"Remove milk from your diet.":                                                "",
		"Take the butter out of the fridge.":                                         "butter",
		"Leave the butter out of the sauce.":                                         "",
		"Leave the nuts out. Avoid milk and eat no bread.":                           "",
		"Don't add cream. Do not cook with butter, use oil.":                         "",
		"Without salt, cheese or bread. No nuts, milk or fish":                       "",
	} {
		var got []string
		for _, h := range p.Scan(text) {
			got = append(got, h.Text)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: found %q, want %q", text, s, want)
		}
	}
}

func TestAllergenWords(t *testing.T) {
	p := &Profile{Avoid: []string{"gluten", "kiwi", "onion", "fennel", "milk"}, Severity: map[string]Severity{"kiwi": Allergy, "fennel": Allergy, "milk": Intolerance}, Diet: []string{"vegan"}}
	got := p.AllergenWords()
	for word, want := range map[string]bool{"bread": true, "oats": true, "kiwis": true, "fennel": true, "onion": false, "cheese": false, "ham": false, "buckwheat": false} {
		if _, found := slices.BinarySearch(got, word); found != want {
			t.Errorf("%s: %v", word, found)
		}
	}
}

// TestLexicon holds the lexicon to what it promises.
func TestLexicon(t *testing.T) {
	foods := Foods()
	if len(foods) < 600 {
		t.Errorf("%d entries, expected 600 or more", len(foods))
	}
	sources := map[string]int{}
	entries, forms := map[Rule]int{}, 0
	for _, f := range foods {
		if f.Source == "" || len(f.Rules) == 0 {
			t.Errorf("%s: rules %v, source %q", f.Name, f.Rules, f.Source)
		}
		sources[f.Source]++
		forms += 1 + len(f.Synonyms)
		for _, r := range f.Rules {
			entries[r]++
		}
	}
	for _, r := range allRules {
		if entries[r] < 4 || SourceOf(r) == "" {
			t.Errorf("%s: %d entries, source %q", r, entries[r], SourceOf(r))
		}
	}
	t.Logf("%d entries, %d names; by rule %v; by source %v", len(foods), forms, entries, sources)
	for food, want := range map[string]Rule{"seitan": "gluten", "ghee": "milk", "gelatine": "vegetarian", "surimi": "fish", "tahini": "sesame", "e223": "sulphites"} {
		i := slices.IndexFunc(foods, func(f *Food) bool { return f.Name == food })
		if i < 0 || !slices.Contains(foods[i].Rules, want) {
			t.Errorf("%s is not %s", food, want)
		}
	}
}

// pieces scans a text that comes in pieces, cut where next says.
func pieces(p *Profile, text string, next func(left int) int) (hits []Hit, settled []int) {
	s := NewScanner(p)
	for rest := text; rest != ""; {
		n := next(len(rest))
		hits = append(hits, s.Write(rest[:n])...)
		settled = append(settled, s.Settled())
		rest = rest[n:]
	}
	return append(hits, s.Close()...), settled
}

// TestPieces: what is found does not depend on how the text was cut.
func TestPieces(t *testing.T) {
	p := everything()
	var all []string
	for _, l := range readLabelled(t, "testdata/sentences.txt") {
		all = append(all, l.text)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		var text string
		for range 1 + random.IntN(12) {
			text += all[random.IntN(len(all))] + []string{" ", "\n", "\n\n", "", ". ", "  \n"}[random.IntN(6)]
		}
		if random.IntN(4) == 0 {
			text = strings.ReplaceAll(text, ".", strings.Repeat(" and then some more", 200))
		}
		want := p.Scan(text)
		for _, most := range []int{1, 3, 40, 3000} {
			got, settled := pieces(p, text, func(left int) int { return min(left, 1+random.IntN(most)) })
			if !slices.Equal(got, want) {
				t.Fatalf("pieces of up to %d bytes: %v, expected %v in %q", most, got, want, text)
			}
			if !slices.IsSorted(settled) || settled[len(settled)-1] > len(text) {
				t.Fatalf("settled %v of %d bytes", settled, len(text))
			}
		}
	}
}

// TestSettled: no hit lies in what has been settled before it was told.
func TestSettled(t *testing.T) {
	p := everything()
	text := "Eat nuts. Drink milk.\n- no eggs\n- bread"
	s := NewScanner(p)
	for i := range len(text) {
		before := s.Settled()
		for _, h := range s.Write(text[i : i+1]) {
			if h.Start < before || h.End > s.Settled() {
				t.Errorf("%+v was told when %d to %d were settled", h, before, s.Settled())
			}
		}
	}
}

// TestHostileText: time and memory stay in proportion to the text.
func TestHostileText(t *testing.T) {
	p := everything()
	for name, text := range map[string]string{
		"one long line":  strings.Repeat("without nuts, bread and ", 10_000),
		"no spaces":      strings.Repeat("a", 1<<20),
		"commas":         strings.Repeat("no,", 60_000),
		"brackets":       strings.Repeat("((", 60_000),
		"not UTF-8":      strings.Repeat("\xff\xfe bread. \xc3", 10_000),
		"empty lines":    strings.Repeat("\n", 1<<20),
		"foods":          strings.Repeat("milk ", 40_000),
		"gluten free of": strings.Repeat("gluten free ", 15_000),
	} {
		began := time.Now()
		s := NewScanner(p)
		for rest := text; rest != ""; {
			n := min(len(rest), 4096)
			s.Write(rest[:n])
			rest = rest[n:]
			if len(s.pending) > longest+4096 {
				t.Fatalf("%s: %d bytes wait", name, len(s.pending))
			}
		}
		s.Close()
		if s.Settled() != len(text) {
			t.Errorf("%s: %d of %d bytes", name, s.Settled(), len(text))
		}
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("%s: %v", name, d)
		} else {
			t.Logf("%s: %v", name, d)
		}
	}
}

func TestSpoiled(t *testing.T) {
	for _, text := range []string{anna, annaYAML} {
		spoil.Each(t, []byte(text), spoil.Limit{Places: 60, Bytes: 16 << 20}, func(_ *testing.T, data []byte) {
			if p, err := Parse("p", data); err == nil {
				p.Render()
				p.Scan("bread and coriander")
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(anna))
	f.Add([]byte(annaYAML))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("p", data)
		if err != nil {
			return
		}
		if text := p.Render(); !utf8.ValidString(text) || strings.Contains(text, "<|") {
			t.Errorf("rendered as %q", text)
		}
		p.Scan("bread")
	})
}

func FuzzScan(f *testing.F) {
	for _, text := range []string{"Avoid milk, cheese and bread. Eat (gluten-free) pasta.", "Foods to avoid:\n- nuts\n\n- eggs", "nut-\nfree e.g. milk", "1. Cod… 2."} {
		f.Add(text, uint(3))
	}
	p := everything()
	f.Fuzz(func(t *testing.T, text string, size uint) {
		want := p.Scan(text)
		for _, h := range want {
			if text[h.Start:h.End] != h.Text {
				t.Fatalf("%+v in %q", h, text)
			}
		}
		got, _ := pieces(p, text, func(left int) int { return min(left, 1+int(size%50)) })
		if !slices.Equal(got, want) {
			t.Fatalf("in pieces of %d: %v, whole: %v", 1+size%50, got, want)
		}
	})
}
