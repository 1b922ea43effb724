package serve

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// prefix is a text that takes a while to read.
var prefix = strings.Repeat("Beans, lentils and oats have fibre, iron and protein. ", 16)

// TestSharedPrefix: conversations that begin alike read the beginning once, at different times and at the same one, and
// answer as those that read it themselves. Each keeps its own.
func TestSharedPrefix(t *testing.T) {
	t.Parallel()
	exact := func(o *Options) { o.Session.Exact = true }
	ask := func(url, text string, more ...object) (string, int) {
		status, reply := post(t, url, "/v1/chat/completions", object{"messages": append(user(text), more...)})
		if status != http.StatusOK {
			t.Fatalf("%d %v", status, reply)
		}
		return at(reply, "choices", 0, "message", "content").(string), int(at(reply, "usage", "prompt_tokens_details", "cached_tokens").(float64))
	}
	questions := []string{"Is rice good?", "What has iron?", "Why eat lentils?"}
	want := make([]string, len(questions))
	for i, q := range questions {
		_, fresh := newServer(t, exact)
		want[i], _ = ask(fresh.URL, prefix+q)
	}
	s, h := newServer(t, exact)
	long := strings.Repeat("And tell of beans. ", 20)
	if _, cached := ask(h.URL, prefix+long); cached != 0 {
		t.Errorf("%d tokens are known to begin with", cached)
	}
	for i, q := range questions {
		if got, cached := ask(h.URL, prefix+q); got != want[i] || cached < leastShared {
			t.Errorf("%q: %q with %d known tokens, alone %q", q, got, cached, want[i])
		}
	}
	if _, cached := ask(h.URL, prefix+long, object{"role": "assistant", "content": "Yes."}, object{"role": "user", "content": "Why?"}); cached < len(long)/5 {
		t.Errorf("the first conversation has %d known tokens: others took them", cached)
	}
	if n := s.models.sessions; n < 2 || n > len(questions)+1 {
		t.Errorf("%d sessions at rest", n)
	}
	// At the same time.
	s, h = newServer(t, exact)
	var wg sync.WaitGroup
	for i := range 9 {
		wg.Go(func() {
			if got, _ := ask(h.URL, prefix+questions[i%3]); got != want[i%3] {
				t.Errorf("%q together: %q, alone %q", questions[i%3], got, want[i%3])
			}
		})
	}
	wg.Wait()
	s.metrics.mu.Lock()
	read, cached := s.metrics.prompt-s.metrics.cached, s.metrics.cached
	s.metrics.mu.Unlock()
	if read > cached/3 {
		t.Errorf("9 together: %d tokens are read, %d known", read, cached)
	}
	for _, v := range s.models.bases[0].variants {
		if len(v.reading) > 0 {
			t.Errorf("%d are still under way", len(v.reading))
		}
	}
}

// TestSharedByAnswers: several answers to one prompt read it once; adapters share nothing.
func TestSharedByAnswers(t *testing.T) {
	t.Parallel()
	runs := t.TempDir()
	saveAdapter(t, runs, 0.3)
	s, h := newServer(t, func(o *Options) { o.Adapters = []string{runs} })
	body := object{"messages": user(prefix + question), "n": 4, "temperature": 1.5, "seed": 3}
	for i, model := range []string{"base", "base+" + idOf(runs)} {
		body["model"] = model
		status, reply := post(t, h.URL, "/v1/chat/completions", body)
		if status != http.StatusOK {
			t.Fatalf("%d %v", status, reply)
		}
		texts := map[string]bool{}
		for k := range 4 {
			texts[fmt.Sprint(at(reply, "choices", k, "message", "content"))] = true
		}
		n := int64(at(reply, "usage", "prompt_tokens").(float64))
		s.metrics.mu.Lock()
		read := s.metrics.prompt - s.metrics.cached
		s.metrics.mu.Unlock()
		if most := (n + 3*2) * int64(i+1); read > most || read < n*int64(i+1) || len(texts) < 2 {
			t.Errorf("%s: %d tokens are read of prompts of %d, %d different answers", model, read, n, len(texts))
		}
	}
}

// TestDeadline: an answer whose time is over before it begins is given up, one under way is cut off. Others go on.
func TestDeadline(t *testing.T) {
	t.Parallel()
	s, h := newServer(t, func(o *Options) { o.Deadline = time.Hour })
	status, reply := post(t, h.URL, "/v1/chat/completions", object{"messages": user(prefix + question), "timeout": 1e-4})
	if status != http.StatusServiceUnavailable || at(reply, "error", "code") != "timeout" {
		t.Errorf("no time at all: %d %v", status, reply)
	}
	endless := object{"messages": user(question), "grammar": `root ::= "a"*`, "max_tokens": 100_000}
	for _, seconds := range []float64{0.5, 5, 20} { // the machine may be slow
		endless["timeout"] = seconds
		if status, reply = post(t, h.URL, "/v1/chat/completions", endless); status == http.StatusOK {
			break
		}
	}
	if text, _ := at(reply, "choices", 0, "message", "content").(string); at(reply, "choices", 0, "finish_reason") != "length" || len(text) == 0 {
		t.Errorf("cut off: %v", reply)
	}
	if n := s.models.sessions; n != 1 {
		t.Errorf("%d sessions at rest, want the one that was cut off", n)
	}
	if status, reply := post(t, h.URL, "/v1/chat/completions", object{"messages": user(question), "timeout": -1}); status != http.StatusBadRequest || at(reply, "error", "param") != "timeout" {
		t.Errorf("%d %v", status, reply)
	}
	if l := s.batch.Load(); l.Running != 0 || l.Waiting != 0 {
		t.Errorf("%+v", l)
	}
}

// TestDraft: with a draft model answers are those without it, also where conversations share what has been read.
func TestDraft(t *testing.T) {
	t.Parallel()
	dir, err := modelFolder()
	if err != nil {
		t.Fatal(err)
	}
	_, plain := newServer(t, exactly)
	_, h := newServer(t, func(o *Options) {
		exactly(o)
		o.Open.Draft = dir // its guesses are all right
	})
	var wg sync.WaitGroup
	for _, q := range []string{"Is rice good?", "What has iron?", "Why eat lentils?"} {
		wg.Go(func() {
			body := object{"messages": user(prefix + q)}
			want := content(t, plain.URL, body)
			for range 2 {
				_, reply := post(t, h.URL, "/v1/chat/completions", body)
				if got := at(reply, "choices", 0, "message", "content"); got != want {
					t.Errorf("%q: %q with a draft, %q without", q, got, want)
				}
				drafted, _ := at(reply, "timings", "draft_n").(float64)
				if taken, _ := at(reply, "timings", "draft_n_accepted").(float64); taken < 1 || taken < drafted/2 {
					t.Errorf("%q: %v", q, reply["timings"])
				}
			}
		})
	}
	wg.Wait()
	// A grammar chooses on the host, where nothing is drafted.
	if got := content(t, h.URL, object{"messages": user(question), "grammar": `root ::= "maybe"`}); got != "maybe" {
		t.Errorf("by a grammar: %q", got)
	}
}
