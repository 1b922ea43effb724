package profile

import (
	"cmp"
	"slices"
	"strings"
)

// lineState is what one sentence tells the next of the lines that they stand in.
type lineState struct {
	fresh  bool // a line begins
	list   bool // the line is an item of a list
	head   bool // the line is a heading
	banned bool // items of the list are not to be eaten
}

// A mention is a food in a sentence.
type mention struct {
	from, to int   // words
	food     *Food // nil for a word of the profile's own
	own      Rule  // what the profile avoids by name
	classes  classSet
	not      bool // it is not eaten
}

// A reading is a sentence being read, from left to right.
type reading struct {
	w        *watch
	l        *lexicon
	words    []token
	mentions []mention

	not      bool     // what comes is not eaten
	kind     cue      // that says so
	since    int      // word behind that cue
	first    int      // mention that was next then
	clause   int      // first mention of the clause
	outer    []bool   // not, before each bracket that is open
	inner    []int    // first mention within it
	off      classSet // that words before a food take off it
	offEnd   int      // word behind them
	leave    int      // word "leave", or -1
	afterEnd int      // word behind the last cue that looks back
}

// sentence gives the hits of one sentence or line.
func (w *watch) sentence(text string, st *lineState) []Hit {
	r := &reading{w: w, l: theLexicon(), words: tokens(text), leave: -1, afterEnd: -1}
	if strings.TrimSpace(text) == "" {
		st.fresh = st.fresh || strings.HasSuffix(text, "\n")
		return nil
	}
	if st.fresh {
		st.list, st.head = layout(text)
		if !st.list {
			st.banned = false
		}
	}
	if st.banned {
		r.not, r.kind = true, not
	}
	r.read()
	if st.fresh = strings.HasSuffix(text, "\n"); (st.fresh || st.head) && !st.list {
		st.banned = r.leads(text, st.head)
	}
	return r.hits(text)
}

// layout tells an item of a list, and a heading, by how a line begins.
func layout(text string) (list, head bool) {
	text = strings.TrimLeft(text, " \t>")
	if strings.HasPrefix(text, "#") {
		return false, true
	}
	bold := strings.TrimSpace(strings.TrimRight(text, " \n:"))
	if len(bold) > 4 && (strings.HasPrefix(bold, "**") && strings.HasSuffix(bold, "**") || strings.HasPrefix(bold, "__") && strings.HasSuffix(bold, "__")) {
		return false, true
	}
	digits := strings.TrimLeft(text, "0123456789")
	switch {
	case len(digits) < len(text) && (strings.HasPrefix(digits, ".") || strings.HasPrefix(digits, ")")):
		return true, false
	case strings.HasPrefix(text, "|"), strings.HasPrefix(text, "•"), strings.HasPrefix(text, "- "), strings.HasPrefix(text, "+ "), strings.HasPrefix(text, "* "),
		strings.HasPrefix(text, "– "), strings.HasPrefix(text, "-["):
		return true, false
	}
	return false, false
}

// leads tells whether the list after this line names what is not eaten.
func (r *reading) leads(text string, head bool) bool {
	n := len(r.words)
	colon := strings.HasSuffix(strings.TrimRight(text, " \n\t*_"), ":")
	if n == 0 || !head && !colon {
		return false
	}
	const near = 4
	return r.afterEnd == n || r.not && r.first == len(r.mentions) && n-r.since <= near
}

// read goes through the words.
func (r *reading) read() {
	for i := 0; i < len(r.words); {
		r.gap(i)
		if r.words[i].word == "free" && r.free(i) || r.shaped(i) {
			i++
			continue
		}
		if next, ok := r.hyphened(i); ok {
			i = next
			continue
		}
		off, offSize := r.without(i)
		m := r.mention(i)
		kind, size := r.cue(i)
		switch {
		case offSize > 0 && offSize >= m.to-i && offSize >= size:
			r.takeOff(off, i, i+offSize)
			i += offSize
		case m.to > i && m.to-i >= size:
			r.add(m)
			i = m.to
		case size > 0:
			r.hear(kind, i, i+size)
			i += size
		default:
			r.word(i)
			i++
		}
	}
}

// phrase is n words from i on as one; empty where something stands between them.
func (r *reading) phrase(i, n int) string {
	if i+n > len(r.words) {
		return ""
	}
	if n == 1 {
		return r.words[i].word
	}
	parts := make([]string, n)
	for k := range n {
		if gap := r.words[i+k].gap; k > 0 && gap != "" && gap != "-" && gap != "‑" {
			return ""
		}
		parts[k] = r.words[i+k].word
	}
	return strings.Join(parts, " ")
}

// mention is the longest food that begins at word i.
func (r *reading) mention(i int) mention {
	m := mention{from: i, to: i}
	first := r.words[i].word
	for n := min(max(r.l.longest[first], r.w.longest[first]), len(r.words)-i); n > 0 && m.to == i; n-- {
		p := r.phrase(i, n)
		food, own := r.l.phrases[p], r.w.words[p]
		if p == "" || food == nil && own == "" {
			continue
		}
		m.to, m.food, m.own = i+n, food, own
		if food != nil {
			m.classes = food.classes
			m.own = cmp.Or(own, r.w.foods[food])
		}
	}
	return m
}

// without is what words before a food take off it, and how many they are.
func (r *reading) without(i int) (classSet, int) {
	for n := min(r.l.longest[r.words[i].word], len(r.words)-i); n > 0; n-- {
		if off, ok := r.l.without[r.phrase(i, n)]; ok {
			return off, n
		}
	}
	return 0, 0
}

// cue is the longest cue that begins at word i.
func (r *reading) cue(i int) (cue, int) {
	for n := min(longestCue[r.words[i].word], len(r.words)-i); n > 0; n-- {
		p := r.phrase(i, n)
		if p == "" || strings.HasSuffix(p, " no") && i+n < len(r.words) && r.words[i+n].hyphen { // "with no-salt butter"
			continue
		}
		if r.not && r.kind == not && i-r.since <= 1 && r.first == len(r.mentions) && cueTables[turn][p] {
			return turn, n
		}
		for _, kind := range []cue{neutral, after, lacking, instead, not, replace, swap, substitute, contrast, ailment} {
			if cueTables[kind][p] {
				return kind, n
			}
		}
	}
	return noCue, 0
}

// deny begins what is not eaten.
func (r *reading) deny(kind cue, at int) {
	r.not, r.kind, r.since, r.first = true, kind, at, len(r.mentions)
}

// hear takes a cue of words i to end.
func (r *reading) hear(kind cue, i, end int) {
	switch kind {
	case after:
		from := r.clause
		if n := len(r.inner); n > 0 && r.inner[n-1] < len(r.mentions) { // "Milk (alcohol is not allowed)"
			from = max(from, r.inner[n-1])
		}
		for k := from; k < len(r.mentions); k++ {
			r.mentions[k].not = true
		}
		r.afterEnd = end
		if r.not = false; i+1 == end { // "forbidden", "off limits" look both ways
			r.deny(not, end)
		}
		if w := r.words[end-1].word; w == "limits" || w == "replaced" || w == "swapped" {
			r.not = w == "limits"
		}
	case not, lacking, instead, replace, swap:
		if r.not && r.kind == not && r.words[i].word == "without" && r.first == len(r.mentions) && i-r.since <= 2 {
			r.not = false // "never cook without butter"
			return
		}
		r.deny(kind, end)
		if kind == not && (r.words[i].word == "leave" || r.words[i].word == "leaves") {
			r.leave = i
		}
	case substitute:
		r.deny(replace, end)
		for k := end; k < len(r.words) && !strings.ContainsAny(r.words[k].gap, ".;:"); k++ {
			if w := r.words[k].word; w == "with" || w == "by" {
				break
			} else if w == "for" {
				r.not, r.kind = false, substitute
				break
			}
		}
	case turn:
		r.not = false
	case contrast:
		r.not, r.off = false, 0
		if end < len(r.words) && (r.words[end].word == "it" || r.words[end].word == "they") {
			return // "bread has gluten, so it is not for you"
		}
		r.clause = len(r.mentions)
	case ailment:
		if n := len(r.mentions); n > 0 && r.mentions[n-1].to == i {
			r.denyBack(n - 1)
		}
	}
}

// word takes a word that is neither food nor cue.
func (r *reading) word(i int) {
	switch w := r.words[i].word; {
	case r.not && r.kind == replace && (w == "with" || w == "by"), r.not && r.kind == swap && (w == "with" || w == "by" || w == "for" || w == "to"):
		r.not = false
	case r.kind == substitute && w == "for":
		r.deny(not, i+1)
	case w == "leave" || w == "left" || w == "leaving" || w == "take" || w == "cut" || w == "keep":
		r.leave = i
	case w == "with" && r.not && r.kind == lacking && i > r.since && (r.words[r.since-1].word == "without" || r.words[i-1].word == "and"):
		r.not = false // "without sugar and with cream"
	case r.not && r.kind == instead && choosing[w] && len(r.mentions) > r.first:
		r.not = false
	case (w == "until" || w == "till") && r.not:
		if does := r.words[r.since].word; r.kind == not && cueTables[verb][does] && !eating[does] {
			for k := r.first; k < len(r.mentions); k++ {
				r.mentions[k].not = false
			}
		}
		r.not = false
	case w == "from" && r.not && r.since > 0 && i > r.since && strings.HasPrefix(r.words[r.since-1].word, "remov"):
		if r.place(i + 1) {
			for k := r.first; k < len(r.mentions); k++ {
				r.mentions[k].not = false
			}
		}
		r.not = false // "remove the crusts from the bread"
	case w == "out" && r.leave >= 0 && i+1 < len(r.words) && r.words[i+1].word == "of" && r.place(i+2):
		r.leave = -1
	case w == "out" && r.leave >= 0 && i-r.leave <= 8:
		for k := range r.mentions {
			r.mentions[k].not = r.mentions[k].not || r.mentions[k].from > r.leave
		}
		r.leave = -1
	case (w == "and" || w == "then") && r.not && i+1 < len(r.words) && r.begins(i+1):
		r.not = false
	}
}

// place tells whether the next few words name something that food is taken off in a kitchen.
func (r *reading) place(i int) bool {
	for k := i; k < min(i+3, len(r.words)) && (k == i || r.words[k].gap == ""); k++ {
		if places[r.words[k].word] {
			return true
		}
	}
	return false
}

// hyphened takes "no" with a hyphen, which says no more than its own word: "no-sugar yogurt" is yogurt. It gives the word
// behind them.
func (r *reading) hyphened(i int) (int, bool) {
	if r.words[i].word != "no" || i+1 == len(r.words) || !r.words[i+1].hyphen {
		return i, false
	}
	m := r.mention(i + 1)
	if m.to == i+1 {
		return i + 2, true
	}
	m.not = true
	r.mentions = append(r.mentions, m)
	r.takeOff(m.classes, i, m.to)
	return m.to, true
}

// begins tells whether word i begins a clause that says what to do.
func (r *reading) begins(i int) bool {
	w := r.words[i].word
	if cueTables[verb][w] {
		return true
	}
	return i+1 < len(r.words) && r.words[i+1].gap == "" && determiners[r.words[i+1].word] && !determiners[w] && !relative[w] && r.mention(i).to <= i+1 &&
		w != "in" && w != "of" && w != "from" && w != "with" && w != "for" && w != "on" && w != "at"
}

// gap takes the marks before word i.
func (r *reading) gap(i int) {
	t := r.words[i]
	if t.hyphen || i == 0 && t.gap == "" {
		return
	}
	for _, mark := range t.gap {
		if mark == '-' && i == 0 {
			continue // of a list
		}
		switch mark {
		case ';', '|':
			r.not, r.clause, r.off = r.not && mark == '|' && i == 0, len(r.mentions), 0
		case ':':
			if r.not && (r.first < len(r.mentions) || i > 0 && !leadEnds[r.words[i-1].word]) {
				r.not = false
			}
			r.clause, r.off = len(r.mentions), 0
		case '(':
			r.outer, r.inner = append(r.outer, r.not), append(r.inner, len(r.mentions))
			r.not = r.not && !r.begins(i)
		case ')':
			if n := len(r.outer); n > 0 {
				r.not, r.outer, r.inner = r.outer[n-1], r.outer[:n-1], r.inner[:n-1]
			}
		case ',', '-', '–', '—':
			if r.offEnd != i { // "Egg-free, the pancakes are light."
				r.off = 0
			}
			r.not = r.not && r.goesOn(i)
		}
	}
}

// goesOn tells whether the list of what is not eaten goes on behind a comma, with word i: it does with a food that is alone
// up to the next mark, and with a clause that tells more of the last one.
func (r *reading) goesOn(i int) bool {
	for i < len(r.words) && (r.words[i].word == "and" || r.words[i].word == "or") {
		i++
	}
	if i == len(r.words) {
		return false
	}
	w := r.words[i].word
	switch {
	case w == "just", w == "only", w == "simply", w == "with" && r.kind == lacking:
		return false // "no eggs, just milk"
	case r.kind != instead && relative[w]:
		return true
	case cueTables[verb][w] && r.mention(i).to == i, determiners[w]:
		return false
	}
	last := i
	for last+1 < len(r.words) && r.words[last+1].gap == "" && r.words[last+1].word != "and" && r.words[last+1].word != "or" {
		last++
	}
	if r.kind == instead && last+1 == len(r.words) {
		return false
	}
	for k := i; k <= min(i+2, last); k++ {
		if m := r.mention(k); m.to > k {
			return last+1-m.to <= 1 && !(m.to <= last && cueTables[verb][r.words[m.to].word])
		}
	}
	return false
}

// add takes a food.
func (r *reading) add(m mention) {
	m.not = r.not
	if r.off != 0 && m.from-r.offEnd <= 3 {
		m.classes &^= r.off
		if m.to == len(r.words) || r.words[m.to].gap != "" || r.mention(m.to).to == m.to {
			r.off = 0
		}
	}
	if r.not && r.kind == lacking && r.first == len(r.mentions) && r.first > r.clause {
		if dish := &r.mentions[r.first-1]; dish.food != nil && dish.food.dish && r.since-dish.to <= 4 {
			dish.classes &^= m.classes
		}
	}
	r.mentions = append(r.mentions, m)
}

// denyBack says of a food, and of those in a list with it, that they are not eaten.
func (r *reading) denyBack(k int) {
	for r.mentions[k].not = true; k > r.clause; k-- {
		for i := r.mentions[k-1].to; i < r.mentions[k].from; i++ {
			if w := r.words[i].word; w != "and" && w != "or" {
				return
			}
		}
		r.mentions[k-1].not = true
	}
}

// shaped takes "shaped" or "style" behind a food: there is none of it.
func (r *reading) shaped(i int) bool {
	n := len(r.mentions)
	if n == 0 || r.mentions[n-1].to != i || !r.words[i].hyphen || !likenesses[r.words[i].word] {
		return false
	}
	r.mentions[n-1].not = true
	return true
}

// free takes "free" behind a food: "nut-free". It is false where the word means something else.
func (r *reading) free(i int) bool {
	n := len(r.mentions)
	if n == 0 || r.mentions[n-1].to != i || r.words[i].gap != "" && !r.words[i].hyphen {
		return false
	}
	off, from := r.mentions[n-1].classes, r.mentions[n-1].from
	r.denyBack(n - 1)
	if off&r.l.milk != 0 {
		off |= r.l.classes["lactose"]
	}
	r.takeOff(off, from, i+1)
	return true
}

// takeOff hears words i to end that take classes off the food that follows, or off the one that is said to be so.
func (r *reading) takeOff(off classSet, i, end int) {
	r.off |= off
	r.offEnd = end
	if r.not { // "is not vegan"
		r.off = 0
		return
	}
	n := len(r.mentions)
	for n > 0 && r.mentions[n-1].to > i {
		n-- // the food of "nut-free" itself
	}
	for k := max(i-3, 0); k < i; k++ {
		if copulas[r.words[k].word] {
			for ; n > r.clause; n-- {
				r.mentions[n-1].classes &^= off
			}
			return
		}
	}
	closed := end == len(r.words) || r.words[end].gap != "" && !r.words[end].hyphen
	if gap := r.words[i].gap; n > 0 && r.mentions[n-1].to == i && closed && (gap == "(" || gap == ",") {
		r.mentions[n-1].classes &^= off
		r.off = 0
	}
}

// hits are the foods that are eaten and break a rule.
func (r *reading) hits(text string) (hits []Hit) {
	hit := func(m mention, food string, rule Rule) {
		start, end := r.words[m.from].start, r.words[m.to-1].end
		hits = append(hits, Hit{start, end, text[start:end], food, rule, r.w.severity[rule]})
	}
	var meat, milk *mention
	for i := range r.mentions {
		m := &r.mentions[i]
		if m.not {
			continue
		}
		if m.own != "" {
			hit(*m, string(m.own), m.own)
		}
		breaks := r.l.breaking(m.classes) & r.w.rules
		for _, rule := range r.l.rules(breaks) {
			if rule != m.own {
				hit(*m, m.food.Name, rule)
			}
		}
		for _, g := range r.w.groups {
			if m.classes&g.classes != 0 && m.own != g.rule {
				hit(*m, m.food.Name, g.rule)
			}
		}
		if breaks&ruleBits["kosher"] != 0 {
			continue
		}
		if m.classes&r.l.meat != 0 && meat == nil {
			meat = m
		}
		if m.classes&r.l.milk != 0 && milk == nil {
			milk = m
		}
	}
	if meat != nil && milk != nil && r.w.rules&ruleBits["kosher"] != 0 {
		later := meat
		if milk.from > meat.from {
			later = milk
		}
		hit(*later, meat.food.Name+" with "+milk.food.Name, "kosher")
	}
	slices.SortStableFunc(hits, func(a, b Hit) int { return cmp.Compare(a.Start, b.Start) })
	return hits
}
