package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// narrow is a listener whose connections hold little of what nobody reads.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetWriteBuffer(4 << 10)
	}
	return c, err
}

// steady asks for the same answer over and over while others do their worst, and then lets them go. They have to begin
// before it does.
func steady(t *testing.T, s *Server, url string, worst func(ctx context.Context)) {
	t.Helper()
	want := content(t, url, object{"messages": user(question)})
	ctx, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { worst(ctx) })
	for range 6 {
		if got := content(t, url, object{"messages": user(question)}); got != want {
			t.Errorf("beside the others %q, alone %q", got, want)
		}
	}
	end()
	wg.Wait()
	waitFor(t, func() bool {
		s.models.mu.Lock()
		defer s.models.mu.Unlock()
		for _, b := range s.models.bases {
			for _, v := range b.variants {
				if v.users > 0 || len(v.reading) > 0 {
					return false
				}
			}
		}
		l := s.batch.Load()
		return l.Running == 0 && l.Waiting == 0 && s.held.Load() == 0
	})
}

func exactly(o *Options) { o.Session.Exact = true }

// TestStuckClients: clients that stop reading lose their answers, and no one else does.
func TestStuckClients(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t, exactly)
	s.writeTime = 200 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewUnstartedServer(s.Handler())
	h.Listener = narrow{l}
	h.Start()
	defer h.Close()
	body, _ := json.Marshal(object{"messages": user(question), "stream": true, "logprobs": true, "top_logprobs": 20, "grammar": `root ::= "a"*`, "max_tokens": 900})
	var conns []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		conns = append(conns, c)
	}
	steady(t, s, h.URL, func(context.Context) {
		for _, c := range conns {
			if _, err := io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: "); err != nil {
				t.Error(err)
			}
			json.NewEncoder(c).Encode(len(body))
			c.Write(append([]byte("\r\n"), body...))
		}
	})
	waitFor(t, func() bool { // 7 whole answers and 3 that were begun
		s.metrics.mu.Lock()
		defer s.metrics.mu.Unlock()
		return s.metrics.requests[`path="/v1/chat/completions",code="200"`] == 10
	})
}

// TestLeavingClients: clients that disconnect every time, wherever their answer is.
func TestLeavingClients(t *testing.T) {
	t.Parallel()
	s, h := newServer(t, exactly)
	steady(t, s, h.URL, func(ctx context.Context) {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 1))
				for n := 0; n < 4 || ctx.Err() == nil; n++ {
					body, _ := json.Marshal(object{"messages": user(prefix + question), "stream": n%2 == 0, "max_tokens": 200, "n": 1 + n%2})
					leaves, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(r.IntN(100))*time.Millisecond)
					q, _ := http.NewRequestWithContext(leaves, "POST", h.URL+"/v1/chat/completions", bytes.NewReader(body))
					if reply, err := http.DefaultClient.Do(q); err == nil {
						io.Copy(io.Discard, reply.Body)
						reply.Body.Close()
					}
					cancel()
				}
			})
		}
		wg.Wait()
	})
}

// TestLargePrompts: clients that send prompts of 1 MB are told that these are too long.
func TestLargePrompts(t *testing.T) {
	t.Parallel()
	s, h := newServer(t, exactly)
	steady(t, s, h.URL, func(context.Context) {
		var wg sync.WaitGroup
		texts := []string{"beans ", "a", "  ", "é"}
		if testing.Short() {
			texts = texts[:1]
		}
		for _, text := range texts {
			wg.Go(func() {
				long := strings.Repeat(text, 1_000_000/len(text))
				for path, body := range map[string]object{"/v1/chat/completions": {"messages": user(long)}, "/v1/completions": {"prompt": long}, "/api/generate": {"prompt": long, "raw": true}} {
					data, _ := json.Marshal(body)
					r, err := http.Post(h.URL+path, "application/json", bytes.NewReader(data))
					if err != nil {
						t.Error(err)
						continue
					}
					reply, _ := io.ReadAll(r.Body)
					r.Body.Close()
					if r.StatusCode != http.StatusBadRequest || !strings.Contains(string(reply), "shorten") {
						t.Errorf("%s: %d %.200s", path, r.StatusCode, reply)
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestHeldBodies: what the bodies of all requests take is bounded.
func TestHeldBodies(t *testing.T) {
	t.Parallel()
	s, h := newServer(t, nil)
	s.held.Store(mostHeld)
	if status, reply := post(t, h.URL, "/v1/chat/completions", object{"messages": user(question)}); status != http.StatusTooManyRequests {
		t.Errorf("%d %v", status, reply)
	}
	s.held.Store(0)
	content(t, h.URL, object{"messages": user(question)})
	waitFor(t, func() bool { return s.held.Load() == 0 })
}
