package tokenizer

import (
	"fmt"
	"math/bits"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"

	"github.com/lentil-lm/lentil/fault"
)

// A pattern from a file may need time that grows with the square of the text or
// worse. Usual patterns take about half a microsecond for a byte.
const (
	regexLeast   = 10 * time.Second
	regexPerByte = 20 * time.Microsecond
)

// regex is a pattern with a limit of time that grows with the text.
type regex struct {
	pattern        string
	least, perByte time.Duration

	mu       sync.Mutex
	compiled map[int]*regexp2.Regexp // by bits of the text's length; the limit is a part of it
}

// newRegex compiles a pattern with regexp2, whose lookahead and Unicode
// classes are those that the tokenizers library's patterns use.
func newRegex(pattern string, least, perByte time.Duration) (*regex, error) {
	r := &regex{pattern: pattern, least: least, perByte: perByte, compiled: map[int]*regexp2.Regexp{}}
	_, err := r.matcher(0)
	return r, err
}

// matcher is the compiled pattern for texts of n bytes.
func (r *regex) matcher(n int) (*regexp2.Regexp, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := bits.Len(uint(n))
	if re := r.compiled[size]; re != nil {
		return re, nil
	}
	re, err := regexp2.Compile(possessiveToAtomic(r.pattern), regexp2.Unicode)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", clip(r.pattern), err)
	}
	re.MatchTimeout = r.limit(1 << size)
	r.compiled[size] = re
	return re, nil
}

func (r *regex) limit(n int) time.Duration { return r.least + time.Duration(n)*r.perByte }

// find is a finder.
func (r *regex) find(text string, yield func(start, end int)) error {
	re, err := r.matcher(len(text))
	if err != nil {
		return err
	}
	runes := []rune(text)
	offset, at := 0, 0 // byte and rune position reached so far
	advance := func(to int) int {
		for ; at < to; at++ {
			offset += utf8.RuneLen(runes[at])
		}
		return offset
	}
	began := time.Now()
	m, err := re.FindRunesMatch(runes)
	for n := 1; err == nil && m != nil; m, err = re.FindNextMatch(m) {
		if n++; n%1024 == 0 && time.Since(began) > re.MatchTimeout {
			return r.tooLong(text, re.MatchTimeout)
		}
		if m.Length > 0 {
			start := advance(m.Index)
			yield(start, advance(m.Index+m.Length))
		}
	}
	if err != nil { // the only one that there is
		return r.tooLong(text, re.MatchTimeout)
	}
	return nil
}

func (r *regex) tooLong(text string, limit time.Duration) error {
	return fault.Of("tokenizer: the regular expression %q has not come to an end after %v on a text of %d bytes", clip(r.pattern), limit, len(text)).
		Try("Give shorter texts, or put a simpler pattern into tokenizer.json.")
}
