package making

import (
	"regexp"
	"strconv"
	"strings"
)

// number is a number as books write it: 1,600  2.5  3-1/2  1 1/2  1/6  ½  2½.
const number = `(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+[ -]\d+/\d+|\d+/\d+|\d+(?:\.\d+)?[¼½¾⅓⅔⅛]?|[¼½¾⅓⅔⅛])`

// A figure is a number or a range with what it counts.
var (
	numberRE = regexp.MustCompile(number)
	rangeRE  = regexp.MustCompile(`(?:[$£€] ?)?` + number + `(?: ?(?:-|–|to|or|and) ?(?:[$£€] ?)?` + number + `)?(?: or (?:less|more))?`)
)

// counted are the names, in the plural, of the units that tables and sentences write short.
var counted = map[string]string{
	"g": "grams", "gm": "grams", "kg": "kilograms", "mg": "milligrams", "mcg": "micrograms", "µg": "micrograms", "μg": "micrograms",
	"oz": "ounces", "lb": "pounds", "lbs": "pounds", "ml": "millilitres", "cl": "centilitres", "l": "litres", "cc": "cubic centimetres",
	"tbsp": "tablespoons", "tsp": "teaspoons", "kcal": "kilocalories", "cal": "calories", "kj": "kilojoules", "iu": "international units",
	"mm": "millimetres", "cm": "centimetres", "m": "metres", "km": "kilometres", "in": "inches", "ft": "feet", "min": "minutes", "hr": "hours", "hrs": "hours",
}

// plurals are irregular, or units without an s at their end.
var plurals = map[string]bool{"feet": true, "inches": true, "people": true, "men": true, "women": true, "children": true, "percent": false, "per": false}

// A figure of a text: where it stands, and the unit that is counted.
type figure struct {
	from, to int    // of the number or range
	unit     string // as it is asked for, in the plural: "calories"; "" for none that is known
	end      int    // of the unit
}

// figures finds the numbers of a text with their units. What the book means by its own short forms is written out before.
func figures(text string) (out []figure) {
	for _, at := range rangeRE.FindAllStringIndex(text, -1) {
		if at[0] > 0 && (isWordByte(text[at[0]-1]) || text[at[0]-1] == '/' || text[at[0]-1] == '.') {
			continue
		}
		f := figure{from: at[0], to: at[1], end: at[1]}
		rest := text[at[1]:]
		if ordinalRE.MatchString(rest) {
			continue
		}
		if strings.HasPrefix(rest, "%") || strings.HasPrefix(rest, " %") || strings.HasPrefix(rest, " per cent") || strings.HasPrefix(rest, " percent") {
			f.unit = "percent"
			f.end += len(rest) - len(strings.TrimLeft(rest, " %"))
			for _, word := range []string{"per cent", "percent"} {
				if strings.HasPrefix(text[f.end:], word) {
					f.end += len(word)
				}
			}
		} else if m := unitRE.FindString(rest); m != "" {
			word := strings.ToLower(strings.Trim(m, " ."))
			if long, ok := counted[word]; ok {
				f.unit = long
			} else if plurals[word] || strings.HasSuffix(word, "s") && len(word) > 3 && !strings.HasSuffix(word, "ss") && !common[word] {
				f.unit = word
			} else if f.isOne(text) && counted[word+"s"] == "" && len(word) > 3 && !common[word] {
				f.unit = word + "s"
			}
			if f.unit != "" {
				f.end += len(m)
			}
		}
		out = append(out, f)
	}
	return out
}

// isOne tells whether a singular follows: "1 ounce", "1/2 ounce".
func (f figure) isOne(text string) bool {
	n := text[f.from:f.to]
	return n == "1" || strings.HasPrefix(n, "1/") || len(n) <= 3 && strings.ContainsAny(n, "¼½¾⅓⅔⅛") && !strings.ContainsAny(n, "23456789")
}

// ordinalRE fits what makes a place of a number: "1st".
var ordinalRE = regexp.MustCompile(`^(?:st|nd|rd|th)\b`)

var unitRE = regexp.MustCompile(`^ ?[A-Za-zµμ]+\.?`)

func isWordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// shorts are the short forms that a book explains: "CALORIE; symbol C.", "tablespoon (tbsp.)", a row "average helping | a.h.".
type shorts struct {
	forms []short
}

type short struct {
	re   *regexp.Regexp
	long string
}

var (
	symbolRE  = regexp.MustCompile(`\b([A-Za-z]{4,20})(?:;|,| \() ?(?:symbol|abbreviated|abbreviation|abbr\.|written|short)(?: as)? ([A-Za-z]{1,5}\.?)[;,)]`)
	bracketRE = regexp.MustCompile(`\b([A-Za-z]{4,20}) \(([A-Za-z]{1,5}\.)\)`)
)

// learn takes the short forms that a text explains.
func (x *shorts) learn(text string) {
	for _, m := range symbolRE.FindAllStringSubmatch(text, 20) {
		x.add(m[1], m[2])
	}
	for _, m := range bracketRE.FindAllStringSubmatch(text, 50) {
		if abbreviates(m[2], m[1]) {
			x.add(m[1], m[2])
		}
	}
}

// learnRow takes a row of a table that explains one.
func (x *shorts) learnRow(long, form string) {
	long, form = strings.TrimSpace(long), strings.TrimSpace(form)
	if strings.ContainsAny(long+form, "0123456789") || len(form) > 8 || !strings.Contains(form, ".") || wordCount(long) > 3 {
		return
	}
	initials := ""
	for _, w := range strings.Fields(strings.ToLower(long)) {
		initials += w[:1]
	}
	if strings.ToLower(strings.NewReplacer(".", "", " ", "").Replace(form)) == initials || wordCount(long) == 1 && abbreviates(form, long) {
		x.add(long, form)
	}
}

// abbreviates tells whether the letters of a short form come in the long one in their order, from its first on.
func abbreviates(form, long string) bool {
	form, long = strings.ToLower(strings.Trim(form, ".")), strings.ToLower(long)
	if form == "" || len(form) >= len(long) || form[0] != long[0] {
		return false
	}
	for i := 0; i < len(form); i++ {
		at := strings.IndexByte(long, form[i])
		if at < 0 {
			return false
		}
		long = long[at+1:]
	}
	return true
}

const maxShorts = 100

func (x *shorts) add(long, form string) {
	if counted[strings.ToLower(strings.Trim(form, "."))] != "" || len(x.forms) >= maxShorts { // is known as it is
		return
	}
	first := regexp.QuoteMeta(form[:1])
	if lower, upper := strings.ToLower(form[:1]), strings.ToUpper(form[:1]); len(form) > 2 && lower != upper { // "A.h." at the begin of a cell
		first = "[" + lower + upper + "]"
	}
	pattern := `(^|[\s(])` + first + regexp.QuoteMeta(strings.TrimSuffix(form[1:], "."))
	switch {
	case strings.HasSuffix(form, ".") && len(form) > 2:
		pattern += `\.?`
	case strings.HasSuffix(form, "."): // vitamin C is no calorie
		pattern += `\.`
	}
	x.forms = append(x.forms, short{regexp.MustCompile(pattern + `($|[\s,;:)])`), strings.ToLower(long)})
}

// expand writes short forms out, in the plural where they are counted.
func (x *shorts) expand(text string) string {
	for _, s := range x.forms {
		text = s.re.ReplaceAllStringFunc(text, func(m string) string {
			sub := s.re.FindStringSubmatch(m)
			return sub[1] + s.long + sub[2]
		})
		text = countedRE.ReplaceAllStringFunc(text, func(m string) string {
			sub := countedRE.FindStringSubmatch(m)
			if sub[2] != s.long || strings.Contains(s.long, " ") || sub[1] == "1" || strings.HasPrefix(sub[1], "1/") {
				return m
			}
			return sub[1] + " " + plural(sub[2])
		})
	}
	return text
}

var countedRE = regexp.MustCompile(`((?:\d|or less|or more|[¼½¾⅓⅔⅛])+) ([a-z]+)\b`)

func plural(noun string) string {
	switch {
	case strings.HasSuffix(noun, "s"), strings.HasSuffix(noun, "x"), strings.HasSuffix(noun, "ch"), strings.HasSuffix(noun, "sh"):
		return noun + "es"
	case strings.HasSuffix(noun, "y") && len(noun) > 1 && !strings.ContainsRune("aeiou", rune(noun[len(noun)-2])):
		return noun[:len(noun)-1] + "ies"
	}
	return noun + "s"
}

// single is the number of a value that has one, without a range.
func single(value string) (float64, bool) {
	f := figures(value)
	if len(f) != 1 {
		return 0, false
	}
	n := value[f[0].from:f[0].to]
	if n != numberRE.FindString(n) {
		return 0, false
	}
	return numberOf(n)
}

var signs = strings.NewReplacer("¼", " 1/4", "½", " 1/2", "¾", " 3/4", "⅓", " 1/3", "⅔", " 2/3", "⅛", " 1/8", "-", " ", ",", "")

func numberOf(s string) (sum float64, ok bool) {
	for _, part := range strings.Fields(signs.Replace(s)) {
		above, below, fraction := strings.Cut(part, "/")
		x, err := strconv.ParseFloat(above, 64)
		if err != nil {
			return 0, false
		}
		if fraction {
			y, err := strconv.ParseFloat(below, 64)
			if err != nil || y == 0 {
				return 0, false
			}
			x /= y
		}
		sum += x
	}
	return sum, true
}
