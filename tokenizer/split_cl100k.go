package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// The split patterns of GPT-2 and of the cl100k family (Llama 3, Qwen), as they are in
// tokenizer.json files.
const (
	patternGPT2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

	// Qwen 3.5 counts combining marks among the letters.
	patternQwen35 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// knownScanner returns the hand-written scanner of a well-known pattern, or nil.
func knownScanner(pattern string) scanner {
	switch pattern {
	case patternGPT2:
		return scanGPT2
	case patternLlama3:
		return cl100k{digits: 3, letters: letter}.scan
	case patternQwen2:
		return cl100k{digits: 1, letters: letter}.scan
	case patternQwen35:
		return cl100k{digits: 1, letters: letter | mark}.scan
	case patternTekken:
		return o200k{digits: 1}.scan
	case patternO200K:
		return o200k{digits: 3, contractions: true}.scan
	}
	return nil
}

// scanGPT2 matches patternGPT2.
func scanGPT2(s string) int {
	if n := contraction(s, false); n > 0 {
		return n
	}
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	switch c, n := classAt(s, i); {
	case n == 0 || c&space != 0:
		return whiteSpace(s)
	case c&letter != 0:
		return skip(s, i+n, letter)
	case c&number != 0:
		return skip(s, i+n, number)
	default:
		return skipOther(s, i+n, letter|number|space)
	}
}

// cl100k matches the patterns of the cl100k family.
type cl100k struct {
	digits  int   // longest run of digits in one word
	letters uint8 // classes that words are made of
}

func (p cl100k) scan(s string) int {
	if n := contraction(s, true); n > 0 {
		return n
	}
	c, n := classAt(s, 0)
	if c&p.letters != 0 {
		return skip(s, n, p.letters)
	}
	if c&(newline|number) == 0 { // one such character may lead a word
		if c2, n2 := classAt(s, n); c2&p.letters != 0 {
			return skip(s, n+n2, p.letters)
		}
	}
	if c&number != 0 {
		return digits(s, p.digits)
	}
	if end := symbols(s, p.letters|number|space); end > 0 {
		return newlines(s, end)
	}
	return lineOrSpace(s)
}

// contraction matches 's 't 're 've 'm 'll 'd, in either case if fold is set.
// "ſ", U+017F, is an "s" to case folding.
func contraction(s string, fold bool) int {
	if s[0] != '\'' || len(s) < 2 {
		return 0
	}
	low := func(b byte) byte {
		if fold && b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		return b
	}
	switch low(s[1]) {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if len(s) > 2 && low(s[2]) == 'e' {
			return 3
		}
	case 'l':
		if len(s) > 2 && low(s[2]) == 'l' {
			return 3
		}
	}
	if fold && strings.HasPrefix(s[1:], "ſ") {
		return 1 + len("ſ")
	}
	return 0
}

// digits matches \p{N}{1,most}.
func digits(s string, most int) int {
	i := 0
	for range most {
		c, n := classAt(s, i)
		if c&number == 0 {
			break
		}
		i += n
	}
	return i
}

// symbols matches " ?[^...]+", not being the classes in the brackets. It is 0 if there is
// no match.
func symbols(s string, not uint8) int {
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	if end := skipOther(s, i, not); end > i {
		return end
	}
	return 0
}

// newlines returns the end of the run of \r and \n at s[i:].
func newlines(s string, i int) int {
	for i < len(s) && (s[i] == '\r' || s[i] == '\n') {
		i++
	}
	return i
}

// lineOrSpace matches \s*[\r\n]+|\s+(?!\S)|\s+ at white space: up to the last line break
// of the run, if there is one.
func lineOrSpace(s string) int {
	end := skip(s, 0, space)
	if i := strings.LastIndexAny(s[:end], "\r\n"); i >= 0 {
		return i + 1
	}
	return whiteSpace(s)
}

// whiteSpace matches \s+(?!\S)|\s+ at white space: the run without its last character,
// which belongs to the word that follows.
func whiteSpace(s string) int {
	end := skip(s, 0, space)
	if end == len(s) {
		return end
	}
	if _, n := utf8.DecodeLastRuneInString(s[:end]); n < end {
		return end - n
	}
	return end
}
