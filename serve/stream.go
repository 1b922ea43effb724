package serve

import (
	"fmt"
	"net/http"
)

// A stream writes events (server-sent events, or lines of JSON) as they come.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	lines   bool // lines of JSON, as Ollama has them
	begun   bool
}

func newStream(w http.ResponseWriter, lines bool) *stream {
	return &stream{w: w, control: http.NewResponseController(w), lines: lines}
}

// begin sends the head of the reply; afterwards an error is an event.
func (s *stream) begin() {
	if s.begun {
		return
	}
	s.begun = true
	h := s.w.Header()
	if s.lines {
		h.Set("Content-Type", "application/x-ndjson")
	} else {
		h.Set("Content-Type", "text/event-stream")
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	s.w.WriteHeader(http.StatusOK)
}

// write sends bytes at once.
func (s *stream) write(text string) error {
	s.begin()
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}

// send writes one event with a JSON value. name is that of the event, "" for none.
func (s *stream) send(name string, v any) error {
	data, err := marshal(v)
	if err != nil {
		return err
	}
	switch {
	case s.lines:
		return s.write(string(data) + "\n")
	case name != "":
		return s.write("event: " + name + "\ndata: " + string(data) + "\n\n")
	}
	return s.write("data: " + string(data) + "\n\n")
}

// alive tells a client that waits that the server is there.
func (s *stream) alive(done, total int) error {
	if s.lines {
		return nil // there is no comment in lines of JSON
	}
	return s.write(fmt.Sprintf(": keepalive %d/%d\n\n", done, total))
}
