package generate

import (
	"context"
	"slices"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tensor"
)

// A group is the sessions whose rows go together.
type group struct {
	first *model.Model
	mix   *model.Mix // of first and the others; nil while first is alone
	tape  *tensor.Tape
	again model.Again // the pass of the last answers
	users int
}

// join finds the group of a model, or makes one.
func (b *Batch) join(m *model.Model) *group {
	for _, g := range b.groups {
		if g.takes(m) {
			g.users++
			return g
		}
	}
	g := &group{first: m, tape: tensor.NewTape(m.Device()), users: 1}
	g.tape.Exact = b.o.Exact
	b.groups = append(b.groups, g)
	return g
}

// takes reports whether the group's rows and those of a model can go together.
func (g *group) takes(m *model.Model) bool {
	if m == g.first {
		return true
	}
	if g.mix != nil {
		return g.mix.Takes(m)
	}
	mix, err := g.first.NewMix()
	if err != nil { // its weights are trained
		return false
	}
	if !mix.Takes(g.first) || !mix.Takes(m) {
		mix.Free()
		return false
	}
	g.mix = mix
	return true
}

// part takes a session out of its group.
func (b *Batch) part(g *group) {
	if g.users--; g.users > 0 {
		return
	}
	b.groups = slices.DeleteFunc(b.groups, func(o *group) bool { return o == g })
	g.again.Free()
	if g.mix != nil {
		g.mix.Free()
	}
}

// A job is the next tokens of a session.
type job struct {
	*Session
	tokens   []int32
	answer   *decoder // whose next token the only one of tokens is; else nil
	from     *choice  // where the device has the only one of tokens, which is unknown; else nil
	last     int      // how many of them, the last, logits are wanted of
	use      use
	stop     func() error // asked while it is alone in a pass; nil for never
	priority int
	done     chan error
}

// row is what the model is told.
func (j *job) row() model.Row {
	r := model.Row{Tokens: j.tokens, Last: j.last, Cache: j.cache}
	if j.from != nil {
		r.Chosen, r.At = j.from.all.Tensor, j.from.at
	}
	return r
}

// isPrompt tells pieces of a prompt from tokens of an answer, and guesses at them.
func (j *job) isPrompt() bool { return j.scoring || len(j.tokens) > j.last }

// run has the batch run more tokens of a session. Once ctx has ended it returns, unless
// the pass is under way.
func (m *member) run(ctx context.Context, j *job) error {
	b := m.batch
	j.done = make(chan error, 1)
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	if m.awaited { // it is in time
		m.awaited, m.late = false, m.late/2
	}
	b.jobs = append(b.jobs, j)
	complete := !b.awaits()
	b.mu.Unlock()
	if complete || j.isPrompt() { // otherwise the loop waits for the others, until its deadline
		b.signal()
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
	}
	b.mu.Lock()
	i := slices.Index(b.jobs, j)
	if i >= 0 {
		b.jobs = slices.Delete(b.jobs, i, i+1)
	}
	b.mu.Unlock()
	if i >= 0 {
		return ctx.Err()
	}
	return <-j.done
}

// loop runs pass after pass.
func (b *Batch) loop() {
	defer close(b.done)
	for {
		b.mu.Lock()
		if b.closed {
			for _, j := range b.jobs {
				j.done <- ErrClosed
			}
			b.jobs = nil
			b.mu.Unlock()
			return
		}
		pass, wait := b.form(time.Now())
		b.mu.Unlock()
		switch {
		case pass != nil:
			b.run(pass)
		case wait > 0:
			select {
			case <-b.wake:
			case <-time.After(wait):
			}
		default:
			<-b.wake
		}
	}
}

// form takes the jobs of the next pass off the queue. Without any it tells how long to
// wait for them, 0 for as long as it takes.
//
// Tokens of answers and a piece of a prompt take turns, so that neither waits long for the
// other.
func (b *Batch) form(now time.Time) (pass []*job, wait time.Duration) {
	piece, token := b.nextPrompt(), b.nextToken()
	if piece != nil && (b.prompts || token == nil) {
		b.prompts = false
		return b.take(b.pieces(piece)), 0
	}
	if wait := b.await(now); wait > 0 || token == nil {
		return nil, wait
	}
	b.prompts = true
	return b.take(b.tokens(token)), 0
}

// nextPrompt is the piece of a prompt whose turn it is: by priority, then the oldest. A
// session that has read one asks for the next, so that all go on in turn.
func (b *Batch) nextPrompt() (best *job) {
	for _, j := range b.jobs {
		if j.isPrompt() && (best == nil || j.priority > best.priority) {
			best = j
		}
	}
	return best
}

// nextToken is the oldest token of an answer.
func (b *Batch) nextToken() *job {
	if i := slices.IndexFunc(b.jobs, func(j *job) bool { return !j.isPrompt() }); i >= 0 {
		return b.jobs[i]
	}
	return nil
}

// pieces are the first and others that go into a pass with it. Company would round them
// otherwise, so that with RowWise there is none.
func (b *Batch) pieces(first *job) []*job {
	pass, room := []*job{first}, b.o.PrefillStep-len(first.tokens)
	if b.rowWise() {
		return pass
	}
	for _, j := range b.jobs {
		if j != first && j.isPrompt() && j.member.group == first.member.group && len(j.tokens) <= room {
			pass = append(pass, j)
			room -= len(j.tokens)
		}
	}
	return pass
}

// tokens are the first and all that go with it, in the order of their sessions: a device that replays what it has done
// before wants it to be the same (see cuda's trace).
func (b *Batch) tokens(first *job) (pass []*job) {
	for _, j := range b.jobs {
		if !j.isPrompt() && j.member.group == first.member.group {
			pass = append(pass, j)
		}
	}
	slices.SortStableFunc(pass, func(x, y *job) int { return x.member.number - y.member.number })
	return pass
}

// take takes jobs off the queue.
func (b *Batch) take(pass []*job) []*job {
	b.jobs = slices.DeleteFunc(b.jobs, func(j *job) bool { return slices.Contains(pass, j) })
	return pass
}

func (b *Batch) rowWise() bool { return b.o.RowWise || b.o.Exact }

const (
	leastPatience = time.Millisecond // enough to take a token and ask for the next
	mostPatience  = 5 * time.Millisecond
	patienceShare = 4  // of the time that a pass takes
	mostLate      = 16 // passes at most for which one that was late is not awaited
)

// awaits tells whether there are answers that came in time for the last pass, and have not
// asked for their next token.
func (b *Batch) awaits() bool {
	return slices.ContainsFunc(b.running, func(m *member) bool { return m.awaited })
}

// await tells how long to wait for answers that came in time for the last pass: until all
// have asked for their next token, but no longer than a share of a pass. One that was late
// is not awaited for some passes, more of them each time.
func (b *Batch) await(now time.Time) time.Duration {
	if !b.awaits() {
		return 0
	}
	if wait := b.deadline.Sub(now); wait > 0 {
		return wait
	}
	for _, m := range b.running {
		if m.awaited {
			m.awaited, m.late = false, min(2*m.late+1, mostLate)
			m.spare = m.late
		}
	}
	return 0
}

// expect notes that members of a pass of answers will ask for more.
func (b *Batch) expect(pass []*job, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = time.Now().Add(min(max(took/patienceShare, leastPatience), mostPatience))
	for _, j := range pass {
		m := j.member
		if !slices.Contains(b.running, m) {
			continue
		}
		if m.spare > 0 {
			m.spare--
		} else {
			m.awaited = true
		}
	}
}

// run runs a pass. If it fails, each session runs by itself, so that none has another's
// error. Where it runs ahead, it waits for the tokens of the pass before, which the sessions
// read next: then all go on at once.
func (b *Batch) run(pass []*job) {
	answers := !pass[0].isPrompt()
	start := time.Now()
	err := b.pass(pass)
	for _, j := range pass {
		if err == nil && j.from != nil {
			j.from.all.read() // an error comes again when the session reads
		}
	}
	if answers {
		b.expect(pass, time.Since(start))
	}
	for _, j := range pass {
		if err != nil && len(pass) > 1 {
			j.done <- b.pass([]*job{j})
		} else {
			j.done <- err
		}
	}
}

// pass runs one forward pass of sessions of one group, and chooses what they want.
func (b *Batch) pass(jobs []*job) error {
	g := jobs[0].member.group
	jobs = byModel(jobs)
	t := g.tape
	seen := make([]int, len(jobs))
	for i, j := range jobs {
		seen[i] = j.cache.Len()
	}
	t.Reset(false)
	t.RowWise = !jobs[0].isPrompt() && (b.rowWise() || slices.ContainsFunc(jobs, func(j *job) bool { return j.last > 1 }))
	if t.Stop = nil; len(jobs) == 1 {
		t.Stop = jobs[0].stop
	}
	t.Scope(func() *tensor.Tensor {
		useAll(t, g.first.Device(), b.step(t, g, jobs), jobs)
		return nil
	})
	if t.Err() != nil {
		for i, j := range jobs {
			j.takeBack(seen[i])
		}
	}
	return t.Err()
}

// step gives the logits of all jobs, one after the other.
func (b *Batch) step(t *tensor.Tape, g *group, jobs []*job) *tensor.Tensor {
	b.mu.Lock()
	mix := g.mix // which a session that comes now may make
	b.mu.Unlock()
	rows := make([]model.MixedRow, len(jobs))
	plain := make([]model.Row, len(jobs))
	answers, goOn := make([]any, len(jobs)), true
	for i, j := range jobs {
		plain[i] = j.row()
		rows[i] = model.MixedRow{Row: plain[i], Model: j.model}
		answers[i] = j.answer
		goOn = goOn && j.answer != nil
	}
	switch {
	case mix == nil && goOn:
		return g.again.StepRows(t, g.first, plain, answers)
	case mix == nil:
		return g.first.StepRows(t, plain)
	case goOn:
		return g.again.StepMixed(t, mix, rows, answers)
	}
	return mix.StepRows(t, rows)
}

// byModel puts the jobs of one model side by side.
func byModel(jobs []*job) []*job {
	order := map[*model.Model]int{}
	for _, j := range jobs {
		if _, ok := order[j.model]; !ok {
			order[j.model] = len(order)
		}
	}
	jobs = slices.Clone(jobs)
	slices.SortStableFunc(jobs, func(x, y *job) int { return order[x.model] - order[y.model] })
	return jobs
}

// useAll uses the logits of all jobs, with one choice of tokens and, unless all run ahead, one
// wait for them.
func useAll(t *tensor.Tape, dev compute.Device, logits *tensor.Tensor, jobs []*job) {
	if len(jobs) == 1 {
		jobs[0].use.of(t, dev, logits)
		return
	}
	var how []compute.Sampling
	var keys []compute.Key
	for _, j := range jobs {
		s := j.use.how
		for range j.last {
			how, keys = append(how, s.Sampling), append(keys, s.stream)
			s = s.after(1)
		}
	}
	row := int32(0)
	for _, j := range jobs {
		if j.use.logits != nil {
			rows := make([]int32, j.last)
			for i := range rows {
				rows[i] = row + int32(i)
			}
			j.use.of(t, dev, t.GatherRows(logits, t.Ints(rows)))
		}
		row += int32(j.last)
	}
	all := choose(t, dev, logits, how, keys)
	defer all.leave()
	at, ahead := 0, true
	for _, j := range jobs {
		if j.use.choice != nil {
			j.use.choice.set(all, at)
		}
		at += j.last
		ahead = ahead && j.from != nil
	}
	if !ahead && t.Err() == nil {
		_, err := all.read()
		t.Fail(err)
	}
}
