package making

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/eval/score"
)

var itemMark = regexp.MustCompile(`^(?:\(?\d{1,3}[.)]|[•·*–-]|\(?[a-z][.)])\s+`)

// lines makes facts of a paragraph of several lines that is a list, and tells whether it is one.
func (m *maker) lines(p *Passage, i int) bool {
	lines := strings.Split(p.doc.Blocks[i].Text, "\n")
	marked := 0
	var items []string
	for _, line := range lines {
		if mark := itemMark.FindString(line); mark != "" {
			marked++
		}
		items = append(items, strings.TrimSpace(itemMark.ReplaceAllString(line, "")))
	}
	if marked*3 < len(lines)*2 && !amounts(items) {
		return false
	}
	m.items(p, i, items, marked > 0 && itemMark.MatchString(lines[0]) && hasDigit(lines[0][:2]))
	return true
}

// list makes facts of a list.
func (m *maker) list(p *Passage, i int) {
	b := &p.doc.Blocks[i]
	var items []string
	for line := range strings.SplitSeq(b.Text, "\n") {
		items = append(items, strings.TrimSpace(references.ReplaceAllString(itemMark.ReplaceAllString(line, ""), "")))
	}
	m.items(p, i, items, len(b.Items) > 0 && b.Items[0].Ordered)
}

// amounts tells whether most lines begin with a quantity, as the ingredients of a recipe do.
func amounts(items []string) bool {
	n := 0
	for _, it := range items {
		if f := figures(it); len(f) > 0 && f[0].from == 0 && wordCount(it) > 1 && wordCount(it) < 14 {
			n++
		}
	}
	return len(items) >= 3 && n*3 >= len(items)*2
}

// maxItems is how many items a list has that is one answer.
const maxItems = 15

func (m *maker) items(p *Passage, i int, items []string, ordered bool) {
	items = slices.DeleteFunc(slices.Clone(items), func(s string) bool { return s == "" })
	if len(items) < 2 || len(items) > maxItems {
		return
	}
	size := 0
	for _, it := range items {
		size += len(it)
		if strings.HasSuffix(it, "?") {
			return // questions, as in a review
		}
	}
	if size > 900 {
		return
	}
	blocks := p.doc.Blocks
	title, intro := "", ""
	if path := blocks[i].Path; len(path) > 0 {
		title = m.title(path[len(path)-1])
	}
	if i > p.From && blocks[i-1].Kind == book.Paragraph {
		s := sentences(blocks[i-1].Text)
		if last := s[len(s)-1]; strings.HasSuffix(last, ":") || !strings.ContainsAny(last[len(last)-1:], ".!?\"") {
			intro = strings.TrimRight(last, ": —-")
		}
	}
	if intro == "" && title == "" || wordCount(intro) > 25 || plainTitles.MatchString(intro) {
		return
	}
	f := &fact{by: "list", passage: p, block: i, quote: oneLine(blocks[i].Text)}
	name := title
	if intro != "" {
		name = capital(intro)
	}
	text := listed(items, ordered)
	switch {
	case ordered && (strings.HasPrefix(strings.ToLower(title), "how to ") || imperative(items)):
		f.kind = HowTo
		f.asks = []string{"", "What are the steps of “" + name + "”?", "How does one go about “" + name + "”?", "Take me through “" + name + "” step by step."}
		f.answers = []string{name + ":\n" + text}
	default:
		f.kind = ListOf
		f.asks = []string{
			"List all that belongs to “" + name + "”.",
			"What belongs to “" + name + "”?",
			"Which points come under “" + name + "”?",
			"Which things are meant by “" + name + "”?",
		}
		f.answers = []string{name + ":\n" + text}
	}
	for _, it := range items[:min(3, len(items))] {
		f.must = append(f.must, termFacts(m.words.rare(it, name, 1))...)
	}
	if len(items) > 6 { // too much to be told in full by a small model
		f.must = nil
	}
	m.add(f)
}

// listed writes items below one another.
func listed(items []string, ordered bool) string {
	var b strings.Builder
	for i, it := range items {
		if i > 0 {
			b.WriteByte('\n')
		}
		if ordered {
			b.WriteString(strconv.Itoa(i+1) + ". ")
		} else {
			b.WriteString("- ")
		}
		b.WriteString(it)
	}
	return b.String()
}

// orders are verbs that steps begin with.
var orders = map[string]bool{}

func init() {
	for _, w := range strings.Fields("add mix stir boil cook bake put place cut take pour heat let serve beat fold season drain cover remove combine melt simmer fry roast chop slice peel wash soak knead roll spread sprinkle press turn set open close check write make use keep do start begin stop read choose lift bend stretch stand lie raise lower breathe walk drink eat avoid apply rinse dry grease preheat whisk blend strain toss") {
		orders[w] = true
	}
}

// imperative tells whether most lines begin with an order.
func imperative(lines []string) bool {
	n := 0
	for _, l := range lines {
		if orders[strings.ToLower(wordRE.FindString(l))] {
			n++
		}
	}
	return len(lines) > 0 && n*2 >= len(lines)
}

// recipe makes facts of a recipe: what goes into it, how much of each, and what is done.
func (m *maker) recipe(p *Passage, i int) {
	b := &p.doc.Blocks[i]
	ingredients, steps := b.Recipe()
	title := ""
	if len(b.Path) > 0 {
		title = m.title(recipeOf.ReplaceAllString(b.Path[len(b.Path)-1], ""))
	}
	if title == "" || len(ingredients) == 0 {
		return
	}
	dish := m.words.calm(title)
	for k, line := range ingredients {
		ingredients[k] = strings.TrimSpace(itemMark.ReplaceAllString(strings.ReplaceAll(line, "\t", " "), ""))
	}
	if len(ingredients) <= 2*maxItems {
		need := &fact{kind: ListOf, by: "recipe", passage: p, block: i, quote: linesWith(b.Text, ingredients), answers: []string{"For " + dish + ":\n" + listed(ingredients, false)}}
		need.asks = []string{
			"I want to make " + dish + ". What has to be in the house?",
			"What do I need for " + dish + "?",
			"Which ingredients go into " + dish + "?",
			"List the ingredients of " + dish + " with their amounts.",
		}
		for _, it := range ingredients[:min(3, len(ingredients))] {
			need.must = append(need.must, termFacts(m.words.rare(it, dish, 1))...)
		}
		m.add(need)
		m.forUsers(p, i, dish, ingredients, need.quote)
	}
	for _, it := range ingredients {
		m.ingredient(p, i, dish, it)
	}
	if how := strings.Join(steps, "\n"); how != "" && len(how) <= mostSteps {
		answer := oneLine(how)
		if len(steps) > 1 {
			answer = listed(steps, true)
		}
		m.add(&fact{
			kind: HowTo, by: "recipe", passage: p, block: i, quote: oneLine(how), answers: []string{answer},
			asks: []string{"", "How do I make " + dish + "?", "How does one make " + dish + "?", "Give me the steps for " + dish + "."},
		})
	}
}

// recipeOf is what a heading says before the name of the dish.
var recipeOf = regexp.MustCompile(`^(?i:recipe)(?: +\d+)?(?: +for +| *[:.–—-] +)`)

// mostSteps bounds the steps of a recipe that is one answer, in bytes.
const mostSteps = 1500

// linesWith are the lines of a text from the first to the last of some.
func linesWith(text string, some []string) string {
	from, to := -1, 0
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		line = strings.TrimSpace(itemMark.ReplaceAllString(strings.ReplaceAll(line, "\t", " "), ""))
		if slices.Contains(some, line) {
			if from < 0 {
				from = i
			}
			to = i + 1
		}
	}
	return oneLine(strings.Join(lines[max(from, 0):to], "\n"))
}

// ingredient makes a fact of an amount.
func (m *maker) ingredient(p *Passage, i int, dish, it string) {
	f := figures(it)
	if len(f) != 1 || f[0].from != 0 || f[0].unit == "" {
		return
	}
	what := strings.TrimPrefix(strings.TrimSpace(it[f[0].end:]), "of ")
	what, _, _ = strings.Cut(what, ",")
	if what == "" || wordCount(what) > 5 {
		return
	}
	m.add(&fact{
		kind: Numbers, by: "recipe", passage: p, block: i, quote: it,
		asks: []string{
			"I am making " + dish + ": what amount of " + what + "?",
			"How much " + what + " goes into " + dish + "?",
			"What quantity of " + what + " belongs in " + dish + "?",
			capital(dish) + ": how much " + what + "?",
		},
		answers: []string{"Take " + it + " for " + dish + ".", "For " + dish + ", it is " + it + "."},
		must:    []score.Fact{{Figure: strings.TrimRight(it[:f[0].end], " .")}},
	})
}

// Bounds of what stands for a section in an answer, in words.
const (
	leastSection = 14
	mostSection  = 90
)

// isProse tells sentences from short notes and lines.
func isProse(text string) bool {
	return wordCount(text) >= 9 && strings.ContainsAny(text[len(text)-1:], ".!?\"”)") && !strings.Contains(text, "\n") && !termRE.MatchString(oneLine(text)) && !inTitleCase(text)
}

// inTitleCase tells whether most words begin with a capital, as in a heading.
func inTitleCase(text string) bool {
	words := wordRE.FindAllString(text, -1)
	n := 0
	for _, w := range words {
		if w[:1] == strings.ToUpper(w[:1]) {
			n++
		}
	}
	return n*5 > len(words)*3
}

// section makes a fact of a heading and the first sentences below it.
func (m *maker) section(p *Passage) {
	blocks := p.doc.Blocks
	at := p.From
	for at < p.To && blocks[at].Kind == book.Heading {
		at++
	}
	if at == p.From || at == p.To {
		return
	}
	heading := oneLine(blocks[at-1].Text)
	title := m.title(strings.TrimSuffix(heading, "?"))
	if title == "" {
		return
	}
	var said []string
	words, from := 0, -1
	for i := at; i < p.To && words < mostSection; i++ {
		prose := blocks[i].Kind == book.Paragraph && isProse(blocks[i].Text)
		if !prose && from < 0 && blocks[i].Kind == book.Paragraph {
			continue // a note at the side, a motto
		}
		if !prose {
			break
		}
		if from < 0 {
			from = i
		}
		for _, s := range sentences(blocks[i].Text) {
			if n := wordCount(s); words+n <= mostSection {
				said, words = append(said, s), words+n
			} else {
				words = mostSection
			}
		}
	}
	if words < leastSection || strings.HasSuffix(said[len(said)-1], ":") {
		return
	}
	quote := strings.Join(said, " ")
	f := &fact{kind: Section, by: "heading", passage: p, block: from, quote: quote, answers: []string{references.ReplaceAllString(quote, "")}}
	how, isHow := strings.CutPrefix(strings.ToLower(title), "how to ")
	switch {
	case strings.HasSuffix(heading, "?"):
		f.asks = []string{"", capital(title) + "?", "What is there to say to this: " + title + "?"}
	case isHow:
		f.kind = HowTo
		f.asks = []string{"", "How does one " + how + "?", "What should I know about how to " + how + "?", "Explain how to " + how + "."}
	default:
		f.asks = []string{"", "What should I know about “" + title + "”?", "Tell me something on “" + title + "”.", "What is there to say on “" + title + "”?"}
	}
	m.add(f)
}
