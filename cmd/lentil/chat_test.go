//go:build unix

package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/lentil-lm/lentil/internal/cli"
)

// chatting is a chat at a terminal whose answers are random and long, and the file of its history.
func chatting(t *testing.T, more ...string) (p *typist, history string) {
	t.Helper()
	args, _ := training(t, "1")
	history = filepath.Join(t.TempDir(), "state", "history")
	cmd := lentil(t, append([]string{"chat", "--model", args[3], "--temp", "9", "--seed", "1", "--max-tokens", "-1", "--threads", "1"}, more...)...)
	cmd.Env = append(cmd.Env, "LENTIL_HISTORY="+history)
	return atTerminal(t, cmd), history
}

// TestChatAtTerminal talks as a user does: with Ctrl-C in an answer and at the prompt, a paste of several lines, keys that
// move the cursor, characters two columns wide, and the history.
func TestChatAtTerminal(t *testing.T) {
	t.Parallel()
	p, history := chatting(t)
	file := filepath.Join(t.TempDir(), "talk.jsonl")
	p.expect(">> ")
	p.keys("What is fibre?\r")
	p.expect("fibre?")
	p.waitFor(200) // of the answer
	p.keys(ctrlC)
	p.expect("Ended by Ctrl-C; what there is of the answer stays")
	p.expect(">> ")
	p.keys("/set max-tokens 3\r")
	p.expect("max-tokens 3\r\n")
	p.expect(">> ")
	p.keys("\x1b[200~first line\rsecond line\x1b[201~")
	p.expect("second line")
	p.keys("\r")
	p.expect("Ended after 3 tokens")
	p.expect(">> ")
	p.keys("日本語") // then one to the left, and the one before it away
	p.expect("語")
	p.keys("\x1b[D\x7f\r")
	p.expect("Ended after 3 tokens")
	p.expect(">> ")
	for range 2 { // the second one takes back what was typed after the first
		p.keys("thrown away")
		p.expect("away")
		p.keys(ctrlC)
		p.expect("Ctrl-C again or Ctrl-D ends the chat")
		p.expect(">> ")
	}
	p.keys("temp 0\x01/set \r") // Ctrl-A
	p.expect("temp 0\r\n")
	p.expect(">> ")
	p.keys("\x1b[A\x1b[A\r") // the message before the last command
	p.expect("Ended after 3 tokens")
	p.expect(">> ")
	p.keys("/save " + file + "\r")
	p.expect("8 messages saved to")
	p.expect(">> ")
	p.keys(ctrlC)
	p.expect("ends the chat")
	p.keys(ctrlC)
	p.ends(cli.ExitOK)

	var row struct {
		Messages []struct{ Role, Content string } `json:"messages"`
	}
	text, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(text, &row) != nil {
		t.Fatal(err)
	}
	var asked []string
	for i, m := range row.Messages {
		if m.Role == "user" {
			asked = append(asked, m.Content)
		} else if m.Content == "" {
			t.Errorf("message %d is empty", i)
		}
	}
	if want := []string{"What is fibre?", "first line\nsecond line", "日語", "日語"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	info, err := os.Stat(history)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("history: %v, %v", info, err)
	}
	if kept, _ := os.ReadFile(history); !strings.Contains(string(kept), `"first line\nsecond line"`) || strings.Contains(string(kept), "thrown away") {
		t.Errorf("the history is\n%s", kept)
	}
}

// TestChatEnds: Ctrl-D and SIGTERM end a chat at the prompt.
func TestChatEnds(t *testing.T) {
	t.Parallel()
	p, _ := chatting(t)
	p.expect(">> ")
	p.keys("\x04")
	p.ends(cli.ExitOK)

	p, _ = chatting(t)
	p.expect(">> ")
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.ends(cli.ExitInterrupted)
}

// TestPipedChat: Ctrl-C ends the answer under way, and the next message is answered; a second one ends the chat.
func TestPipedChat(t *testing.T) {
	t.Parallel()
	args, _ := training(t, "1")
	cmd := lentil(t, "chat", "--model", args[3], "--temp", "9", "--max-tokens", "-1", "--threads", "1")
	cmd.Stdin = strings.NewReader(strings.Repeat("Why?\n", 100))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	until := func(want string, more int) {
		t.Helper()
		for b := make([]byte, 512); !strings.Contains(said.String(), want); {
			n, err := out.Read(b)
			if said.Write(b[:n]); err != nil {
				t.Fatalf("no %q in %s", want, said.String())
			}
		}
		for b, end := make([]byte, 64), said.Len()+more; said.Len() < end; {
			n, err := out.Read(b)
			if said.Write(b[:n]); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(">> ", 100)
	cmd.Process.Signal(os.Interrupt)
	until("Ended by Ctrl-C", 300)
	cmd.Process.Signal(os.Interrupt)
	io.Copy(&said, out)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != cli.ExitInterrupted || strings.Count(said.String(), ">> ") > 10 {
		t.Errorf("exit code %d after\n%s", code, said.String())
	}
}
