package tokenizer

// The split patterns of the o200k family: GPT-4o's and Mistral's Tekken.
// Words change at a step from lower to upper case.
const (
	patternTekken = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternO200K  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// o200k matches the patterns of the o200k family.
type o200k struct {
	digits       int  // longest run of digits in one word
	contractions bool // 's and the like stay with their word
}

func (p o200k) scan(s string) int {
	if end := casedWord(s); end > 0 {
		if p.contractions && end < len(s) {
			end += contraction(s[end:], true)
		}
		return end
	}
	if c, _ := classAt(s, 0); c&number != 0 {
		return digits(s, p.digits)
	}
	if end := symbols(s, letter|number|space); end > 0 {
		for end < len(s) && (s[end] == '\r' || s[end] == '\n' || s[end] == '/') {
			end++
		}
		return end
	}
	return lineOrSpace(s)
}

// casedWord matches the first two alternatives of the patterns. Either may begin with one
// character that is no letter, number or line break. Such a character can also be a mark,
// and thus part of the word, so casedWord tries both.
func casedWord(s string) int {
	c, n := classAt(s, 0)
	lead := c&(newline|letter|number) == 0
	if lead {
		if end := lowerWord(s, n); end > 0 {
			return end
		}
	}
	if end := lowerWord(s, 0); end > 0 {
		return end
	}
	if lead {
		if end := upperWord(s, n); end > 0 {
			return end
		}
	}
	return upperWord(s, 0)
}

// lowerWord matches upper* lower+ at s[i:] and returns its end, or 0. If no lower follows
// the run of uppers, the run gives back characters until one is also lower: a mark, or a
// letter without case.
func lowerWord(s string, i int) int {
	caseless := 0 // end of the last character of the run that is also lower
	for {
		c, n := classAt(s, i)
		if c&upper == 0 {
			break
		}
		i += n
		if c&lower != 0 {
			caseless = i
		}
	}
	if end := skip(s, i, lower); end > i {
		return end
	}
	return caseless
}

// upperWord matches upper+ lower* at s[i:] and returns its end, or 0.
func upperWord(s string, i int) int {
	end := skip(s, i, upper)
	if end == i {
		return 0
	}
	return skip(s, end, lower)
}
