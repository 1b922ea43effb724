package screen

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/run"
)

// A Bar shows how far one task has come, on one line of a terminal that is redrawn in place.
// On anything but a terminal it shows nothing. A nil *Bar is usable and shows nothing too.
type Bar struct {
	mu      sync.Mutex
	term    *terminal // nil: show nothing
	amount  func(int64) string
	task    string
	started time.Time
	last    time.Time
	now     func() time.Time
}

// NewBar shows on f, commonly os.Stderr. Amounts are written by amount, such as [run.Bytes];
// nil writes plain numbers.
func NewBar(f *os.File, amount func(int64) string) *Bar {
	if amount == nil {
		amount = func(n int64) string { return fmt.Sprint(n) }
	}
	b := &Bar{amount: amount, now: time.Now}
	if IsTerminal(f) {
		b.term = newTerminal(f)
	}
	return b
}

// Set shows that done of total parts of the task are there; total 0 means unknown. A finished task
// takes its line away. What follows a colon in task tells how it comes along, and may change.
func (b *Bar) Set(task string, done, total int) {
	b.Set64(task, int64(done), int64(total))
}

// Set64 is Set for amounts such as bytes.
func (b *Bar) Set64(task string, done, total int64) {
	if b == nil || b.term == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	name, _, _ := strings.Cut(task, ":") // what follows a colon changes with the work, and is no other task
	if name != b.task {
		b.task, b.started, b.last = task, now, time.Time{}
	}
	if total > 0 && done >= total {
		b.task = ""
		b.term.draw("", nil)
		return
	}
	if now.Sub(b.last) < time.Second/maxRedraws {
		return
	}
	b.last = now
	width, _ := b.term.size()
	b.term.draw("", []string{progressLine(b.term, task, done, total, b.amount, now.Sub(b.started), width)})
}

// Clear takes the bar off the screen, so that other lines can be printed.
func (b *Bar) Clear() {
	if b == nil || b.term == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.term.drawn) > 0 {
		b.term.draw("", nil)
	}
	b.task = ""
}

// progressLine lays out "Task  ━━━━────  12/25  48%  3.0s left" for a terminal of the given width.
func progressLine(s *terminal, task string, done, total int64, amount func(int64) string, elapsed time.Duration, width int) string {
	task = strings.ReplaceAll(clean(task), "\n", " ")
	if total <= 0 {
		return fmt.Sprintf("%s  %s  %s", task, amount(done), run.Duration(elapsed))
	}
	share := float64(done) / float64(total)
	tail := fmt.Sprintf("  %s/%s  %3.0f%%", amount(done), amount(total), 100*share)
	if done > 0 {
		left := time.Duration(float64(elapsed) * (1 - share) / share)
		tail += "  " + run.Duration(left) + " left"
	}
	room := min(40, width-1-cells(task)-cells(tail)-2)
	if room < 5 {
		return task + tail
	}
	return task + "  " + s.bar(share, room) + tail
}
