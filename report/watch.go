package report

import (
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/run"
)

//go:embed live.js
var liveScript []byte

// How often a page that follows a run looks at its files, and says that it is still there.
const (
	lookEvery  = 500 * time.Millisecond
	aliveEvery = 15 * time.Second
)

// A Watch serves the report of a run while that goes on. It is for the machine that it runs on: a page of another site that a
// browser there shows must not read it, so that only names of this machine are answered.
type Watch struct {
	Folder string
	Page   func() (*Page, error) // makes the page anew
}

// ServeHTTP serves the page, its script and the events of its files.
func (w *Watch) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if !isLocal(r.Host) {
		http.Error(rw, "this report is for the machine that it is on: use http://localhost", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(rw, "only GET", http.StatusMethodNotAllowed)
		return
	}
	h := rw.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	switch r.URL.Path {
	case "/":
		w.page(rw)
	case "/live.js":
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		rw.Write(liveScript)
	case "/events":
		w.events(rw, r)
	default:
		http.NotFound(rw, r)
	}
}

// isLocal tells whether a Host header names this machine.
func isLocal(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1", "[::1]"}, name)
}

func (w *Watch) page(rw http.ResponseWriter) {
	p, err := w.Page()
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	p.Live = true
	text, err := p.HTML()
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.Write(text)
}

// events tells, as server-sent events, that the files of the run have changed.
func (w *Watch) events(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(rw)
	send := func(text string) bool {
		_, err := fmt.Fprint(rw, text)
		return err == nil && control.Flush() == nil
	}
	seen := w.stamp() // what changes once the page has heard of this is told
	if !send(": here\n\n") {
		return
	}
	look, alive := time.NewTicker(lookEvery), time.NewTicker(aliveEvery)
	defer look.Stop()
	defer alive.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-alive.C:
			if !send(": here\n\n") {
				return
			}
		case <-look.C:
			if now := w.stamp(); now != seen {
				if seen = now; !send("data: changed\n\n") {
					return
				}
			}
		}
	}
}

// stamp changes when a file of the run does.
func (w *Watch) stamp() (text string) {
	for _, name := range []string{run.LogName, run.ManifestName, filepath.Join(score.Folder, score.ResultsName)} {
		if info, err := os.Stat(filepath.Join(w.Folder, name)); err == nil {
			text += fmt.Sprint(info.Size(), " ", info.ModTime().UnixNano(), " ")
		}
	}
	return text
}
