package profile

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed lexicon.txt
var lexiconText string

// A Food is an entry of the lexicon.
type Food struct {
	Name     string
	Synonyms []string
	Rules    []Rule // that it breaks, in the order of Allergens and Diets
	Source   string // how it is known to be of its kind

	classes classSet
	dish    bool // known for what its usual recipe has
}

// A classSet is a set of kinds of food, a bit each. Kinds are finer than rules: "gluten-free" takes wheat off a pasta, and
// with it what is in wheat, but not its starch.
type classSet uint64

// A lexicon is what the scanner knows of foods.
type lexicon struct {
	foods   []*Food
	phrases map[string]*Food    // by each form, in lower case, words with one space between
	without map[string]classSet // words before a food, and what they take off it
	classes map[string]classSet
	breaks  []ruleSet // of each class
	sources map[Rule]string
	longest map[string]int  // words of the longest phrase that begins with a word, those of without included
	named   map[string]bool // phrases that stand in the file

	meat, milk classSet
}

// Foods lists the entries of the lexicon that break a rule, as they stand there.
func Foods() []*Food { return slices.Clone(theLexicon().foods) }

// SourceOf tells where a rule comes from.
func SourceOf(r Rule) string { return theLexicon().sources[r] }

var theLexicon = sync.OnceValue(func() *lexicon {
	l, err := readLexicon(lexiconText)
	if err != nil {
		panic(err) // the file is part of the program, and a test reads it
	}
	return l
})

// readLexicon reads the format that lexicon.txt describes.
func readLexicon(text string) (*lexicon, error) {
	l := &lexicon{longest: map[string]int{}, phrases: map[string]*Food{}, without: map[string]classSet{}, classes: map[string]classSet{}, sources: map[Rule]string{}, named: map[string]bool{}}
	source := ""
	var crossed []string // each entry of its own goes before
	for n, line := range strings.Split(text, "\n") {
		word, rest, _ := strings.Cut(line, " ")
		var err error
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case word == "class":
			err = l.addClass(rest)
		case word == "rule":
			name, from, _ := strings.Cut(rest, ": ")
			if _, ok := ruleBits[Rule(name)]; !ok || from == "" {
				err = fmt.Errorf("no rule: %s", rest)
			}
			l.sources[Rule(name)] = from
		case word == "source":
			source = rest
		case word == "cross":
			crossed = append(crossed, rest)
		case word == "without":
			words, classes, _ := strings.Cut(rest, " = ")
			words = normal(words)
			l.without[words], _, err = l.set(classes)
			lengthen(l.longest, words)
		default:
			err = l.addFoods(line, source)
		}
		if err != nil {
			return nil, fmt.Errorf("lexicon.txt:%d: %w", n+1, err)
		}
	}
	for _, line := range crossed {
		if err := l.cross(line); err != nil {
			return nil, fmt.Errorf("lexicon.txt: cross %s: %w", line, err)
		}
	}
	l.meat, l.milk = l.classes["meat"]|l.classes["pork"], l.classes["milk"]
	for _, f := range l.foods {
		f.Rules = l.rules(l.breaking(f.classes))
	}
	return l, nil
}

func (l *lexicon) addClass(text string) error {
	name, rules, _ := strings.Cut(text, " = ")
	var set ruleSet
	for _, r := range strings.Fields(rules) {
		bit, ok := ruleBits[Rule(r)]
		if !ok {
			return fmt.Errorf("%s is no rule", r)
		}
		set |= bit
	}
	l.classes[name] = 1 << len(l.breaks)
	l.breaks = append(l.breaks, set)
	return nil
}

// set reads names of classes; "dish" is none, but told.
func (l *lexicon) set(names string) (set classSet, dish bool, err error) {
	for _, name := range strings.Fields(names) {
		bit, ok := l.classes[name]
		switch {
		case name == "dish":
			dish = true
		case !ok:
			return 0, false, fmt.Errorf("%s is no class", name)
		}
		set |= bit
	}
	return set, dish, nil
}

// addFoods reads a line of foods of the same classes.
func (l *lexicon) addFoods(line, source string) error {
	names, list, ok := strings.Cut(line, ": ")
	var classes classSet
	var dish bool
	var err error
	switch {
	case !ok:
		return fmt.Errorf("expected CLASSES: FOOD | FOOD, found %q", line)
	case names != "safe":
		if classes, dish, err = l.set(names); err != nil {
			return err
		}
		if source == "" {
			return fmt.Errorf("foods without a source")
		}
	}
	for _, item := range strings.Split(list, " | ") {
		name, synonyms, _ := strings.Cut(item, " = ")
		f := &Food{Name: strings.TrimSuffix(name, "!"), classes: classes, dish: dish, Source: source}
		all := []string{name}
		if synonyms != "" {
			all = append(all, strings.Split(synonyms, ", ")...)
			for _, s := range all[1:] {
				f.Synonyms = append(f.Synonyms, strings.TrimSuffix(s, "!"))
			}
		}
		for _, form := range all {
			if err := l.addPhrase(form, f, false); err != nil {
				return err
			}
		}
		if classes != 0 {
			l.foods = append(l.foods, f)
		}
	}
	return nil
}

// cross reads a line of foods that are made of two words.
func (l *lexicon) cross(line string) error {
	names, list, _ := strings.Cut(line, ": ")
	classes, _, err := l.set(names)
	if err != nil {
		return err
	}
	first, second, ok := strings.Cut(list, " x ")
	if !ok {
		return fmt.Errorf("expected FOOD | FOOD x FOOD | FOOD")
	}
	for _, a := range strings.Split(first, " | ") {
		for _, b := range strings.Split(second, " | ") {
			if err := l.addPhrase(a+" "+b, &Food{Name: a + " " + b, classes: classes}, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// addPhrase takes a form of a food, with its plurals unless it ends with "!". One that is there stays, if that is expected.
func (l *lexicon) addPhrase(form string, f *Food, mayBe bool) error {
	alone := strings.HasSuffix(form, "!")
	words := strings.Fields(normal(strings.TrimSuffix(form, "!")))
	if len(words) == 0 {
		return fmt.Errorf("an empty name")
	}
	name := strings.Join(words, " ")
	switch {
	case mayBe && l.named[name]:
		return nil
	case !mayBe && l.named[name] && l.phrases[name] != f:
		return fmt.Errorf("%s is there twice", form)
	}
	l.named[name] = true
	at := len(words) - 1
	if i := slices.Index(words, "of"); i > 0 {
		at = i - 1 // sticks of celery
	}
	for i, last := range append([]string{words[at]}, plurals(words[at])...) {
		if i > 0 && alone {
			break
		}
		words[at] = last
		key := strings.Join(words, " ")
		lengthen(l.longest, key)
		if i == 0 || l.phrases[key] == nil {
			l.phrases[key] = f
		}
	}
	return nil
}

// lengthen notes a phrase under its first word.
func lengthen(longest map[string]int, phrase string) {
	first, _, _ := strings.Cut(phrase, " ")
	longest[first] = max(longest[first], 1+strings.Count(phrase, " "))
}

// plurals are the forms that the plural of a word may have.
func plurals(w string) []string {
	switch {
	case len(w) < 2:
		return nil
	case strings.HasSuffix(w, "y") && !strings.ContainsRune("aeou", rune(w[len(w)-2])):
		return []string{w[:len(w)-1] + "ies", w + "s"}
	case strings.HasSuffix(w, "fe"):
		return []string{w[:len(w)-2] + "ves", w + "s"}
	case strings.HasSuffix(w, "af") || strings.HasSuffix(w, "lf"):
		return []string{w[:len(w)-1] + "ves", w + "s"}
	case strings.HasSuffix(w, "s") || strings.HasSuffix(w, "x") || strings.HasSuffix(w, "ch") || strings.HasSuffix(w, "sh") || strings.HasSuffix(w, "o"):
		return []string{w + "es", w + "s"}
	}
	return []string{w + "s"}
}

// breaking is what a food of these classes breaks.
func (l *lexicon) breaking(classes classSet) (set ruleSet) {
	for i, breaks := range l.breaks {
		if classes&(1<<i) != 0 {
			set |= breaks
		}
	}
	if classes&l.meat != 0 && classes&l.milk != 0 {
		set |= ruleBits["kosher"]
	}
	return set
}

func (l *lexicon) rules(set ruleSet) (out []Rule) {
	for _, r := range allRules {
		if set&ruleBits[r] != 0 {
			out = append(out, r)
		}
	}
	return out
}
