package book

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

func isWordRune(r rune) bool { return unicode.IsLetter(r) || unicode.Is(unicode.M, r) }

// A vocabulary counts the words of a book, by which it is decided what a hyphen at the end of a line means.
type vocabulary map[string]int

// maxVocabulary bounds what a file of nothing but new words takes.
const maxVocabulary = 1 << 20

// add counts the words of a line. Those that its end may have broken are left out: with a hyphen at its end the last
// word, and after such a line the first one.
func (v vocabulary) add(line string, broken bool) (breaks bool) {
	fields := strings.Fields(line)
	for i, field := range fields {
		if i == len(fields)-1 && isBroken(field) {
			return true
		}
		if i == 0 && broken {
			continue
		}
		word := strings.ToLower(strings.TrimFunc(field, func(r rune) bool { return !isWordRune(r) }))
		if word != "" && (v[word] > 0 || len(v) < maxVocabulary) {
			v[word]++
		}
	}
	return false
}

// hyphens are the characters that break a word at the end of a line.
const hyphens = "-\u2010\u00ad"

// isBroken tells whether a line that ends in this word may break it.
func isBroken(word string) bool {
	head := strings.TrimRight(word, hyphens)
	if utf8.RuneCountInString(word)-utf8.RuneCountInString(head) != 1 { // two are a dash
		return false
	}
	last := []rune(head)
	return len(last) > 0 && isWordRune(last[len(last)-1])
}

// joins tells what becomes of a word that a line ends with (and its hyphen) before the first word of the next one:
// whether they are one word, and whether the hyphen belongs to it. The book's other words decide.
func (v vocabulary) joins(head, next string) (one, hyphen bool) {
	if !isBroken(head) {
		return false, false
	}
	first := []rune(next)
	if len(first) == 0 || !isWordRune(first[0]) {
		return false, false
	}
	if strings.HasSuffix(head, "\u00ad") { // which is there for nothing else
		return true, false
	}
	last := func(s string) string {
		return s[strings.LastIndexFunc(s, func(r rune) bool { return !isWordRune(r) && r != '-' && r != '\'' && r != '’' })+1:]
	}
	trimmed := strings.TrimRight(head, hyphens)
	tail := strings.ToLower(strings.TrimRightFunc(next, func(r rune) bool { return !isWordRune(r) }))
	before := strings.ToLower(last(trimmed))
	if i := strings.IndexFunc(tail, func(r rune) bool { return !isWordRune(r) && r != '-' && r != '\'' && r != '’' }); i >= 0 {
		tail = tail[:i]
	}
	whole, compound := v[before+tail], v[before+"-"+tail]
	if unicode.IsUpper(first[0]) { // Anglo-Saxon
		return true, whole == 0
	}
	switch {
	case whole > 0 || compound > 0:
		return true, compound > whole
	case tail == "and" || tail == "or" || tail == "to": // pre- and post-war
		return false, false
	}
	if i := strings.LastIndexByte(before, '-'); i >= 0 { // mother-in-|law and well-nour-|ished: the last part decides
		before = before[i+1:]
		if v[before+tail] > 0 {
			return true, false
		}
	}
	// A compound that stands here alone: both parts are words that the book uses, and the first is no syllable.
	return true, v[before] > 1 && v[tail] > 1 && len(before) > 2 && len(tail) > 2 && !syllables[before]
}

// syllables are words that longer ones begin with.
var syllables = map[string]bool{"under": true, "over": true, "out": true, "for": true, "with": true, "any": true, "some": true, "every": true, "not": true,
	"man": true, "con": true, "per": true, "can": true, "par": true, "car": true, "pro": true, "inter": true, "super": true, "hand": true, "there": true,
	"where": true, "here": true, "after": true, "fore": true, "through": true, "mis": true, "dis": true, "pre": true, "non": true, "what": true, "who": true}
