package profile

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Hit is a food in a text that breaks a rule of a profile.
type Hit struct {
	Start    int      `json:"start"` // bytes of the text
	End      int      `json:"end"`
	Text     string   `json:"text"` // as it stands there
	Food     string   `json:"food"` // as the lexicon calls it
	Rule     Rule     `json:"rule"` // or the food itself, where that is what is avoided
	Severity Severity `json:"severity"`
}

// A Scanner looks for hits in a text that comes in pieces. What it finds does not depend on how the text was cut.
// A sentence is looked at when it is complete.
type Scanner struct {
	w       *watch
	pending string
	looked  int // bytes of pending in which no sentence ends
	done    int // bytes before pending
	lines   lineState
}

// NewScanner looks for what breaks the rules of p.
func NewScanner(p *Profile) *Scanner { return &Scanner{w: p.watch(), lines: lineState{fresh: true}} }

// Scan looks at a whole text.
func (p *Profile) Scan(text string) []Hit {
	s := NewScanner(p)
	return append(s.Write(text), s.Close()...)
}

// Write takes a piece of the text and gives the hits of the sentences that it completes.
func (s *Scanner) Write(piece string) (hits []Hit) {
	s.pending += piece
	for {
		n, looked := sentence(s.pending, s.looked)
		if s.looked = looked; n == 0 {
			return hits
		}
		hits = append(hits, s.take(n)...)
	}
}

// Close is the end of the text: what is left is a sentence.
func (s *Scanner) Close() (hits []Hit) {
	if s.pending == "" {
		return nil
	}
	return s.take(len(s.pending))
}

// Settled is how many bytes of the text have been looked at.
func (s *Scanner) Settled() int { return s.done }

// take looks at a sentence of n bytes.
func (s *Scanner) take(n int) []Hit {
	text := s.pending[:n]
	hits := s.w.sentence(text, &s.lines)
	for i := range hits {
		hits[i].Start += s.done
		hits[i].End += s.done
	}
	s.pending, s.done, s.looked = s.pending[n:], s.done+n, 0
	return hits
}

// longest is how many bytes a sentence may have: a longer one is cut at a space.
const longest = 2000

// sentence is the length of the first sentence of a text that may go on; 0 where its end cannot be seen yet, and then
// how many bytes need not be looked at again. A line is a sentence, too. A full stop ends one if what follows does not
// begin with a small letter: "e.g. milk".
func sentence(text string, from int) (n, looked int) {
	for i := from; i < len(text) && i < longest; i++ {
		switch text[i] {
		case '\n':
			return i + 1, 0
		case '.', '!', '?':
			end, next := i+1, 0
			for end < len(text) && end < longest && strings.IndexByte(`.!?)]"'*_`, text[end]) >= 0 {
				end++
			}
			for next = end; next < len(text) && next < longest && (text[next] == ' ' || text[next] == '\t'); {
				next++
			}
			switch {
			case next == longest:
				continue
			case next == len(text) || !utf8.FullRuneInString(text[next:]):
				return 0, i // what follows decides
			case next == end:
				continue
			}
			if r, _ := utf8.DecodeRuneInString(text[next:]); !unicode.IsLower(r) {
				return end, 0
			}
		}
	}
	if len(text) < longest+utf8.UTFMax {
		return 0, min(len(text), longest)
	}
	if at := strings.LastIndexAny(text[:longest], " \t"); at > 0 {
		return at + 1, 0
	}
	n = longest
	for !utf8.RuneStart(text[n]) && n > longest-utf8.UTFMax {
		n--
	}
	return n, 0
}
