package generate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tokenizer"
)

// BatchOptions are the settings of a Batch. The zero value is a good choice.
type BatchOptions struct {
	Most    int   // answers under way at a time; 0 is 32
	Waiting int   // answers that may wait for their turn; 0 is 256
	Memory  int64 // bytes that keys and values of all sessions may take; 0 is no limit

	// PrefillStep is how many tokens of prompts are read between two tokens of the answers
	// under way, at most; 0 is 256. Options.PrefillStep may make it less for one prompt.
	PrefillStep int

	// RowWise gives each answer, to the bit, the logits that it has alone, on devices that
	// can promise it (see compute.Linear), provided that its prompt is read in the same
	// pieces. It costs speed. Without, other company means other rounding. Exact implies it.
	RowWise bool

	// Of each session:

	MaxKVSize int    // tokens that it remembers at most; 0 for no limit
	KV        KVBits // how its cache is quantized; zero for not at all
	Exact     bool   // float32 all the way
}

const (
	batchMost    = 32
	batchWaiting = 256
	batchPrefill = 256
	// openAnswer is how many tokens an answer without a limit is taken to have, when memory
	// is set aside for it.
	openAnswer = 2048
)

// Errors of Batch that callers branch on.
var (
	// ErrBusy says that as many answers wait already as may.
	ErrBusy = errors.New("too many answers are waited for")
	// ErrClosed says that the batch has been closed.
	ErrClosed = errors.New("the batch has been closed")
)

// Batch runs the passes of many sessions together: what reads the weights once serves all
// of them. Sessions come and go between passes. Those whose models share weights
// (adapter.With, model.Share) go together; others take turns.
//
// Each session answers in a goroutine of its caller's, which chooses how fast it takes the
// tokens: one that dawdles joins a later pass. An error of one session is no other's.
type Batch struct {
	o    BatchOptions
	wake chan struct{} // something has changed
	done chan struct{} // the loop has ended

	mu       sync.Mutex
	adopted  int // sessions so far
	closed   bool
	groups   []*group
	jobs     []*job // that wait for a pass, the oldest first
	running  []*member
	waiting  []*ticket
	held     int64     // bytes set aside for caches
	prompts  bool      // a piece of a prompt is next, if there is one
	deadline time.Time // until when members are awaited
}

// NewBatch makes a batch without sessions. Close ends it.
func NewBatch(o BatchOptions) *Batch {
	o.Most, o.Waiting, o.PrefillStep = cmp.Or(o.Most, batchMost), cmp.Or(o.Waiting, batchWaiting), cmp.Or(o.PrefillStep, batchPrefill)
	b := &Batch{o: o, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go b.loop()
	return b
}

// Close refuses what waits, ends the answers under way with ErrClosed, and waits for the
// pass under way. Sessions are closed by their owners, before or after.
func (b *Batch) Close() {
	b.mu.Lock()
	b.closed = true
	for _, t := range b.waiting {
		t.ready <- ErrClosed
	}
	b.waiting = nil
	b.mu.Unlock()
	b.signal()
	<-b.done
}

// signal wakes the loop.
func (b *Batch) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Session makes an empty session whose passes the batch runs.
func (b *Batch) Session(m *model.Model) (*Session, error) {
	s, err := NewSession(m, b.o.MaxKVSize, b.o.Exact)
	if err != nil {
		return nil, err
	}
	if err := s.QuantizeKV(b.o.KV); err != nil {
		s.Close()
		return nil, err
	}
	if err := b.adopt(s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// adopt makes a session one of the batch's, with what its cache holds.
func (b *Batch) adopt(s *Session) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	b.adopted++
	s.member = &member{batch: b, group: b.join(s.model), number: b.adopted}
	s.member.hold(s.cache.Bytes())
	return nil
}

// Stream answers one prompt in a session of its own: see Session.Stream. It may be called
// from many goroutines.
func (b *Batch) Stream(ctx context.Context, m *model.Model, tok *tokenizer.Tokenizer, prompt []int32, o Options) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		s, err := b.Session(m)
		if err != nil {
			yield(Piece{}, err)
			return
		}
		defer s.Close()
		s.Stream(ctx, tok, prompt, o)(yield)
	}
}

// Load says what a batch is busy with.
type Load struct {
	Running, Waiting int   // answers
	Bytes            int64 // set aside for keys and values
}

// Load tells how busy the batch is.
func (b *Batch) Load() Load {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Load{len(b.running), len(b.waiting), b.held}
}

// A member is a session's place in a batch. The batch's lock guards it.
type member struct {
	batch  *Batch
	group  *group
	number int // in the order of coming
	client string
	holds  int64 // bytes set aside for its cache

	// The batch waits a moment for the next token of an answer that came in time the last
	// time: see await.
	awaited     bool
	late, spare int
}

// A ticket is an answer that waits for its turn.
type ticket struct {
	*member
	priority int
	client   string
	need     int64 // bytes beside what the session holds
	ready    chan error
}

// enter waits, in a batch, until an answer to a prompt of so many tokens may begin. leave
// ends it.
func (s *Session) enter(ctx context.Context, prompt int, o Options) (leave func(), err error) {
	m := s.member
	if m == nil {
		return func() {}, nil
	}
	if err := m.enter(ctx, s, prompt, o); err != nil {
		return nil, err
	}
	s.priority = o.Priority
	return func() { m.leave(s.cache.Bytes()) }, nil
}

func (m *member) enter(ctx context.Context, s *Session, prompt int, o Options) error {
	b := m.batch
	answer := o.MaxTokens
	if answer < 0 {
		answer = openAnswer
	}
	n := s.loaded + prompt + answer
	if limit := s.model.Config.MaxPositionEmbeddings; limit > 0 {
		n = min(n, max(limit, prompt))
	}
	total := s.bytesFor(n)
	if b.o.Memory > 0 && total > b.o.Memory {
		return fault.At("max_tokens", "keys and values of %d tokens take up to %s, all answers may take %s", n, run.Bytes(total), run.Bytes(b.o.Memory)).
			Try("Ask for fewer tokens, or shorten the prompt.")
	}
	t := &ticket{member: m, priority: o.Priority, client: o.Client, ready: make(chan error, 1)}
	b.mu.Lock()
	switch t.need = max(total-m.holds, 0); {
	case b.closed:
		b.mu.Unlock()
		return ErrClosed
	case len(b.waiting) >= b.o.Waiting:
		b.mu.Unlock()
		return ErrBusy
	}
	b.waiting = append(b.waiting, t)
	b.admit()
	b.mu.Unlock()
	select {
	case err := <-t.ready:
		return err
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, t); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.admit() // others may have waited behind it
	} else if err := <-t.ready; err == nil { // its turn came at the same time
		b.leave(m)
	}
	return ctx.Err()
}

// admit lets answers begin whose turn it is: by priority, then those of clients with the
// fewest under way, then in the order in which they came. One that needs more memory than
// is free holds up those after it, so that it is not passed by for ever.
func (b *Batch) admit() {
	for len(b.waiting) > 0 && len(b.running) < b.o.Most {
		busy := map[string]int{}
		for _, m := range b.running {
			busy[m.client]++
		}
		t := slices.MinFunc(b.waiting, func(x, y *ticket) int {
			return cmp.Or(cmp.Compare(y.priority, x.priority), cmp.Compare(busy[x.client], busy[y.client]))
		})
		if b.o.Memory > 0 && b.held+t.need > b.o.Memory {
			if len(b.running) > 0 {
				return
			}
			// None will end and give memory back: sessions that only remember hold it.
			b.drop(t, fmt.Errorf("%w: sessions at rest hold the memory for keys and values", ErrBusy))
			continue
		}
		t.member.client = t.client
		t.holds += t.need
		b.held += t.need
		b.running = append(b.running, t.member)
		t.member.awaited, t.late, t.spare = false, 0, 0
		b.drop(t, nil)
	}
}

// drop takes a ticket off the queue and tells its holder.
func (b *Batch) drop(t *ticket, err error) {
	b.waiting = slices.DeleteFunc(b.waiting, func(o *ticket) bool { return o == t })
	t.ready <- err
}

// leave ends an answer under way.
func (b *Batch) leave(m *member) {
	b.running = slices.DeleteFunc(b.running, func(o *member) bool { return o == m })
	m.awaited = false
	b.admit()
	b.signal()
}

// leave ends an answer of a session, which goes on to hold bytes.
func (m *member) leave(bytes int64) {
	m.batch.mu.Lock()
	defer m.batch.mu.Unlock()
	m.hold(bytes)
	m.batch.leave(m)
}

// hold corrects what is set aside for the session.
func (m *member) hold(bytes int64) {
	m.batch.held += bytes - m.holds
	m.holds = bytes
}

// forget gives back what is set aside for a session that is not answering.
func (m *member) forget() { m.grown(0) }

// grown corrects what is set aside for a session that is not answering.
func (m *member) grown(bytes int64) {
	m.batch.mu.Lock()
	defer m.batch.mu.Unlock()
	if !slices.Contains(m.batch.running, m) {
		m.hold(bytes)
		m.batch.admit()
	}
}

// close takes a session out of the batch.
func (m *member) close() {
	m.forget()
	m.batch.mu.Lock()
	defer m.batch.mu.Unlock()
	m.batch.part(m.group)
}
