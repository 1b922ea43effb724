package screen

import (
	"io"
	"os"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// shows tells whether a terminal may be given a character that a foreign file or a model has chosen: no control
// characters, which move the cursor, change colours and more, and none that reorder the text around them. Marks and
// letters of languages that run from right to left are fine.
func shows(r rune) bool {
	switch {
	case r == '\n', r == '\t':
		return true
	case unicode.IsControl(r): // C0, DEL, C1
		return false
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // embeddings, overrides, isolates
		return false
	}
	return true
}

// Clean takes out of a text what a terminal would obey instead of show. Lines and tabs stay; bytes that are no UTF-8,
// some of which are control characters of their own, become U+FFFD.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if !shows(r) {
			return -1
		}
		return r // U+FFFD for a byte that is none
	}, text)
}

// clean is Clean for texts in a line, where a tab has no width that can be known.
func clean(text string) string { return strings.ReplaceAll(Clean(text), "\t", " ") }

// A Cleaner is a terminal that text is printed on. What is written passes through Clean; a character may come in several
// writes.
type Cleaner struct {
	// File is the terminal, for those who draw on it.
	File *os.File

	mu   sync.Mutex
	rest []byte // the beginning of a character
}

// NewCleaner gives the Cleaner of a terminal; false if f is none, and what is written there has to stay as it is.
func NewCleaner(f *os.File) (*Cleaner, bool) {
	return &Cleaner{File: f}, term.IsTerminal(int(f.Fd()))
}

// Write prints p.
func (c *Cleaner) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if text := c.take(p); text != "" {
		if _, err := io.WriteString(c.File, text); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// take gives what can be printed after p has come.
func (c *Cleaner) take(p []byte) string {
	text := append(c.rest, p...)
	c.rest = nil
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				c.rest = append(c.rest, last...)
				text = text[:len(text)-n]
			}
			break
		}
	}
	return Clean(string(text))
}
