package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/fault"
)

// patternDef is what Split and Replace look for: a literal or a regular expression.
type patternDef struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

// finder yields the byte ranges of all matches in text, in order, not empty
// and not overlapping. It fails where a pattern takes too long.
type finder func(text string, yield func(start, end int)) error

// find builds the finder of a pattern. Patterns that many models share are
// recognised by their text and matched by hand-written scanners.
func (p *patternDef) find() (finder, error) {
	switch {
	case p == nil || p.String == nil && p.Regex == nil:
		return nil, fmt.Errorf(`want {"String": ...} or {"Regex": ...}`)
	case p.String != nil:
		return findLiteral(*p.String), nil
	}
	if scan := knownScanner(*p.Regex); scan != nil {
		return findScanned(scan), nil
	}
	r, err := newRegex(*p.Regex, regexLeast, regexPerByte)
	if err != nil {
		return nil, err
	}
	return r.find, nil
}

func findLiteral(literal string) finder {
	return func(text string, yield func(start, end int)) error {
		if literal == "" {
			return nil
		}
		for at := 0; ; {
			i := strings.Index(text[at:], literal)
			if i < 0 {
				return nil
			}
			yield(at+i, at+i+len(literal))
			at += i + len(literal)
		}
	}
}

// scanner returns the length of the match at the start of text. text is not empty; the
// scanner's pattern matches everywhere.
type scanner func(text string) int

func findScanned(scan scanner) finder {
	return func(text string, yield func(start, end int)) error {
		for at := 0; at < len(text); {
			n := scan(text[at:])
			yield(at, at+n)
			at += n
		}
		return nil
	}
}

// rewriter is a step that makes another text of a text.
type rewriter func(string) (string, error)

// A boundedRewriter is a step that fails rather than make a text of more than so many bytes.
type boundedRewriter func(s string, most int) (string, error)

// newReplacer returns the function that puts content in place of each match.
func newReplacer(pattern *patternDef, content string) (boundedRewriter, error) {
	find, err := pattern.find()
	if err != nil {
		return nil, err
	}
	if pattern.String != nil {
		old := *pattern.String
		return func(s string, most int) (string, error) {
			if old == "" {
				return s, nil
			}
			if grown := len(s) + strings.Count(s, old)*(len(content)-len(old)); grown > most {
				return "", tooGrown(grown, most)
			}
			return strings.ReplaceAll(s, old, content), nil
		}, nil
	}
	return func(s string, most int) (string, error) {
		var b strings.Builder
		done, grown := 0, len(s)
		err := find(s, func(start, end int) {
			if grown += len(content) - (end - start); grown > most {
				return // more matches may make it shorter again, but that is of no use
			}
			b.WriteString(s[done:start])
			b.WriteString(content)
			done = end
		})
		if err == nil && grown > most {
			err = tooGrown(grown, most)
		}
		if err != nil {
			return "", err
		}
		return b.String() + s[done:], nil
	}, nil
}

// tooGrown says that the steps of a tokenizer.json multiply a text.
func tooGrown(got, most int) error {
	return fault.Of("tokenizer: the steps of tokenizer.json make %d bytes of a text that should become at most %d", got, most).
		Try("Take the tokenizer.json of another copy of the model: this one is damaged, or built to take all memory.")
}

// possessiveToAtomic rewrites the possessive quantifiers of Oniguruma patterns as atomic
// groups, which regexp2 has: "\s++" becomes "(?>\s+)". It does so for simple operands (an
// escape, a class, a character) and leaves all else alone.
func possessiveToAtomic(pattern string) string {
	if !strings.Contains(pattern, "++") && !strings.Contains(pattern, "*+") && !strings.Contains(pattern, "?+") {
		return pattern
	}
	var b strings.Builder
	for i := 0; i < len(pattern); {
		n := operandLen(pattern[i:])
		rest := pattern[i+n:]
		if len(rest) >= 2 && strings.IndexByte("+*?", rest[0]) >= 0 && rest[1] == '+' {
			fmt.Fprintf(&b, "(?>%s%c)", pattern[i:i+n], rest[0])
			n += 2
		} else {
			b.WriteString(pattern[i : i+n])
		}
		i += n
	}
	return b.String()
}

// operandLen returns the length of the escape, class or character at the
// start of a pattern.
func operandLen(pattern string) int {
	switch {
	case pattern[0] == '\\' && len(pattern) > 1:
		if (pattern[1] == 'p' || pattern[1] == 'P') && strings.HasPrefix(pattern[2:], "{") {
			if end := strings.IndexByte(pattern, '}'); end > 0 {
				return end + 1
			}
		}
		_, n := utf8.DecodeRuneInString(pattern[1:])
		return 1 + n
	case pattern[0] == '[':
		for i := 1; i < len(pattern); i++ {
			switch {
			case pattern[i] == '\\':
				i++
			case pattern[i] == ']' && i > 1 && pattern[:i] != "[^":
				return i + 1
			}
		}
		return len(pattern)
	}
	_, n := utf8.DecodeRuneInString(pattern)
	return n
}

// unmarshalPart decodes one part of a tokenizer.json; absent and null are not present.
func unmarshalPart(raw json.RawMessage, v any) (present bool, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return false, nil
	}
	return true, jsonError(json.Unmarshal(raw, v))
}

// clip shortens s for an error message.
func clip(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}
