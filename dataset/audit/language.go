package audit

import (
	"strings"
	"unicode"

	"github.com/lentil-lm/lentil/dataset/near"
)

// Unknown is the language of a text that is too short, or too much of code and figures, to tell.
const Unknown = "unknown"

// scripts tell a language, or a group of them, by their letters.
var scripts = []struct {
	name  string
	table *unicode.RangeTable
}{
	{"Japanese", unicode.Hiragana}, {"Japanese", unicode.Katakana}, {"Korean", unicode.Hangul}, {"Chinese", unicode.Han}, {"Cyrillic", unicode.Cyrillic},
	{"Greek", unicode.Greek}, {"Arabic", unicode.Arabic}, {"Hebrew", unicode.Hebrew}, {"Devanagari", unicode.Devanagari}, {"Thai", unicode.Thai},
}

// markers are frequent words that the other languages here do not have, or hardly.
var markers = map[string]string{}

func init() {
	for lang, words := range map[string]string{
		"English":    "the and of that is with for are was you have this what how from which would should",
		"German":     "der und die das nicht ist mit auf ein eine wie ich für von den dem wird sich auch werden",
		"French":     "le les des est une dans pour que qui pas avec sur vous ce sont plus nous cette aux",
		"Spanish":    "el los las una por para con del que es como más pero su sus está son muy",
		"Italian":    "il di che è per una sono con della nel non gli come più anche questo delle",
		"Portuguese": "o os que não uma para com do da em são mais como você isso pelo pela ao",
		"Dutch":      "het een van en dat niet voor met zijn aan ook er maar wordt naar deze bij",
	} {
		for _, w := range strings.Fields(words) {
			if _, both := markers[w]; both {
				markers[w] = "" // of two languages
			} else {
				markers[w] = lang
			}
		}
	}
}

// Language tells the language of a text, or the script that it is written in; "unknown" if that is not clear.
func Language(text string) string {
	const enough = 4000
	if len(text) > enough {
		text = strings.ToValidUTF8(text[:enough], "")
	}
	letters, latin := 0, 0
	counts := map[string]int{}
	for _, r := range text {
		if !unicode.IsLetter(r) {
			continue
		}
		letters++
		if unicode.Is(unicode.Latin, r) {
			latin++
			continue
		}
		for _, s := range scripts {
			if unicode.Is(s.table, r) {
				counts[s.name]++
				break
			}
		}
	}
	for _, s := range scripts {
		least := letters / 2
		if s.name == "Japanese" { // which has Chinese signs beside its own
			least = letters / 10
		}
		if counts[s.name] > max(least, 3) {
			return s.name
		}
	}
	if latin < 20 {
		return Unknown
	}
	best, second := "", ""
	by, had := map[string]int{}, map[string]bool{}
	for _, w := range near.Words(text) {
		if lang := markers[w]; lang != "" && !had[w] { // "per 100 g, per day" is no Italian
			had[w] = true
			by[lang]++
		}
	}
	for lang, n := range by {
		switch {
		case n > by[best] || n == by[best] && lang < best:
			best, second = lang, best
		case n > by[second] || n == by[second] && lang < second:
			second = lang
		}
	}
	if by[best] < 2 || by[best] < 2*by[second] {
		return Unknown
	}
	return best
}
