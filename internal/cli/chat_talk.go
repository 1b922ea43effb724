package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
)

// A talk is a conversation going on.
type talk struct {
	streams Streams
	out     io.Writer
	setup   chatOptions // as the command line had it; the adapter is that in use

	base    *engine.Engine // without an adapter
	engine  *engine.Engine // base, or one over the same weights
	session *engine.Session

	prompt   engine.PromptOptions
	options  generate.Options
	messages []chat.Value
	saved    map[string]bool // files that /save wrote

	last    generate.Stats // of the last answer
	answers int
	tokens  int // of all answers

	interrupts
}

func newTalk(ctx context.Context, streams Streams, o chatOptions) (*talk, error) {
	kwargs, err := templateConfig("chat_template_config", o.TemplateConfig)
	if err != nil {
		return nil, err
	}
	t := &talk{streams: streams, out: streams.Out, setup: o, prompt: engine.PromptOptions{Kwargs: kwargs}, saved: map[string]bool{}}
	t.options = generate.Options{MaxTokens: o.MaxTokens, Sampling: o.Sampling.Sampling, Seed: uint64(o.Sampling.seed), PrefillStep: o.PrefillStep}
	flags := o.sessionFlags
	flags.AdapterPath = "" // so that /adapter none finds the model as it is
	if t.base, t.session, err = flags.open(ctx, streams); err != nil {
		return nil, err
	}
	t.engine = t.base
	if template, err := t.base.Template(); template == nil {
		t.close()
		return nil, fault.Mark(cmp.Or(err, chat.ErrNoTemplate))
	}
	if o.AdapterPath != "" {
		if err := t.putOn(o.AdapterPath); err != nil {
			t.close()
			return nil, err
		}
	}
	t.reset()
	return t, nil
}

func (t *talk) close() {
	t.streams.presses.take(nil)
	t.session.Close()
	if t.engine != t.base {
		t.engine.Close()
	}
	t.base.Close()
}

// putOn goes on with the adapter of a folder, or without one where path is empty. The conversation stays; the model
// reads it again.
func (t *talk) putOn(path string) error {
	next := t.base
	if path != "" {
		var err error
		if next, err = t.base.With(path); err != nil {
			return err
		}
	}
	session, err := next.Session(t.setup.remembering())
	if err != nil {
		if next != t.base {
			next.Close()
		}
		return err
	}
	t.session.Close()
	if t.engine != t.base {
		t.engine.Close()
	}
	t.engine, t.session, t.setup.AdapterPath = next, session, path
	return nil
}

// reset starts a new conversation. The session notices by itself that the next prompt begins otherwise.
func (t *talk) reset() {
	t.messages = nil
	if t.setup.SystemPrompt != "" {
		t.messages = []chat.Value{chat.NewMessage(roleSystem, t.setup.SystemPrompt)}
	}
}

// The roles of messages that chat makes.
const (
	roleSystem    = "system"
	roleUser      = "user"
	roleAssistant = "assistant"
)

// roleOf is the role of message i, counted from the end if it is negative; empty where there is none.
func (t *talk) roleOf(i int) string {
	if i < 0 {
		i += len(t.messages)
	}
	if i < 0 || i >= len(t.messages) {
		return ""
	}
	role, _ := t.messages[i].(*chat.Dict).Get("role")
	text, _ := role.(string)
	return text
}

// run talks until the user ends it.
func (t *talk) run(ctx context.Context, in input) error {
	var cancelled context.CancelFunc
	ctx, cancelled = context.WithCancel(ctx)
	defer cancelled()
	t.leave = cancelled
	t.out = t.streams.Out
	t.streams.presses.take(func(s os.Signal) bool { return t.press(s, t.out) })
	_, typed := in.(*editor)
	t.piped = !typed
	for !t.left() {
		text, err := in.next(ctx)
		switch {
		case errors.Is(err, errCleared):
			if text != "" {
				t.heard()
			}
			t.press(os.Interrupt, t.out)
			continue
		case t.left():
			continue
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		t.heard()
		goOn, err := t.take(ctx, text)
		switch {
		case t.left():
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case err == errUnanswered:
			fmt.Fprintln(t.out, "\nNo answer: it was ended before its first word. The question is not part of the conversation.")
		case err != nil && (!typed || !isMistake(err)):
			return err
		case err != nil: // the conversation is worth more than one message
			fmt.Fprint(t.out, errorText(err))
		}
		if !goOn {
			return nil
		}
	}
	if typed {
		return nil
	}
	return context.Canceled // what was piped in has not all been answered
}

func isMistake(err error) bool { return exitCode(err) == ExitUsage }

// take does what the user says; goOn is false at the end of the chat.
func (t *talk) take(ctx context.Context, text string) (goOn bool, err error) {
	if inner, ok := strings.CutPrefix(text, block); ok {
		inner = strings.TrimSuffix(strings.TrimRight(inner, " \t"), block)
		if inner = strings.Trim(inner, "\n"); inner == "" {
			return true, nil
		}
		return true, t.ask(ctx, inner)
	}
	switch text { // mlx-lm's
	case "q":
		text = "/exit"
	case "r":
		text = "/reset"
	case "h":
		text = "/help"
	}
	switch {
	case strings.TrimSpace(text) == "":
		return true, nil
	case strings.HasPrefix(text, "//"):
		return true, t.ask(ctx, text[1:])
	case strings.HasPrefix(text, "/"):
		return t.command(ctx, text)
	}
	return true, t.ask(ctx, text)
}

// ask adds the user's turn and the model's to the conversation; neither, if there is no answer.
func (t *talk) ask(ctx context.Context, question string) error {
	t.messages = append(t.messages, chat.NewMessage(roleUser, question))
	err := t.answer(ctx)
	if err != nil {
		t.messages = t.messages[:len(t.messages)-1]
	}
	return err
}

// errUnanswered says that Ctrl-C came before the first word of an answer.
var errUnanswered = errors.New("the answer was ended before its first word")

// answer adds the model's turn to a conversation that ends with the user's.
func (t *talk) answer(ctx context.Context) error {
	tokens, err := t.engine.Prompt(t.setup.Profile.Tell(t.messages), t.prompt)
	if err != nil {
		return err
	}
	options := t.options
	room, err := t.room(len(tokens))
	if err != nil {
		return err
	}
	if options.MaxTokens < 0 || room < options.MaxTokens {
		options.MaxTokens = room
	}
	t.options.Seed++ // the next answer has random numbers of its own
	text, finish, err := t.stream(ctx, tokens, options)
	if err != nil {
		return err
	}
	t.messages = append(t.messages, chat.NewMessage(roleAssistant, text))
	t.answers++
	t.tokens += t.last.GenerationTokens
	if hits := t.setup.Profile.hits(text); len(hits) > 0 {
		fmt.Fprintln(t.out)
		tellHits(t.out, t.setup.Profile.ID, hits)
	}
	_, err = fmt.Fprintf(t.out, "\n%d tokens · %.1f tok/s · prompt %.1f tok/s · peak %.2f GB\n%s",
		t.last.GenerationTokens, t.last.GenerationTPS, t.last.PromptTPS, float64(t.engine.PeakMemory())/1e9, t.remark(finish, room))
	return err
}

// finishCut is how an answer ends that Ctrl-C has ended.
const finishCut = "cut"

// stream prints an answer while it comes.
func (t *talk) stream(ctx context.Context, tokens []int32, options generate.Options) (answer, finish string, err error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	t.answering(end)
	defer t.answering(nil)
	var text strings.Builder
	t.last = generate.Stats{}
	for piece, err := range t.session.Stream(ctx, tokens, options) {
		if errors.Is(err, context.Canceled) {
			if text.Len() == 0 {
				return "", "", errUnanswered
			}
			return text.String(), finishCut, nil
		}
		if err != nil {
			return "", "", err
		}
		if _, err := io.WriteString(t.out, piece.Text); err != nil {
			return "", "", err
		}
		text.WriteString(piece.Text)
		t.last, finish = piece.Stats, piece.Finish
	}
	return text.String(), finish, nil
}

// limit is how many tokens a conversation may have; 0 for no limit.
func (t *talk) limit() int {
	if t.setup.MaxKVSize > 0 {
		return 0 // it forgets what is old
	}
	return t.engine.Model.Config.MaxPositionEmbeddings
}

// room is how many tokens an answer to a prompt may have; -1 for no limit.
func (t *talk) room(prompt int) (int, error) {
	limit := t.limit()
	switch {
	case limit == 0:
		return t.options.MaxTokens, nil
	case prompt >= limit:
		return 0, fault.Of("the context is full: with this message the conversation has %d tokens, and the model takes %d", prompt, limit).
			Try("/reset begins a new one and /save FILE keeps this one; %v N, when the chat is started, has old turns forgotten.", fault.Setting("max_kv_size"))
	}
	return limit - prompt, nil
}

// remark tells what the figures of an answer do not.
func (t *talk) remark(finish string, room int) string {
	var b strings.Builder
	switch limit := t.limit(); {
	case finish == finishCut:
		b.WriteString("Ended by Ctrl-C; what there is of the answer stays in the conversation.\n")
	case finish == generate.FinishLength && limit > 0 && t.last.GenerationTokens >= room:
		fmt.Fprintf(&b, "The context of %d tokens is full, and the answer not complete: /reset begins a new conversation, /save FILE keeps this one.\n", limit)
	case finish == generate.FinishLength:
		fmt.Fprintf(&b, "Ended after %d tokens: /set max-tokens N allows more.\n", t.options.MaxTokens)
	}
	used := t.last.PromptTokens + t.last.GenerationTokens
	if limit := t.limit(); limit > 0 && used < limit && 4*used >= 3*limit {
		fmt.Fprintf(&b, "%d of the %d tokens that the model takes are used.\n", used, limit)
	}
	if most := t.setup.MaxKVSize; most > 0 && used > most {
		fmt.Fprintf(&b, "The conversation has %d tokens, of which the model remembers %d: its oldest turns are forgotten. /reset begins a new one.\n", used, most)
	}
	return b.String()
}

// interrupts answer Ctrl-C in a chat: a press ends an answer that is being written; where there is none, the first says
// how to leave, and the second leaves. Where messages are piped in, the next answer follows at once, and any second press leaves.
type interrupts struct {
	mu      sync.Mutex
	presses int                // since the user last said something
	end     context.CancelFunc // of the answer under way; nil for none
	piped   bool
	leave   context.CancelFunc
	gone    bool
}

// press takes a press of Ctrl-C. It takes no other signal.
func (i *interrupts) press(s os.Signal, out io.Writer) bool {
	if s != os.Interrupt {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.presses++
	switch {
	case i.end != nil && i.presses == 1:
		i.end()
	case i.end != nil && i.presses == 2 && !i.piped:
		fmt.Fprintln(out, "\nThe answer is ending. Ctrl-C again ends the chat.")
	case i.presses == 1:
		fmt.Fprintln(out, "Ctrl-C again or Ctrl-D ends the chat; /help lists the commands.")
	case i.gone:
		return false
	default:
		i.gone = true
		i.leave()
	}
	return true
}

// answering tells how the answer under way is ended, or that there is none any more.
func (i *interrupts) answering(end context.CancelFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.end = end; end == nil && !i.piped {
		i.presses = 0
	}
}

// heard forgets the presses before the user said something.
func (i *interrupts) heard() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.piped {
		i.presses = 0
	}
}

// left tells whether the user has left.
func (i *interrupts) left() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.gone
}
