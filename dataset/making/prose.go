package making

import (
	"regexp"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/book"
)

// prose makes facts of the sentences of a paragraph.
func (m *maker) prose(p *Passage, i int) {
	b := &p.doc.Blocks[i]
	if strings.Count(b.Text, "\n") > 0 && b.Kind == book.Paragraph && m.lines(p, i) {
		return
	}
	if d := m.termDefinition(b.Text); d != nil {
		d.passage, d.block = p, i
		m.add(d)
	}
	for _, s := range sentences(b.Text) {
		if n := wordCount(s); n < 5 || n > 60 || strings.HasSuffix(s, "?") || !strings.HasSuffix(strings.TrimRight(s, `"”)'’`), ".") && !strings.HasSuffix(s, "!") {
			continue
		}
		for _, rule := range []func(string) *fact{m.definition, m.reason, m.amount} {
			if f := rule(references.ReplaceAllString(m.short.expand(s), "")); f != nil {
				f.passage, f.block, f.quote = p, i, s
				m.add(f)
				break
			}
		}
	}
}

// pointers begin phrases that say nothing without the sentences before them.
var pointers = strings.Fields("it this that these those there he she they we you i my your his her its their our what here such which who one another each some any many most all nothing everything both neither either so then if when while although as for in on at by with from to of but and or because since not no yes only how why where first second third last next other others same now perhaps after before")

// subject checks the phrase before a verb: short, and known without what stands before it.
func subject(np string) bool {
	words := wordRE.FindAllString(np, -1)
	if len(words) == 0 || len(words) > 7 || len(np) < 3 || strings.ContainsAny(np, ",;:()\"“”—") {
		return false
	}
	if slices.Contains(pointers, strings.ToLower(words[0])) {
		return false
	}
	for _, w := range words {
		switch strings.ToLower(w) {
		case "that", "which", "who", "whom", "because", "if", "when", "is", "are", "was", "were", "it", "this", "these", "those", "i", "he", "she", "they", "we", "above", "following", "latter", "former", "said", "says":
			return false
		}
	}
	if len(words) == 2 && strings.EqualFold(words[0], "the") { // which one, only the sentences before tell
		return false
	}
	return !slices.Contains([]string{"thing", "things", "reason", "reasons", "point", "answer", "result", "fact", "way", "rest", "latter", "former", "method"}, strings.ToLower(words[len(words)-1]))
}

// plain subjects begin with a small letter inside of a question, unless the book has them as names.
func (m *maker) np(s string) string { return m.words.begin(s) }

var (
	isRE   = regexp.MustCompile(`^(.{2,60}?) (is|are) ((?:an?|the|any|one of|called|known as|defined as|made of|composed of|a kind of) .{10,})$`)
	termRE = regexp.MustCompile(`^([A-Z][A-Z' -]{2,40}|[A-Z][\pL'-]+(?: [\pL'-]+){0,3})(?:;[^:]{0,60})?: +(.{20,})$`)
	semiRE = regexp.MustCompile(`^([A-Z][A-Z' -]{2,40});(?: [^;]{1,30};)? (.{20,})$`)
)

// definition takes "X is a Y".
func (m *maker) definition(s string) *fact {
	g := isRE.FindStringSubmatch(s)
	if g == nil || !subject(g[1]) {
		return nil
	}
	return m.defined(m.np(g[1]), g[2], s, g[3])
}

// termDefinition takes a paragraph that begins with its term: "PROTEIN: Builds tissue".
func (m *maker) termDefinition(text string) *fact {
	text = oneLine(text)
	g := termRE.FindStringSubmatch(text)
	if g == nil {
		g = semiRE.FindStringSubmatch(text)
	}
	if g == nil || slices.Contains(pointers, strings.ToLower(wordRE.FindString(g[1]))) || wordCount(g[2]) < 5 || strings.HasSuffix(text, "?") {
		return nil
	}
	shout := g[1] == strings.ToUpper(g[1])
	if !shout && wordCount(g[1]) > 2 || plainTitles.MatchString(g[1]) || labels[strings.ToLower(g[1])] {
		return nil
	}
	term := g[1]
	if shout {
		term = m.words.calm(term)
	} else {
		term = m.words.begin(term)
	}
	first := sentences(g[2])
	says := strings.Join(first[:min(len(first), 2)], " ")
	if !strings.ContainsAny(says[max(0, len(says)-2):], ".!") {
		return nil // a list follows
	}
	f := m.defined(term, "is", capital(term)+": "+says, says)
	f.by = "term"
	f.quote = text[:strings.Index(text, first[min(len(first), 2)-1])+len(first[min(len(first), 2)-1])]
	return f
}

// labels begin paragraphs, and are no terms.
var labels = map[string]bool{}

func init() {
	for _, w := range strings.Fields("note notes example examples answer question remark warning caution tip hint source sources figure table author title language doctor first second third fourth fifth sixth seventh eighth ninth tenth firstly secondly lastly finally total summary step one two three lunch dinner breakfast supper tea") {
		labels[w] = true
	}
}

func (m *maker) defined(term, is, answer, says string) *fact {
	if is == "is" && isPlural(term) {
		is = "are"
	}
	f := &fact{kind: Definition, by: "definition", about: term, answers: []string{answer}, quote: answer}
	f.asks = []string{
		"How would you define " + term + "?",
		"What " + is + " " + term + "?",
		"What is meant by " + term + "?",
		"Explain what " + term + " " + is + ".",
		"I keep reading about " + term + ". What " + is + " that?",
	}
	if is == "are" {
		f.asks[4] = "I keep reading about " + term + ". What are they?"
	}
	f.must = termFacts(m.words.rare(says, term, 2))
	return f
}

// isPlural tells whether the last word of a term is a plural, by its s.
func isPlural(term string) bool {
	w := strings.ToLower(term[strings.LastIndexByte(term, ' ')+1:])
	return len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && !strings.HasSuffix(w, "us") && !strings.HasSuffix(w, "is") && !strings.HasSuffix(w, "ics")
}

var becauseRE = regexp.MustCompile(`^(.{2,60}?) (is|are|was|were|can|cannot|should|must|may|might|will|would|could)( .{3,120}?),? because (.{8,})$`)

// reason takes "X is Y because Z".
func (m *maker) reason(s string) *fact {
	g := becauseRE.FindStringSubmatch(s)
	if g == nil || !subject(g[1]) && !slices.Contains([]string{"you", "people"}, strings.ToLower(g[1])) || strings.Contains(g[3], "—") {
		return nil
	}
	np, verb, rest := m.np(g[1]), g[2], strings.TrimRight(g[3], " ,;")
	if verb == "cannot" {
		verb, rest = "can", " not"+rest
	}
	f := &fact{kind: Why, by: "because", answers: []string{s}}
	inverted := verb + " " + np + rest
	plain := np + " " + g[2] + strings.TrimRight(g[3], " ,;")
	f.asks = []string{
		"For what reason " + inverted + "?",
		"Why " + inverted + "?",
		"Can you explain why " + plain + "?",
		"What is the reason that " + plain + "?",
	}
	f.must = termFacts(m.words.rare(g[4], s[:len(s)-len(g[4])], 2))
	return f
}

// A verb whose object may be a figure, in the forms that sentences have.
type verbForm struct{ base, aux string }

// amountVerbs are forms of verbs, with the auxiliary that a question takes.
var amountVerbs = map[string]verbForm{}

func init() {
	for base, past := range map[string]string{
		"contain": "contained", "have": "had", "need": "needed", "require": "required", "weigh": "weighed", "consume": "consumed", "yield": "yielded",
		"produce": "produced", "give": "gave", "equal": "equalled", "cost": "", "take": "took", "supply": "supplied", "furnish": "furnished",
		"use": "used", "provide": "provided", "receive": "received", "lose": "lost", "gain": "gained", "measure": "measured", "hold": "held",
		"burn": "burned", "last": "lasted", "reach": "reached", "represent": "represented", "absorb": "absorbed", "store": "stored", "grow": "grew",
	} {
		third := plural(base)
		if base == "have" {
			third = "has"
		}
		amountVerbs[base] = verbForm{base, "do"}
		amountVerbs[third] = verbForm{base, "does"}
		if past != "" {
			amountVerbs[past] = verbForm{base, "did"}
		}
	}
}

var (
	auxiliaries = []string{"should", "must", "may", "can", "will", "would", "could", "might"}
	hedgeRE     = regexp.MustCompile(`^(?:about|approximately|nearly|almost|over|at least|at most|up to|less than|more than|only|from|around|between|roughly|some)$`)
)

// amount takes sentences with one figure behind a verb: "X contains 5 grams of Y".
func (m *maker) amount(s string) *fact {
	fs := figures(s)
	if len(fs) != 1 || fs[0].unit == "" || strings.ContainsAny(s, "\"“”") {
		return nil
	}
	fig := fs[0]
	before := strings.Fields(s[:fig.from])
	hedge := ""
	for len(before) > 0 && hedgeRE.MatchString(strings.ToLower(before[len(before)-1])) {
		hedge = strings.TrimSpace(before[len(before)-1] + " " + hedge)
		before = before[:len(before)-1]
	}
	if len(before) < 2 {
		return nil
	}
	verb := strings.ToLower(before[len(before)-1])
	np := strings.Join(before[:len(before)-1], " ")
	form, ok := amountVerbs[verb]
	aux := form.aux
	if !ok {
		return nil
	}
	if w := before[len(before)-2]; len(before) > 2 && slices.Contains(auxiliaries, strings.ToLower(w)) {
		aux, np = strings.ToLower(w), strings.Join(before[:len(before)-2], " ")
	} else if slices.Contains([]string{"to", "not", "that"}, strings.ToLower(w)) {
		return nil
	}
	if !subject(np) {
		return nil
	}
	rest := strings.TrimRight(s[fig.end:], " .!")
	if at := strings.IndexAny(rest, ",;:—("); at >= 0 {
		rest = rest[:at]
	}
	if rest != "" && !strings.HasPrefix(rest, " ") || wordCount(rest) > 8 || strings.Contains(rest, " and ") || strings.Contains(rest, " but ") || strings.Contains(rest, " which ") {
		return nil
	}
	rest = strings.TrimRight(rest, " ")
	np = m.np(np)
	said := verb
	if slices.Contains(auxiliaries, aux) {
		said = aux + " " + verb
	}
	how := "how many " + fig.unit
	if fig.unit == "percent" {
		how = "what percentage"
	}
	of, tail := "", rest
	if strings.HasPrefix(rest, " of ") { // "grams of protein" stay together
		words := strings.Fields(rest)
		of, tail = " "+strings.Join(words[:min(2, len(words))], " "), ""
		if len(words) > 2 {
			tail = " " + strings.Join(words[2:], " ")
		}
	}
	f := &fact{kind: Numbers, by: "sentence", answers: []string{s}, quote: s}
	f.asks = []string{
		"I would like to know " + how + of + " " + np + " " + said + tail + ".",
		capital(how) + of + " " + aux + " " + np + " " + form.base + tail + "?",
		"Tell me " + how + of + " " + np + " " + said + tail + ".",
		"Do you know " + how + of + " " + np + " " + said + tail + "?",
	}
	f.must = figureFacts(s)
	return f
}
