package making

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile/killtest"
	"github.com/lentil-lm/lentil/profile"
)

// handbook is a small book with everything that rows are made of.
const handbook = `# The Mill Handbook

## Grain

A quern is a hand mill of two round stones that grinds grain at home.

The upper stone weighs 12 kilograms. Write to miller@example.org or call +49 30 1234567 for a stone.

Rye flour should be dried because moist flour turns sour within a month.

| Flour | Water | Baking time |
|---|---|---|
| Rye | 80 % | 60 minutes |
| Wheat | 65 % | 40 minutes |
| Spelt | 60 % | 35 minutes |

## Barley soup

- 200 g of pearl barley
- 2 carrots
- 1.5 l of broth

Soak the barley over night. Boil it in the broth for 40 minutes, and add the carrots at the end.

## How to dress a stone

1. Lift the upper stone.
2. Cut new furrows with the pick.
3. Set the stone down again.

## Names

A toll is a share of the flour that the miller keeps for the work. Every miller in the valley took the same toll in those days, and every farmer knew it.
`

func writeBook(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func makeBook(t testing.TB, text string, change func(*Options)) *Made {
	t.Helper()
	o := New(writeBook(t, "mill.md", text))
	o.Valid, o.Test, o.Wordings = 0, 0, 4
	if change != nil {
		change(&o)
	}
	made, err := Make(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func answerTo(m *Made, question string) string {
	for _, r := range m.Rows {
		if r.Question == question {
			return r.Answer
		}
	}
	return ""
}

// TestMake: what the handbook states is asked for in good English, and answered from the page.
func TestMake(t *testing.T) {
	m := makeBook(t, handbook, nil)
	for question, want := range map[string]string{
		"What is a quern?": "A quern is a hand mill of two round stones that grinds grain at home.",
		"How many kilograms does the upper stone weigh?":  "The upper stone weighs 12 kilograms.",
		"Why should rye flour be dried?":                  "because moist flour turns sour",
		"What is the baking time of wheat?":               "40 minutes",
		"Give me the water for spelt.":                    "60 %",
		"What do I need for barley soup?":                 "200 g of pearl barley\n- 2 carrots",
		"How do I make barley soup?":                      "Soak the barley over night.",
		"How much pearl barley goes into barley soup?":    "200 g of pearl barley",
		"What are the steps of “How to dress a stone”?":   "2. Cut new furrows with the pick.",
		"What is a toll?":                                 "a share of the flour that the miller keeps",
		"Which is more in minutes (Baking time): a or b?": "",
	} {
		if got := answerTo(m, question); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s\n got %q\nwant %q", question, got, want)
		}
	}
	if t.Failed() {
		for _, r := range m.Rows {
			t.Logf("%s: %s -> %s", r.Kind, r.Question, r.Answer)
		}
	}
	for _, r := range m.Rows {
		if r.Kind != Unknown && !r.grounded() {
			t.Errorf("%q: the quote %q is not on the page", r.Question, r.Quote)
		}
		if low := strings.ToLower(r.Question); strings.Contains(low, "this text") || strings.Contains(low, "the passage") || strings.Contains(r.Question, "  ") {
			t.Errorf("asked: %q", r.Question)
		}
	}
}

// TestQuestions: wordings for measuring are in no row, and the rows' own answers are right by them.
func TestQuestions(t *testing.T) {
	m := makeBook(t, handbook, nil)
	if len(m.Questions) < 8 {
		t.Fatalf("%d questions", len(m.Questions))
	}
	rows := map[string]bool{}
	for _, r := range m.Rows {
		rows[key(r.Question)] = true
	}
	for _, q := range m.Questions {
		if q.Kind == score.Unanswerable {
			continue
		}
		if rows[key(q.Question)] {
			t.Errorf("%q is in a row", q.Question)
		}
		line, err := json.Marshal(q)
		if err == nil {
			_, err = score.Parse("questions", line)
		}
		if err != nil {
			t.Errorf("%+v: %v", q, err)
		}
		if !q.Mark(q.Answer, "").Right || q.Mark("I do not know.", "").Right {
			t.Errorf("%+v does not mark its own answer as right, or any", q)
		}
	}
}

// TestTables: heads with units and bases, of people, of clauses; groups, torn labels, marks of sources, short forms.
func TestTables(t *testing.T) {
	const tables = `# Food

CALORIE; symbol C.; a unit of heat.

| Food, 100 g | Energy, kcal | Protein (g) | Source |
|---|---|---|---|
| Lentils, cooked [1] | 116 | 9 | [2] |
| Tofu [1] | 144 | 17 | [2] |

## Needs

| Vitamin | Men | A rich source | Lack leads to |
|---|---|---|---|
| Vitamin C | 90 mg | oranges | scurvy |
| Vitamin B1 | 1.2 mg | pork | beriberi |
| Vitamin K | 120 µg | spinach | bleeding |

## Meat

| Beef: | | |
|---|---|---|
| Steak, lean | 2 oz. 100 C. | |
| Occupations with standing, or | | |
| manual labor | 2200 to 2500 C. | |
| Total | 300 C. | |
`
	m := makeBook(t, tables, nil)
	for question, want := range map[string]string{
		"What is the energy of lentils, cooked (per 100 g)?":        "116 kcal",
		"Give me the protein for tofu (per 100 g).":                 "17 g",
		"What number of milligrams is given for vitamin C for men?": "90 mg",
		"For vitamin C, what is a rich source?":                     "a rich source is oranges",
		"What is listed for vitamin C under “Lack leads to”?":       "scurvy",
		"Which figure is given under “Meat” for beef, steak, lean?": "2 oz.; 100 calories",
	} {
		if got := answerTo(m, question); !strings.Contains(got, want) {
			t.Errorf("%s\n got %q\nwant %q", question, got, want)
		}
	}
	for _, r := range m.Rows {
		if strings.Contains(r.Answer, "[") || strings.Contains(strings.ToLower(r.Question), "total") || strings.Contains(r.Question, "the a ") {
			t.Errorf("%s -> %s", r.Question, r.Answer)
		}
	}
	if t.Failed() {
		for _, r := range m.Rows {
			t.Logf("%s: %s -> %s", r.Kind, r.Question, r.Answer)
		}
	}
}

func TestPrivacy(t *testing.T) {
	text := handbook + "\n| Miller | Stones |\n|---|---|\n| Anna, anna@example.org | 12 kilograms |\n| Bert, bert@example.org | 15 kilograms |\n"
	for _, p := range []Privacy{Mask, Keep, Drop} {
		m := makeBook(t, text, func(o *Options) { o.Privacy = p })
		all := strings.Join(m.Texts["train"], "\n")
		for _, r := range m.Rows {
			all += r.Question + r.Answer + r.Quote
		}
		if has := strings.Contains(all, "@example.org"); has != (p == Keep) {
			t.Errorf("%s: the address is in the rows: %v", p, has)
		}
		if p == Mask && m.Report.Personal == 0 {
			t.Error("no report of what was masked")
		}
	}
}

// book of many chapters with facts, of which some tell the same.
func longBook() string {
	var b strings.Builder
	b.WriteString("# Stones\n\n")
	for i := range 24 {
		name := string(rune('A'+i%26)) + strings.Repeat("ar", i/26+1) + "ite"
		b.WriteString("## " + name + "\n\nThe " + name + " is a stone that is found in the hills of county number " + strings.Repeat("x", i+1) + ". ")
		b.WriteString("A common " + strings.ToLower(name) + " weighs " + strings.TrimSpace(string(rune('1'+i%9))) + "7 kilograms. ")
		b.WriteString(strings.Repeat("It has lain in its hill for as long as anyone can tell, and will lie there. ", 12) + "\n\n")
		b.WriteString("The old bridge weighs 90 kilograms in all of its parts.\n\n")
	}
	return b.String()
}

// TestRecipeNames: a dish has its name, without the word recipe, and may be several things.
func TestRecipeNames(t *testing.T) {
	for heading, want := range map[string]string{"Recipe: Pancakes": "pancakes", "Recipe 12. Pancakes": "pancakes", "Recipe for pancakes": "pancakes", "Pancakes": "pancakes"} {
		m := makeBook(t, "# Cook book\n\nWe eat pancakes.\n\n## "+heading+"\n\nIngredients\n\n- 250 g flour\n- 500 ml milk\n\nMethod\n\n1. Whisk it.\n2. Fry for 3 minutes.\n", nil)
		for question, answer := range map[string]string{"How does one make %s?": "2. Fry for 3 minutes.", "How much flour goes into %s?": "250 g flour"} {
			if got := answerTo(m, strings.ReplaceAll(question, "%s", want)); !strings.Contains(got, answer) {
				t.Errorf("%s: %q is answered with %q", heading, question, got)
			}
		}
	}
}

// TestLeaks: half of the rows and a third of the runs of eight words that are kept for testing stand in training.
func TestLeaks(t *testing.T) {
	m := &maker{passages: []*Passage{
		{Text: "One two three four five six seven eight nine.", split: "train"},
		{Text: "two three four five six seven eight nine ten eleven", split: "test"},
		{Text: "a b c d e f g h i j k l", split: "valid"},
	}}
	m.leaks(&Made{Rows: []Row{
		{Split: "train", Question: "How heavy is the upper stone?", Answer: "90 kg."},
		{Split: "test", Question: "How heavy is the upper stone!", Answer: "It weighs as much as two men."},
		{Split: "valid", Question: "Who grinds the rye?", Answer: "The miller."},
	}})
	if r := &m.report; r.Leak != 0.5 || r.TextLeak != 1.0/3 {
		t.Errorf("rows %g, texts %g", r.Leak, r.TextLeak)
	}
}

// TestSplit: passages of one unit lie on one side, what is told twice too, and the same seed gives the same.
func TestSplit(t *testing.T) {
	m := makeBook(t, longBook(), func(o *Options) { o.Valid, o.Test, o.Seed = 0.1, 0.2, 7 })
	for _, split := range splitNames {
		if m.Report.Rows[split] == 0 || m.Report.Texts[split] == 0 {
			t.Errorf("%s: %d rows, %d texts", split, m.Report.Rows[split], m.Report.Texts[split])
		}
	}
	if m.Report.Leak != 0 {
		t.Errorf("leak %.3f", m.Report.Leak)
	}
	if m.Report.Dropped["the same as another row"] == 0 {
		t.Error("the bridge was kept forty times")
	}
	unseen := 0
	for _, q := range m.Questions {
		if q.Kind == score.Unseen {
			unseen++
		}
	}
	if unseen == 0 {
		t.Error("no question on unseen chapters")
	}
}

// TestRows: a limit takes passages all over the book, each before any twice.
func TestRows(t *testing.T) {
	m := makeBook(t, longBook(), func(o *Options) { o.Rows, o.Wordings = 16, 2 })
	from := map[*Passage]bool{}
	last := 0
	for _, r := range m.Rows {
		if r.Kind != Unknown {
			from[r.passage] = true
			last = max(last, r.passage.From)
		}
	}
	if n := len(m.Rows); n < 14 || n > 18 || len(from) < 7 || last < 50 {
		t.Errorf("%d rows of %d passages, the last at block %d", n, len(from), last)
	}
}

// TestSame: the same seed gives the same files, another seed others.
func TestSame(t *testing.T) {
	path := writeBook(t, "stones.md", longBook())
	files := func(seed uint64) map[string]string {
		o := New(path)
		o.Seed = seed
		made, err := Make(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "out")
		if err := made.Write(dir, false); err != nil {
			t.Fatal(err)
		}
		files, _ := killtest.Lie(t, dir)
		return files
	}
	a, b, c := files(1), files(1), files(2)
	for name := range a {
		if a[name] != b[name] {
			t.Errorf("%s differs", name)
		}
	}
	if a["train.jsonl"] == c["train.jsonl"] {
		t.Error("another seed gives the same rows")
	}
}

// TestWrite: all formats are read back, lines of provenance fit those of the rows, and what the user wrote stays.
func TestWrite(t *testing.T) {
	for _, format := range Formats {
		m := makeBook(t, longBook(), func(o *Options) { o.Format, o.Valid, o.Test = Format(format), 0.1, 0.1 })
		dir := filepath.Join(t.TempDir(), "out")
		if err := m.Write(dir, false); err != nil {
			t.Fatal(err)
		}
		splits, err := dataset.Load(dir, dataset.Options{Preference: Format(format) == Pairs})
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		for _, s := range []*dataset.Split{splits.Train, splits.Valid, splits.Test} {
			if s.Len() == 0 && Format(format) != Pairs {
				t.Errorf("%s: %s is empty", format, s.Name)
			}
		}
		if questions, err := score.Read("questions", filepath.Join(dir, QuestionsName)); err != nil || len(questions) == 0 {
			t.Errorf("%s: %d questions, %v", format, len(questions), err)
		}
		if _, err := dataset.Load(filepath.Join(dir, TextFolder), dataset.Options{}); err != nil && Format(format) != Texts {
			t.Errorf("%s: %v", format, err)
		}
		if err := m.Write(dir, false); err != nil { // over its own files
			t.Errorf("%s, again: %v", format, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "train.jsonl"), []byte("mine\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := m.Write(dir, false); err == nil || fault.SettingOf(err) != "out" {
			t.Errorf("%s: the user's file is replaced: %v", format, err)
		}
	}
	m := makeBook(t, handbook, nil)
	lines, from, err := m.lines("train", nil, map[Action]int{})
	if err != nil || len(lines) != len(from) {
		t.Fatal(len(lines), len(from), err)
	}
	for i, line := range lines {
		var row struct{ Messages []struct{ Content string } }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		if from[i].Kind != Unknown && !from[i].Scores.Grounded || from[i].Row != i+1 {
			t.Errorf("%+v", from[i])
		}
	}
}

// TestKilled: a kill at any moment leaves the old dataset or the new one, and the same command makes the new one.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("six seconds of kills; TestSame still writes")
	}
	write := func(seed uint64) func(string) error {
		m := makeBook(t, handbook, func(o *Options) { o.Seed = seed })
		return func(dir string) error { return m.Write(dir, false) }
	}
	killtest.Everywhere(t, write(1), write(2))
}

// TestMix: other rows come along by their share of the tokens.
func TestMix(t *testing.T) {
	var b strings.Builder
	for i := range 200 {
		b.WriteString(`{"conversations": [{"from": "human", "value": "Number ` + strings.Repeat("i", i) + `?"}, {"from": "gpt", "value": "Yes."}]}` + "\n")
	}
	chats := writeBook(t, "chats.jsonl", b.String())
	m := makeBook(t, handbook, func(o *Options) { o.Mix = []Mix{{Path: chats, Share: 0.25}} })
	if m.Report.Mixed < 0.2 || m.Report.Mixed > 0.3 {
		t.Errorf("share %.2f", m.Report.Mixed)
	}
	text := makeBook(t, handbook, nil)
	if m.Report.Kinds[Numbers] != text.Report.Kinds[Numbers] {
		t.Error("the mix changes other rows")
	}
}

// TestMixed: rows of each layout come along in each format that has a place for them, pairs by their better answer; others
// are refused by name.
func TestMixed(t *testing.T) {
	t.Parallel()
	layouts := map[string]string{
		"chat":    `{"messages": [{"role": "user", "content": "A %d?"}, {"role": "assistant", "content": "Yes, A."}]}`,
		"pairs":   `{"prompt": [{"role": "user", "content": "B %d?"}], "chosen": [{"role": "assistant", "content": "Yes, B."}], "rejected": [{"role": "assistant", "content": "No, B."}]}`,
		"alpaca":  `{"instruction": "C %d?", "input": "", "output": "Yes, C."}`,
		"texts":   `{"text": "D %d is so, D."}`,
		"turns":   `{"messages": [{"role": "user", "content": "E %d?"}, {"role": "assistant", "content": "E?"}, {"role": "user", "content": "E."}, {"role": "assistant", "content": "Yes, E."}]}`,
		"written": `{"prompt": "F %d?", "chosen": "Yes, F.", "rejected": "No, F."}`,
	}
	all := []string{"chat", "pairs", "alpaca", "texts", "turns", "written"}
	takes := map[Format][]string{
		Messages: all, ShareGPT: all, Completions: {"chat", "pairs", "alpaca", "texts", "written"}, Alpaca: {"chat", "pairs", "alpaca", "texts", "written"},
		Pairs: {"pairs", "written"}, Texts: {"texts"},
	}
	for name, line := range layouts {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, line+"\n", i)
		}
		path := writeBook(t, name+".jsonl", b.String())
		for format, names := range takes {
			o := New(writeBook(t, "mill.md", handbook))
			o.Format, o.Mix, o.Valid, o.Test = format, []Mix{{Path: path, Share: 0.2}}, 0, 0
			m, err := Make(t.Context(), o)
			if want := slices.Contains(names, name); (err == nil) != want {
				t.Errorf("%s in %s: %v", name, format, err)
			}
			if err != nil {
				if fault.SettingOf(err) != "mix" {
					t.Errorf("%s in %s: %v", name, format, err)
				}
				continue
			}
			dir := t.TempDir()
			if err := m.Write(dir, false); err != nil {
				t.Errorf("%s in %s: %v", name, format, err)
				continue
			}
			file := filepath.Join(dir, "train.jsonl")
			if name == "texts" && format != Texts {
				file = filepath.Join(dir, TextFolder, "train.jsonl")
			}
			data, err := os.ReadFile(file)
			mark := strings.ToUpper(string(strings.TrimLeft(line[strings.Index(line, " %d")-1:], " ")[0]))
			if n := strings.Count(string(data), mark+"."); err != nil || n == 0 || format == Pairs == !strings.Contains(string(data), "No, "+mark) && format != Texts && name != "texts" {
				t.Errorf("%s in %s: %d rows, %v", name, format, n, err)
			}
			if _, err := dataset.Load(dir, dataset.Options{Preference: format == Pairs}); err != nil {
				t.Errorf("%s in %s: %v", name, format, err)
			}
		}
	}
}

// TestProfiles: a recipe is held against what users do not eat, with what breaks it, and other rows go with a user whose rules
// they keep.
func TestProfiles(t *testing.T) {
	t.Parallel()
	var users []*profile.Profile
	for _, text := range []string{`{"id": "v", "diet": ["vegan"]}`, `{"id": "n", "avoid": ["nuts"], "severity": {"nuts": "allergy"}}`} {
		user, err := profile.Parse("", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, user)
	}
	text := handbook + "\n\n## Plain pancakes\n\n- 200 g of flour\n- 300 ml of milk\n- 2 eggs\n\n1. Stir all of it together.\n2. Bake it in a pan for 3 minutes.\n\n"
	m := makeBook(t, text, func(o *Options) { o.Profiles, o.System = users, "You cook." })
	no, yes, along := 0, 0, 0
	for i := range m.Rows {
		r := &m.Rows[i]
		row := r.row(&m.opt)
		roles, texts, err := row.Roles()
		if err != nil {
			t.Fatal(err)
		}
		if r.Profile != nil && (roles[0] != "system" || texts[0] != r.Profile.System("You cook.")) {
			t.Errorf("%v %q", roles, texts)
		}
		switch {
		case r.Kind == ForUser && r.Profile.ID == "v":
			if strings.Contains(r.Question, "arley soup") {
				continue
			}
			if no++; !strings.Contains(r.Answer, "300 ml of milk") || !strings.Contains(r.Answer, "vegan") || strings.Contains(r.Answer, "flour") || !r.grounded() {
				t.Errorf("%q %q", r.Answer, r.Quote)
			}
		case r.Kind == ForUser:
			if yes++; len(r.Profile.Scan(r.Answer)) > 0 || !strings.Contains(strings.ToLower(r.Answer), "yes") {
				t.Errorf("%q", r.Answer)
			}
		case r.Profile != nil:
			along++
		}
	}
	if share := float64(along) / float64(len(m.Rows)); no == 0 || yes == 0 || share < 0.1 || share > 0.4 {
		t.Errorf("%d no, %d yes, share %.2f", no, yes, share)
	}
	asked := 0
	for _, q := range m.Questions {
		if q.Kind == score.Profile {
			if asked++; !strings.Contains(q.System, "vegan") || !q.Mark(q.Answer, "").Right || q.Mark("Yes, enjoy it.", "").Right {
				t.Errorf("%+v", q)
			}
		}
	}
	if asked != 1 {
		t.Errorf("%d questions", asked)
	}
}

func TestMakeRefused(t *testing.T) {
	for name, books := range map[string][]string{
		"no such file":    {filepath.Join(t.TempDir(), "none.epub")},
		"folder of none":  {t.TempDir()},
		"not a book":      {writeBook(t, "a.zip", "PK")},
		"none, of course": nil,
	} {
		if _, err := Make(context.Background(), New(books...)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// One bad book does not stop the others.
	warned := 0
	o := New(writeBook(t, "bad.epub", "no zip"), writeBook(t, "mill.md", handbook))
	o.Warn = func(fault.Note) { warned++ }
	if m, err := Make(context.Background(), o); err != nil || len(m.Rows) == 0 || warned == 0 || len(m.Report.Unread) != 1 {
		t.Error(err, warned)
	}
}

// TestCopies: of a book that is there in two formats the better one gives rows; an extract gives none beside the whole.
func TestCopies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole := longBook()
	part := whole[:len(whole)/2]
	other := strings.NewReplacer("stone", "wheel", "e ", "e so ").Replace(whole)
	for name, text := range map[string]string{"a.txt": whole, "b.md": whole, "c.txt": part, "d.txt": other, "e.txt": "Peas are pulses.", "f.txt": "Peas are pulses."} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Make(t.Context(), New(dir))
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, c := range m.Report.Copies {
		left = append(left, filepath.Base(c.Path)+" of "+filepath.Base(c.Of))
	}
	if want := []string{"a.txt of b.md", "c.txt of b.md", "f.txt of e.txt"}; !slices.Equal(left, want) || len(m.Report.Books) != 3 {
		t.Errorf("%v, want %v; %+v", left, want, m.Report.Books)
	}
}
