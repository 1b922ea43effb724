package making

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/dataset/audit"
)

// oneLine makes runs of white space one space.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// abbreviations end with a full stop that ends no sentence.
var abbreviations = map[string]bool{}

func init() {
	for _, a := range strings.Fields("mr mrs ms dr prof st sr jr vs etc fig figs no nos vol pp p ed eds ch sec cf approx dept est inc ltd co e.g i.e viz al ca oz lb lbs tbsp tsp in ft cu sq min hr hrs a.m p.m amt med sm diam c") {
		abbreviations[a] = true
	}
}

// sentences cuts a text into sentences. A full stop ends one if the next word begins with a capital and the word before
// is neither an abbreviation nor an initial.
func sentences(text string) (out []string) {
	text = oneLine(text)
	from := 0
	for i := 0; i < len(text); i++ {
		if c := text[i]; c != '.' && c != '!' && c != '?' {
			continue
		}
		end := i + 1
		for end < len(text) && strings.ContainsRune(`.!?"')]`, rune(text[end])) {
			end++
		}
		for _, quote := range []string{"”", "’"} {
			if strings.HasPrefix(text[min(end, len(text)):], quote) {
				end += len(quote)
			}
		}
		if end < len(text) && (text[end] != ' ' || !opens(text[end+1:])) {
			i = end - 1
			continue
		}
		if text[i] == '.' && end < len(text) && abbreviated(text[from:i]) {
			continue
		}
		out = append(out, strings.TrimSpace(text[from:end]))
		from, i = end, end-1
	}
	if rest := strings.TrimSpace(text[min(from, len(text)):]); rest != "" {
		out = append(out, rest)
	}
	return out
}

// opens tells whether a sentence may begin so.
func opens(s string) bool {
	s = strings.TrimLeft(s, `"'([“‘—`)
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsUpper(r) || unicode.IsDigit(r)
}

// abbreviated tells whether the last word before a full stop is an abbreviation or an initial.
func abbreviated(s string) bool {
	word := strings.TrimLeft(s[strings.LastIndexByte(s, ' ')+1:], `("'“‘[`)
	return utf8.RuneCountInString(word) == 1 && word != "I" || abbreviations[strings.ToLower(word)]
}

// wordCount is the number of words of a text.
func wordCount(s string) int { return len(strings.Fields(s)) }

// lexicon is the words of a book: how it writes them inside of sentences tells names from words at their begin.
type lexicon struct {
	lower, upper map[string]int // inside of sentences, by lower case
	in           map[string]int // passages that have the word
}

var wordRE = regexp.MustCompile(`[\pL\pM]+(?:['’-][\pL\pM]+)*`)

func newLexicon() *lexicon {
	return &lexicon{map[string]int{}, map[string]int{}, map[string]int{}}
}

// add reads the text of a passage.
func (x *lexicon) add(text string) {
	seen := map[string]bool{}
	for _, w := range wordRE.FindAllString(text, -1) {
		if low := strings.ToLower(w); !seen[low] {
			seen[low] = true
			x.in[low]++
		}
	}
}

// learn reads sentences, which tell how words are written inside of them.
func (x *lexicon) learn(prose string) {
	for _, s := range sentences(prose) {
		for i, w := range wordRE.FindAllString(s, -1) {
			low := strings.ToLower(w)
			if i == 0 || w == strings.ToUpper(w) {
				continue
			}
			if w == low {
				x.lower[low]++
			} else {
				x.upper[low]++
			}
		}
	}
}

// begin writes the begin of a phrase as inside of a sentence: with a small letter unless the book writes it large there.
func (x *lexicon) begin(s string) string {
	w := wordRE.FindString(s)
	low := strings.ToLower(w)
	if w == "" || !strings.HasPrefix(s, w) || w == "I" || strings.HasPrefix(w, "I'") || strings.HasPrefix(w, "I’") || x.isName(low) {
		return s
	}
	if len(w) > 1 && w == strings.ToUpper(w) && x.lower[low] == 0 { // an abbreviation
		return s
	}
	return low + s[len(w):]
}

// isName tells whether the book writes a word with a capital inside of sentences.
func (x *lexicon) isName(low string) bool { return x.upper[low] > 0 && x.upper[low] >= x.lower[low] }

// calm writes a title in capitals, or with capitals, as in a sentence.
func (x *lexicon) calm(s string) string {
	shout := s == strings.ToUpper(s)
	return wordRE.ReplaceAllStringFunc(s, func(w string) string {
		low := strings.ToLower(w)
		switch {
		case w == "I" || !shout && w == strings.ToUpper(w) && len(w) > 1 && x.lower[low] == 0: // an abbreviation
			return w
		case x.isName(low):
			r, n := utf8.DecodeRuneInString(low)
			return string(unicode.ToUpper(r)) + low[n:]
		}
		return low
	})
}

// capital writes the begin of a sentence.
func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

// common are English words that say little.
var common = map[string]bool{}

func init() {
	for _, w := range strings.Fields("a an the and or but if then than that this these those of to in on at for from with without by as is are was were be been being it its he she they them their his her you your we our us i my me not no nor so do does did has have had having can could will would should shall may might must one some any all each every many much more most very also only just there here when where which who whom whose what why how because while during into over under about after before between through up down out off own same other such per both either few less least like upon") {
		common[w] = true
	}
}

// isForeign tells whether a book is in another language than English, by the language of most of its pages of prose.
// Tables alone tell nothing.
func isForeign(d *book.Document) bool {
	counts, size := map[string]int{}, 0
	var page strings.Builder
	for i := range d.Blocks {
		if d.Blocks[i].Kind == book.Paragraph {
			page.WriteString(d.Blocks[i].Text + "\n")
		}
		if page.Len() > 2000 || i == len(d.Blocks)-1 {
			counts[audit.Language(page.String())]++
			page.Reset()
		}
	}
	english := counts["English"]
	delete(counts, audit.Unknown)
	for _, n := range counts {
		size = max(size, n)
	}
	return size > english
}

// key is a question or quote as it is compared: words and digits in lower case.
func key(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && r != '/' && r != '½'
	}), " ")
}

// rare gives up to n words of a text that few passages of the book have, in its order, and that other has not.
func (x *lexicon) rare(text, other string, n int) (out []string) {
	asked := map[string]bool{}
	for _, w := range wordRE.FindAllString(other, -1) {
		asked[strings.ToLower(w)] = true
	}
	type candidate struct {
		word string
		in   int
	}
	var best []candidate
	for _, w := range wordRE.FindAllString(text, -1) {
		low := strings.ToLower(w)
		if common[low] || asked[low] || utf8.RuneCountInString(low) < 4 || strings.HasSuffix(low, "ly") {
			continue
		}
		asked[low] = true
		best = append(best, candidate{low, x.in[low]})
	}
	for len(best) > n { // the most frequent goes
		worst := 0
		for i, c := range best {
			if c.in >= best[worst].in {
				worst = i
			}
		}
		best = append(best[:worst], best[worst+1:]...)
	}
	for _, c := range best {
		out = append(out, c.word)
	}
	return out
}
