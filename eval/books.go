package eval

import (
	"fmt"
	"strings"

	"github.com/lentil-lm/lentil/book/search"
	"github.com/lentil-lm/lentil/fault"
)

// passages come with a question.
const passages = 2

// A Library finds the passages of books that have to do with a question.
type Library struct {
	*search.Library
	hash string
}

// OpenLibrary reads a book, or all books below a folder. What is none is told to warn.
func OpenLibrary(setting fault.Setting, path string, warn func(fault.Note)) (*Library, error) {
	found, err := search.Open(setting, []string{path}, warn)
	if err != nil {
		return nil, err
	}
	l := &Library{Library: found}
	for _, p := range l.Passages() {
		l.hash = key(l.hash, under(&p))
	}
	return l, nil
}

// under is a passage below the headings that it stands under.
func under(p *search.Passage) string { return strings.TrimSpace(p.Chapter + "\n" + p.Text) }

// version names the library, where it is used.
func (l *Library) version(used bool) string {
	if l == nil || !used {
		return ""
	}
	return fmt.Sprint(l.hash, passages)
}

// Look gives the n passages that fit a question best, one behind the other; empty if none has a word of it.
func (l *Library) Look(question string, n int) string {
	var out []string
	hits := l.Library.Look(question)
	for _, h := range hits[:min(n, len(hits))] {
		out = append(out, under(h.Passage))
	}
	return strings.Join(out, "\n\n")
}
