package screen

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// A fakeTerminal understands just what screen writes: text, newlines, colours, cursor up and erase below.
type fakeTerminal struct {
	width, height int
	lines         [][]rune
	row, column   int
	writes        int
}

func (f *fakeTerminal) Write(p []byte) (int, error) {
	f.writes++
	for s := string(p); s != ""; {
		if seq := colorSequence(s); seq > 0 && !strings.ContainsAny(s[:seq], "AJ") {
			s = s[seq:]
			continue
		}
		if rest, ok := strings.CutPrefix(s, "\x1b["); ok {
			end := strings.IndexAny(rest, "AJ")
			if rest[end] == 'A' {
				n, _ := strconv.Atoi(rest[:end])
				f.row -= n
			} else {
				f.lines = f.lines[:min(len(f.lines), f.row+1)]
				if f.row < len(f.lines) {
					f.lines[f.row] = f.lines[f.row][:min(f.column, len(f.lines[f.row]))]
				}
			}
			s = rest[end+1:]
			continue
		}
		r := []rune(s)[0]
		s = s[len(string(r)):]
		f.put(r)
	}
	return len(p), nil
}

func (f *fakeTerminal) put(r rune) {
	switch r {
	case '\n':
		f.row, f.column = f.row+1, 0
		return
	case '\r':
		f.column = 0
		return
	}
	if f.column == f.width {
		f.row, f.column = f.row+1, 0
	}
	for len(f.lines) <= f.row {
		f.lines = append(f.lines, nil)
	}
	line := f.lines[f.row]
	for len(line) <= f.column {
		line = append(line, ' ')
	}
	line[f.column] = r
	f.lines[f.row] = line
	f.column++
}

func (f *fakeTerminal) text() string {
	var b strings.Builder
	for _, line := range f.lines {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return b.String()
}

func newTestLive(width, height int, fancy bool) (*live, *fakeTerminal, *time.Time) {
	term := &fakeTerminal{width: width, height: height}
	now := time.Unix(1000, 0)
	l := &live{
		term: &terminal{w: term, size: func() (int, int) { return term.width, term.height }, color: fancy, unicode: fancy},
		now:  func() time.Time { return now },
	}
	l.stop = make(chan struct{}) // no ticker: the test's clock stands still
	return l, term, &now
}

// play sends the events of a run of n iterations, each taking a second.
func play(l *live, now *time.Time, n int) {
	l.Report(run.Start{Title: "tiny", FirstIteration: 1, Iterations: n})
	for it := 1; it <= n; it++ {
		if it == 1 || it == n {
			l.Report(run.Validation{Iteration: it, Loss: 4 / float64(it), Seconds: 1})
		}
		*now = now.Add(time.Second)
		l.Report(run.Step{Iteration: it, Loss: 3 / math.Sqrt(float64(it)), Tokens: 10})
		if it%10 == 0 {
			l.Report(run.TrainReport{
				Iteration: it, TrainLoss: 3 / math.Sqrt(float64(it)), LearningRate: 1e-5, IterationsPerSecond: 1,
				TokensPerSecond: 10, TrainedTokens: int64(10 * it), PeakMemory: 1.25,
			})
		}
		if it == n/2 {
			l.Report(run.Warning{Text: fault.Say("half way")})
		}
	}
	l.Report(run.Saved{Iteration: n, Path: "adapters.safetensors"})
}

func TestLiveViewAndSummary(t *testing.T) {
	t.Parallel()
	for _, fancy := range []bool{false, true} {
		live, term, now := newTestLive(80, 24, fancy)
		live.Report(run.Message{Text: fault.Say("Loading model")})
		live.Report(run.Start{Title: "tiny", FirstIteration: 1, Iterations: 40})
		live.Report(run.Step{Iteration: 1, Loss: 3, Tokens: 10})
		*now = now.Add(2 * time.Second)
		live.Report(run.Step{Iteration: 2, Loss: 2, Tokens: 10})
		if got := term.text(); !strings.Contains(got, "2/40    5%  2.0s elapsed, 38s left") {
			t.Errorf("no progress line:\n%s", got)
		}
		play(live, now, 40)
		live.Report(run.End{Outcome: run.Done, Iteration: 40, Seconds: 40})
		got := term.text()
		for _, want := range []string{"Trained 40 iterations in 40s", "train loss 0.949", "0.474", "best 0.100 at iteration 40", "saved adapters.safetensors"} {
			if strings.Count(got, want) != 1 {
				t.Errorf("%q is there %d times in\n%s", want, strings.Count(got, want), got)
			}
		}
		if !strings.HasPrefix(got, "Loading model\nWarning: half way\nTrained 40") {
			t.Errorf("scrollback is not clean:\n%s", got)
		}
		if !fancy && strings.ContainsFunc(got, func(r rune) bool { return r > 127 }) {
			t.Errorf("not ASCII:\n%s", got)
		}
	}
}

func TestLiveDrawsSeldom(t *testing.T) {
	t.Parallel()
	live, term, now := newTestLive(80, 24, true)
	live.Report(run.Start{Title: "tiny", FirstIteration: 1, Iterations: 1000})
	before := term.writes
	for it := 1; it <= 1000; it++ { // one second in all
		*now = now.Add(time.Millisecond)
		live.Report(run.Step{Iteration: it, Loss: 1, Tokens: 10})
	}
	if n := term.writes - before; n > maxRedraws {
		t.Errorf("drawn %d times in a second, at most %d allowed", n, maxRedraws)
	}
}

func TestLiveResize(t *testing.T) {
	t.Parallel()
	live, term, now := newTestLive(90, 30, true)
	play(live, now, 20)
	for _, size := range [][2]int{{20, 5}, {1, 2}, {3, 1}, {200, 60}} {
		term.width, term.height = size[0], size[1]
		*now = now.Add(time.Second)
		live.Report(run.Step{Iteration: 20, Loss: 1, Tokens: 10})
		if n := len(live.term.drawn); n > max(size[1]-1, 0) {
			t.Errorf("%v: %d lines do not fit", size, n)
		}
		for _, line := range live.term.drawn {
			if cells(line) > size[0]-1 {
				t.Errorf("%v: line of %d columns", size, cells(line))
			}
		}
	}
}

func TestControlCharactersStayOut(t *testing.T) {
	t.Parallel()
	live, term, _ := newTestLive(80, 24, true)
	live.Report(run.Message{Text: fault.Say("a\x1b]0;title\x07b\x1b[2J")})
	if got := term.text(); got != "a]0;titleb[2J\n" {
		t.Errorf("got %q", got)
	}
}

func TestChartOfBadLosses(t *testing.T) {
	t.Parallel()
	s := &terminal{unicode: true}
	nan := math.NaN()
	if got := s.chart([]point{{1, nan}, {2, nan}}, []point{{1, math.Inf(1)}}, 1, 10, 80, 6); got != nil {
		t.Errorf("drew NaN: %q", got)
	}
	flat := s.chart([]point{{1, 2}, {5, nan}, {10, 2}}, nil, 1, 10, 80, 6)
	if len(flat) != 6 {
		t.Errorf("flat curve: %q", flat)
	}
}

func TestBar(t *testing.T) {
	t.Parallel()
	term := &fakeTerminal{width: 60, height: 5}
	now := time.Unix(0, 0)
	bar := &Bar{amount: run.Bytes, now: func() time.Time { return now }, term: &terminal{w: term, size: func() (int, int) { return 60, 5 }}}
	bar.Set64("Downloading", 0, 4e9)
	now = now.Add(10 * time.Second)
	bar.Set64("Downloading", 1e9, 4e9)
	if got, want := term.text(), "Downloading  ###----------  1.00 GB/4.00 GB   25%  30s left\n"; got != want {
		t.Errorf("got %q", got)
	}
	bar.Set64("Downloading", 4e9, 4e9)
	if got := strings.TrimSpace(term.text()); got != "" {
		t.Errorf("a finished bar leaves %q", got)
	}
	var none *Bar
	none.Set("x", 1, 2)
	none.Clear()
}

// TestLivePreferences: how often and by how much chosen answers win, while it runs and after.
func TestLivePreferences(t *testing.T) {
	t.Parallel()
	live, term, now := newTestLive(100, 24, false)
	live.Report(run.Start{Title: "tiny", FirstIteration: 1, Iterations: 20})
	figures := func(right, margin float64) run.Figures {
		return run.Figures{{Name: run.RewardsMargins, Value: margin}, {Name: run.RewardsAccuracies, Value: right}}
	}
	live.Report(run.Validation{Iteration: 1, Loss: .69, Figures: figures(0, 0)})
	live.Report(run.TrainReport{Iteration: 10, TrainLoss: .5, Figures: figures(.75, .3124)})
	*now = now.Add(time.Second)
	live.Report(run.Step{Iteration: 11, Loss: .4})
	if got := term.text(); !strings.Contains(got, "preferred 75 %, margin 0.312   o preferred 0 %, margin 0.000") {
		t.Errorf("while it runs:\n%s", got)
	}
	live.Report(run.End{Outcome: run.Done, Iteration: 20, Seconds: 20})
	if got := term.text(); strings.Count(got, "preferred 75 %, margin 0.312") != 1 {
		t.Errorf("at the end:\n%s", got)
	}
}
