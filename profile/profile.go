package profile

import (
	"cmp"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// Severity says what happens when a rule is broken.
type Severity string

// The severities, the worst first. An answer that breaks an Allergy is written again.
const (
	Allergy     Severity = "allergy"
	Intolerance Severity = "intolerance"
	Avoid       Severity = "avoid"
	Diet        Severity = "diet"    // of Profile.Diet
	Dislike     Severity = "dislike" // of Profile.Dislikes
)

// A Profile is what one person eats and wants. The zero value wants nothing.
type Profile struct {
	ID       string              `json:"id"`
	Base     string              `json:"base,omitempty"` // model that the profile was made for; empty for any
	Diet     []string            `json:"diet,omitempty"` // rules of Diets
	Avoid    []string            `json:"avoid,omitempty"`
	Severity map[string]Severity `json:"severity,omitempty"` // of what is in Avoid
	Goals    []string            `json:"goals,omitempty"`
	Dislikes []string            `json:"dislikes,omitempty"`
	Units    string              `json:"units,omitempty"`    // metric or imperial
	Language string              `json:"language,omitempty"` // of answers: "en"
}

// Bounds of a profile, whose text stands before every question.
const (
	MaxBytes = 64 << 10 // of a file
	mostEach = 100      // entries of a list
	longText = 200      // letters of an entry
)

var validID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

// CheckID checks the id of a profile, which becomes part of the ids of models, and the name of a file.
func CheckID(id string) error {
	if !validID.MatchString(id) {
		return fault.Of("id %q: expected letters, digits, and . _ - between them, 64 at most", id)
	}
	return nil
}

// Read reads a file of YAML or JSON. A file that names no id gets its own name as one.
func Read(path string) (*Profile, error) {
	data, err := smallfile.ReadAny(path, MaxBytes)
	if err != nil {
		return nil, fault.Of("%w", err)
	}
	name := filepath.Base(path)
	p, err := Parse(path, data)
	if err == nil && p.ID == "" {
		p.ID = strings.TrimSuffix(name, filepath.Ext(name))
		if !validID.MatchString(p.ID) {
			err = fault.Of("%s: no id, and the file's name is none", path).Try("Give the profile an id, such as: id: anna")
		}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Parse reads YAML or JSON. path is for messages.
func Parse(path string, data []byte) (*Profile, error) {
	if len(data) > MaxBytes {
		return nil, fault.Of("%s: %d bytes, expected at most %d", path, len(data), MaxBytes)
	}
	fields, err := parseFields(data)
	if err != nil {
		return nil, fault.Of("%s:%w", path, err)
	}
	p := &Profile{}
	for _, f := range fields {
		if err := p.set(f); err != nil {
			return nil, fault.Of("%s:%d: %w", path, f.line, err)
		}
	}
	if err := p.checkSeverity(); err != nil {
		line := 1
		for _, f := range fields {
			if f.key == "severity" {
				line = f.line
			}
		}
		return nil, fault.Of("%s:%d: %w", path, line, err)
	}
	return p, nil
}

// keys are what a file may say.
var keys = []string{"id", "base", "diet", "avoid", "severity", "goals", "dislikes", "units", "language"}

// set takes one key of a file.
func (p *Profile) set(f field) (err error) {
	switch f.key {
	case "id":
		if p.ID, err = f.text(); err == nil {
			err = CheckID(p.ID)
		}
	case "base":
		p.Base, err = f.text()
	case "diet":
		p.Diet, err = f.list()
		for i, d := range p.Diet {
			if err == nil {
				p.Diet[i], err = diet(d)
			}
		}
	case "avoid":
		p.Avoid, err = f.list()
	case "severity":
		p.Severity, err = f.severities()
	case "goals":
		p.Goals, err = f.list()
	case "dislikes":
		p.Dislikes, err = f.list()
	case "units":
		if p.Units, err = f.text(); err == nil && p.Units != "metric" && p.Units != "imperial" {
			err = fault.Of("units %q: expected metric or imperial", p.Units)
		}
	case "language":
		p.Language, err = f.text()
	default:
		m := fault.Of("there is no %q in a profile; it may have %s", f.key, strings.Join(keys, ", "))
		if near := fault.Nearest(f.key, keys); near != "" {
			m.Try("Did you mean: %s", near)
		}
		err = m
	}
	return err
}

// diet reads the name of a diet.
func diet(word string) (string, error) {
	r, ok := ruleOf(word)
	if ok && slices.Contains(Diets, r) {
		return string(r), nil
	}
	if ok {
		return "", fault.Of("diet %q is no diet but something that foods hold", word).Try("Write it under avoid, and how bad it is under severity.")
	}
	names := make([]string, len(Diets))
	for i, d := range Diets {
		names[i] = string(d)
	}
	return "", fault.Of("diet %q: expected one of %s", word, strings.Join(names, ", ")).Try("Foods of another diet that are to be left out can be listed under avoid.")
}

// checkSeverity holds severity to what is avoided.
func (p *Profile) checkSeverity() error {
	for _, name := range sortedKeys(p.Severity) {
		if !slices.ContainsFunc(p.Avoid, func(a string) bool { return sameThing(a, name) }) {
			return fault.Of("severity of %q, which is not under avoid", name).Try("Add it to avoid.")
		}
	}
	return nil
}

// sameThing tells whether two words of a profile mean the same.
func sameThing(a, b string) bool {
	ra, oka := ruleOf(a)
	rb, okb := ruleOf(b)
	return oka && okb && ra == rb || normal(a) == normal(b)
}

// SeverityOf is how bad something of Avoid is: as the profile says, or an allergy for an allergen, and avoided otherwise.
func (p *Profile) SeverityOf(avoided string) Severity {
	for _, name := range sortedKeys(p.Severity) {
		if sameThing(name, avoided) {
			return p.Severity[name]
		}
	}
	if r, ok := ruleOf(avoided); ok && slices.Contains(Allergens, r) || groups[normal(avoided)].allergen {
		return Allergy
	}
	return Avoid
}

func sortedKeys(m map[string]Severity) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// HasAllergies tells whether an answer could have to be written again.
func (p *Profile) HasAllergies() bool {
	return slices.ContainsFunc(p.Avoid, func(a string) bool { return p.SeverityOf(a) == Allergy })
}

// clean checks a text of a profile, which becomes part of a prompt.
func clean(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", errors.New("an empty text")
	case len([]rune(text)) > longText:
		return "", fault.Of("a text of %d letters, expected at most %d", len([]rune(text)), longText)
	case strings.ContainsFunc(text, unicode.IsControl), strings.ContainsRune(text, unicode.ReplacementChar):
		return "", fault.Of("%.40q holds a line break or a sign that cannot be printed", text)
	case strings.Contains(text, "<|"), strings.Contains(text, "|>"):
		return "", fault.Of("%.40q holds a mark that models take for their own", text)
	}
	return text, nil
}

// Literal lists what the profile avoids or dislikes and the scanner knows by its own words alone: neither kinds of it nor
// what is made of it are found.
func (p *Profile) Literal() (out []string) {
	for _, name := range slices.Concat(p.Avoid, p.Dislikes) {
		if _, ok := ruleOf(name); !ok && groups[normal(name)].classes == "" {
			out = append(out, name)
		}
	}
	return out
}

// A watch is what the scanner looks for.
type watch struct {
	rules    ruleSet
	severity map[Rule]Severity
	words    map[string]Rule // forms of what the profile avoids and the lexicon does not have
	foods    map[*Food]Rule  // of the lexicon, avoided by name
	groups   []watchedGroup
	longest  map[string]int
}

// A watchedGroup is a group of foods that is avoided.
type watchedGroup struct {
	rule    Rule
	classes classSet
}

// watch makes the tables of the scanner.
func (p *Profile) watch() *watch {
	w := &watch{severity: map[Rule]Severity{}, words: map[string]Rule{}, foods: map[*Food]Rule{}, longest: map[string]int{}}
	for _, d := range p.Diet {
		w.add(d, Diet)
	}
	for _, d := range p.Dislikes {
		w.add(d, Dislike)
	}
	for _, a := range p.Avoid {
		w.add(a, p.SeverityOf(a))
	}
	return w
}

// AllergenWords are the single words for foods with what the person is allergic to, sorted.
func (p *Profile) AllergenWords() (out []string) {
	w, l := p.watch(), theLexicon()
	var allergies ruleSet
	for rule, s := range w.severity {
		if s == Allergy {
			allergies |= ruleBits[rule]
		}
	}
	var classes classSet
	for _, g := range w.groups {
		if w.severity[g.rule] == Allergy {
			classes |= g.classes
		}
	}
	for phrase, food := range l.phrases {
		own := w.foods[food]
		if !strings.Contains(phrase, " ") && (l.breaking(food.classes)&allergies != 0 || food.classes&classes != 0 || own != "" && w.severity[own] == Allergy) {
			out = append(out, phrase)
		}
	}
	for phrase, rule := range w.words {
		if w.severity[rule] == Allergy && !strings.Contains(phrase, " ") {
			out = append(out, phrase)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ranks orders severities, the worst first.
var ranks = []Severity{Allergy, Intolerance, Avoid, Diet, Dislike}

func (w *watch) add(name string, s Severity) {
	rule, known := ruleOf(name)
	if !known {
		rule = Rule(strings.ToLower(name))
	}
	if old, ok := w.severity[rule]; ok && slices.Index(ranks, old) < slices.Index(ranks, s) {
		s = old
	}
	w.severity[rule] = s
	if known {
		w.rules |= ruleBits[rule]
		return
	}
	phrase := normal(name)
	if classes := groups[phrase].set(); classes != 0 {
		w.groups = append(w.groups, watchedGroup{rule, classes})
	}
	if food := theLexicon().phrases[phrase]; food != nil {
		w.foods[food] = rule
		return
	}
	words := strings.Fields(phrase)
	if len(words) == 0 {
		return
	}
	last := words[len(words)-1]
	forms := append([]string{last}, plurals(last)...)
	for _, ending := range []string{"ies", "es", "s"} { // "mushrooms" means one of them, too
		if stem, ok := strings.CutSuffix(last, ending); ok && len(stem) > 2 {
			forms = append(forms, cmp.Or(map[string]string{"ies": stem + "y"}[ending], stem))
		}
	}
	for _, form := range forms {
		words[len(words)-1] = form
		w.words[strings.Join(words, " ")] = rule
		lengthen(w.longest, strings.Join(words, " "))
	}
}
