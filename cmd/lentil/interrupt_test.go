//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/creack/pty"

	"github.com/lentil-lm/lentil/internal/cli"
)

const ctrlC = "\x03"

// A typist sits at a terminal that a program runs in.
type typist struct {
	t     *testing.T
	tty   interface{ Write([]byte) (int, error) }
	cmd   *exec.Cmd
	mu    sync.Mutex
	shown string        // all that the program has shown
	read  int           // how much of that expect has gone past
	more  chan struct{} // tells of more; closed at the end
}

// atTerminal starts a program in a terminal of its own.
func atTerminal(t *testing.T, cmd *exec.Cmd, env ...string) *typist {
	t.Helper()
	cmd.Env = append(append(cmd.Env, "TERM=xterm", "NO_COLOR=1", "INPUTRC=/dev/null"), env...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		t.Skipf("needs a pseudo terminal, which this system does not give: %v", err)
	}
	t.Cleanup(func() { tty.Close() })
	p := &typist{t: t, tty: tty, cmd: cmd, more: make(chan struct{}, 1)}
	go func() {
		defer close(p.more)
		for b := make([]byte, 4096); ; {
			n, err := tty.Read(b)
			p.mu.Lock()
			p.shown += string(b[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
			select {
			case p.more <- struct{}{}:
			default:
			}
		}
	}()
	return p
}

// controls are the sequences that move the cursor and set colours.
var controls = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)

// text is what stands on the screen from an offset on, roughly.
func (p *typist) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return controls.ReplaceAllString(p.shown[p.read:], "")
}

// expect waits until the program has shown a text, after what was expected before.
func (p *typist) expect(want string) {
	p.t.Helper()
	deadline := time.After(time.Minute)
	for {
		p.mu.Lock()
		at := strings.Index(p.shown[p.read:], want)
		if at >= 0 {
			p.read += at + len(want)
		}
		p.mu.Unlock()
		if at >= 0 {
			return
		}
		select {
		case _, ok := <-p.more:
			if !ok && !strings.Contains(p.text(), want) {
				p.t.Fatalf("the program ended without %q, after\n%s", want, p.text())
			}
		case <-deadline:
			p.t.Fatalf("no %q in\n%q", want, p.text())
		}
	}
}

// waitFor waits until the program has shown so many bytes more.
func (p *typist) waitFor(bytes int) {
	p.t.Helper()
	for len(p.text()) < bytes {
		if _, ok := <-p.more; !ok {
			p.t.Fatalf("the program ended after\n%s", p.text())
		}
	}
}

func (p *typist) keys(keys string) {
	p.t.Helper()
	if _, err := p.tty.Write([]byte(keys)); err != nil {
		p.t.Fatal(err)
	}
}

// ends waits for the end with an exit code.
func (p *typist) ends(code int) {
	p.t.Helper()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if got := p.cmd.ProcessState.ExitCode(); err != nil && !errors.As(err, &exit) || got != code {
		p.t.Fatalf("exit code %d, %v; expected %d after\n%s", got, err, code, p.text())
	}
}

// TestCtrlCInTraining: the first Ctrl-C says what happens and ends the step that is under way. The second one gives that
// step up, and the steps before it are saved.
func TestCtrlCInTraining(t *testing.T) {
	t.Parallel()
	const slow = "60" // rows a step
	args, adapter := training(t, "1000000")
	for i, a := range args {
		if args[max(i-1, 0)] == "--batch-size" && a == "1" {
			args[i] = slow
		}
	}
	p := atTerminal(t, lentil(t, append(args, "--num-layers", "-1")...))
	p.expect(" 1/1000000")
	p.keys(ctrlC)
	p.expect("Finishing this step, then saving. Ctrl-C again gives the step up")
	p.keys(ctrlC)
	began := time.Now()
	p.expect("Giving this step up, and saving. Ctrl-C again ends at once")
	p.expect("To go on from iteration")
	p.ends(cli.ExitInterrupted)
	t.Logf("ended %v after the second Ctrl-C", time.Since(began))
	if saved, _ := filepath.Glob(filepath.Join(adapter, "000000*_adapters.safetensors")); len(saved) != 1 {
		t.Errorf("saved %v", saved)
	}
}

// TestCtrlCInOthers: each command says at once what Ctrl-C does, and ends.
func TestCtrlCInOthers(t *testing.T) {
	t.Parallel()
	args, _ := training(t, "1")
	model := args[3]
	p := atTerminal(t, lentil(t, "perplexity", "--model", model, "--data-path", filepath.Join(filepath.Dir(model), "data"), "--num-samples", "-1", "--sequence-length", "32", "--threads", "1"))
	p.expect("Processed 1/")
	p.keys(ctrlC)
	p.expect("a part of the measure is no measure")
	p.expect("interrupted")
	p.ends(cli.ExitInterrupted)
}

// TestTerminalIsNotSteered: what files and names say does not reach a terminal as control characters. Elsewhere it stays
// as it is, to the byte.
func TestTerminalIsNotSteered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const hostile = "\x1b]0;owned\x07\x1b[31mred \u202egpj.exe \u009b5m \u05e9\u05dc\u05d5\u05dd"
	template, refusal, messages := filepath.Join(dir, "t.jinja"), filepath.Join(dir, "r.jinja"), filepath.Join(dir, "m.json")
	for path, text := range map[string]string{template: "BEGIN " + hostile + " END", refusal: "{{ raise_exception('" + hostile + "') }}", messages: `[{"role": "user", "content": "x"}]`} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"render", "--template", template, "--messages", messages}
	piped, err := lentil(t, args...).Output()
	if want := "BEGIN " + hostile + " END"; err != nil || string(piped) != want {
		t.Fatalf("into a pipe: %q, %v; want %q", piped, err, want)
	}
	for name, c := range map[string]struct {
		args []string
		term string
		want string
	}{
		"text":     {args, "TERM=xterm", "BEGIN ]0;owned[31mred gpj.exe 5m \u05e9\u05dc\u05d5\u05dd END"},
		"dumb":     {args, "TERM=dumb", "BEGIN ]0;owned[31mred gpj.exe 5m \u05e9\u05dc\u05d5\u05dd END"},
		"mistake":  {[]string{"render", "--template", refusal, "--messages", messages}, "TERM=xterm", "red gpj.exe"},
		"training": {[]string{"lora", "--train", "--model", dir, "--data", dir + "/" + hostile}, "TERM=dumb", "lentil: "},
	} {
		p := atTerminal(t, lentil(t, c.args...), c.term)
		p.cmd.Wait()
		for range p.more { // until its end
		}
		shown := p.shown
		steers := func(r rune) bool { return r == '\u202e' || unicode.IsControl(r) && r != '\n' && r != '\r' }
		if !strings.Contains(shown, c.want) || strings.ContainsFunc(shown, steers) {
			t.Errorf("%s: shows %q", name, shown)
		}
	}
}
