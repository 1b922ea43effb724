package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// A pace is how much patience there is with a server that says little or nothing.
type pace struct {
	tell   time.Duration // waits this long are told, and again after as long
	window time.Duration // over which a connection has to bring bytes
	least  int64         // bytes a second; a connection that brings fewer is made anew
	asked  time.Duration // a server that asks to wait longer, at once or in all, is not waited for
}

var usualPace = pace{tell: 10 * time.Second, window: time.Minute, least: 1 << 10, asked: 10 * time.Minute}

// Reasons to end a request, which is then tried again from where it stopped.
var (
	errSilent = errors.New("the server has gone silent")
	errSlow   = errors.New("the server sends too slowly")
)

// A teller tells what is waited for, but not more often than the pace says: several connections wait at a time.
type teller struct {
	hear func(string) // nil: nobody listens
	mu   sync.Mutex
	last map[string]time.Time // by format
}

func newTeller(hear func(string)) *teller { return &teller{hear: hear, last: map[string]time.Time{}} }

// say tells a text unless one of its kind was told less than every before.
func (t *teller) say(every time.Duration, format string, args ...any) {
	if t.hear == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.last[format]) >= every {
		t.last[format] = now
		t.hear(fmt.Sprintf(format, args...))
	}
}

// telling gives a client that tells its waits to hear; nil leaves them where they go.
func (c *Client) telling(hear func(string)) *Client {
	if hear == nil {
		return c
	}
	other := *c
	other.teller = newTeller(hear)
	return &other
}

// A watchdog ends a request during which nothing happens, or too little.
type watchdog struct {
	c        *Client
	host     string
	patience time.Duration // longest silence
	end      context.CancelCauseFunc

	mu      sync.Mutex
	silence *time.Timer // until the request is ended
	notice  *time.Timer // until the silence is told; nil where it ends first
	spent   time.Duration
	came    int64 // bytes during spent
	told    bool  // that they come slowly
}

func (c *Client) watch(host string, patience time.Duration, end context.CancelCauseFunc) *watchdog {
	w := &watchdog{c: c, host: host, patience: patience, end: end}
	w.silence = time.AfterFunc(patience, func() { end(errSilent) })
	if tell := c.pace.tell; tell < patience {
		w.notice = time.AfterFunc(tell, func() {
			c.teller.say(tell, "%s has been silent for %v; the request is tried again after %v.", host, tell, patience)
		})
	}
	return w
}

// pet begins the silence anew.
func (w *watchdog) pet() {
	w.silence.Reset(w.patience)
	if w.notice != nil {
		w.notice.Reset(w.c.pace.tell)
	}
}

func (w *watchdog) stop() {
	w.silence.Stop()
	if w.notice != nil {
		w.notice.Stop()
	}
}

// passed counts n bytes that the network took so long for. Time that the disk takes is not the server's.
func (w *watchdog) passed(n int, took time.Duration) {
	w.pet()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spent, w.came = w.spent+took, w.came+int64(n)
	pace := w.c.pace
	slow := float64(w.came) < float64(pace.least)*w.spent.Seconds()
	switch {
	case w.spent >= pace.window && slow:
		w.end(errSlow)
	case w.spent >= pace.window:
		w.spent, w.came, w.told = 0, 0, false
	case w.spent >= pace.tell && slow && !w.told:
		w.told = true
		w.c.teller.say(pace.tell, "%s is slow: %d bytes in %v. A connection that brings less than %d bytes a second for %v is made anew.",
			w.host, w.came, w.spent.Round(time.Second), pace.least, pace.window)
	}
}

// reason is why the watchdog has ended a request, nil if it has not.
func (w *watchdog) reason(ctx context.Context) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSilent):
		return fmt.Errorf("%w for %v", errSilent, w.patience)
	case errors.Is(cause, errSlow):
		return fmt.Errorf("%w: less than %d bytes a second for %v", errSlow, w.c.pace.least, w.c.pace.window)
	}
	return nil
}

// answer is the body of an answer, the time in whose Read is the network's. explain rewrites its errors, and end is
// called when it is closed.
type answer struct {
	io.ReadCloser
	dog     *watchdog
	explain func(error) error
	end     func()
}

func (a *answer) Read(p []byte) (int, error) {
	before := time.Now()
	a.dog.pet() // a disk that takes its time is not the server's silence
	n, err := a.ReadCloser.Read(p)
	a.dog.passed(n, time.Since(before))
	if err != nil && err != io.EOF {
		err = a.explain(err)
	}
	return n, err
}

func (a *answer) Close() error {
	defer a.end()
	return a.ReadCloser.Close()
}

// sending is the body of a request: between two Reads the network takes what the first one gave.
type sending struct {
	io.ReadCloser
	dog  *watchdog
	last time.Time // of the end of a Read
	n    int       // bytes it gave
}

func (s *sending) Read(p []byte) (int, error) {
	if !s.last.IsZero() {
		s.dog.passed(s.n, time.Since(s.last))
	}
	n, err := s.ReadCloser.Read(p)
	s.dog.pet()
	s.last, s.n = time.Now(), n
	return n, err
}
