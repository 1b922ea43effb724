package serve

import (
	"context"
	"slices"
	"time"

	"github.com/lentil-lm/lentil/engine"
)

// What a conversation has read need not be read again: neither by its next message, which goes on in the session at rest,
// nor by another conversation that begins alike, which copies the beginning: out of a session at rest, or out of one that
// reads or answers at that time.

// A restingSession remembers a conversation for the next message of it, and its beginning for others.
type restingSession struct {
	*engine.Session
	variant *variant
	bytes   int64
	used    time.Time
}

// A reading is an answer under way. The goroutine that runs it hands out copies of what it has read.
type reading struct {
	session  *engine.Session
	prompt   []int32
	priority int
	done     int      // tokens of the prompt that have been read
	wanted   []*share // by others
}

// A share is the beginning of what another session has read, in the making.
type share struct {
	into  *engine.Session
	n     int           // tokens
	ready chan struct{} // closed when it is there, or will not be
}

const (
	// leastShared is for how many tokens a share is worth its while.
	leastShared = 64
	// sharePatience is how long an answer under way is waited for, whose client may have stopped reading.
	sharePatience = 250 * time.Millisecond
)

// take gives a session for a prompt: the one at rest that has read its beginning and little else, or an empty one.
func (m *models) take(v *variant, prompt []int32, o engine.SessionOptions) (*engine.Session, error) {
	m.mu.Lock()
	best, most := v.nearest(prompt)
	if best != nil && best.Len()-most > max(most/8, leastShared) {
		best = nil // it would forget more of its own conversation: begin copies from it
	}
	if best != nil {
		m.forget(best)
	}
	m.mu.Unlock()
	if best != nil {
		return best.Session, nil
	}
	return v.Session(o)
}

// nearest is the session at rest that has read most of a prompt.
func (v *variant) nearest(prompt []int32) (best *restingSession, most int) {
	for _, r := range v.idle {
		if n := r.Shared(prompt); n > most {
			best, most = r, n
		}
	}
	return best, most
}

// begin is called when the turn of an answer has come: its session copies what another has read of the prompt, if that is
// more than it has itself. What another is reading at this moment is waited for. end has to be called.
func (m *models) begin(ctx context.Context, v *variant, s *engine.Session, prompt []int32, priority int) (*reading, error) {
	r := &reading{session: s, prompt: prompt, priority: priority, done: s.Shared(prompt)}
	m.mu.Lock()
	resting, n := v.nearest(prompt)
	from, k := v.reader(prompt, priority)
	v.reading = append(v.reading, r)
	var err error
	switch least := r.done + leastShared; {
	case n >= k && n >= least:
		m.forget(resting) // nobody takes it meanwhile
		m.mu.Unlock()
		err = s.Begin(resting.Session, n)
		m.keep(resting)
	case k >= least:
		err = m.await(ctx, from, &share{into: s, n: k, ready: make(chan struct{})})
	default:
		m.mu.Unlock()
		return r, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.done = s.Shared(prompt)
	return r, err
}

// reader is the answer under way, of a priority or a higher one, that has read most of a prompt, or will have.
func (v *variant) reader(prompt []int32, priority int) (best *reading, most int) {
	for _, r := range v.reading {
		n := 0
		for n < len(prompt)-1 && n < len(r.prompt) && prompt[n] == r.prompt[n] {
			n++
		}
		if n > most && r.priority >= priority {
			best, most = r, n
		}
	}
	return best, most
}

// await asks for a share and waits for it. One that does not come is read instead. It gives m.mu back.
func (m *models) await(ctx context.Context, from *reading, c *share) error {
	from.wanted = append(from.wanted, c)
	var late <-chan time.Time
	if from.done >= c.n {
		late = time.After(sharePatience)
	}
	m.mu.Unlock()
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
	case <-late:
	}
	m.mu.Lock()
	i := slices.Index(from.wanted, c)
	if i >= 0 {
		from.wanted = slices.Delete(from.wanted, i, i+1)
	}
	m.mu.Unlock()
	if i < 0 { // it is being made
		<-c.ready
	}
	return ctx.Err()
}

// hasRead notes how far a prompt has been read, and hands out the shares that wait for that. The goroutine that runs the
// session calls it, between passes.
func (m *models) hasRead(r *reading, done int) {
	m.mu.Lock()
	r.done = max(r.done, done)
	var due []*share
	r.wanted = slices.DeleteFunc(r.wanted, func(c *share) bool {
		if c.n > r.done {
			return false
		}
		due = append(due, c)
		return true
	})
	m.mu.Unlock()
	for _, c := range due {
		if c.into.Begin(r.session, c.n) != nil {
			c.into.Reset() // it reads by itself
		}
		close(c.ready)
	}
}

// end takes an answer off those under way.
func (m *models) end(v *variant, r *reading) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v.reading = slices.DeleteFunc(v.reading, func(o *reading) bool { return o == r })
	for _, c := range r.wanted {
		close(c.ready)
	}
	r.wanted = nil
}

// rest keeps a session for the next message, instead of those at rest that know nothing more.
func (m *models) rest(v *variant, s *engine.Session) {
	m.mu.Lock()
	for _, r := range slices.Clone(v.idle) {
		if r.Common(s.Session) == r.Len() {
			m.drop(r)
		}
	}
	m.mu.Unlock()
	m.keep(&restingSession{Session: s, variant: v, bytes: s.Bytes()})
}

// keep puts a session to those at rest, and lets go of those that were used least.
func (m *models) keep(r *restingSession) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.variant.retired || m.closed {
		r.Close()
		return
	}
	r.used = time.Now()
	r.variant.idle = append(r.variant.idle, r)
	m.sessions++
	m.bytes += r.bytes
	for m.sessions > m.o.CacheSessions || m.bytes > m.o.CacheBytes && m.sessions > 0 {
		m.drop(m.oldest())
	}
}

// clearRest lets go of all sessions at rest, and tells whether there were any.
func (m *models) clearRest() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	any := m.sessions > 0
	for m.sessions > 0 {
		m.drop(m.oldest())
	}
	return any
}

func (m *models) oldest() (oldest *restingSession) {
	for _, b := range m.bases {
		for _, v := range b.variants {
			for _, r := range v.idle {
				if oldest == nil || r.used.Before(oldest.used) {
					oldest = r
				}
			}
		}
	}
	return oldest
}

// drop closes a session at rest.
func (m *models) drop(r *restingSession) {
	m.forget(r)
	r.Close()
}

// forget takes a session off those at rest.
func (m *models) forget(r *restingSession) {
	r.variant.idle = slices.DeleteFunc(r.variant.idle, func(o *restingSession) bool { return o == r })
	m.sessions--
	m.bytes -= r.bytes
}
