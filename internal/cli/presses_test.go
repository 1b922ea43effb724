package cli

import (
	"os"
	"slices"
	"syscall"
	"testing"
)

// TestPresses: each Ctrl-C does one thing more, and the last ends the program at once.
func TestPresses(t *testing.T) {
	t.Parallel()
	var did []string
	p := newPresses(func() { did = append(did, "stop") }, Streams{})
	p.exit = func(code int) {
		if code != ExitInterrupted {
			t.Errorf("exit code %d", code)
		}
		did = append(did, "exit")
	}
	step := p.abandoning()
	for _, want := range []string{"stop", "stop", "exit"} {
		p.press(os.Interrupt)
		if len(did) == 0 || did[len(did)-1] != want {
			t.Errorf("did %v, expected %s", did, want)
		}
	}
	if step.Err() == nil {
		t.Error("the step goes on")
	}
	p.take(func(s os.Signal) bool { return s == os.Interrupt })
	before := len(did)
	if p.press(os.Interrupt); len(did) != before {
		t.Error("a press that the command has taken did something")
	}
	if p.press(syscall.SIGTERM); !slices.Equal(did, []string{"stop", "exit", "exit"}) {
		t.Errorf("did %v", did)
	}
	var none *presses // of a command that nobody can interrupt
	none.stopping("text")
	none.take(nil)
	if none.abandoning().Err() != nil {
		t.Error("abandoned without a press")
	}
}
