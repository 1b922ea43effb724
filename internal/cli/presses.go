package cli

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/run/screen"
)

// A press is what one more Ctrl-C does.
type press struct {
	text string // said at once: what happens now, and what the next one does
	do   func()
}

// presses answers Ctrl-C and SIGTERM: each does the next of a list, and one beyond the list ends the program.
type presses struct {
	err  *os.File // where it is said; nil: nowhere
	exit func(code int)

	mu      sync.Mutex
	display screen.Display // that is on the screen, and has to make room for what is said
	next    []press
	taken   func(os.Signal) bool // a command that answers by itself; nil for none
}

// newPresses has the first press call stop, and the second end the program.
func newPresses(stop func(), streams Streams) *presses {
	p := &presses{exit: os.Exit, err: fileOf(streams.Err)}
	p.next = []press{{"Stopping. What is finished is kept; nothing half-written gets its name. Ctrl-C again ends at once.", stop}}
	return p
}

// listen answers until done is closed.
func (p *presses) listen(asked <-chan os.Signal, done <-chan struct{}) {
	for {
		select {
		case s := <-asked:
			p.press(s)
		case <-done:
			return
		}
	}
}

func (p *presses) press(s os.Signal) {
	p.mu.Lock()
	taken := p.taken
	p.mu.Unlock()
	if taken != nil && taken(s) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.next) == 0 {
		p.exit(ExitInterrupted)
		return
	}
	now := p.next[0]
	p.next = p.next[1:]
	now.do() // before anything is written: a terminal may hang
	p.say(now.text)
}

// say writes a line, above a view that is drawn on the screen.
func (p *presses) say(text string) {
	switch {
	case p.display != nil:
		p.display.Report(run.Message{Text: fault.Say("%s", text)})
	case p.err != nil && screen.IsTerminal(p.err):
		fmt.Fprintf(p.err, "\r\x1b[K%s\n", text) // over the ^C and a bar
	case p.err != nil:
		fmt.Fprintln(p.err, text)
	}
}

// The methods below do nothing without presses: commands also run where nobody can press Ctrl-C.

// shows tells that a view is on the screen.
func (p *presses) shows(d screen.Display) {
	if p != nil {
		p.mu.Lock()
		p.display = d
		p.mu.Unlock()
	}
}

// stopping says what the first press does to this command.
func (p *presses) stopping(text string) {
	if p != nil {
		p.mu.Lock()
		if len(p.next) > 0 {
			p.next[0].text = text
		}
		p.mu.Unlock()
	}
}

// abandoning gives the second press to a step that is under way. The context ends with it.
func (p *presses) abandoning() context.Context {
	if p == nil {
		return context.Background()
	}
	p.stopping("Finishing this step, then saving. Ctrl-C again gives the step up and saves what is trained before it.")
	ctx, abandon := context.WithCancel(context.Background())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = append(p.next, press{"Giving this step up, and saving. Ctrl-C again ends at once, with nothing saved.", abandon})
	return ctx
}

// take gives all presses to f, as long as it returns true; nil ends that.
func (p *presses) take(f func(os.Signal) bool) {
	if p != nil {
		p.mu.Lock()
		p.taken = f
		p.mu.Unlock()
	}
}
