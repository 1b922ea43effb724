package book

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// abbreviations are words in lower case that end in a full stop within a sentence.
var abbreviations = map[string]bool{}

func init() {
	for word := range strings.FieldsSeq(`mr mrs ms dr prof st rev hon capt gen col lt sgt jr sr messrs mme mlle vs etc e.g i.e cf ca al fig figs no nos p pp vol vols
		ch chap sec ed eds tr approx dept est inc ltd co corp bros jan feb mar apr jun jul aug sept sep oct nov dec a.m p.m oz lb lbs tsp tbsp tsps tbsps min hr
		qt pt in ft u.s u.k d.c ph.d m.d b.a m.a bzw usw z.b d.h u.a vgl nr abb tab hr fr s bd aufl av bd env ex art`) {
		abbreviations[word] = true
	}
}

// sentences parts a text; together the parts are the text, each with the white space after it.
func sentences(text string) []string {
	var out []string
	begin := 0
	for i, r := range text {
		if i < begin || !isStop(r) {
			continue
		}
		end := i + utf8.RuneLen(r)
		for end < len(text) { // more stops, and the quotes and brackets that close
			next, n := utf8.DecodeRuneInString(text[end:])
			if !isStop(next) && !strings.ContainsRune(`"'”’»)]`, next) {
				break
			}
			end += n
		}
		rest := strings.TrimLeftFunc(text[end:], unicode.IsSpace)
		space := len(text) - end - len(rest)
		wide := strings.ContainsRune("。！？", r) // no space follows in Chinese and Japanese
		if rest == "" || space == 0 && !wide || r == '.' && inSentence(text[begin:i], rest) {
			continue
		}
		if first, _ := utf8.DecodeRuneInString(rest); unicode.IsLower(first) {
			continue
		}
		out = append(out, text[begin:end+space])
		begin = end + space
	}
	if begin < len(text) {
		out = append(out, text[begin:])
	}
	return out
}

func isStop(r rune) bool { return strings.ContainsRune(".!?…。！？", r) }

// inSentence tells whether a full stop after before belongs to an abbreviation, an initial or a number.
func inSentence(before, rest string) bool {
	word := before[strings.LastIndexFunc(before, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`("'“‘[`, r) })+1:]
	first, _ := utf8.DecodeRuneInString(rest)
	switch n := utf8.RuneCountInString(word); {
	case n == 0:
		return false
	case n == 1 && unicode.IsUpper([]rune(word)[0]) && word != "I": // an initial
		return true
	case strings.Trim(word, "0123456789") == "" && n <= 3 && len(strings.TrimSpace(before)) == n: // "1. Soak": the number of an item
		return true
	case unicode.IsDigit(first) && (abbreviations[strings.ToLower(word)]):
		return true
	}
	return abbreviations[strings.ToLower(word)]
}
