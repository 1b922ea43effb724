package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/reeflective/readline"
	"golang.org/x/term"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run/screen"
)

// An input gives what the user says, one message or command at a time, of one line or several; io.EOF is the end.
type input interface {
	next(ctx context.Context) (string, error)
}

// errCleared says that Ctrl-C has taken back what was typed; what that was comes with it.
var errCleared = errors.New("cleared")

const (
	chatPrompt = ">> "
	morePrompt = ".. "
	// block stands around a message of several lines.
	block = `"""`
	// maxMessage is the longest message that chat takes, in bytes.
	maxMessage = 1 << 20
)

// input edits lines at a terminal, and reads them from anything else.
func (s Streams) input() input {
	in, ok := s.In.(*os.File)
	if !ok || !screen.IsTerminal(in) || !s.outIsTerminal() {
		return &lines{in: bufio.NewReader(s.In), out: s.Out}
	}
	return newEditor(in, s.Err)
}

// unclosed tells whether a message begins as a block that has not ended.
func unclosed(text string) bool {
	rest, ok := strings.CutPrefix(text, block)
	return ok && !strings.HasSuffix(strings.TrimRight(rest, " \t"), block)
}

// lines reads messages from a pipe or a file: one a line, or a block of several.
type lines struct {
	in  *bufio.Reader
	out io.Writer
}

// next reads a message. Nothing is known of the input once ctx has ended.
func (l *lines) next(ctx context.Context) (string, error) {
	return wait(ctx, func() (string, error) {
		fmt.Fprint(l.out, chatPrompt)
		text, err := l.line("")
		for err == nil && unclosed(text) {
			fmt.Fprint(l.out, morePrompt)
			text, err = l.line(text + "\n")
		}
		if err == io.EOF {
			fmt.Fprintln(l.out)
		}
		return text, err
	})
}

// line reads a line onto the end of a text. At the end of the input there is none: a block that was not closed is no message.
func (l *lines) line(text string) (string, error) {
	for {
		part, err := l.in.ReadSlice('\n')
		if text += string(part); len(text) > maxMessage {
			return "", fault.Of("a message is longer than %d bytes", maxMessage).Try("Shorten it.")
		}
		switch {
		case err == bufio.ErrBufferFull:
		case err == io.EOF && len(part) > 0 && unclosed(text):
			return "", fault.Of("the input ends within a block that began with %s", block).Try("Close it with %s.", block)
		case err == nil || err == io.EOF && len(part) > 0:
			return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), nil
		case err == io.EOF && text != "":
			return "", fault.Of("the input ends within a block that began with %s", block).Try("Close it with %s.", block)
		default:
			return "", err
		}
	}
}

// wait gives what f gives, or the error of ctx if that ends first.
func wait(ctx context.Context, f func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := f()
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// An editor has lines edited at a terminal, with a history. What is pasted is one message, however many lines it has.
type editor struct {
	terminal int
	shell    *readline.Shell
}

// newEditor warns of a history that cannot be read or kept.
func newEditor(in *os.File, warn io.Writer) *editor {
	shell := readline.NewShell()
	shell.Prompt.Primary(func() string { return chatPrompt })
	shell.Prompt.Secondary(func() string { return morePrompt })
	shell.AcceptMultiline = func(line []rune) bool { return !unclosed(string(line)) }
	shell.PasteTransformer = screen.Clean
	shell.Config.Set("enable-bracketed-paste", true)
	shell.Config.Set("cursor-position-probe", false) // not every terminal answers
	shell.Config.Set("echo-control-characters", false)
	shell.History.Delete()
	shell.History.Add("lentil", openHistory(historyPath(), warn))
	return &editor{int(in.Fd()), shell}
}

func (e *editor) next(ctx context.Context) (string, error) {
	before, err := term.GetState(e.terminal)
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	text, err := wait(ctx, e.shell.Readline)
	switch {
	case errors.Is(err, readline.ErrInterrupt):
		return text, errCleared
	case ctx.Err() != nil: // the reader still waits, and would leave the terminal as it is
		term.Restore(e.terminal, before)
		fmt.Print("\x1b[?2004l\n")
	}
	return text, err
}
