package score

import (
	"math"
	"slices"
	"strings"
)

// A Mark is what was found in one answer.
type Mark struct {
	Right bool `json:"right"`
	// Refused says that the answer does not know, or does not tell; Hedged that it names several figures for one.
	Refused bool `json:"refused,omitempty"`
	Hedged  bool `json:"hedged,omitempty"`
	// MadeUp are figures in the answer that neither question, reference, facts nor passage have.
	MadeUp []string `json:"made_up,omitempty"`
	Exact  bool     `json:"exact,omitempty"` // word for word the reference
	F1     float64  `json:"f1"`              // of its words and the reference's
	Why    string   `json:"why,omitempty"`   // what makes it wrong
	// Broken are foods that the question's profile rules out, with the rules; Allergens says that one is an allergen.
	Broken    []string `json:"broken,omitempty"`
	Allergens bool     `json:"allergens,omitempty"`
}

// f1Right is from where on the words of an answer to a question without facts count as those of its reference.
const f1Right = 0.6

// tells compares what an answer and the reference have beside the words of the question, which both may repeat: that has
// to be much the same, or the answer has all of it.
func tells(answer, ref, question string) bool {
	asked := words(question)
	own := func(text string) (out []string) {
		for _, w := range words(text) {
			if !slices.Contains(asked, w) && !slices.Contains(fillers, w) {
				out = append(out, w)
			}
		}
		return out
	}
	if !denies(ref) && !denies(question) {
		answer = affirmed(answer)
	}
	a, b := own(answer), own(ref)
	if len(b) == 0 {
		return overlap(words(answer), words(ref)) >= f1Right
	}
	return overlap(a, b) >= f1Right || !slices.ContainsFunc(b, func(w string) bool { return !slices.Contains(a, w) })
}

// refutes are the words that deny what comes behind them in a sentence.
var refutes = []string{"not", "never", "isn't", "aren't", "wasn't", "doesn't", "don't", "shouldn't"}

func denies(text string) bool {
	return slices.ContainsFunc(tokens(tidy(text)), func(t token) bool { return slices.Contains(refutes, t.text) })
}

// affirmed is a text without what it denies: "Not on the top but on the bottom shelf" says "on the bottom shelf".
func affirmed(text string) string {
	text = tidy(text)
	var out strings.Builder
	t := tokens(text)
	denied := false
	for i, w := range t {
		switch {
		case w.kind == sign || w.text == "but":
			denied = false
		case slices.Contains(refutes, w.text) && !(i+1 < len(t) && t[i+1].text == "only"):
			denied = true
		}
		if !denied {
			out.WriteString(w.text + " ")
		}
	}
	return out.String()
}

// fillers carry no answer.
var fillers = words("is are was were be been it its they them this that these those of to in on at for with from by and or as so do does did has have had can could will would should may might there here you your we our i one")

// Mark marks an answer to a question that has no choices. passage is the text that the model was shown, if any.
func (q *Question) Mark(answer, passage string) Mark {
	facts, ref := q.facts(), q.Answer
	m := Mark{Refused: refuses(answer), F1: overlap(words(answer), words(ref))}
	m.Exact = ref != "" && slices.Equal(words(answer), words(ref))
	found := q.read(answer, facts)
	m.MadeUp = q.madeUp(found, facts, passage)
	for _, term := range q.Never {
		if hasTerm(answer, term, true) {
			m.Why = "it has " + term
			return m
		}
	}
	if q.Kind == Unanswerable && len(facts) == 0 {
		switch m.Right = m.Refused && len(m.MadeUp) == 0; {
		case !m.Refused:
			m.Why = "it does not say that it does not know"
		case !m.Right:
			m.Why = "it tells a figure all the same: " + m.MadeUp[0]
		}
		return m
	}
	for _, f := range facts {
		why, hedged := f.missing(answer, found, q.known(facts))
		m.Hedged = m.Hedged || hedged
		if why != "" {
			m.Why = why
			return m
		}
	}
	switch {
	case len(facts) > 0 || (len(q.Never) > 0 || q.Profile != "") && ref == "":
		m.Right = strings.TrimSpace(answer) != ""
	case m.Exact || tells(answer, ref, q.Question):
		m.Right = true
	default:
		m.Why = "other words than the reference"
	}
	if !m.Right && m.Why == "" {
		m.Why = "empty"
	}
	return m
}

// facts are the question's own, or the figures of its reference.
func (q *Question) facts() (facts []target) {
	for _, f := range q.Facts {
		facts = append(facts, f.target())
	}
	if len(q.Facts) > 0 || q.Answer == "" {
		return facts
	}
	asked := quantities(q.Question)
	for _, f := range quantities(q.Answer) {
		isAsked := slices.ContainsFunc(asked, func(a quantity) bool { return a.equals(f, 0) })
		if !isAsked && !f.basis && !(f.spelled && f.unit.dim == "") && len(facts) < mostFacts { // "one of", "two kinds"
			facts = append(facts, target{Fact: Fact{Figure: f.text}, want: f})
		}
	}
	return facts
}

// mostFacts is how many figures of a reference are looked for.
const mostFacts = 16

// A target is a fact whose figure has been read.
type target struct {
	Fact
	want      quantity
	tolerance float64 // in the base of the unit
}

func (f Fact) target() target {
	if f.Figure == "" {
		return target{Fact: f}
	}
	t := target{Fact: f, want: quantities(f.Figure)[0]} // check has seen that there is one
	if f.Tolerance != "" {
		switch by := quantities(f.Tolerance)[0]; {
		case by.unit.dim == "share" && t.want.unit.dim != "share":
			t.tolerance = by.hi / 100 * math.Abs(t.want.hi) * t.want.unit.factor
		case by.unit.dim == "":
			t.tolerance = by.hi * t.want.unit.factor
		default:
			t.tolerance = by.hi * by.unit.factor
		}
	}
	return t
}

// known are the figures that an answer may have beside those that it has to have.
func (q *Question) known(facts []target) []quantity {
	known := append(quantities(q.Question), quantities(q.Answer)...)
	for _, f := range facts {
		if f.Figure != "" {
			known = append(known, f.want)
		}
		for _, s := range append(f.Synonyms, f.Term) {
			known = append(known, quantities(s)...)
		}
	}
	return known
}

func (q *Question) madeUp(found []quantity, facts []target, passage string) (out []string) {
	known := append(q.known(facts), quantities(passage+"\n"+q.Passage)...)
	for _, f := range found {
		if f.negated || f.basis || f.spelled && f.unit.dim == "" || f.unit.dim == "" && f.isNumbering() {
			continue
		}
		isFact := slices.ContainsFunc(facts, func(t target) bool { return t.matches(f) })
		if !isFact && !slices.ContainsFunc(known, func(k quantity) bool { return f.equals(k, 0) }) {
			out = append(out, f.text)
		}
	}
	return out
}

// isNumbering tells the small whole numbers of lists and of "1 of 3" from figures.
func (q *quantity) isNumbering() bool { return q.lo == q.hi && q.lo == math.Trunc(q.lo) && q.lo <= 10 }

// missing says why a fact is not in an answer, "" if it is. known are figures that do not speak against it.
func (f target) missing(answer string, found []quantity, known []quantity) (why string, hedged bool) {
	if f.Figure == "" {
		for _, term := range append([]string{f.Term}, f.Synonyms...) {
			if hasTerm(answer, term, true) {
				return "", false
			}
		}
		return "it lacks " + f.Term, false
	}
	want := f.want
	at := slices.IndexFunc(found, f.matches)
	if at < 0 {
		return f.whyNot(found), false
	}
	text := tidy(answer)
	for _, rival := range found {
		if rival.dimension() != want.dimension() || rival.basis || rival.negated || f.matches(rival) || slices.ContainsFunc(known, func(k quantity) bool { return rival.equals(k, 0) }) {
			continue
		}
		if doubts(between(text, found[at], rival)) || doubts(sentence(text, rival.from)) {
			return "it names " + rival.text + " as well", true
		}
	}
	return "", false
}

// whyNot says what stands in the place of a figure.
func (f target) whyNot(found []quantity) string {
	want := f.want
	for _, q := range found {
		if q.basis {
			continue
		}
		same := q
		same.unit, same.per, same.bound = want.unit, want.per, want.bound
		switch {
		case q.negated && f.matches(positive(q)):
			return "it denies " + f.Figure
		case q.unit != want.unit && f.matches(same):
			return "wrong unit: " + q.text + ", expected " + f.Figure
		case q.bound != want.bound && f.matches(same):
			return "another bound: " + q.text + ", expected " + f.Figure
		}
	}
	for _, q := range found {
		if q.dimension() == want.dimension() && !q.basis {
			return "wrong figure: " + q.text + ", expected " + f.Figure
		}
	}
	return "it lacks " + f.Figure
}

func positive(q quantity) quantity { q.negated = false; return q }

// dimension of degrees is that of temperatures, whose scale they leave open.
func (q quantity) dimension() string {
	if q.unit.dim == "degrees" {
		return "temperature"
	}
	return q.unit.dim
}

// read finds the figures of an answer, and puts them as the facts have theirs.
func (q *Question) read(answer string, facts []target) []quantity {
	text := tidy(answer)
	found := inAsked(quantities(answer), q.Question, facts)
	asShares(found, text, facts)
	onBasis(found, quantities(q.Question))
	q.swapped(found, text, facts)
	return found
}

// asShares takes "86 g of every 100 g" for 86 %, where a fact is a share.
func asShares(found []quantity, text string, facts []target) {
	if !slices.ContainsFunc(facts, func(f target) bool { return f.want.unit.dim == "share" }) {
		return
	}
	joins := words("of in per out every each for") // "86 g of sugar per 100 g" is about sugar
	for i := range len(found) - 1 {
		q, whole := &found[i], found[i+1]
		if whole.basis && whole.lo*whole.unit.factor > 0 && q.unit.dim == whole.unit.dim &&
			!slices.ContainsFunc(words(text[q.to:whole.from]), func(w string) bool { return !slices.Contains(joins, w) }) {
			by := q.unit.factor / (whole.lo * whole.unit.factor) * 100
			q.lo, q.hi, q.digits, q.unit = q.lo*by, q.hi*by, q.digits*by, units["%"]
		}
	}
}

// onBasis takes "6.54 kcal per gram" for 654 kcal where the question is about 100 g, and 654 kcal per spoon for no answer.
func onBasis(found, asked []quantity) {
	var basis []quantity
	for _, a := range asked {
		if a.unit.dim == "mass" || a.unit.dim == "volume" {
			basis = append(basis, a)
		}
	}
	if len(basis) != 1 {
		return
	}
	for i := range found {
		switch q := &found[i]; {
		case q.per == "" || q.per == "time":
		case q.per == basis[0].unit.dim:
			by := q.scale * basis[0].lo * basis[0].unit.factor
			q.lo, q.hi, q.digits, q.per, q.scale = q.lo*by, q.hi*by, q.digits*by, "", 1
		default:
			q.noun, q.unit = q.per, unit{dim: "per " + q.per, factor: 1}
		}
	}
}

// swapped takes figures out of account that an answer gives to another thing of the reference: "7 g of protein and 12 g of
// fat" where the protein is 12 g.
func (q *Question) swapped(found []quantity, text string, facts []target) {
	if len(facts) < 2 {
		return
	}
	reference := tidy(q.Answer)
	things := map[string][]quantity{}
	for _, f := range quantities(q.Answer) {
		if of := thing(reference, f); of != "" {
			things[of] = append(things[of], f)
		}
	}
	for i := range found {
		f := &found[i]
		of, known := things[thing(text, *f)]
		if known && !slices.ContainsFunc(of, func(k quantity) bool { return f.equals(k, 0) }) &&
			slices.ContainsFunc(facts, func(t target) bool { return t.matches(*f) && t.tolerance == 0 }) {
			f.unit = unit{dim: "of another thing", factor: 1}
		}
	}
}

// thing is the word that a figure of a tidy text is of: "protein" in "9 g of protein"; "" for none.
func thing(text string, q quantity) string {
	if rest, ok := strings.CutPrefix(text[q.to:], " of "); ok {
		if w := words(rest[:min(len(rest), 60)]); len(w) > 0 {
			return w[0]
		}
	}
	return ""
}

// inAsked gives bare numbers of an answer the unit of a fact, if the question names that unit: "How many minutes?" "60."
func inAsked(found []quantity, question string, facts []target) []quantity {
	for _, u := range unitsIn(question) {
		for _, f := range facts {
			for i := range found {
				if q := &found[i]; f.Figure != "" && f.want.unit == u && u.dim != "" && q.unit.dim == "" && loose(q.noun) {
					q.unit = u
				}
			}
		}
	}
	return found
}

// matches tells whether a figure of an answer is the fact's. A fact without a unit is found with any.
func (f target) matches(q quantity) bool {
	if f.want.unit.dim == "" && f.want.noun == "" {
		q.unit, q.per, q.noun = bare, "", ""
	}
	return f.Figure != "" && !q.negated && boundsAgree(f.want.bound, q.bound) && q.equals(f.want, f.tolerance)
}

// boundsAgree lets an answer leave a bound out, and say "at least 15" or "up to 15" for 15.
func boundsAgree(want, got bound) bool {
	if got == exactly {
		return true
	}
	switch want {
	case exactly:
		return got == atLeast || got == atMost
	case less, atMost:
		return got == less || got == atMost
	default:
		return got == more || got == atLeast
	}
}

// Comparing figures that are written in different systems, or rounded.
const (
	sameFigure = 1e-9  // relative: what is left of float64 after a change of unit
	mostRound  = 0.025 // of a figure that another system's is rounded to at most
)

// equals tells whether q says the same as want, up to tolerance in the base of the unit. Figures of two systems, such as
// ounces and grams, are as equal as q is exact.
func (q quantity) equals(want quantity, tolerance float64) bool {
	u, v := q.unit, want.unit
	if u.dim == "degrees" && v.dim == "temperature" {
		u = v
	}
	if v.dim == "degrees" && u.dim == "temperature" {
		v = u
	}
	if u.dim != v.dim || u.dim == "" && want.noun != "" && q.noun != want.noun && !loose(q.noun) && !loose(want.noun) {
		return false
	}
	if q.per != "" && want.per != "" {
		if q.per != want.per {
			return false
		}
		u.factor, v.factor = u.factor*q.scale, v.factor*want.scale
	}
	near := func(a, b float64) bool {
		a, b = a*u.factor+u.offset, b*v.factor+v.offset
		limit := max(tolerance, sameFigure*max(math.Abs(a), math.Abs(b)))
		if u.system != v.system {
			limit = max(limit, min(q.digits*u.factor, mostRound*math.Abs(b)))
		}
		return math.Abs(a-b) <= limit*(1+sameFigure)
	}
	return near(q.lo, want.lo) && near(q.hi, want.hi)
}

// loose tells the words that stand behind a bare number without being what it counts.
func loose(noun string) bool {
	switch noun {
	case "", "a", "per", "each", "every", "of", "to", "in", "and", "or", "for", "is", "are", "more", "different", "daily", "at", "on", "with", "but", "out", "by", "from", "as":
		return true
	}
	return false
}

// between is the text from one figure to another.
func between(text string, a, b quantity) string {
	if a.from > b.from {
		a, b = b, a
	}
	return text[a.to:max(a.to, b.from)]
}

// sentence is the sentence of a tidy text that has byte at.
func sentence(text string, at int) string {
	from := 0
	if i := strings.LastIndexAny(text[:at], "!?\n"); i >= 0 {
		from = i + 1
	}
	if i := strings.LastIndex(text[:at], ". "); i >= 0 {
		from = max(from, i+2)
	}
	to := len(text)
	if i := strings.IndexAny(text[at:], "!?\n"); i >= 0 {
		to = at + i
	}
	if i := strings.Index(text[at:to], ". "); i >= 0 {
		to = at + i
	}
	return text[from:to]
}

// doubts tells whether a text sets figures against each other.
func doubts(text string) bool {
	for _, t := range tokens(text) {
		switch t.text {
		case "or", "maybe", "perhaps", "possibly", "probably", "alternatively", "either", "actually", "sorry", "correction", "instead", "might", "wait", "others", "sometimes":
			return true
		}
	}
	return false
}

// denials take what comes behind them back, within a few words.
var denials = []string{"not", "no", "never", "without", "isn't", "aren't", "wasn't", "doesn't", "don't", "cannot", "can't", "nor", "neither", "avoid", "avoids", "avoiding", "free", "skip", "omit", "omitting", "skipping", "rather", "instead", "excluding", "except"}

// hasTerm tells whether a text has the words of a term one behind the other. With affirmed, a place where they are
// denied does not count.
func hasTerm(text, term string, affirmed bool) bool {
	want := words(term)
	if len(want) == 0 {
		return false
	}
	for _, clause := range clauses(text) {
		have := words(clause)
		for i := 0; i+len(want) <= len(have); i++ {
			if slices.Equal(have[i:i+len(want)], want) && !(affirmed && denied(have, i, i+len(want))) {
				return true
			}
		}
	}
	return false
}

// denied tells whether words from to to of a clause are taken back: "not scurvy", "without butter", "gluten-free".
func denied(clause []string, from, to int) bool {
	if to < len(clause) && clause[to] == "free" {
		return true
	}
	for k := max(0, from-4); k < from; k++ {
		if clause[k] == "out" && k > 0 && (clause[k-1] == "leave" || clause[k-1] == "leaving" || clause[k-1] == "left") {
			return true
		}
		if w := clause[k]; slices.Contains(denials, w) && !(w == "free" || (w == "rather" || w == "instead") && k+1 < from && clause[k+1] != "than" && clause[k+1] != "of") &&
			!(w == "not" && k+1 < from && clause[k+1] == "only") {
			return true
		}
	}
	return false
}

// clauses cuts a text where a denial ends.
func clauses(text string) []string {
	text = tidy(text)
	for _, but := range []string{" but ", " however ", ", it ", ", they "} {
		text = strings.ReplaceAll(text, but, " ; ")
	}
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(".;:!?\n", r) })
}

// refusals are ways to say that one does not know, as words are compared.
var refusals = func() (out [][]string) {
	for _, text := range []string{
		"i don't know", "i do not know", "we don't know", "i'm not sure", "i am not sure", "i am not certain", "i'm not certain", "i cannot answer", "i can't answer",
		"i cannot say", "i can't say", "i cannot tell", "i can't tell", "unable to", "not able to", "no information", "not enough information", "don't have information", "don't have that",
		"do not have information", "do not have any information", "don't have any information", "don't have enough", "do not have enough", "do not have that", "no data", "is unknown", "not known",
		"isn't known", "not mentioned", "not stated", "not given", "not covered", "not specified", "not provided", "not include information", "doesn't say", "does not say",
		"does not tell", "doesn't tell", "does not mention", "doesn't mention", "does not state", "doesn't state", "doesn't specify", "does not specify", "does not cover",
		"doesn't cover", "does not give", "doesn't give", "isn't mentioned", "isn't stated", "isn't given", "isn't covered", "says nothing", "say nothing", "tells nothing", "no mention", "nothing about",
		"no answer", "no figure", "no amount", "no value", "rather not", "won't guess", "not guess", "no record", "no details", "cannot be determined", "can't be determined", "cannot be answered", "could not find", "couldn't find", "can't find", "cannot find", "not in the book", "not in the text",
		"not in the handbook", "not something i know", "have no idea", "has no figure", "cannot help with", "can't help with", "no way to know", "i have no", "not available", "not listed", "isn't listed",
	} {
		out = append(out, words(text))
	}
	return out
}()

// refuses tells whether an answer says that it does not know.
func refuses(answer string) bool {
	have := words(answer)
	for _, want := range refusals {
		for i := 0; i+len(want) <= len(have); i++ {
			if slices.Equal(have[i:i+len(want)], want) {
				return true
			}
		}
	}
	for _, r := range ignorance {
		if r.in(have) {
			return true
		}
	}
	return false
}

// A silence is a subject, a denial a few words behind it, and a few behind that what the subject does not do.
type silence struct{ who, not, what []string }

// ignorance is said by who answers, or of the text that should tell.
var ignorance = []silence{
	{words("i we"), words("not don't cannot can't couldn't didn't no never haven't"), words("know say tell answer certain data information detail details find knowledge idea figure figures number")},
	{words("text book handbook passage page source document material chapter"), words("not doesn't don't didn't no nothing never"),
		words("say tell mention state specify give list contain cover provide include answer name reveal explain about")},
}

// silenceGap is how many words may stand between the parts of a silence.
const silenceGap = 3

func (s silence) in(have []string) bool {
	behind := func(at int, set []string) int {
		for k := at + 1; k < len(have) && k <= at+1+silenceGap; k++ {
			if slices.Contains(set, have[k]) {
				return k
			}
		}
		return -1
	}
	for i, w := range have {
		if slices.Contains(s.who, w) {
			if not := behind(i, s.not); not >= 0 && behind(not, s.what) >= 0 {
				return true
			}
		}
	}
	return false
}

// overlap is the F1 of two lists of words, as SQuAD measures it (Rajpurkar et al., 2016); 0 where one is empty.
func overlap(a, b []string) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	left := map[string]int{}
	for _, w := range b {
		left[w]++
	}
	same := 0
	for _, w := range a {
		if left[w] > 0 {
			left[w]--
			same++
		}
	}
	return 2 * float64(same) / float64(len(a)+len(b))
}
