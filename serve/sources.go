package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/book/search"
)

// A shelf is what answers are held against: passages of books.
type shelf struct{ *search.Library }

const (
	shownSources = 3
	// leastShare of the weight of an answer's words that the books have, and leastWords of them, must be in a passage for it
	// to be a source.
	leastShare = 0.3
	leastWords = 2
)

// look gives the passages nearest to a text, the nearest first; none where only common words are shared.
func (s *shelf) look(text string) []search.Passage {
	out := []search.Passage{}
	for _, h := range s.Look(text) {
		if h.Share >= leastShare && h.Shared >= leastWords && len(out) < shownSources {
			out = append(out, *h.Passage)
		}
	}
	return out
}

// figure is a number as texts have it.
var figure = regexp.MustCompile(`\d+(?:[.,]\d+)*`)

// unfounded lists the figures of an answer that are in none of its sources, nor in the question. Numbers of lists are none.
func unfounded(answer, question string, sources []search.Passage) []string {
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

// annotations are the sources of an answer to messages as OpenAI's clients read them, and the figures that are in none of them.
func (s *Server) annotations(r *http.Request, messages json.RawMessage, text string) []any {
	out := []any{}
	if s.shelf == nil {
		return out
	}
	sources := s.shelf.look(text)
	for _, p := range sources {
		at := "http://" + r.Host + "/lentil/passages/" + strconv.Itoa(p.ID) + "/" + url.PathEscape(p.Name()) // some clients show the address alone
		out = append(out, map[string]any{"type": "url_citation", "url_citation": map[string]any{"url": at, "title": p.Name(), "start_index": 0, "end_index": len([]rune(text))}})
	}
	for _, f := range unfounded(text, string(messages), sources) {
		for _, at := range figure.FindAllStringIndex(text, -1) {
			if text[at[0]:at[1]] == f {
				from := utf8.RuneCountInString(text[:at[0]])
				out = append(out, map[string]any{"type": "unfounded_figure", "unfounded_figure": map[string]any{"figure": f, "start_index": from, "end_index": from + len(f)}})
			}
		}
	}
	return out
}

// passageText answers with a passage, which annotations point to.
func (s *Server) passageText(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || s.shelf == nil || id < 0 || id >= len(s.shelf.Passages()) {
		openAIError(w, &apiError{status: http.StatusNotFound, kind: "invalid_request_error", code: "not_found", message: "there is no such passage"})
		return
	}
	p := s.shelf.Passages()[id]
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%s\n\n%s\n", p.Name(), p.Text)
}
