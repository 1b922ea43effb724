package screen

import (
	"os"
	"time"

	"github.com/lentil-lm/lentil/run"
)

// A Display is a Reporter with a screen to give back.
type Display interface {
	run.Reporter
	Close()
}

// New shows a run on out: redrawn in place on a terminal, in mlx-lm's lines elsewhere, with bars for
// progress on the other file.
func New(out, progress *os.File) Display {
	if IsTerminal(out) {
		return &live{term: newTerminal(out), now: time.Now}
	}
	c := &classic{w: out, bar: NewBar(progress, nil)}
	if cleaner, ok := NewCleaner(out); ok { // a terminal that cannot redraw lines
		c.w = cleaner
	}
	return c
}
