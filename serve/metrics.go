package serve

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/machine"
)

// metrics counts what the server does, for Prometheus.
type metrics struct {
	mu       sync.Mutex
	requests map[string]int64 // by path and status, as labels
	keys     map[string]int64 // requests by the name of their key
	prompt   int64            // tokens read
	cached   int64            // tokens of prompts that were known
	answer   int64            // tokens written
	first    histogram        // seconds to an answer's first token
	between  histogram        // seconds between tokens
}

// histogram counts seconds below each bound.
type histogram struct {
	counts []int64
	sum    float64
	n      int64
}

// bounds are those of all histograms, in seconds.
var bounds = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}

func (h *histogram) add(d time.Duration) {
	if h.counts == nil {
		h.counts = make([]int64, len(bounds))
	}
	v := d.Seconds()
	for i, b := range bounds {
		if v <= b {
			h.counts[i]++
		}
	}
	h.sum += v
	h.n++
}

func (h *histogram) write(b *strings.Builder, name, help string) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name)
	for i, bound := range bounds {
		n := int64(0)
		if h.counts != nil {
			n = h.counts[i]
		}
		fmt.Fprintf(b, "%s_bucket{le=\"%g\"} %d\n", name, bound, n)
	}
	fmt.Fprintf(b, "%s_bucket{le=\"+Inf\"} %d\n%s_sum %g\n%s_count %d\n", name, h.n, name, h.sum, name, h.n)
}

func (m *metrics) request(route string, status int, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.requests == nil {
		m.requests, m.keys = map[string]int64{}, map[string]int64{}
	}
	if key != "" {
		m.keys[key]++
	}
	m.requests[fmt.Sprintf("path=%q,code=\"%d\"", route, status)]++
}

// tokens counts those of an answer.
func (m *metrics) tokens(prompt, cached, answer int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prompt += int64(prompt)
	m.cached += int64(cached)
	m.answer += int64(answer)
}

// token notes how long one was waited for.
func (m *metrics) token(first bool, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if first {
		m.first.add(d)
	} else {
		m.between.add(d)
	}
}

func (s *Server) writeMetrics(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	one := func(name, kind, help string, v any) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n%s %v\n", name, help, name, kind, name, v)
	}
	load := s.batch.Load()
	m := &s.metrics
	m.mu.Lock()
	fmt.Fprint(&b, "# HELP lentil_requests_total Requests that have ended.\n# TYPE lentil_requests_total counter\n")
	for _, labels := range slices.Sorted(maps.Keys(m.requests)) {
		fmt.Fprintf(&b, "lentil_requests_total{%s} %d\n", labels, m.requests[labels])
	}
	if len(m.keys) > 0 {
		fmt.Fprint(&b, "# HELP lentil_key_requests_total Requests that have ended, by the name of their key.\n# TYPE lentil_key_requests_total counter\n")
		for _, name := range slices.Sorted(maps.Keys(m.keys)) {
			fmt.Fprintf(&b, "lentil_key_requests_total{key=%q} %d\n", name, m.keys[name])
		}
	}
	one("lentil_prompt_tokens_total", "counter", "Tokens of prompts, those that were known included.", m.prompt)
	one("lentil_prompt_tokens_cached_total", "counter", "Tokens of prompts that need not be read again.", m.cached)
	one("lentil_generation_tokens_total", "counter", "Tokens of answers.", m.answer)
	m.first.write(&b, "lentil_time_to_first_token_seconds", "Time from a request to its first token.")
	m.between.write(&b, "lentil_time_between_tokens_seconds", "Time between two tokens of an answer.")
	m.mu.Unlock()
	one("lentil_answers_running", "gauge", "Answers under way.", load.Running)
	one("lentil_answers_waiting", "gauge", "Answers that wait for their turn.", load.Waiting)
	one("lentil_kv_bytes", "gauge", "Memory set aside for keys and values.", load.Bytes)
	s.models.mu.Lock()
	sessions, held := s.models.sessions, s.models.bytes
	s.models.mu.Unlock()
	one("lentil_conversations_cached", "gauge", "Conversations at rest that are remembered.", sessions)
	one("lentil_conversations_cached_bytes", "gauge", "Memory of those.", held)
	own, program := machine.HeldMemory()
	one("lentil_memory_bytes", "gauge", "Memory of the process, without the files of weights.", own+program)
	one("lentil_memory_peak_bytes", "gauge", "The most memory that the process had, with the files of weights as far as they were read.", machine.PeakMemory())
	one("lentil_uptime_seconds", "gauge", "Time since the server began.", int64(time.Since(s.started).Seconds()))
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprint(w, b.String())
}
