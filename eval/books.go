package eval

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
)

// How passages are made and found.
const (
	passageWords = 120 // of a passage, about
	passages     = 2   // that come with a question
	maxPassages  = 1 << 20
)

// BM25's constants, as Robertson and Zaragoza (2009) have them.
const (
	bm25K = 1.2
	bm25B = 0.75
)

// A Library finds the passages of books that have to do with a question, by BM25 over their words.
type Library struct {
	passages []passage
	postings map[string][]posting
	mean     float64 // words of a passage
	hash     string
}

type passage struct {
	text  string
	words int
}

// A posting says how often a word is in a passage.
type posting struct{ passage, count int32 }

// OpenLibrary reads a book, or all books below a folder. What is none is told to warn.
func OpenLibrary(setting fault.Setting, path string, warn func(fault.Note)) (*Library, error) {
	l := &Library{postings: map[string][]posting{}}
	one := func(name string) error {
		d, err := book.Open(name)
		if err != nil {
			return err
		}
		return l.add(d)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.Given(setting, path, "there is no such folder")
	case err != nil:
		return nil, fault.At(setting, "%w", err)
	case !info.IsDir():
		if err := one(path); err != nil {
			return nil, fault.At(setting, "%w", err)
		}
	default:
		err = filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
				return err
			}
			if err := one(name); err != nil {
				warn(fault.Say("%s is left out: %v", name, err))
			}
			return nil
		})
		if err != nil {
			return nil, fault.At(setting, "%w", err)
		}
	}
	if len(l.passages) == 0 {
		return nil, fault.Given(setting, path, "no text was found in it").Try("Give a folder of books: EPUB, HTML, Markdown or text files.")
	}
	return l, nil
}

// add cuts a book into passages: blocks under the same heading, about passageWords long, with the heading first.
func (l *Library) add(d *book.Document) error {
	var text []string
	var path []string
	count := 0
	flush := func() {
		if count > 0 {
			head := strings.Join(path, " › ")
			l.index(strings.TrimSpace(head + "\n" + strings.Join(text, "\n")))
		}
		text, count = nil, 0
	}
	for i := range d.Blocks {
		b := &d.Blocks[i]
		if !slices.Equal(b.Path, path) || count >= passageWords {
			flush()
			path = b.Path
		}
		if b.Kind == book.Heading {
			continue // it is in the paths of the blocks below it
		}
		for _, part := range split(b, passageWords) {
			text = append(text, part)
			if count += len(strings.Fields(part)); count >= passageWords {
				flush()
			}
		}
	}
	flush()
	if len(l.passages) > maxPassages {
		return fault.Of("more than %d passages, which is more than a library holds", maxPassages)
	}
	return nil
}

// split cuts a block into lines, with the head of a table in front of each part, or long paragraphs into sentences.
func split(b *book.Block, words int) []string {
	if len(strings.Fields(b.Text)) <= 2*words {
		return []string{b.Text}
	}
	lines := strings.Split(b.Text, "\n")
	head := ""
	if b.Kind == book.Table {
		head = lines[0] + "\n"
		lines = lines[1:]
	} else if len(lines) == 1 {
		lines = strings.SplitAfter(b.Text, ". ")
	}
	var out []string
	part, n := "", 0
	for _, line := range lines {
		part, n = part+line+"\n", n+len(strings.Fields(line))
		if n >= words {
			out, part, n = append(out, head+strings.TrimSpace(part)), "", 0
		}
	}
	if n > 0 {
		out = append(out, head+strings.TrimSpace(part))
	}
	return out
}

func (l *Library) index(text string) {
	counts := map[string]int32{}
	all := score.Words(text)
	for _, w := range all {
		counts[w]++
	}
	at := int32(len(l.passages))
	for w, n := range counts {
		l.postings[w] = append(l.postings[w], posting{at, n})
	}
	l.mean = (l.mean*float64(at) + float64(len(all))) / float64(at+1)
	l.passages = append(l.passages, passage{text, len(all)})
	l.hash = key(l.hash, text)
}

// version names the library, where it is used.
func (l *Library) version(used bool) string {
	if l == nil || !used {
		return ""
	}
	return fmt.Sprint(l.hash, passages)
}

// Look gives the n passages that fit a question best, one behind the other; empty if none has a word of it.
func (l *Library) Look(question string, n int) string {
	scores := map[int32]float64{}
	seen := map[string]bool{}
	all := float64(len(l.passages))
	for _, w := range score.Words(question) {
		list := l.postings[w]
		if seen[w] || len(list) == 0 {
			continue
		}
		seen[w] = true
		idf := math.Log(1 + (all-float64(len(list))+0.5)/(float64(len(list))+0.5))
		for _, p := range list {
			tf, length := float64(p.count), float64(l.passages[p.passage].words)
			scores[p.passage] += idf * tf * (bm25K + 1) / (tf + bm25K*(1-bm25B+bm25B*length/l.mean))
		}
	}
	best := make([]int32, 0, len(scores))
	for p := range scores {
		best = append(best, p)
	}
	slices.SortFunc(best, func(a, b int32) int {
		if scores[a] != scores[b] {
			if scores[a] > scores[b] {
				return -1
			}
			return 1
		}
		return int(a - b)
	})
	var out []string
	for _, p := range best[:min(n, len(best))] {
		out = append(out, l.passages[p].text)
	}
	return strings.Join(out, "\n\n")
}
