// Package search finds the passages of books that have to do with a text, by the words that both have.
package search

import (
	"cmp"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
)

// A Passage is a place in a book.
type Passage struct {
	ID      int    `json:"id"` // its number in the library
	Book    string `json:"book"`
	Chapter string `json:"chapter,omitempty"`
	Page    string `json:"page,omitempty"`
	Text    string `json:"text"`
	words   int
}

// Name says where a passage stands.
func (p *Passage) Name() string {
	out := p.Book
	if p.Chapter != "" {
		out += ", " + p.Chapter
	}
	if p.Page != "" {
		out += ", p. " + p.Page
	}
	return out
}

// A Library is passages, ranked by BM25 (Robertson and Zaragoza, 2009).
type Library struct {
	passages []Passage
	postings map[string][]posting
	mean     float64 // words of a passage
}

// A posting says how often a word is in a passage.
type posting struct{ passage, count int32 }

const (
	// PassageWords is about how long a passage is.
	PassageWords = 120
	maxPassages  = 1 << 20
	k            = 1.2 // BM25's constants
	b            = 0.75
)

// New is a library without passages.
func New() *Library { return &Library{postings: map[string][]posting{}} }

// Open reads books: files, and folders of them. What is none in a folder is told to warn, which may be nil. Errors are of
// the setting that the paths come from.
func Open(setting fault.Setting, paths []string, warn func(fault.Note)) (*Library, error) {
	l := New()
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
				return err
			}
			d, err := book.Open(name)
			if err != nil && name == path {
				return err
			}
			if err != nil {
				if warn != nil {
					warn(fault.Say("%s is left out: %v", name, err))
				}
				return nil
			}
			return l.cut(d, cmp.Or(d.Title, strings.TrimSuffix(e.Name(), filepath.Ext(name))))
		})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fault.Given(setting, path, "there is no such book or folder")
		case err != nil:
			return nil, fault.At(setting, "%w", err)
		}
	}
	if len(l.passages) == 0 {
		return nil, fault.Given(setting, strings.Join(paths, ", "), "no text was found in it").Try("Give a folder of books: EPUB, HTML, Markdown or text files.")
	}
	return l, nil
}

// cut makes passages of a book: blocks below one heading, about PassageWords long. Contents, indexes and bibliographies
// are left out: they have all words, and tell nothing.
func (l *Library) cut(d *book.Document, title string) error {
	var text []string
	var first *book.Block
	count := 0
	flush := func() (err error) {
		if count > 0 {
			err = l.Add(Passage{Book: title, Chapter: cmp.Or(strings.Join(first.Path, " › "), first.Chapter), Page: first.Page, Text: strings.Join(text, "\n")})
		}
		text, first, count = nil, nil, 0
		return err
	}
	for i := range d.Blocks {
		block := &d.Blocks[i]
		skip := block.Kind == book.Heading || block.Part != ""
		if skip || first != nil && !slices.Equal(first.Path, block.Path) {
			if err := flush(); err != nil {
				return err
			}
		}
		if skip { // a heading is in the paths of the blocks below it
			continue
		}
		for _, part := range split(block) {
			if first == nil {
				first = block
			}
			text, count = append(text, part), count+len(strings.Fields(part))
			if count >= PassageWords {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// split cuts a long block into lines, with the head of a table in front of each part, or a long paragraph into sentences.
func split(block *book.Block) []string {
	if len(strings.Fields(block.Text)) <= 2*PassageWords {
		return []string{block.Text}
	}
	lines := strings.Split(block.Text, "\n")
	head := ""
	if block.Kind == book.Table {
		head = lines[0] + "\n"
		lines = lines[1:]
	} else if len(lines) == 1 {
		lines = strings.SplitAfter(block.Text, ". ")
	}
	var out []string
	part, n := "", 0
	for _, line := range lines {
		part, n = part+line+"\n", n+len(strings.Fields(line))
		if n >= PassageWords {
			out, part, n = append(out, head+strings.TrimSpace(part)), "", 0
		}
	}
	if n > 0 {
		out = append(out, head+strings.TrimSpace(part))
	}
	return out
}

// Add puts a passage into the library, which gives it its number.
func (l *Library) Add(p Passage) error {
	if len(l.passages) >= maxPassages {
		return fault.Of("more than %d passages, which is more than a library holds", maxPassages)
	}
	all := score.Words(p.Chapter + " " + p.Text)
	p.ID, p.words = len(l.passages), len(all)
	l.passages = append(l.passages, p)
	counts := map[string]int32{}
	for _, w := range all {
		counts[w]++
	}
	for w, n := range counts {
		l.postings[w] = append(l.postings[w], posting{int32(p.ID), n})
	}
	l.mean += (float64(len(all)) - l.mean) / float64(p.ID+1)
	return nil
}

// Passages are all of the library, by their number.
func (l *Library) Passages() []Passage { return l.passages }

// A Hit is a passage that a search finds.
type Hit struct {
	*Passage
	Score  float64 // of BM25
	Share  float64 // of the weight of those words of the text that the library has
	Shared int     // words of the text that the passage has, each once
}

// Look ranks the passages that have a word of a text, the nearest first.
func (l *Library) Look(text string) []Hit {
	all := float64(len(l.passages))
	found := map[int32]*Hit{}
	words := score.Words(text)
	slices.Sort(words)
	total := 0.0
	for _, w := range slices.Compact(words) {
		list := l.postings[w]
		if len(list) == 0 {
			continue
		}
		idf := math.Log(1 + (all-float64(len(list))+0.5)/(float64(len(list))+0.5))
		total += idf
		for _, p := range list {
			h := found[p.passage]
			if h == nil {
				h = &Hit{Passage: &l.passages[p.passage]}
				found[p.passage] = h
			}
			tf := float64(p.count)
			h.Score += idf * tf * (k + 1) / (tf + k*(1-b+b*float64(h.words)/l.mean))
			h.Share += idf
			h.Shared++
		}
	}
	out := make([]Hit, 0, len(found))
	for _, h := range found {
		h.Share /= total
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b Hit) int { return cmp.Or(cmp.Compare(b.Score, a.Score), a.ID-b.ID) })
	return out
}
