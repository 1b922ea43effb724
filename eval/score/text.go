package score

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A token is a number, a word or a sign of a text in lower case.
type token struct {
	text     string
	kind     tokenKind
	from, to int  // in the text
	glued    bool // nothing stands between it and the token before
}

type tokenKind uint8

const (
	word tokenKind = iota
	number
	sign
)

// spellings makes one way of writing out of several.
var spellings = strings.NewReplacer(
	"\u2212", "-", "\u2011", "-", "\u2010", "-", "\u2014", " – ", "’", "'", "‘", "'", "“", `"`, "”", `"`, "μ", "µ", "℃", "°c", "℉", "°f", "º", "°",
	"\\(", " ", "\\)", " ", "\\[", " ", "\\]", " ", "\\,", " ", "\\text", " ", "\\mathrm", " ", "\\%", "%", "\\circ", "°", "\\times", "×",
	"**", "", "__", "", "`", "", "*", "", "{", " ", "}", " ", "~", " ~ ",
)

// tidy gives a text in lower case and one way of writing.
func tidy(text string) string {
	text = joinThousands(text)
	return strings.ToLower(spellings.Replace(norm.NFC.String(text)))
}

// joinThousands takes out narrow spaces between groups of three digits.
func joinThousands(text string) string {
	if !strings.ContainsAny(text, "\u00a0\u202f\u2009") {
		return text
	}
	r := []rune(text)
	out := r[:0]
	digit := func(i int) bool { return 0 <= i && i < len(r) && r[i] >= '0' && r[i] <= '9' }
	for i, c := range r {
		if c == '\u00a0' || c == '\u202f' || c == '\u2009' {
			if digit(i-1) && digit(i+1) && digit(i+2) && digit(i+3) && !digit(i+4) {
				continue
			}
			c = ' '
		}
		out = append(out, c)
	}
	return string(out)
}

// tokens cuts a tidy text.
func tokens(text string) (out []token) {
	end := 0 // of the last token
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		kind, size := sign, n
		switch {
		case unicode.IsSpace(r):
			i += n
			continue
		case isDigit(r) || fractions[r] > 0:
			kind, size = number, numberLength(text[i:])
		case r == '°' || r == '%' || r == '$' || r == '€' || r == '£':
			kind = word
			if rest := text[i+n:]; r == '°' && (strings.HasPrefix(rest, "c") || strings.HasPrefix(rest, "f")) && !startsWithLetter(rest[1:]) {
				size = n + 1
			}
		case unicode.IsLetter(r):
			kind, size = word, wordLength(text[i:])
		}
		out = append(out, token{text[i : i+size], kind, i, i + size, i == end && i > 0})
		i += size
		end = i
	}
	return out
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

func startsWithLetter(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLetter(r)
}

// wordLength is the length of the word that s begins with; an apostrophe within belongs to it.
func wordLength(s string) int {
	for i, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsMark(r) && !(r == '\'' && startsWithLetter(s[i+1:])) {
			return i
		}
	}
	return len(s)
}

// words are the words of a text as terms are compared: without accents, plural endings, articles and the differences
// of British and American spelling.
func words(text string) (out []string) {
	for _, t := range tokens(tidy(text)) {
		if w := t.text; t.kind == word || t.kind == number {
			if t.kind == word {
				w = stem(w)
			}
			if w != "a" && w != "an" && w != "the" {
				out = append(out, w)
			}
		}
	}
	return out
}

// stem gives the forms of a word one spelling. It is no dictionary: both sides of a comparison go through it, so that
// it has to be the same, not right.
func stem(w string) string {
	w = strings.TrimSuffix(w, "'s")
	if strings.IndexFunc(w, func(r rune) bool { return r >= 0x80 }) >= 0 {
		w = strings.Map(func(r rune) rune {
			if unicode.IsMark(r) {
				return -1
			}
			return r
		}, norm.NFD.String(w))
	}
	if len(w) > 4 {
		w = strings.NewReplacer("ae", "e", "oe", "e").Replace(w)
	}
	switch {
	case len(w) > 4 && strings.HasSuffix(w, "ies"):
		w = w[:len(w)-3] + "y"
	case len(w) > 4 && (strings.HasSuffix(w, "sses") || strings.HasSuffix(w, "shes") || strings.HasSuffix(w, "ches") || strings.HasSuffix(w, "oes") || strings.HasSuffix(w, "xes")):
		w = w[:len(w)-2]
	case len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && !strings.HasSuffix(w, "us") && !strings.HasSuffix(w, "is"):
		w = w[:len(w)-1]
	}
	if len(w) > 5 {
		for _, pair := range [][2]string{{"our", "or"}, {"tre", "ter"}, {"bre", "ber"}, {"ise", "ize"}, {"ised", "ized"}, {"isation", "ization"}, {"yse", "yze"}, {"ogue", "og"}} {
			if s, ok := strings.CutSuffix(w, pair[0]); ok {
				return s + pair[1]
			}
		}
	} else if w == "fibre" {
		return "fiber"
	}
	return w
}

// Words are the words of a text in the form in which they are compared.
func Words(text string) []string { return words(text) }
