package making

import (
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/lentil-lm/lentil/fault"
)

//go:embed review.html
var reviewPage []byte

// A ReviewServer shows a review in a browser on this machine.
type ReviewServer struct {
	Review *Review
	// Regenerate writes another row on the same passage; nil if no model is there to do so.
	Regenerate func(r *http.Request, row Reviewed, passage string) (question, answer string, err error)
}

// maxBody bounds what the page may send.
const maxBody = 1 << 20

// ServeHTTP answers the page and what it asks for. Names of other machines in the Host header, and pages of others, are
// refused: no site that the browser is on may read or change rows.
func (s *ReviewServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	name, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		name = r.Host
	}
	if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
		http.Error(w, "this page is for this machine", http.StatusForbidden)
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		http.Error(w, "asked by another page", http.StatusForbidden)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /":
		h.Set("Content-Type", "text/html; charset=utf-8")
		w.Write(reviewPage) // who is not there any more needs no answer
	case "GET /rows":
		s.answer(w, func() (any, error) { return s.list(), nil })
	case "GET /row":
		s.answer(w, func() (any, error) { return s.row(r) })
	case "POST /decide":
		s.answer(w, func() (any, error) {
			var d Decision
			if err := read(r, &d); err != nil {
				return nil, err
			}
			if err := s.Review.Decide(d); err != nil {
				return nil, err
			}
			return s.Review.Counts(), nil
		})
	case "POST /regenerate":
		s.answer(w, func() (any, error) { return s.regenerate(r) })
	case "POST /write":
		s.answer(w, func() (any, error) {
			kept, err := s.Review.Write()
			return map[string]int{"rows": kept}, err
		})
	default:
		http.NotFound(w, r)
	}
}

func read(r *http.Request, v any) error {
	if r.Header.Get("Content-Type") != "application/json" { // forms of other pages cannot send it unasked
		return fault.Of("expected application/json")
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return err
	}
	return fault.Mark(json.Unmarshal(data, v))
}

func (s *ReviewServer) answer(w http.ResponseWriter, of func() (any, error)) {
	v, err := of()
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		status := http.StatusInternalServerError
		var m *fault.Mistake
		if errors.As(err, &m) {
			status = http.StatusBadRequest
		}
		w.WriteHeader(status)
		v = map[string]string{"error": err.Error()}
	}
	json.NewEncoder(w).Encode(v) // who is not there any more needs no answer
}

// list is what the page knows of all rows.
func (s *ReviewServer) list() any {
	type item struct {
		Kind     Kind   `json:"kind"`
		Split    string `json:"split"`
		Question string `json:"question"`
		Action   Action `json:"action"`
	}
	items := make([]item, s.Review.Len())
	for i := range items {
		row := s.Review.Row(i)
		items[i] = item{Kind: row.Kind, Split: row.Split, Question: row.Question}
		if row.Decision != nil {
			items[i].Action = row.Decision.Action
		}
	}
	return map[string]any{"rows": items, "regenerates": s.Regenerate != nil}
}

func (s *ReviewServer) number(r *http.Request) (int, error) {
	i, err := strconv.Atoi(r.URL.Query().Get("i"))
	if err != nil || i < 0 || i >= s.Review.Len() {
		return 0, fault.Of("there is no row %q", r.URL.Query().Get("i"))
	}
	return i, nil
}

func (s *ReviewServer) row(r *http.Request) (any, error) {
	i, err := s.number(r)
	if err != nil {
		return nil, err
	}
	before, block, after := s.Review.Passage(i)
	return map[string]any{"row": s.Review.Row(i), "before": before, "block": block, "after": after}, nil
}

func (s *ReviewServer) regenerate(r *http.Request) (any, error) {
	i, err := s.number(r)
	if err != nil {
		return nil, err
	}
	if s.Regenerate == nil {
		return nil, fault.Of("there is no model that could write it again")
	}
	before, block, after := s.Review.Passage(i)
	question, answer, err := s.Regenerate(r, s.Review.Row(i), before+block+after)
	return map[string]string{"question": question, "answer": answer}, err
}
