package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// A chatCommand is what a message that begins with / does.
type chatCommand struct {
	names []string // the first is shown; the others do the same
	arg   string   // what follows, for the help; in brackets if it may be left out
	help  string
	do    func(t *talk, ctx context.Context, arg string) error // nil ends the chat
}

// chatCommands are in the order of the help.
var chatCommands []chatCommand

func init() { // /help lists them
	chatCommands = []chatCommand{
		{[]string{"/help"}, "", "this list (h)", func(t *talk, _ context.Context, _ string) error {
			_, err := fmt.Fprint(t.out, chatCommandsHelp())
			return err
		}},
		{[]string{"/exit", "/quit", "/bye"}, "", "end the chat (q, Ctrl-D)", nil},
		{[]string{"/reset"}, "", "forget the conversation and start a new one (r)", (*talk).doReset},
		{[]string{"/retry"}, "", "answer the last message again, with another seed", (*talk).doRetry},
		{[]string{"/system"}, "[TEXT|none]", "show, set or drop the text that tells the model how to behave", (*talk).doSystem},
		{[]string{"/profile"}, "[FILE|none]", "show, set or drop the profile that answers are for", (*talk).doProfile},
		{[]string{"/adapter"}, "[PATH|none]", "show, change or take off the adapter; the conversation stays", (*talk).doAdapter},
		{[]string{"/set"}, "[NAME VALUE]", "show or change temp, top-p, xtc-probability, xtc-threshold, max-tokens, seed", (*talk).doSet},
		{[]string{"/save"}, "FILE", "write the conversation as a row of a dataset (JSONL)", (*talk).doSave},
		{[]string{"/load"}, "FILE", "go on with the conversation of such a file", (*talk).doLoad},
		{[]string{"/stats"}, "", "tokens, speed, how much of the context is used", (*talk).doStats},
	}
}

// chatCommandsHelp explains the commands of a chat.
func chatCommandsHelp() string {
	var b strings.Builder
	b.WriteString("Commands in a chat:\n")
	for _, c := range chatCommands {
		fmt.Fprintf(&b, "  %-22s %s\n", strings.TrimSpace(c.names[0]+" "+c.arg), c.help)
	}
	fmt.Fprintf(&b, "  %-22s %s\n", block, "begins a message of several lines, and ends it")
	fmt.Fprintf(&b, "  %-22s %s\n", "//...", "a message that begins with /")
	return b.String()
}

// command does what a line that begins with / says; goOn is false for the one that ends the chat.
func (t *talk) command(ctx context.Context, line string) (goOn bool, err error) {
	name, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	name = strings.TrimSpace(name)
	i := slices.IndexFunc(chatCommands, func(c chatCommand) bool { return slices.Contains(c.names, name) })
	if i < 0 {
		return true, t.tell("There is no command %.60q; /help lists them. A message that begins with / is written //.", name)
	}
	c := chatCommands[i]
	switch {
	case c.arg == "" && arg != "":
		return true, t.tell("%s stands alone. A message that begins with / is written //.", name)
	case c.arg != "" && c.arg[0] != '[' && arg == "":
		return true, t.tell("Write %s %s.", name, c.arg)
	case c.do == nil:
		return false, t.tell("bye")
	}
	if err := c.do(t, ctx, arg); err != nil {
		if err == errUnanswered || !isMistake(err) {
			return true, err
		}
		return true, t.tell("%s", strings.TrimSuffix(strings.TrimPrefix(errorText(err), "lentil: "), "\n"))
	}
	return true, nil
}

func (t *talk) tell(format string, args ...any) error {
	_, err := fmt.Fprintf(t.out, format+"\n", args...)
	return err
}

// none is the argument that takes something away.
const none = "none"

func (t *talk) doReset(context.Context, string) error {
	t.reset()
	return t.tell("context cleared")
}

func (t *talk) doRetry(ctx context.Context, _ string) error {
	was := t.messages
	switch {
	case t.roleOf(-1) == roleAssistant && t.roleOf(-2) == roleUser:
		t.messages = was[: len(was)-1 : len(was)-1]
		if t.options.Sampling.Temp == 0 {
			if err := t.tell("At temperature 0 the answer is the same each time: /set temp 0.7 lets it differ."); err != nil {
				return err
			}
		}
	case t.roleOf(-1) != roleUser:
		return t.tell("There is no message to answer yet.")
	}
	err := t.answer(ctx)
	if err != nil {
		t.messages = was
	}
	return err
}

// doSystem changes the first message, which the model sees from the next answer on.
func (t *talk) doSystem(_ context.Context, text string) error {
	rest := t.messages
	if t.roleOf(0) == roleSystem {
		rest = rest[1:]
	}
	switch text {
	case "":
		if len(rest) == len(t.messages) {
			return t.tell("There is no system prompt.")
		}
		content, _ := t.messages[0].(*chat.Dict).Get("content")
		return t.tell("%v", content)
	case none:
		t.setup.SystemPrompt, t.messages = "", slices.Clone(rest)
		return t.tell("no system prompt")
	}
	t.setup.SystemPrompt = text
	t.messages = append([]chat.Value{chat.NewMessage(roleSystem, text)}, rest...)
	return t.tell("system prompt set")
}

func (t *talk) doProfile(_ context.Context, path string) error {
	switch path {
	case "":
		if t.setup.Profile.Profile == nil {
			return t.tell("There is no profile.")
		}
		return t.tell("%s", t.setup.Profile.Render())
	case none:
		t.setup.Profile = profileFlag{}
		return t.tell("no profile")
	}
	next := profileFlag{path: path}
	if err := next.read(); err != nil {
		return err
	}
	t.setup.Profile = next
	return t.tell("answers are for %s: %s\n%s", next.ID, summary(next.Profile), next.Notice())
}

func (t *talk) doAdapter(_ context.Context, path string) error {
	switch {
	case path == "" && t.setup.AdapterPath == "":
		return t.tell("There is no adapter on the model.")
	case path == "":
		return t.tell("%s", t.setup.AdapterPath)
	case path == none:
		path = ""
	}
	if err := t.putOn(path); err != nil {
		return err
	}
	if path == "" {
		return t.tell("the model answers without an adapter")
	}
	return t.tell("the model answers with the adapter %s", path)
}

// A chatSetting is one that /set changes.
type chatSetting struct {
	name  fault.Setting
	value *float64 // nil for a whole number
	whole func(n int64)
	show  func() any
}

func (t *talk) settings() []chatSetting {
	s, o := &t.options.Sampling, &t.options
	real := func(name fault.Setting, v *float64) chatSetting {
		return chatSetting{name: name, value: v, show: func() any { return *v }}
	}
	return []chatSetting{
		real("temp", &s.Temp), real("top_p", &s.TopP), real("xtc_probability", &s.XTCProbability), real("xtc_threshold", &s.XTCThreshold),
		{name: "max_tokens", whole: func(n int64) { o.MaxTokens = int(n) }, show: func() any { return o.MaxTokens }},
		{name: "seed", whole: func(n int64) { o.Seed = uint64(n) }, show: func() any { return int64(o.Seed) }},
	}
}

func (t *talk) doSet(_ context.Context, arg string) error {
	name, text, _ := strings.Cut(arg, " ")
	text = strings.TrimSpace(text)
	settings := t.settings()
	if arg == "" {
		for _, s := range settings {
			if err := t.tell("%-16s %v", dashed(s.name), s.show()); err != nil {
				return err
			}
		}
		return nil
	}
	key := fault.Setting(strings.ReplaceAll(strings.TrimLeft(name, "-"), "-", "_"))
	i := slices.IndexFunc(settings, func(s chatSetting) bool { return s.name == key })
	if i < 0 {
		return t.tell("There is no setting %.60q; /set shows those there are.", name)
	}
	s, before := settings[i], t.options
	if s.value != nil {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return t.tell("%s %.60q: expected a number.", dashed(s.name), text)
		}
		*s.value = v
	} else {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || s.name == "max_tokens" && n < -1 {
			return t.tell("%s %.60q: expected a whole number.", dashed(s.name), text)
		}
		s.whole(n)
	}
	if err := t.options.Sampling.Check(); err != nil {
		t.options = before
		return fault.Mark(err)
	}
	return t.tell("%s %v", dashed(s.name), s.show())
}

// dashed is the name of a setting as it is typed.
func dashed(s fault.Setting) string { return strings.ReplaceAll(string(s), "_", "-") }

// maxConversation is the largest file that /load reads, in bytes.
const maxConversation = 64 << 20

// doSave writes a file that this chat wrote before anew, and no other.
func (t *talk) doSave(_ context.Context, path string) error {
	if t.roleOf(-1) != roleAssistant {
		return t.tell("There is no answer to save yet.")
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() > 0 && !t.saved[path] {
		return t.tell("%s is there already: give another name.", path)
	}
	row := jinja.NewDict()
	row.Set("messages", jinja.NewList(t.setup.Profile.Tell(t.messages)...))
	text, err := jinja.FormatJSON(row)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(path, []byte(text+"\n")); err != nil {
		return fault.Mark(err)
	}
	t.saved[path] = true
	return t.tell("%d messages saved to %s", len(t.messages), path)
}

// doLoad takes the first row of a file.
func (t *talk) doLoad(_ context.Context, path string) error {
	text, err := smallfile.ReadAny(path, maxConversation)
	if err != nil {
		return fault.Mark(err)
	}
	first, others, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
	value, err := jinja.ParseJSON(first)
	if err != nil {
		return fault.Of("%s: %w", path, err).Try(`Give a file with a row such as /save writes: {"messages": [...]}`)
	}
	row, ok := value.(*chat.Dict)
	if !ok {
		return fault.Of("%s: expected an object with messages", path).Try(`Give a file with a row such as /save writes: {"messages": [...]}`)
	}
	list, _ := row.Get("messages")
	messages, err := chat.CheckMessages(list)
	if err != nil {
		return fault.Of("%s: %w", path, err)
	}
	was := t.messages
	t.messages = slices.Clone(messages)
	if _, err := t.engine.Prompt(t.messages, t.prompt); err != nil { // the template refuses it
		t.messages = was
		return fault.Of("%s: %w", path, err)
	}
	t.setup.SystemPrompt = ""
	if content, _ := t.messages[0].(*chat.Dict).Get("content"); t.roleOf(0) == roleSystem {
		t.setup.SystemPrompt, _ = content.(string)
		if p := t.setup.Profile.Profile; p != nil && strings.HasSuffix(t.setup.SystemPrompt, p.Render()) { // told already when it was saved
			t.setup.SystemPrompt = strings.TrimSpace(strings.TrimSuffix(t.setup.SystemPrompt, p.Render()))
			if t.messages = t.messages[1:]; t.setup.SystemPrompt != "" {
				t.messages = append([]chat.Value{chat.NewMessage(roleSystem, t.setup.SystemPrompt)}, t.messages...)
			}
		}
	}
	if n := len(bytes.Fields(others)); n > 0 {
		if err := t.tell("Of %s, the first row alone is taken.", path); err != nil {
			return err
		}
	}
	if tools, _ := row.Get("tools"); tools != nil {
		if err := t.tell("Its tools are left out: chat has none."); err != nil {
			return err
		}
	}
	if t.roleOf(-1) == roleUser {
		return t.tell("%d messages loaded; /retry answers the last.", len(t.messages))
	}
	return t.tell("%d messages loaded", len(t.messages))
}

func (t *talk) doStats(context.Context, string) error {
	used := "0"
	if len(t.messages) > 0 {
		tokens, err := t.engine.Prompt(t.setup.Profile.Tell(t.messages), t.prompt)
		if err != nil {
			return err
		}
		used = strconv.Itoa(len(tokens))
	}
	switch limit := t.limit(); {
	case limit > 0:
		used += fmt.Sprintf(" of the %d tokens that the model takes", limit)
	case t.setup.MaxKVSize > 0:
		used += fmt.Sprintf(" tokens, of which %d are remembered at most", t.setup.MaxKVSize)
	default:
		used += " tokens"
	}
	return t.tell("messages  %d\ncontext   %s\nanswers   %d, %d tokens\nlast      %d tokens, %.1f tok/s; prompt %d tokens, %d known before, %.1f tok/s\nmemory    peak %.2f GB",
		len(t.messages), used, t.answers, t.tokens, t.last.GenerationTokens, t.last.GenerationTPS,
		t.last.PromptTokens, t.last.CachedTokens, t.last.PromptTPS, float64(t.engine.PeakMemory())/1e9)
}
