package run

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/fault"
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

func newTestLive(width, height int, fancy bool) (*Live, *fakeTerminal, *time.Time) {
	term := &fakeTerminal{width: width, height: height}
	now := time.Unix(1000, 0)
	live := &Live{
		screen: &screen{w: term, size: func() (int, int) { return term.width, term.height }, color: fancy, unicode: fancy},
		now:    func() time.Time { return now },
	}
	live.stop = make(chan struct{}) // no ticker: the test's clock stands still
	return live, term, &now
}

// play sends the events of a run of n iterations, each taking a second.
func play(live *Live, now *time.Time, n int) {
	live.Report(Start{Title: "tiny", FirstIteration: 1, Iterations: n})
	for it := 1; it <= n; it++ {
		if it == 1 || it == n {
			live.Report(Validation{it, 4 / float64(it), 1})
		}
		*now = now.Add(time.Second)
		live.Report(Step{it, 3 / math.Sqrt(float64(it)), 10})
		if it%10 == 0 {
			live.Report(TrainReport{it, 3 / math.Sqrt(float64(it)), 1e-5, 1, 10, int64(10 * it), 1.25})
		}
		if it == n/2 {
			live.Report(Warning{fault.Say("half way")})
		}
	}
	live.Report(Saved{n, "adapters.safetensors", ""})
}

func TestLiveViewAndSummary(t *testing.T) {
	t.Parallel()
	for _, fancy := range []bool{false, true} {
		live, term, now := newTestLive(80, 24, fancy)
		live.Report(Message{fault.Say("Loading model")})
		live.Report(Start{Title: "tiny", FirstIteration: 1, Iterations: 40})
		live.Report(Step{1, 3, 10})
		*now = now.Add(2 * time.Second)
		live.Report(Step{2, 2, 10})
		if got := term.text(); !strings.Contains(got, "2/40    5%  ETA 38s") {
			t.Errorf("no progress line:\n%s", got)
		}
		play(live, now, 40)
		live.Report(End{Done, 40, 40, ""})
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
	live.Report(Start{Title: "tiny", FirstIteration: 1, Iterations: 1000})
	before := term.writes
	for it := 1; it <= 1000; it++ { // one second in all
		*now = now.Add(time.Millisecond)
		live.Report(Step{it, 1, 10})
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
		live.Report(Step{20, 1, 10})
		if n := len(live.screen.drawn); n > max(size[1]-1, 0) {
			t.Errorf("%v: %d lines do not fit", size, n)
		}
		for _, line := range live.screen.drawn {
			if cells(line) > size[0]-1 {
				t.Errorf("%v: line of %d columns", size, cells(line))
			}
		}
	}
}

func TestControlCharactersStayOut(t *testing.T) {
	t.Parallel()
	live, term, _ := newTestLive(80, 24, true)
	live.Report(Message{fault.Say("a\x1b]0;title\x07b\x1b[2J")})
	if got := term.text(); got != "a]0;titleb[2J\n" {
		t.Errorf("got %q", got)
	}
}

func TestChartOfBadLosses(t *testing.T) {
	t.Parallel()
	s := &screen{unicode: true}
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
	bar := &Bar{amount: Bytes, now: func() time.Time { return now }, screen: &screen{w: term, size: func() (int, int) { return 60, 5 }}}
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
