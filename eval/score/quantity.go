package score

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A bound says how a figure is to be read.
type bound uint8

const (
	exactly bound = iota
	less          // "less than 5 g"
	atMost
	more
	atLeast
)

// A quantity is a figure of a text with its unit, as it stands there: lo to hi, mostly the same.
type quantity struct {
	lo, hi  float64 // in unit
	digits  float64 // half of the last digit that is written, in unit
	unit    unit
	per     string // "day" of "mg per day"; "" for none
	scale   float64
	noun    string // the word behind a bare number, stemmed: "portion"
	bound   bound
	negated bool // "not 9 g"
	basis   bool // "per 100 g": what another figure is for
	spelled bool // in words
	text    string
	from    int // in the tidy text
	to      int
}

var fractions = map[rune]float64{'½': 1. / 2, '¼': 1. / 4, '¾': 3. / 4, '⅓': 1. / 3, '⅔': 2. / 3, '⅕': 1. / 5, '⅛': 1. / 8, '⅜': 3. / 8, '⅝': 5. / 8, '⅞': 7. / 8}

// numberLength is the length of the number that s begins with: 1,000.5  1½  3/4  2.5e3.
func numberLength(s string) int {
	i := 0
	digitsFrom := func(i int) int {
		for i < len(s) && isDigit(rune(s[i])) {
			i++
		}
		return i
	}
	for i = digitsFrom(0); i+1 < len(s) && (s[i] == '.' || s[i] == ',') && isDigit(rune(s[i+1])); {
		i = digitsFrom(i + 1)
	}
	if i > 0 && i+1 < len(s) && s[i] == 'e' {
		j := i + 1
		if s[j] == '-' || s[j] == '+' {
			j++
		}
		if end := digitsFrom(j); end > j {
			return end
		}
	}
	if i > 0 && i+1 < len(s) && s[i] == '/' && isDigit(rune(s[i+1])) {
		if end := digitsFrom(i + 1); end-i <= 3 && (end == len(s) || s[end] != '/') {
			return end
		}
	}
	if r, n := utf8.DecodeRuneInString(s[i:]); fractions[r] > 0 {
		return i + n
	}
	return i
}

// parseNumber gives the value of a number token, and half of its last digit.
func parseNumber(s string) (value, half float64, ok bool) {
	r, n := utf8.DecodeLastRuneInString(s)
	if f := fractions[r]; f > 0 {
		if s = s[:len(s)-n]; s == "" {
			return f, 0.01, true
		}
		value, _, ok = parseNumber(s)
		return value + f, 0.01, ok
	}
	if over, under, isFraction := strings.Cut(s, "/"); isFraction {
		a, _, ok := parseNumber(over)
		b, err := strconv.ParseFloat(under, 64)
		return a / b, 0.01, ok && err == nil && b != 0
	}
	s = decimalPoint(s)
	value, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(value, 0) {
		return 0, 0, false
	}
	mantissa, exponent, _ := strings.Cut(s, "e")
	_, decimals, _ := strings.Cut(mantissa, ".")
	e, _ := strconv.Atoi(exponent) // 0 without one
	return value, 0.5 * math.Pow(10, float64(e-len(decimals))), true
}

// decimalPoint writes 1,000.5 and 0,5 as Go does. A comma before exactly three digits parts thousands, unless nothing
// but a zero stands before it.
func decimalPoint(s string) string {
	commas := strings.Count(s, ",")
	if commas == 0 {
		if strings.Count(s, ".") > 1 { // 1.000.000
			return strings.ReplaceAll(s, ".", "")
		}
		return s
	}
	comma, point := strings.LastIndex(s, ","), strings.LastIndex(s, ".")
	if point > comma { // 1,000.5
		return strings.ReplaceAll(s, ",", "")
	}
	if point >= 0 || commas == 1 && (len(s)-comma-1 != 3 || s[:comma] == "0") { // 1.000,5 and 0,5
		return strings.ReplaceAll(strings.ReplaceAll(s[:comma], ".", ""), ",", "") + "." + s[comma+1:]
	}
	return strings.ReplaceAll(s, ",", "")
}

// A reading goes over the tokens of a text for its figures.
type reading struct {
	t []token
}

// mostFigures is how many figures of a text are looked at: more are no answer.
const mostFigures = 500

// quantities finds the figures of a text.
func quantities(text string) (out []quantity) {
	text = tidy(text)
	r := reading{tokens(text)}
	for i := 0; i < len(r.t) && len(out) < mostFigures; {
		q, end, ok := r.quantity(i)
		if !ok {
			i++
			continue
		}
		q.from, q.to = r.t[q.from].from, r.t[end-1].to
		q.text = text[q.from:q.to]
		out = append(out, q)
		i = end
	}
	return out
}

// is tells whether token i is one of words.
func (r *reading) is(i int, words ...string) bool {
	return 0 <= i && i < len(r.t) && slices.Contains(words, r.t[i].text)
}

// quantity reads the figure that begins at token i: of an amount, a range of two, or one with a margin.
func (r *reading) quantity(i int) (q quantity, end int, ok bool) {
	q, end, ok = r.amount(i)
	if !ok {
		return q, 0, false
	}
	q.from = i
	if r.is(end, "±") || r.is(end, "+") && r.is(end+1, "/") && r.is(end+2, "-") {
		at := end + 1
		if r.is(end, "+") {
			at = end + 3
		}
		if m, to, ok := r.amount(at); ok {
			q.digits = max(q.digits, m.hi)
			if q.unit.dim == "" {
				q.unit, q.per, q.noun = m.unit, m.per, m.noun
			}
			end = to
		}
	} else if at := r.rangeTo(i, end); at > 0 {
		if hi, to, ok := r.amount(at); ok && (q.unit.dim == "" || q.unit.dim == hi.unit.dim) && (hi.unit.dim != "" || q.unit.dim == "") {
			if q.unit.dim == "" {
				q.unit = hi.unit
			}
			lo := q.lo * q.unit.factor / hi.unit.factor
			if lo < hi.hi {
				q.lo, q.hi, q.unit, q.per, q.noun, q.scale = lo, hi.hi, hi.unit, hi.per, hi.noun, hi.scale
				q.digits = max(q.digits, hi.digits)
				end = to
			}
		}
	}
	q.from = r.before(i, &q)
	if q.bound == atLeast || q.bound == more {
		end = r.upTo(end, &q)
	}
	end = r.after(end, &q)
	return q, end, true
}

// upTo reads "but no more than 10 minutes" behind "at least 8": both are a range.
func (r *reading) upTo(end int, q *quantity) int {
	if !r.is(end, "but", "and") {
		return end
	}
	for at := end + 2; at < min(end+6, len(r.t)); at++ {
		hi, to, ok := r.amount(at)
		if !ok {
			continue
		}
		if r.before(at, &hi); (hi.bound == atMost || hi.bound == less) && hi.unit.dim != "" && (q.unit.dim == "" || q.unit.dim == hi.unit.dim) {
			if q.unit.dim == "" {
				q.unit = hi.unit
			}
			if lo := q.lo * q.unit.factor / hi.unit.factor; lo < hi.hi {
				q.lo, q.hi, q.unit, q.per, q.noun, q.scale, q.bound = lo, hi.hi, hi.unit, hi.per, hi.noun, hi.scale, exactly
				return to
			}
		}
		break
	}
	return end
}

// unitsIn are the units that a text names.
func unitsIn(text string) (out []unit) {
	r := reading{tokens(tidy(text))}
	for i := range r.t {
		if name, _ := r.unitName(i); name != "" {
			out = append(out, units[name])
		}
	}
	return out
}

// rangeTo gives the place of the second number of "3 to 5", "3-5" or "between 3 and 5"; 0 for none.
func (r *reading) rangeTo(i, end int) int {
	switch {
	case r.is(end, "-", "–"), r.is(end, "to"):
		return end + 1
	case r.is(end, "and") && r.is(i-1, "between"):
		return end + 1
	}
	return 0
}

// amount reads a number with its unit, in digits or in words.
func (r *reading) amount(i int) (q quantity, end int, ok bool) {
	q.scale, q.unit = 1, bare
	currency := r.is(i, "$", "€", "£", "eur", "usd", "gbp")
	at := i
	if currency {
		at++
	}
	negative := false
	if r.is(at, "-") && at+1 < len(r.t) && r.t[at+1].kind == number && r.t[at+1].glued && !r.t[at].glued || r.is(at, "minus") {
		negative = true
		at++
	}
	value, half, end, spelled, ok := r.numeral(at)
	if !ok && r.isSpan(at) {
		value, half, end, spelled, ok = 1, 0.5, at+1, true, true
	}
	if !ok {
		return q, 0, false
	}
	if negative {
		value = -value
	}
	q.lo, q.hi, q.digits, q.spelled = value, value, half, spelled
	if currency {
		q.unit = units[r.t[i].text]
		return q, end, true
	}
	return r.unitAt(end, q)
}

// isSpan tells whether token i begins "a day" or "an hour" behind a bound: "no longer than a day" is 1 day, "3 times a day" is not.
func (r *reading) isSpan(i int) bool {
	if !r.is(i, "a", "an") || !(r.is(i-1, "than", "most", "least", "within", "for")) {
		return false
	}
	name, _ := r.unitName(i + 1)
	return units[name].dim == "time"
}

// numeral reads a number in digits or in words.
func (r *reading) numeral(i int) (value, half float64, end int, spelled, ok bool) {
	if i >= len(r.t) {
		return 0, 0, 0, false, false
	}
	if r.t[i].kind != number {
		value, end, ok = r.spelled(i)
		return value, 0.5, end, true, ok
	}
	if value, half, ok = parseNumber(r.t[i].text); !ok {
		return 0, 0, 0, false, false
	}
	end = i + 1
	if end < len(r.t) && r.t[end].kind == number && fractionToken(r.t[end].text) && value == math.Trunc(value) { // 1 1/2
		part, _, _ := parseNumber(r.t[end].text)
		value, half, end = value+part, 0.01, end+1
	}
	if end < len(r.t) && r.t[end].glued && r.is(end, "st", "nd", "rd", "th", "s") && !(r.is(end, "s") && value < 1000) {
		return 0, 0, 0, false, false // 2nd, 1990s
	}
	if end < len(r.t) {
		if m := multiples[r.t[end].text]; m > 0 {
			return value * m, half * m, end + 1, false, true
		}
		if r.is(end, "and") && r.is(end+1, "a") && r.is(end+2, "half") {
			return value + 0.5, 0.01, end + 3, false, true
		}
	}
	return value, half, end, false, true
}

func fractionToken(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return fractions[r] > 0 || strings.Contains(s, "/")
}

// unitAt reads the unit at token i, and what it is per.
func (r *reading) unitAt(i int, q quantity) (quantity, int, bool) {
	at := i
	if r.is(at, "-") && at+1 < len(r.t) && r.t[at].glued && r.t[at+1].glued { // 30-minute
		at++
	}
	if r.is(at, "of") && q.spelled || r.is(at, "a", "an") && q.lo == 0.5 { // half of a litre, half a litre
		at++
		if r.is(at, "a", "an") {
			at++
		}
	}
	name, end := r.unitName(at)
	if name == "" {
		if i < len(r.t) && r.t[i].kind == word {
			q.noun = stem(r.t[i].text)
		}
		return q, i, true
	}
	q.unit = units[name]
	return r.rate(end, q)
}

// unitName finds the longest name of a unit that begins at token i.
func (r *reading) unitName(i int) (string, int) {
	for n := min(unitWords, len(r.t)-i); n > 0; n-- {
		name := r.t[i].text
		for _, t := range r.t[i+1 : i+n] {
			name += " " + t.text
		}
		if _, ok := units[name]; ok && r.t[i].kind == word && !(name == "in" || name == "f" && !r.t[i].glued && i > 0 && r.t[i-1].kind == word) {
			return name, i + n
		}
	}
	return "", i
}

// rate reads "a day" or "/kg" behind a unit. Times are taken as one a day.
func (r *reading) rate(i int, q quantity) (quantity, int, bool) {
	at := i
	switch {
	case r.is(i, "/") && i+1 < len(r.t) && r.t[i+1].kind == word, r.is(i, "per", "a", "each", "every"):
		at = i + 1
	case r.is(i, "daily"):
		q.per = "time"
		return q, i + 1, true
	default:
		return q, i, true
	}
	name, end := r.unitName(at)
	u := units[name]
	if name == "" || u.dim == "" || u.dim != "time" && r.is(i, "a", "each", "every") {
		return q, i, true
	}
	q.per = u.dim
	if u.dim == "time" {
		q.scale = 86400 / u.factor
	} else {
		q.scale = 1 / u.factor
	}
	return q, end, true
}

// before reads the bound and the negation in front of the number at token i, and gives where they begin.
func (r *reading) before(i int, q *quantity) int {
	from := i
	if r.is(from-1, "about", "around", "roughly", "approximately", "~", "circa", "nearly", "almost", "some", "only", "just", "exactly", "between", "from") {
		from--
	}
	for _, b := range bounds {
		if n := len(b.words); from >= n && slices.EqualFunc(r.t[from-n:from], b.words, func(t token, w string) bool { return t.text == w }) {
			q.bound = b.is
			from -= n
			break
		}
	}
	for k := 1; k <= 3 && from-k >= 0; k++ {
		t := r.t[from-k].text
		if t == "not" || t == "isn't" || t == "aren't" || t == "never" || t == "nor" || t == "wasn't" || (t == "than" || t == "of") && (r.is(from-k-1, "rather", "instead")) {
			q.negated = true
		}
		if r.t[from-k].kind == sign {
			break
		}
	}
	whole := q.unit.dim == "mass" || q.unit.dim == "volume"
	q.basis = r.is(from-1, "per") || whole && (q.lo == 100 || q.lo == 1) && r.is(from-1, "in", "every", "each", "/") || whole && q.lo == 100 && r.is(from-1, "of", "from", "for")
	return from
}

// after reads a bound behind the figure, or that it is taken back: "30 g? No, 25 g."
func (r *reading) after(end int, q *quantity) int {
	if r.is(end, "?") && r.is(end+1, "no", "wrong") || r.is(end, ",") && r.is(end+1, "no") && r.is(end+2, ",") {
		q.negated = true
		return end
	}
	if r.is(end, "or") {
		switch {
		case r.is(end+1, "less", "fewer", "under", "below", "lower"):
			q.bound = atMost
			return end + 2
		case r.is(end+1, "more", "above", "over", "higher", "greater"):
			q.bound = atLeast
			return end + 2
		}
	}
	return end
}

var bounds = func() (out []struct {
	words []string
	is    bound
}) {
	for text, is := range map[string]bound{
		"less than": less, "fewer than": less, "under": less, "below": less, "<": less, "lower than": less, "no less than": atLeast, "not less than": atLeast,
		"no fewer than": atLeast, "no longer than": atMost, "not longer than": atMost, "longer than": more, "within": atMost, "at least": atLeast, "a minimum of": atLeast, "minimum": atLeast, "≥": atLeast, "> =": atLeast,
		"at most": atMost, "up to": atMost, "no more than": atMost, "not more than": atMost, "a maximum of": atMost, "maximum": atMost, "≤": atMost, "< =": atMost,
		"more than": more, "over": more, "above": more, "greater than": more, ">": more, "higher than": more,
	} {
		out = append(out, struct {
			words []string
			is    bound
		}{strings.Fields(text), is})
	}
	// The longest first: "no less than" ends in "less than".
	slices.SortFunc(out, func(a, b struct {
		words []string
		is    bound
	}) int {
		return len(b.words) - len(a.words)
	})
	return out
}()

var multiples = map[string]float64{"hundred": 100, "thousand": 1e3, "million": 1e6, "billion": 1e9, "dozen": 12}

var smallNumbers = map[string]float64{
	"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
	"thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40,
	"fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}

var parts = map[string]float64{"half": 1. / 2, "halves": 1. / 2, "third": 1. / 3, "thirds": 1. / 3, "quarter": 1. / 4, "quarters": 1. / 4, "fifth": 1. / 5, "fifths": 1. / 5, "tenth": 1. / 10, "tenths": 1. / 10, "eighth": 1. / 8, "eighths": 1. / 8}

// spelled reads a number in words at token i: "one hundred and five", "two thirds", "nine and a half", "half a", "a dozen".
func (r *reading) spelled(i int) (value float64, end int, ok bool) {
	at := i
	if r.is(at, "a", "an") && at+1 < len(r.t) && (multiples[r.t[at+1].text] > 0 || parts[r.t[at+1].text] > 0) {
		at++
	}
	if at < len(r.t) && parts[r.t[at].text] > 0 && (at > i || r.is(at, "half")) {
		return parts[r.t[at].text], at + 1, true
	}
	total, group, n := 0.0, 0.0, 0
	for ; at < len(r.t); at++ {
		w := r.t[at].text
		small, isSmall := smallNumbers[w]
		m := multiples[w]
		switch {
		case isSmall && (group == 0 && n == 0 || small < 10 && math.Mod(group, 10) == 0 && math.Mod(group, 100) >= 20 || math.Mod(group, 100) == 0 && n > 0):
			group += small
		case m > 0 && m <= 100 && (n > 0 || at > i):
			group = max(group, 1) * m
		case m > 100 && (n > 0 || at > i):
			total, group = total+max(group, 1)*m, 0
		case w == "-" && n > 0 && at+1 < len(r.t) && smallNumbers[r.t[at+1].text] > 0 && r.t[at].glued:
			continue
		case w == "and" && n > 0 && r.is(at+1, "a") && at+2 < len(r.t) && parts[r.t[at+2].text] > 0:
			return total + group + parts[r.t[at+2].text], at + 3, true
		case w == "and" && n > 0 && (math.Mod(group, 100) == 0) && at+1 < len(r.t) && smallNumbers[r.t[at+1].text] > 0:
			continue
		case w == "point" && n > 0 && at+1 < len(r.t) && r.has(at+1, smallNumbers):
			return r.decimals(total+group, at+1)
		case parts[w] > 0 && n > 0 && total == 0 && group < 20:
			return group * parts[w], at + 1, true
		default:
			return total + group, at, n > 0
		}
		n++
	}
	return total + group, at, n > 0
}

func (r *reading) has(i int, set map[string]float64) bool { _, ok := set[r.t[i].text]; return ok }

// decimals reads the digits behind "point".
func (r *reading) decimals(value float64, at int) (float64, int, bool) {
	for step := 0.1; at < len(r.t) && r.has(at, smallNumbers) && smallNumbers[r.t[at].text] < 10; step /= 10 {
		value += step * smallNumbers[r.t[at].text]
		at++
	}
	return value, at, true
}
