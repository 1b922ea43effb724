package hub

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/hub/hubtest"
)

// notices collects what a client tells of its waits.
type notices struct {
	mu   sync.Mutex
	told []string
}

func (n *notices) hear(p Progress) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.Notice != "" {
		n.told = append(n.told, p.Notice)
	}
}

func (n *notices) want(t *testing.T, texts ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, text := range texts {
		if !slices.ContainsFunc(n.told, func(s string) bool { return strings.Contains(s, text) }) {
			t.Errorf("%q was not told, but %q", text, n.told)
		}
	}
}

// hurried is a pace for tests: what takes a minute in earnest is over in a second.
var hurried = pace{tell: 100 * time.Millisecond, window: 300 * time.Millisecond, least: 1 << 20, asked: 1500 * time.Millisecond}

// TestSlowServer: a connection that brings next to nothing is told of, made anew behind the bytes that came, and given up
// if it always does so.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	slow := hubtest.Fault{Path: "/object/", Times: 1, PerSecond: 80_000}
	s.Misbehave(slow)
	var told notices
	o := Options{Include: []string{"pytorch_model.bin"}, Progress: told.hear}
	c := newClient(t, s)
	c.pace = hurried
	snap, err := c.Download(t.Context(), model, o)
	if err != nil {
		t.Fatal(err)
	}
	wantFiles(t, snap, files, "pytorch_model.bin")
	told.want(t, "is slow", "sends too slowly", "Trying again in")
	last := s.Requests()[len(s.Requests())-1]
	if !strings.HasPrefix(last.Range, "bytes=") || strings.HasPrefix(last.Range, "bytes=0-") {
		t.Errorf("the last request was for the range %q: it does not go on", last.Range)
	}

	slow.Times, slow.PerSecond = 0, 8000
	s.Misbehave(slow)
	c = newClient(t, s)
	c.pace, c.tries = hurried, 2
	if _, err := c.Download(t.Context(), model, o); err == nil || !strings.Contains(err.Error(), "too slowly") || !strings.Contains(err.Error(), "Gave up after 2 tries") {
		t.Errorf("always slow: %v", err)
	}
}

// TestSilenceTold: a server that needs time to answer is waited for, but not without a word.
func TestSilenceTold(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	s.Misbehave(hubtest.Fault{Path: "/resolve/", Times: 1, Delay: time.Second})
	var told notices
	c := newClient(t, s)
	c.pace.tell = hurried.tell
	snap, err := c.Download(t.Context(), model, Options{Include: []string{"config.json"}, Progress: told.hear})
	if err != nil {
		t.Fatal(err)
	}
	wantFiles(t, snap, files, "config.json")
	told.want(t, "has been silent for 100ms; the request is tried again after 10s.")
}

// TestAskedWaits: what a server asks for is told, and bounded in all, not for each answer alone.
func TestAskedWaits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Add("org/model", modelFiles())
	s.Misbehave(hubtest.Fault{Path: "/revision/", Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}})
	cfg := newClient(t, s).cfg
	var told notices
	cfg.Notice = func(text string) { told.hear(Progress{Notice: text}) } // nobody hears the progress
	c := clientWith(t, cfg)
	c.pace = hurried
	_, err := c.Download(t.Context(), model, Options{})
	if err == nil || !strings.Contains(err.Error(), "asks to wait for 1s") {
		t.Errorf("got %v", err)
	}
	if n := s.Count("", "/revision/"); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
	told.want(t, "429", "Trying again in 1s (try 2 of 3).")
}
