package making

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/lentil-lm/lentil/book"
)

// An entry is what a table says of something: "butter, 1 ball" has the value "120 calories".
type entry struct {
	label  string // what the row is about, with the group above it
	attr   string // which of its values: the head of the column, or a cell before the value; "" for the only one
	head   bool   // attr is the head of a column
	value  string
	quote  string // the row as it stands
	one    string // the unit, where the value is one figure that has one
	figure bool   // the value is one figure
}

var (
	leaders = regexp.MustCompile(`(?: ?\.){3,} ?|…+`)
	dashes  = regexp.MustCompile(`^[\s—–_=-]+$`)
	padding = regexp.MustCompile(` ?-- ?`)
	// mixedNumber is written as a range is: "1-1/2".
	mixedNumber = regexp.MustCompile(`\b(\d{1,3})-(\d{1,2}/\d)`)
	// twoFigures is where a figure with its unit ends and another begins: "10 oz. 100 calories".
	twoFigures = regexp.MustCompile(`(\d ?)(\pL+)(\.?) (\d)`)
	gluedUnit  = regexp.MustCompile(`(\d/\d)(\pL)`)
	ditto      = regexp.MustCompile(`\s["”″]|^["”″]$|\bdo\.$`)
	noLetter   = regexp.MustCompile(`^[^\pL]*$`)
)

// cells cleans a row of a table.
func (m *maker) cells(row []string) (out []string) {
	for _, c := range row {
		c = oneLine(leaders.ReplaceAllString(references.ReplaceAllString(c, ""), " "))
		c = padding.ReplaceAllStringFunc(c, func(string) string { return "; " })
		if dashes.MatchString(c) {
			c = ""
		}
		c = strings.TrimSpace(strings.Trim(c, "=; "))
		out = append(out, c)
	}
	return out
}

func hasDigit(s string) bool {
	return strings.ContainsFunc(s, unicode.IsDigit) || strings.ContainsAny(s, "½¼¾⅓⅔")
}

func filled(row []string) (n int) {
	for _, c := range row {
		if c != "" {
			n++
		}
	}
	return n
}

// isValue tells a cell that is a figure from one that names something, such as "food, 100 g".
func isValue(cell string) bool {
	f := figures(cell)
	return len(f) > 0 && strings.Trim(cell[:f[0].from], " <>≤≥~±$€£") == ""
}

// headOf tells how many rows at the top of a table name its columns: none of their cells is a figure, where those below
// are; or, in a table of words, all of them are short.
func headOf(rows [][]string) (head []string, n int) {
	if len(rows) < 2 {
		return nil, 0
	}
	names := func(row []string) bool {
		return !slices.ContainsFunc(row, isValue) && slices.ContainsFunc(row[min(1, len(row)):], func(c string) bool { return c != "" })
	}
	below, withFigures := 0, 0
	for _, row := range rows[1:] {
		if filled(row) < 2 {
			continue
		}
		below++
		if slices.ContainsFunc(row[1:], hasDigit) {
			withFigures++
		}
	}
	words := len(rows[0]) > 2 && len(rows) > 3 && filled(rows[0]) >= len(rows[0])-1 && !slices.ContainsFunc(rows[0], func(c string) bool { return wordCount(c) > 5 })
	if !names(rows[0]) || below == 0 || withFigures*2 < below && !words {
		return nil, 0
	}
	head, n = slices.Clone(rows[0]), 1
	if len(rows) > 2 && names(rows[1]) && rows[1][0] == "" { // a head of two lines
		for c := range min(len(head), len(rows[1])) {
			head[c] = strings.TrimSpace(head[c] + " " + rows[1][c])
		}
		n = 2
	}
	return head, n
}

var (
	// headUnit is a unit behind the name of a column: "protein, g", "energy (kcal)".
	headUnit = regexp.MustCompile(`^(.{2,60}?)(?:, ?| ?\(| in )(%|°[CF]|[\pL]{1,12})\)?$`)
	// headBasis is what the figures of a table are for, behind the name of its first column: "food, 100 g".
	headBasis = regexp.MustCompile(`^.{2,60}?(?:,| \(|) ?(?:per |in )?(\d+ ?[\pL]{1,12})\)?$`)
	// references are marks of notes and sources.
	references = regexp.MustCompile(` ?\[\d{1,3}(?:[,;–-] ?\d{1,3})*\]`)
	people     = regexp.MustCompile(`(?i)^(?:(?:pregnant|lactating|breastfeeding|adult|older|young|elderly|most|healthy) )*(?:men|women|children|boys|girls|adults|infants|babies|toddlers|teenagers|people|persons|athletes|vegetarians|vegans|mothers|patients|beginners|students|males|females)\b`)
	clause     = regexp.MustCompile(`(?i)^(?:what|where|how|who|when|why|which|if|to|is|are|not)\b|\b(?:leads?|means?|has|have|is|are|does|do|found|used|made|good|bad|gives?|advises?|recommends?|needs?|takes?|allows?|says?)\b(?: \w+)?$`)
	article    = regexp.MustCompile(`(?i)^(?:an?|the|some|its|their) `)
)

// unitOf takes the unit off the name of a column.
func unitOf(head string) (name, unit string) {
	g := headUnit.FindStringSubmatch(head)
	if g == nil {
		return head, ""
	}
	if low := strings.ToLower(g[2]); counted[low] == "" && !slices.Contains(unitNames, low) && !strings.HasPrefix(low, "°") && low != "%" {
		return head, ""
	}
	return g[1], g[2]
}

// unitNames are units as they are written out.
var unitNames = strings.Fields("grams kilograms milligrams micrograms ounces pounds litres liters millilitres milliliters calories kilocalories minutes hours days weeks months years percent degrees metres meters centimetres inches feet euros dollars tons tonnes")

// entries reads a table.
func (m *maker) entries(b *book.Block) (out []entry) {
	raw := b.Rows()
	var rows [][]string
	for _, row := range raw {
		rows = append(rows, m.cells(row))
	}
	head, n := headOf(rows)
	basis := ""
	if n > 0 {
		if g := headBasis.FindStringSubmatch(head[0]); g != nil {
			basis = "per " + g[1]
		}
	}
	units := make([]string, len(head))
	for c := range head {
		head[c], units[c] = unitOf(head[c])
	}
	group, before := "", "" // the label that counts for the rows below, and the begin of one that goes on
	for i := n; i < len(rows); i++ {
		row := rows[i]
		quote := oneLine(strings.Join(raw[i], " "))
		if filled(row) == 0 {
			group, before = "", ""
			continue
		}
		label := row[0]
		if label != "" && filled(row) == 1 {
			switch {
			case strings.HasSuffix(label, ":"):
				group, before = strings.TrimRight(label, ": "), ""
			case goesOn(label):
				before = strings.TrimSpace(before + " " + label)
			default:
				before = ""
			}
			continue
		}
		if before != "" && label != "" && unicode.IsLower([]rune(label)[0]) {
			label = before + " " + label
			quote = before + " " + quote
		}
		before = ""
		label = strings.TrimSpace(strings.TrimRight(label, ":,. "))
		if !isLabel(label) {
			continue
		}
		if group != "" && strings.Contains(strings.ToLower(label), strings.ToLower(group)) {
			group = "" // rows that have it say so themselves
		} else if group != "" {
			label = group + ", " + m.words.begin(label)
		}
		for _, e := range valuesOf(row[1:], head, units) {
			if e.head && basis != "" {
				label := label
				if !strings.Contains(label, basis) {
					label += " (" + basis + ")"
				}
				e.label = label
			} else {
				e.label = label
			}
			e.label, e.quote = m.short.expand(e.label), quote
			e.attr, e.value = m.short.expand(e.attr), strings.TrimRight(m.short.expand(e.value), ". ")
			e.value = mixedNumber.ReplaceAllString(e.value, "$1 $2")
			e.value = gluedUnit.ReplaceAllString(e.value, "$1 $2")
			e.value = twoFigures.ReplaceAllStringFunc(e.value, func(s string) string {
				if g := twoFigures.FindStringSubmatch(s); !common[strings.ToLower(g[2])] { // "3 or 4" is one
					return g[1] + g[2] + g[3] + "; " + g[4]
				}
				return s
			})
			if e.value == "" || ditto.MatchString(e.value) || len(e.value) > 200 || hasDigit(e.value) && len(figures(e.value)) == 0 {
				continue
			}
			if f := figures(e.value); len(f) == 1 {
				e.figure = true
				e.one = f[0].unit
				if rest := e.value[:f[0].from] + e.value[f[0].end:]; wordCount(rest) > 6 {
					e.figure, e.one = false, ""
				}
			}
			out = append(out, e)
		}
	}
	return out
}

// goesOn tells whether a label is the first line of a longer one.
func goesOn(s string) bool {
	last := strings.ToLower(s[strings.LastIndexByte(s, ' ')+1:])
	return strings.HasSuffix(s, ",") || last == "or" || last == "and" || last == "of" || last == "with"
}

// isLabel tells what rows are about from sums, remarks and torn cells.
func isLabel(s string) bool {
	low := strings.ToLower(s)
	letters := 0
	for _, r := range s {
		if unicode.IsLetter(r) {
			letters++
		}
	}
	first := strings.ToLower(wordRE.FindString(s))
	if strings.HasPrefix(low, first) && (orders[first] || slices.Contains(alternatives, first) || strings.HasSuffix(first, "ed") && len(first) > 5) {
		return false // what is done with the thing of the row before, or another one in its place
	}
	return letters >= 3 && len(s) <= 90 && strings.Count(s, "(") == strings.Count(s, ")") && !strings.HasPrefix(low, "total") && !strings.HasPrefix(low, "(") &&
		low != "or" && low != "and"
}

// alternatives begin rows that go on with those before.
var alternatives = strings.Fields("or and if with without other others same also plus then")

// valuesOf are the values of a row behind its label. Without a head, a cell of words and a figure behind it belong
// together: "1 glass" and "160 calories".
func valuesOf(row, head, units []string) (out []entry) {
	var filled []string
	for c, cell := range row {
		if cell == "" {
			continue
		}
		if head != nil {
			if c+1 < len(head) && head[c+1] != "" {
				if f := figures(cell); units[c+1] != "" && len(f) == 1 && f[0].unit == "" && f[0].to == len(cell) {
					cell += " " + units[c+1]
				}
				attr := head[c+1]
				if people.MatchString(attr) {
					attr = "for " + strings.ToLower(attr[:1]) + attr[1:]
				}
				out = append(out, entry{attr: attr, head: true, value: cell})
			}
			continue
		}
		filled = append(filled, cell)
	}
	if head != nil {
		return out
	}
	if len(filled)%2 == 1 {
		if hasDigit(filled[0]) {
			out = append(out, entry{value: filled[0]})
		}
		filled = filled[1:]
	}
	for i := 0; i+1 < len(filled); i += 2 {
		attr, value := filled[i], filled[i+1]
		f := figures(value)
		if len(f) != 1 || noLetter.MatchString(attr) || len(attr) > 60 {
			continue
		}
		if own := figures(attr); len(own) == 1 && own[0].unit != "" && own[0].unit == f[0].unit {
			continue // two values of the same unit, and nothing says of what
		}
		out = append(out, entry{attr: strings.TrimRight(attr, " .,"), value: value})
	}
	return out
}

// topicOf is what a table is about: its caption, or the heading above it.
func (m *maker) topicOf(p *Passage, i int) string {
	blocks := p.doc.Blocks
	for _, k := range []int{i - 1, i + 1} {
		if k >= p.From && k < p.To && blocks[k].Kind == book.Caption && wordCount(blocks[k].Text) <= 12 {
			return strings.TrimRight(oneLine(blocks[k].Text), ". ")
		}
	}
	path := blocks[i].Path
	if len(path) == 0 {
		return ""
	}
	return m.title(path[len(path)-1])
}

// plainTitles say nothing of what stands below them.
var plainTitles = regexp.MustCompile(`(?i)^(?:review|key|answers?|some points|points|the following|list|overview|contents|summary|notes?|introduction|conclusions?|preface|foreword|index|appendix|bibliography|references|questions|exercises|copyright|acknowledge?ments|(?:chapter|part|section|book)? ?[\divxlc.]+)$`)

// title is a heading as it may stand in a question; "" for one that says nothing.
func (m *maker) title(s string) string {
	s = strings.Trim(oneLine(s), " .:_*")
	s = sectionNumber.ReplaceAllString(s, "")
	if plainTitles.MatchString(s) || noLetter.MatchString(s) || wordCount(s) > 12 || len(s) < 3 {
		return ""
	}
	if s == strings.ToUpper(s) {
		return capital(m.words.calm(s))
	}
	return s
}

var sectionNumber = regexp.MustCompile(`^(?:(?:chapter|part|section) )?(?:\d+(?:\.\d+)*|[IVXLC]+)[.:)]? +(?:[-–—] )?`)

// maxEntries is how many values of a table are asked for: more are data, and no page of a book.
const maxEntries = 2000

// table makes facts of a table.
func (m *maker) table(p *Passage, i int) {
	topic := m.topicOf(p, i)
	all := m.entries(&p.doc.Blocks[i])
	if more := len(all) - maxEntries; more > 0 {
		m.dropped["entries of very long tables"] += more
		all = all[:maxEntries]
	}
	for _, e := range all {
		f := m.entryFact(e, topic)
		f.passage, f.block = p, i
		for _, other := range all[:min(len(all), 100)] {
			if other.attr == e.attr && other.one == e.one && other.figure == e.figure && other.value != e.value {
				f.wrong = m.entryAnswer(entry{label: e.label, attr: e.attr, head: e.head, value: other.value})[0]
				break
			}
		}
		m.add(f)
	}
	m.compare(p, i, all)
}

// about is what an entry is about, as a phrase.
func (m *maker) about(e entry) string {
	x := m.words.begin(e.label)
	if e.attr != "" && !e.head {
		x += " (" + m.words.begin(e.attr) + ")"
	}
	return x
}

// verbs at the end of a label make it a subject: "Infants require".
var labelVerb = regexp.MustCompile(`^(.{3,60}) (require|need|contain|have|weigh|consume|use|give|yield|equal|furnish|supply|produce|get|eat)(s?)$`)

func (m *maker) entryFact(e entry, topic string) *fact {
	f := &fact{kind: Numbers, by: "table", quote: e.quote, answers: m.entryAnswer(e), about: m.words.begin(e.label)}
	x := m.about(e)
	if !e.figure && !hasDigit(e.value) {
		f.kind = Cell
	}
	below := ""
	if topic != "" {
		below = " under “" + topic + "”"
	}
	per := ""
	if e.head && prepositional(e.attr) {
		per = " " + m.words.begin(e.attr)
	}
	switch v := labelVerb.FindStringSubmatch(e.label); {
	case e.one != "" && v != nil && (per != "" || !e.head):
		subject, do := m.words.begin(v[1]), "do"
		if v[3] != "" {
			do = "does"
		}
		if !e.head && e.attr != "" {
			per = " (" + m.words.begin(e.attr) + ")"
		}
		f.asks = []string{
			"I would like to know how many " + e.one + " " + subject + " " + v[2] + v[3] + per + ".",
			"How many " + e.one + " " + do + " " + subject + " " + v[2] + per + "?",
			"What number of " + e.one + " " + do + " " + subject + " " + v[2] + per + "?",
			"Tell me how many " + e.one + " " + subject + " " + v[2] + v[3] + per + ".",
		}
	case prepositional(e.label):
		f.asks = []string{
			"",
			capital(x) + ": what is the figure" + below + "?",
			"What is given" + below + " for “" + e.label + "”?",
		}
	case e.one != "" && (per != "" || !e.head || headIsUnit(e.attr, e.one)):
		f.asks = []string{
			"How many " + e.one + " should one reckon for " + x + per + "?",
			"What number of " + e.one + " is given for " + x + per + "?",
			capital(x) + ": how many " + e.one + per + "?",
			"Give me the figure in " + e.one + " for " + x + per + ".",
			"Do you know how many " + e.one + " are listed" + below + " for " + x + per + "?",
		}
	case e.head && per != "":
		f.asks = []string{
			"What is known of " + x + per + "?",
			capital(x) + ": what is listed" + per + "?",
			"What is listed for " + x + per + "?",
			"Tell me what is given for " + x + per + ".",
		}
	case e.head && clause.MatchString(e.attr):
		h := "“" + e.attr + "”"
		f.asks = []string{
			"What is known of " + x + " under " + h + "?",
			capital(x) + ": what is noted under " + h + "?",
			"What is listed for " + x + " under " + h + "?",
			h + ": what is given there for " + x + "?",
		}
	case e.head && article.MatchString(e.attr):
		h := m.words.begin(e.attr)
		f.asks = []string{
			"Do you know " + h + " for " + x + "?",
			"For " + x + ", what is " + h + "?",
			"Name " + h + " for " + x + ".",
			capital(x) + ": what is " + h + "?",
		}
	case e.head:
		h := m.words.begin(e.attr)
		f.asks = []string{
			"For " + x + ", what is the " + h + "?",
			"What is the " + h + " of " + x + "?",
			capital(x) + ": what " + h + " is listed?",
			"Give me the " + h + " for " + x + ".",
			"Which " + h + " is given" + below + " for " + x + "?",
		}
	default:
		f.asks = []string{
			"What is noted for " + x + below + "?",
			"Which figure is given" + below + " for " + x + "?",
			capital(x) + ": what is the figure" + below + "?",
			"What is listed" + below + " for " + x + "?",
			"Tell me what is given for " + x + below + ".",
		}
	}
	if f.must = figureFacts(e.value); len(f.must) == 0 && wordCount(e.value) <= 6 {
		f.must = termFacts([]string{e.value})
	}
	return f
}

// prepositional heads go behind what they belong to: "per pound".
func prepositional(head string) bool {
	first, _, _ := strings.Cut(strings.ToLower(head), " ")
	return slices.Contains([]string{"per", "in", "for", "with", "without", "at", "by", "on", "of"}, first)
}

// headIsUnit tells whether the head of a column names the unit of its figures.
func headIsUnit(head, unit string) bool {
	head = strings.ToLower(strings.Trim(head, " .()"))
	return head == unit || head+"s" == unit || counted[head] == unit
}

func (m *maker) entryAnswer(e entry) []string {
	x := m.about(e)
	if v := labelVerb.FindStringSubmatch(e.label); v != nil && e.one != "" && (!e.head || prepositional(e.attr)) {
		per := ""
		if e.attr != "" {
			per = " " + m.words.begin(e.attr)
		}
		return []string{capital(m.words.begin(e.label)) + " " + e.value + per + "."}
	}
	if e.head {
		h := m.words.begin(e.attr)
		if prepositional(e.attr) {
			return []string{
				"For " + x + ", it is " + e.value + " " + h + ".",
				capital(x) + ": " + e.value + " " + h + ".",
				"It is " + e.value + " " + h + " for " + x + ".",
			}
		}
		if clause.MatchString(e.attr) {
			return []string{capital(x) + ", " + h + ": " + e.value + "."}
		}
		if article.MatchString(e.attr) {
			return []string{"For " + x + ", " + h + " is " + e.value + ".", capital(x) + ": " + h + " is " + e.value + "."}
		}
		return []string{
			"For " + x + ", the " + h + " is " + e.value + ".",
			capital(x) + ", " + h + ": " + e.value + ".",
			"The " + h + " for " + x + " is " + e.value + ".",
		}
	}
	if prepositional(e.label) {
		return []string{capital(x) + ": " + e.value + "."}
	}
	return []string{
		"For " + x + ", it is " + e.value + ".",
		capital(x) + ": " + e.value + ".",
		"It is " + e.value + " for " + x + ".",
	}
}

// maxCompared is how many comparisons a table gives.
const maxCompared = 12

// compare makes questions about two entries of a table whose figures are of one kind.
func (m *maker) compare(p *Passage, i int, all []entry) {
	made := 0
	for k := 0; k+1 < len(all) && made < maxCompared; k++ {
		a := all[k]
		if a.one == "" || !a.figure || unicode.IsDigit(rune(a.label[0])) {
			continue
		}
		at := slices.IndexFunc(all[k+1:], func(b entry) bool {
			return b.figure && b.one == a.one && b.attr == a.attr && b.label != a.label && !unicode.IsDigit(rune(b.label[0]))
		})
		if at < 0 {
			continue
		}
		b := all[k+1+at]
		va, okA := single(a.value)
		vb, okB := single(b.value)
		if !okA || !okB || va == vb {
			continue
		}
		more := a
		if vb > va {
			more = b
		}
		la, lb := m.words.begin(a.label), m.words.begin(b.label)
		basis := ""
		if a.attr != "" {
			basis = " (" + m.words.begin(a.attr) + ")"
		}
		m.add(&fact{
			kind: Compare, by: "table", passage: p, block: i, quote: a.quote,
			asks: []string{
				"",
				"Which is more in " + a.one + basis + ": " + la + " or " + lb + "?",
				"Compare " + la + " and " + lb + " in " + a.one + basis + ".",
			},
			answers: []string{capital(la) + ": " + a.value + ". " + capital(lb) + ": " + b.value + ". So it is more for " + m.words.begin(more.label) + "."},
		})
		made++
	}
}
