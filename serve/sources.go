package serve

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
)

// A shelf is the passages of books, found by the words that they share with a text (BM25, Robertson and Zaragoza, 2009).
type shelf struct {
	passages []passage
	postings map[string][]posting
	mean     float64 // words of a passage
}

// A passage is a place in a book.
type passage struct {
	ID      int    `json:"id"`
	Book    string `json:"book"`
	Chapter string `json:"chapter,omitempty"`
	Page    string `json:"page,omitempty"`
	Text    string `json:"text"`
	words   int
}

// A posting says how often a word is in a passage.
type posting struct{ passage, count int32 }

const (
	passageWords = 120 // of a passage, at most
	mostPassages = 1 << 20
	shownSources = 3
	bm25K        = 1.2
	bm25B        = 0.75
	// leastShare of the weight of an answer's words that the books have, and leastWords of them, must be in a passage for it
	// to be a source.
	leastShare = 0.3
	leastWords = 2
)

// openShelf reads books: files, and folders of them.
func openShelf(paths []string, warn func(string)) (*shelf, error) {
	s := &shelf{postings: map[string][]posting{}}
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
				return err
			}
			d, err := book.Open(name)
			if err != nil {
				if name == path {
					return err
				}
				if warn != nil {
					warn(fmt.Sprintf("%s is left out: %v", name, err))
				}
				return nil
			}
			return s.add(d, cmp.Or(d.Title, strings.TrimSuffix(e.Name(), filepath.Ext(name))))
		})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fault.Given("books", path, "there is no such book or folder")
		case err != nil:
			return nil, fault.At("books", "%w", err)
		}
	}
	if len(s.passages) == 0 {
		return nil, fault.At("books", "no text was found in %s", strings.Join(paths, ", "))
	}
	return s, nil
}

// add cuts a book into passages: blocks below one heading, up to about passageWords.
func (s *shelf) add(d *book.Document, title string) error {
	var text []string
	var first *book.Block
	count := 0
	flush := func() {
		if count > 0 {
			s.index(passage{Book: title, Chapter: cmp.Or(strings.Join(first.Path, " › "), first.Chapter), Page: first.Page, Text: strings.Join(text, "\n")})
		}
		text, first, count = nil, nil, 0
	}
	for i := range d.Blocks {
		b := &d.Blocks[i]
		if b.Kind == book.Heading || b.Part != "" { // contents, indexes, bibliographies
			flush()
			continue
		}
		if first != nil && !slices.Equal(first.Path, b.Path) || count >= passageWords {
			flush()
		}
		if first == nil {
			first = b
		}
		text, count = append(text, b.Text), count+len(strings.Fields(b.Text))
		if len(s.passages) >= mostPassages {
			return fault.Of("more than %d passages, which is more than a server looks through", mostPassages)
		}
	}
	flush()
	return nil
}

// index adds a passage.
func (s *shelf) index(p passage) {
	at, all := len(s.passages), score.Words(p.Chapter+" "+p.Text)
	p.ID, p.words = at, len(all)
	s.passages = append(s.passages, p)
	counts := map[string]int32{}
	for _, w := range all {
		counts[w]++
	}
	for w, n := range counts {
		s.postings[w] = append(s.postings[w], posting{int32(at), n})
	}
	s.mean += (float64(len(all)) - s.mean) / float64(at+1)
}

// look gives the passages nearest to a text, the nearest first; none where only common words are shared.
func (s *shelf) look(text string) []passage {
	all := float64(len(s.passages))
	scores, shares, shared := map[int32]float64{}, map[int32]float64{}, map[int32]int{}
	words := score.Words(text)
	slices.Sort(words)
	total := 0.0
	for _, w := range slices.Compact(words) {
		list := s.postings[w]
		if len(list) == 0 {
			continue
		}
		idf := math.Log(1 + (all-float64(len(list))+0.5)/(float64(len(list))+0.5))
		total += idf
		for _, p := range list {
			tf, length := float64(p.count), float64(s.passages[p.passage].words)
			scores[p.passage] += idf * tf * (bm25K + 1) / (tf + bm25K*(1-bm25B+bm25B*length/s.mean))
			shares[p.passage] += idf
			shared[p.passage]++
		}
	}
	best := []int32{}
	for p := range scores {
		if shares[p] >= leastShare*total && shared[p] >= leastWords {
			best = append(best, p)
		}
	}
	slices.SortFunc(best, func(a, b int32) int { return cmp.Or(cmp.Compare(scores[b], scores[a]), int(a-b)) })
	out := []passage{}
	for _, p := range best[:min(shownSources, len(best))] {
		out = append(out, s.passages[p])
	}
	return out
}

// figure is a number as texts have it.
var figure = regexp.MustCompile(`\d+(?:[.,]\d+)*`)

// unfounded lists the figures of an answer that are in none of its sources, nor in the question. Numbers of lists are none.
func unfounded(answer, question string, sources []passage) []string {
	known := map[string]bool{}
	note := func(text string) {
		for _, f := range figure.FindAllString(text, -1) {
			known[plainFigure(f)] = true
		}
	}
	note(question)
	for _, p := range sources {
		note(p.Text)
	}
	out := []string{}
	for _, l := range strings.Split(answer, "\n") {
		l = strings.TrimSpace(l)
		if number, rest, ok := strings.Cut(l, ". "); ok && len(number) <= 2 && figure.FindString(number) == number {
			l = rest
		}
		for _, f := range figure.FindAllString(l, -1) {
			if !known[plainFigure(f)] && !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// plainFigure is a number without what languages put into it: 1,500 is 1500.
func plainFigure(f string) string {
	if i := strings.LastIndexByte(f, ','); i >= 0 && len(f)-i-1 == 3 {
		f = strings.ReplaceAll(f, ",", "")
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(f, ",", "."), 64)
	if err != nil {
		return f
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// name is how a source is called.
func (p passage) name() string {
	out := p.Book
	if p.Chapter != "" {
		out += ", " + p.Chapter
	}
	if p.Page != "" {
		out += ", p. " + p.Page
	}
	return out
}

// annotations are the sources of an answer as OpenAI's clients read them.
func (s *Server) annotations(r *http.Request, text string) []any {
	out := []any{}
	if s.shelf == nil {
		return out
	}
	for _, p := range s.shelf.look(text) {
		url := "http://" + r.Host + "/lentil/passages/" + strconv.Itoa(p.ID)
		out = append(out, map[string]any{"type": "url_citation", "url_citation": map[string]any{"url": url, "title": p.name(), "start_index": 0, "end_index": len([]rune(text))}})
	}
	return out
}

// passageText answers with a passage, which annotations point to.
func (s *Server) passageText(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || s.shelf == nil || id < 0 || id >= len(s.shelf.passages) {
		openAIError(w, &apiError{status: http.StatusNotFound, kind: "invalid_request_error", code: "not_found", message: "there is no such passage"})
		return
	}
	p := s.shelf.passages[id]
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%s\n\n%s\n", p.name(), p.Text)
}
