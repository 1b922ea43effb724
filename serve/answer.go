package serve

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/generate/grammar"
	"github.com/lentil-lm/lentil/profile"
	"github.com/lentil-lm/lentil/tokenizer"
)

// A query is what a request of any API comes to: a prompt of a model, and how it is answered.
type query struct {
	variant *variant
	prompt  []int32
	opened  string // text that the prompt ends with, which may have opened the reasoning
	n       int    // answers
	options generate.Options
	// deadline is when the answer is cut off, or given up if it has not begun; zero for never.
	deadline time.Time
	extra    adjust
	logs     int // log probabilities of so many other tokens are told; -1: of none
	style    chat.Style
	tools    bool             // calls are looked for
	grammar  *grammar.Grammar // what the answer has to be; nil for anything
	profile  *profile.Profile // that the answer is held to; nil for none
}

// adjust changes logits before a token is chosen, in mlx-lm's order.
type adjust struct {
	bias                  map[int32]float32
	repetition            float64 // 0 and 1 change nothing
	presence, frequency   float64
	window                int // last tokens, of prompt and answer, that repetition looks at
	presenceW, frequencyW int // of the answer; 0 is all
}

func (a adjust) idle() bool {
	return len(a.bias) == 0 && (a.repetition == 0 || a.repetition == 1) && a.presence == 0 && a.frequency == 0
}

func (a adjust) apply(prompt, answer []int32, logits []float32) {
	for id, by := range a.bias {
		if int(id) < len(logits) {
			logits[id] += by
		}
	}
	if a.repetition != 0 && a.repetition != 1 {
		seen := map[int32]bool{}
		for _, id := range lastOf(slices.Concat(lastOf(prompt, a.window), answer), a.window) {
			if seen[id] || int(id) >= len(logits) {
				continue
			}
			seen[id] = true
			if logits[id] < 0 {
				logits[id] *= float32(a.repetition)
			} else {
				logits[id] /= float32(a.repetition)
			}
		}
	}
	if a.presence != 0 {
		seen := map[int32]bool{}
		for _, id := range lastOf(answer, a.presenceW) {
			if !seen[id] {
				seen[id] = true
				logits[id] -= float32(a.presence)
			}
		}
	}
	if a.frequency != 0 {
		for _, id := range lastOf(answer, a.frequencyW) {
			logits[id] -= float32(a.frequency)
		}
	}
}

// lastOf is the last n of ids; all for 0.
func lastOf(ids []int32, n int) []int32 {
	if n > 0 && len(ids) > n {
		return ids[len(ids)-n:]
	}
	return ids
}

// tokenLog is the log probability of a token, and of the likeliest ones in its place.
type tokenLog struct {
	id   int32
	log  float64
	text string
	top  []tokenLog
}

// An event is something that happens to an answer.
type event struct {
	choice int
	part   *chat.Part // a piece of it
	logs   []tokenLog // of the tokens since the last event, where they are asked for
	finish string     // it has ended, and why
	// stopped tells, with finish, that one of the texts to stop at came.
	stopped bool
	stats   answerStats // with finish
	at      int         // tokens of the answer so far
	done    int         // tokens of the prompt that have been read, of total; without anything else
	total   int
}

// answerStats are the figures of one answer.
type answerStats struct {
	generate.Stats
	promptTime, answerTime time.Duration
	verdict                *verdict // nil where the answer is held to no profile
}

// newID makes an id of the kind that an API has.
func newID(prefix string) string {
	var b [12]byte
	rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])
}

// answer runs a query and hands on what happens, one event after the other. An error of emit, such as that the client
// has gone, ends all. So does an error of one answer.
func (s *Server) answer(ctx context.Context, q *query, emit func(event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan event)
	failed := make(chan error, q.n)
	var wg sync.WaitGroup
	for i := range q.n {
		wg.Go(func() {
			err := s.one(ctx, q, i, func(e event) error {
				e.choice = i
				select {
				case events <- e:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if err != nil {
				failed <- err
				cancel()
			}
		})
	}
	go func() {
		wg.Wait()
		close(events)
	}()
	var gone error
	for e := range events {
		if gone == nil {
			if gone = emit(e); gone != nil {
				cancel()
			}
		}
	}
	if gone != nil {
		return gone
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// one runs one answer of a query.
func (s *Server) one(ctx context.Context, q *query, choice int, emit func(event) error) error {
	err := s.try(ctx, q, choice, emit)
	// Conversations at rest may hold the memory that this one needs.
	if errors.Is(err, generate.ErrBusy) && s.batch.Load().Running == 0 && s.models.clearRest() {
		err = s.try(ctx, q, choice, emit)
	}
	return err
}

func (s *Server) try(ctx context.Context, q *query, choice int, emit func(event) error) error {
	session, err := s.models.take(q.variant, q.prompt, s.o.Session)
	if err != nil {
		return err
	}
	a := &running{s: s, q: q, ctx: ctx, emit: emit, prompt: q.prompt, began: time.Now()}
	if q.profile != nil {
		a.watch = newWatch(q, emit)
		a.emit = a.watch.event
	}
	if a.newParser(); q.grammar != nil {
		a.state = q.grammar.Start()
	}
	o := q.options
	o.Seed += uint64(choice)
	o.Progress = a.progress
	o.Ready = func(ctx context.Context) (err error) {
		a.reading, err = s.models.begin(ctx, q.variant, session, a.prompt, o.Priority)
		return err
	}
	if !q.extra.idle() || q.logs >= 0 || q.grammar != nil {
		o.Filter = a.filter
	}
	for err = a.run(session, o); errors.Is(err, errBroken); {
		err = a.again(session, o)
	}
	if a.reading != nil {
		s.models.end(q.variant, a.reading)
	}
	if err != nil {
		session.Close() // it may have ended anywhere
		return err
	}
	s.models.rest(q.variant, session)
	return nil
}

// running is an answer under way.
type running struct {
	s      *Server
	q      *query
	ctx    context.Context
	emit   func(event) error
	parser *chat.Parser
	state  *grammar.State
	fed    int // tokens of the answer that state has seen

	reading *reading // nil until its turn has come

	prompt []int32 // with what of the answer has been sent, where the rest is written again
	// For answers that are held to a profile.
	watch  *watch
	tokens []int32 // of the answer so far, the stop token left out
	pieces []string
	before []int32           // of tokens, those that the prompt ends with
	was    generate.Stats    // before the answer went back
	chars  *tokenizer.Stream // decodes what follows before
	banned map[int32]bool

	logits []float32 // log probabilities of the next token, where they are asked for
	logs   []tokenLog
	calls  bool

	began, first, last time.Time
	told               time.Time // of the last progress
	stats              generate.Stats
	gone               error // of emit
}

// keepAlive is how often a client that waits is told so.
const keepAlive = time.Second

func (a *running) progress(done, total int) {
	a.s.models.hasRead(a.reading, done)
	if now := time.Now(); now.Sub(a.told) > keepAlive && a.gone == nil && done < total {
		a.told = now
		a.gone = a.emit(event{done: done, total: total})
	}
}

// filter is what stands between the logits and the choice of a token.
func (a *running) filter(answer []int32, logits []float32) error {
	if len(a.before) > 0 {
		answer = slices.Concat(a.before, answer)
	}
	a.q.extra.apply(a.q.prompt, answer, logits)
	a.ban(logits)
	if a.q.logs >= 0 {
		a.logits = append(a.logits[:0], logits...)
		logSoftmax(a.logits)
	}
	if a.state == nil {
		return nil
	}
	for ; a.fed < len(answer); a.fed++ {
		if err := a.state.Accept(answer[a.fed]); err != nil {
			return err
		}
	}
	return a.state.Mask(logits, generate.Masked)
}

// run takes the pieces as they come.
func (a *running) run(session *engine.Session, o generate.Options) error {
	a.told = a.began
	ctx, giveUp := context.WithCancelCause(a.ctx)
	defer giveUp(nil)
	var begun atomic.Bool
	d := a.q.deadline
	if !d.IsZero() {
		defer time.AfterFunc(time.Until(d), func() {
			if !begun.Load() { // otherwise it is cut off
				giveUp(errLate)
			}
		}).Stop()
	}
	for piece, err := range session.Stream(ctx, a.prompt, o) {
		if err == nil {
			err = a.gone
		}
		if err != nil && errors.Is(context.Cause(ctx), errLate) {
			err = errLate
		}
		if err != nil {
			return err
		}
		begun.Store(true)
		if !d.IsZero() && !time.Now().Before(d) {
			piece.Finish = cmp.Or(piece.Finish, generate.FinishLength)
		}
		if err := a.take(piece); err != nil || piece.Finish != "" {
			return err
		}
	}
	return nil
}

// take hands a piece on.
func (a *running) take(piece generate.Piece) error {
	now := time.Now()
	if a.first.IsZero() {
		a.first = now
		a.s.metrics.token(true, now.Sub(a.began))
	} else {
		a.s.metrics.token(false, now.Sub(a.last))
	}
	a.last = now
	a.s.models.hasRead(a.reading, len(a.prompt))
	a.join(&piece)
	if a.q.logs >= 0 && piece.Stats.GenerationTokens > a.stats.GenerationTokens && !slices.Contains(a.q.options.StopTokens, piece.Token) {
		a.logs = append(a.logs, a.q.logOf(piece.Token, a.logits))
	}
	a.stats = piece.Stats
	parts := a.parser.Add(piece.Text)
	if piece.Finish != "" {
		parts = append(parts, a.parser.End()...)
	}
	for i := range parts {
		a.calls = a.calls || parts[i].Kind == chat.ToolCall
		e := event{part: &parts[i], logs: a.logs, at: len(a.tokens)}
		a.logs = nil
		if err := a.emit(e); err != nil {
			return err
		}
	}
	if piece.Finish == "" {
		return nil
	}
	finish := piece.Finish
	if finish == generate.FinishStop && a.calls {
		finish = "tool_calls"
	}
	a.s.metrics.tokens(piece.Stats.PromptTokens, piece.Stats.CachedTokens, piece.Stats.GenerationTokens)
	stopped := piece.Finish == generate.FinishStop && !slices.Contains(a.q.options.StopTokens, piece.Token)
	return a.emit(event{finish: finish, stopped: stopped, logs: a.logs, at: len(a.tokens), stats: answerStats{Stats: piece.Stats, promptTime: a.first.Sub(a.began), answerTime: a.last.Sub(a.first)}})
}

// newParser begins to look for the parts of an answer.
func (a *running) newParser() {
	switch {
	case a.q.grammar == nil:
		a.parser = a.q.style.NewParser(a.q.opened, a.q.tools)
	case a.q.tools:
		a.parser = a.q.style.NewParser("", true)
	default:
		a.parser = chat.Style{}.NewParser("", false)
	}
}

// logOf tells the log probability of a token, and the likeliest ones.
func (q *query) logOf(id int32, logs []float32) tokenLog {
	out := tokenLog{id: id, text: q.tokenText(id)}
	if int(id) < len(logs) {
		out.log = float64(logs[id])
	}
	for _, k := range likeliest(logs, q.logs) {
		out.top = append(out.top, tokenLog{id: int32(k), log: float64(logs[k]), text: q.tokenText(int32(k))})
	}
	return out
}

// tokenText is a token alone.
func (q *query) tokenText(id int32) string {
	text, err := q.variant.Tokenizer.Decode([]int32{id}, false)
	if err != nil {
		return ""
	}
	if piece := q.variant.Tokenizer.Piece(id); strings.HasPrefix(piece, "▁") && !strings.HasPrefix(text, " ") {
		text = " " + text
	}
	return text
}

// likeliest lists the n largest, the largest first.
func likeliest(v []float32, n int) []int {
	best := make([]int, 0, n+1)
	for i, x := range v {
		if len(best) == n && (n == 0 || x <= v[best[n-1]]) {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, x, func(k int, x float32) int {
			if v[k] >= x {
				return -1
			}
			return 1
		})
		best = slices.Insert(best, at, i)
		best = best[:min(len(best), n)]
	}
	return best
}

// logSoftmax turns logits into log probabilities in place.
func logSoftmax(v []float32) {
	top := float64(slices.Max(v))
	sum := 0.0
	for _, x := range v {
		sum += math.Exp(float64(x) - top)
	}
	norm := float32(top + math.Log(sum))
	for i := range v {
		v[i] -= norm
	}
}

// limit makes room for the answer behind the prompt: a model takes so many tokens in all.
func (s *Server) limit(q *query, field string) error {
	most := q.variant.Model.Config.MaxPositionEmbeddings
	if most <= 0 || s.o.Session.MaxKVSize > 0 {
		return nil
	}
	room := most - len(q.prompt)
	if room < 1 {
		e := badField(field, "the prompt has %d tokens, the model takes %d with its answer: shorten the conversation", len(q.prompt), most)
		e.code = "context_length_exceeded"
		return e
	}
	if q.options.MaxTokens < 0 || q.options.MaxTokens > room {
		q.options.MaxTokens = room
	}
	return nil
}

// longText is how many bytes of text are cut into tokens one at a time, so that answers under way keep a core.
const longText = 64 << 10

// encode cuts a text into tokens by one of the tokenizer's methods.
func (s *Server) encode(ctx context.Context, text string, by func(string) ([]int32, error)) ([]int32, error) {
	if len(text) > longText {
		select {
		case s.encoding <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		defer func() { <-s.encoding }()
	}
	return by(text)
}

// rendered cuts a text into tokens that has what a chat template adds.
func (v *variant) rendered(text string) ([]int32, error) { return v.Tokenizer.Encode(text, false) }

// conversation makes the prompt of messages. A last message of the assistant's is gone on with.
func (s *Server) conversation(ctx context.Context, v *variant, messages []chat.Value, tools chat.Value, kwargs *chat.Dict) (prompt []int32, text string, err error) {
	role := ""
	if last, ok := messages[len(messages)-1].(*chat.Dict); ok {
		r, _ := last.Get("role")
		content, _ := last.Get("content")
		calls, _ := last.Get("tool_calls")
		if r == "assistant" && content != "" && calls == nil {
			role = "assistant"
		}
	}
	template, err := v.Template()
	if err != nil {
		return nil, "", err
	}
	if template == nil {
		text = plainPrompt(messages)
		prompt, err = s.encode(ctx, text, v.Tokenizer.EncodePlain)
		return prompt, text, err
	}
	text, err = v.Render(messages, engine.PromptOptions{ContinueFinal: role == "assistant", Tools: tools, Kwargs: s.kwargs.with(kwargs)})
	if err != nil {
		return nil, "", badField("messages", "the chat template of the model does not take these messages: %v", err)
	}
	prompt, err = s.encode(ctx, text, v.rendered)
	return prompt, text, err
}

// plainPrompt is mlx-lm's form of a conversation with a model that has no chat template.
func plainPrompt(messages []chat.Value) string {
	names := map[chat.Value]string{"system": "ASSISTANT's RULE: ", "user": "USER: ", "assistant": "ASSISTANT: "}
	var b strings.Builder
	for _, m := range messages {
		d, ok := m.(*chat.Dict)
		if !ok {
			continue
		}
		role, _ := d.Get("role")
		content, _ := d.Get("content")
		name, ok := names[role]
		if !ok {
			name = strings.ToUpper(fmt.Sprint(role)) + ": "
		}
		fmt.Fprintf(&b, "%s%v\n", name, content)
	}
	return b.String() + "ASSISTANT:"
}

// styleOf is how a model's family marks reasoning and calls.
func (v *variant) styleOf(tools bool) chat.Style {
	template, _ := v.Tokenizer.ChatTemplate(tools)
	return chat.StyleOf(template)
}
