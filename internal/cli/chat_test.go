package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/chat"
)

// talking gives a talk with a tiny model, what it prints, and how to say something.
func talking(t *testing.T) (k *talk, out *strings.Builder, say func(text, want string)) {
	t.Helper()
	model, _ := tinyModel(t)
	out = &strings.Builder{}
	o := chatOptions{MaxTokens: 4}
	o.declareEngine(pflag.NewFlagSet("chat", pflag.ContinueOnError))
	o.Model, o.Threads = model, 1
	k, err := newTalk(t.Context(), Streams{Out: out, Err: out}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.close)
	return k, out, func(text, want string) {
		t.Helper()
		out.Reset()
		if _, err := k.take(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: %q lacks %q", text, out.String(), want)
		}
	}
}

// contents are the texts of a conversation's messages with the first letter of their role.
func contents(k *talk) (list []string) {
	for i, m := range k.messages {
		content, _ := m.(*chat.Dict).Get("content")
		list = append(list, k.roleOf(i)[:1]+":"+content.(string))
	}
	return list
}

func TestChatCommands(t *testing.T) {
	t.Parallel()
	k, _, say := talking(t)
	say("/retry", "no message to answer")
	say("/save x", "no answer to save")
	say("/stats", "messages  0")
	say("/system", "no system prompt")
	say("/system Be brief.", "set")
	say("/system", "Be brief.\n")
	say("/adapter", "no adapter")
	say("/nonsense now", `no command "/nonsense"; /help lists them. A message that begins with / is written //.`)
	say("/reset all", "/reset stands alone")
	say("/save", "Write /save FILE")
	for _, c := range chatCommands {
		say("/help", c.names[0])
	}
	say("//slash", "Ended after 4 tokens: /set max-tokens N allows more.")
	say("\"\"\"/two\nlines\n\"\"\"", "tok/s")
	got := contents(k)
	if len(got) != 5 || got[0] != "s:Be brief." || got[1] != "u:/slash" || got[3] != "u:/two\nlines" {
		t.Fatalf("the conversation is %q", got)
	}
	say("/stats", "messages  5\n")
	say("/set temp -1", "--temp -1: expected 0 or more")
	say("/set temp hot", "expected a number")
	say("/set max-tokens -2", "expected a whole number")
	say("/set colour red", "no setting")
	say("/set max_tokens 9", "max-tokens 9")
	say("/retry", "tok/s")
	if again := contents(k); len(again) != 5 || !slices.Equal(again[:4], got[:4]) || again[4] == got[4] {
		t.Errorf("with more tokens %q, before %q", again, got)
	}
	say("/set temp 2", "temp 2")
	before := contents(k)
	say("/retry", "tok/s")
	if again := contents(k); again[4] == before[4] {
		t.Errorf("the same answer with another seed: %q", again[4])
	}
	say("/system none", "no system prompt")
	if got := contents(k); len(got) != 4 || got[0][0] != 'u' {
		t.Errorf("without a system prompt: %q", got)
	}
	say("/reset", "context cleared")
	if len(k.messages) > 0 {
		t.Error("messages are left")
	}
	if goOn, err := k.take(t.Context(), "/bye"); goOn || err != nil {
		t.Errorf("/bye: %v, %v", goOn, err)
	}
}

// TestChatSavesAndLoads: a saved conversation is a row of a dataset, and goes on where it was.
func TestChatSavesAndLoads(t *testing.T) {
	t.Parallel()
	k, _, say := talking(t)
	path := filepath.Join(t.TempDir(), "train.jsonl")
	say("/system Be brief.", "")
	say("Which pulse?", "tok/s")
	say("/save "+path, "3 messages saved")
	say("/save "+path, "3 messages saved") // its own file
	want := contents(k)
	other := writeFile(t, "mine.txt", "notes")
	say("/save "+other, "is there already")
	if text, _ := os.ReadFile(other); string(text) != "notes" {
		t.Errorf("a file of the user's is now %q", text)
	}
	text, err := os.ReadFile(path)
	var row map[string][]map[string]string
	if err != nil || json.Unmarshal(text, &row) != nil || len(row["messages"]) != 3 || strings.Count(string(text), "\n") != 1 {
		t.Errorf("saved %q, %v", text, err)
	}
	next, _, say := talking(t)
	say("/load "+path, "3 messages loaded")
	if got := contents(next); !slices.Equal(got, want) {
		t.Errorf("loaded %q, saved %q", got, want)
	}
	say("/reset", "")
	if got := contents(next); !slices.Equal(got, want[:1]) {
		t.Errorf("after /reset %q", got)
	}
	say("/load "+writeFile(t, "q.jsonl", `{"messages": [{"role": "user", "content": "And?"}]}`+"\n{}\n"), "the first row alone")
	say("/retry", "tok/s")
	held := contents(next)
	for file, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file", writeFile(t, "a", "[]"): "expected an object with messages",
		writeFile(t, "b", "{"): "Give a file with a row such as /save writes", writeFile(t, "c", `{"messages": [5]}`): "messages[0]: expected an object",
	} {
		say("/load "+file, want)
	}
	if got := contents(next); !slices.Equal(got, held) {
		t.Errorf("what could not be loaded has changed the conversation to %q", got)
	}
}

// TestChatAdapter: the conversation goes on with another adapter, and without one as before.
func TestChatAdapter(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	adapter := filepath.Join(t.TempDir(), "adapter")
	mustRun(t, "", "lora", "--train", "--model", model, "--data", data, "--adapter-path", adapter, "--iters", "3", "--learning-rate", "0.5", "--num-layers", "2", "--threads", "1")
	chatIn := func(in string, more ...string) string {
		return mustRun(t, in, append([]string{"chat", "--model", model, "--max-tokens", "6", "--threads", "1"}, more...)...)
	}
	answers := func(out string) (list []string) {
		lines := strings.Split(out, "\n")
		for i, l := range lines {
			if strings.Contains(l, "tok/s · prompt ") {
				list = append(list, strings.TrimPrefix(lines[i-1], chatPrompt))
			}
		}
		return list
	}
	plain := answers(chatIn("Which pulse?\n"))
	tuned := answers(chatIn("Which pulse?\n", "--adapter-path", adapter))
	switched := answers(chatIn("Which pulse?\n/adapter "+adapter+"\n/retry\n/adapter no/where\n/adapter none\n/retry\n", "--adapter-path", ""))
	if len(plain) != 1 || len(tuned) != 1 || plain[0] == tuned[0] {
		t.Fatalf("plain %q, tuned %q", plain, tuned)
	}
	if want := []string{plain[0], tuned[0], plain[0]}; !slices.Equal(switched, want) {
		t.Errorf("answers %q, want %q", switched, want)
	}
	if off := answers(chatIn("Which pulse?\n/adapter none\n/retry\n", "--adapter-path", adapter)); !slices.Equal(off, []string{tuned[0], plain[0]}) {
		t.Errorf("answers %q", off)
	}
}

// TestChatContextFull: it is told, with what to do, and the chat goes on.
func TestChatContextFull(t *testing.T) {
	t.Parallel()
	k, _, say := talking(t)
	say("Hi", "tok/s")
	k.engine.Model.Config.MaxPositionEmbeddings = k.last.PromptTokens + k.last.GenerationTokens + 60
	held := contents(k)
	_, err := k.take(t.Context(), strings.Repeat("word ", 60))
	if err == nil || !strings.Contains(errorText(err), "the context is full") || !strings.Contains(errorText(err), "/reset") || !strings.Contains(errorText(err), "--max-kv-size N") || exitCode(err) != ExitUsage {
		t.Fatalf("a message that is too long: %v", err)
	}
	if got := contents(k); !slices.Equal(got, held) {
		t.Errorf("the conversation is %q", got)
	}
	k.options.MaxTokens = -1
	say("Hi", "is full, and the answer not complete: /reset")
}

// TestChatInput reads lines and blocks from a pipe.
func TestChatInput(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		"a\r\nb":                                 {"a", "b"},
		"\"\"\"a\nb\n\"\"\"\nc\n":                {"\"\"\"a\nb\n\"\"\"", "c"},
		"\"\"\"one\"\"\"\nc":                     {"\"\"\"one\"\"\"", "c"},
		"a\n\"\"\"b\nc\n":                        {"a", "!the input ends within a block"},
		"\"\"\"b":                                {"!the input ends within a block"},
		strings.Repeat("x", maxMessage+1) + "\n": {"!a message is longer"},
	} {
		var out strings.Builder
		l := Streams{In: strings.NewReader(in), Out: &out}.input()
		var got []string
		for {
			text, err := l.next(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				got = append(got, "!"+err.Error())
				break
			}
			got = append(got, text)
		}
		if !slices.EqualFunc(got, want, func(g, w string) bool { return g == w || w[0] == '!' && strings.HasPrefix(g, w) }) {
			t.Errorf("%.40q: read %q, want %q", in, got, want)
		}
	}
	r, _ := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Streams{In: r, Out: io.Discard}).input().next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the end of ctx does not end the wait: %v", err)
	}
}

// TestChatInterrupts: what each press does.
func TestChatInterrupts(t *testing.T) {
	t.Parallel()
	var i interrupts
	var out strings.Builder
	left := false
	i.leave = func() { left = true }
	if i.press(syscall.SIGTERM, &out) {
		t.Error("SIGTERM was taken")
	}
	ended := 0
	i.answering(func() { ended++ })
	i.press(os.Interrupt, &out)
	i.press(os.Interrupt, &out)
	if ended != 1 || left || !strings.Contains(out.String(), "Ctrl-C again ends the chat") {
		t.Errorf("ended %d answers, left %v, said %q", ended, left, out.String())
	}
	i.answering(nil)
	i.press(os.Interrupt, &out)
	i.heard()
	if i.press(os.Interrupt, &out); left {
		t.Error("left at the first press after a message")
	}
	if i.press(os.Interrupt, &out); !left || !i.left() {
		t.Error("still there after the second press")
	}
	if i.press(os.Interrupt, &out) {
		t.Error("a press was taken after the end")
	}
}

// TestHistory: it is bounded, private, and shared by chats.
func TestHistory(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lentil", "history")
	var warned strings.Builder
	h, other := openHistory(path, &warned), openHistory(path, &warned)
	h.Write("one\ntwo")
	h.Write("one\ntwo")
	other.Write("three")
	again := openHistory(path, &warned)
	if want := []string{"one\ntwo", "three"}; !slices.Equal(again.messages, want) {
		t.Errorf("kept %q", again.messages)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	var long strings.Builder
	for range 2*mostHistory + 1 {
		long.WriteString("\"x\"\nnonsense\n")
	}
	long.WriteString("\"last\"\n")
	os.WriteFile(path, []byte(long.String()), 0o600)
	if h := openHistory(path, &warned); h.Len() != mostHistory || h.messages[h.Len()-1] != "last" {
		t.Errorf("%d messages", h.Len())
	}
	if h := openHistory(path, &warned); h.Len() != mostHistory {
		t.Errorf("%d messages in the file", h.Len())
	}
	if warned.Len() > 0 {
		t.Errorf("warned: %s", warned.String())
	}
	none := openHistory("", &warned)
	none.Write("x")
	folder := openHistory(t.TempDir(), &warned)
	if folder.Write("x"); none.Len() != 1 || folder.Len() != 1 || strings.Count(warned.String(), "No history is kept") != 1 {
		t.Errorf("warned: %s", warned.String())
	}
}
