package profile

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A token is a word of a text.
type token struct {
	word       string // in lower case, without accents
	start, end int    // bytes
	gap        string // what stands before it, without spaces and marks of Markdown
	hyphen     bool   // a hyphen alone joins it to the word before
}

// tokens splits a text into words: letters and digits, with apostrophes within.
func tokens(text string) (out []token) {
	gap := 0
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if !wordRune(r) {
			i += n
			continue
		}
		start := i
		for i < len(text) {
			r, n := utf8.DecodeRuneInString(text[i:])
			if !wordRune(r) && !(apostrophe(r) && followed(text[i+n:])) {
				break
			}
			i += n
		}
		between := text[gap:start]
		out = append(out, token{word: lower(text[start:i]), start: start, end: i, gap: mark(between), hyphen: len(out) > 0 && (between == "-" || between == "‑")})
		gap = i
	}
	return out
}

func wordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r)
}
func apostrophe(r rune) bool { return r == '\'' || r == '’' }

// followed tells whether a letter comes next.
func followed(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return wordRune(r)
}

// mark drops spaces, and what only lays a text out.
func mark(between string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || strings.ContainsRune("*_#`\"“”", r) {
			return -1
		}
		return r
	}, between)
}

// lower is a word in lower case, without accents.
func lower(word string) string {
	ascii := true
	for i := range len(word) {
		ascii = ascii && word[i] < utf8.RuneSelf
	}
	if ascii {
		return strings.ToLower(word)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case r == '’':
			return '\''
		}
		return unicode.ToLower(r)
	}, norm.NFD.String(word))
}

// normal is a phrase as texts are compared with it.
func normal(phrase string) string {
	words := tokens(phrase)
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.word
	}
	return strings.Join(out, " ")
}
