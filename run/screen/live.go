package screen

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/run"
)

// chartRows is the height of the loss curve in lines.
const chartRows = 6

// live shows a run on a terminal: progress, time left, speed, losses and a small loss curve, redrawn in
// place at the bottom of the screen. Messages and warnings go into the scrollback above it, and a summary
// stays when the run ends.
type live struct {
	mu   sync.Mutex
	term *terminal
	now  func() time.Time
	last time.Time     // of the last drawing
	stop chan struct{} // ends the ticker; nil while none runs
	view view
}

// Report takes the event into the view.
func (l *live) Report(e run.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	above := l.view.take(e, now, l.term)
	switch e.(type) {
	case run.Start:
		l.startTicker()
	case run.End:
		l.stopTicker()
	case run.Step, run.Progress:
		if now.Sub(l.last) < time.Second/maxRedraws {
			return
		}
	}
	l.draw(above, now)
}

// Close takes the live area off the screen. What is in the scrollback stays.
func (l *live) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopTicker()
	l.term.draw("", nil)
}

func (l *live) draw(above string, now time.Time) {
	l.last = now
	width, height := l.term.size()
	l.term.draw(above, l.view.lines(l.term, now, width, height))
}

// startTicker keeps the clock on the screen going while a step takes long, and follows changes of the
// terminal's size.
func (l *live) startTicker() {
	if l.stop != nil {
		return
	}
	stop := make(chan struct{})
	l.stop = stop
	go func() {
		tick := time.NewTicker(time.Second / 2)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			l.mu.Lock()
			if now := l.now(); l.stop == stop && now.Sub(l.last) >= time.Second/2 {
				l.draw("", now)
			}
			l.mu.Unlock()
		}
	}()
}

func (l *live) stopTicker() {
	if l.stop != nil {
		close(l.stop)
		l.stop = nil
	}
}

// A view is what live knows of the run.
type view struct {
	start     run.Start
	running   bool
	began     time.Time
	iteration int // the last finished one
	train     []point
	val       []point
	report    run.TrainReport
	valid     run.Figures // of the last validation
	firstLoss float64     // of the first report
	saved     string
	progress  run.Progress
	taskBegan time.Time
}

// take changes the view by an event and gives the text that belongs into the scrollback.
func (v *view) take(e run.Event, now time.Time, s *terminal) (above string) {
	switch e := e.(type) {
	case run.Start:
		*v = view{start: e, running: true, began: now, iteration: max(e.FirstIteration, 1) - 1}
	case run.Plan, run.TestReport, run.Asked:
		v.progress = run.Progress{}
		return clean(classicText(e))
	case run.Message:
		return clean(e.Text.String())
	case run.Warning:
		return s.paint(alarm, "Warning: ") + clean(e.Text.String())
	case run.Step:
		v.iteration = e.Iteration
		v.progress = run.Progress{}
		v.train = append(v.train, point{e.Iteration, e.Loss})
	case run.Progress:
		if e.Task != v.progress.Task {
			v.taskBegan = now
		}
		v.progress = e
		if e.Total > 0 && e.Done >= e.Total {
			v.progress = run.Progress{}
		}
	case run.TrainReport:
		v.takeReport(e)
	case run.Validation:
		v.progress = run.Progress{}
		v.val = append(v.val, point{e.Iteration, e.Loss})
		v.valid = e.Figures
	case run.Saved:
		v.saved = e.Path
		if e.Checkpoint != "" {
			v.saved = e.Checkpoint
		}
	case run.End:
		v.running = false
		v.progress = run.Progress{}
		return v.summary(e, s)
	}
	return ""
}

func (v *view) takeReport(e run.TrainReport) {
	if v.report.Iteration == 0 {
		v.firstLoss = e.TrainLoss
	}
	v.report = e
	if n := len(v.train); n == 0 || v.train[n-1].iteration < e.Iteration {
		v.train = append(v.train, point{e.Iteration, e.TrainLoss}) // a trainer that sends no steps
		v.iteration = e.Iteration
	}
}

// lines lays the live area out for a terminal of the given size.
func (v *view) lines(s *terminal, now time.Time, width, height int) []string {
	var out []string
	if v.running {
		out = append(out, s.paint(bold, clean(v.start.Title)), v.progressLine(s, now, width))
		out = append(out, v.lossLine(s), v.speedLine(s))
		if line := v.preferenceLine(s); line != "" {
			out = append(out, line)
		}
		if spare := height - 1 - len(out) - 2; spare >= 4 {
			curve := s.chart(v.train, v.val, v.start.FirstIteration, v.start.Iterations, width, min(chartRows, spare))
			out = append(out, curve...)
		}
	}
	if p := v.progress; p.Task != "" {
		amount := func(n int64) string { return fmt.Sprint(n) }
		out = append(out, progressLine(s, p.Task, int64(p.Done), int64(p.Total), amount, now.Sub(v.taskBegan), width))
	} else if v.running && v.saved != "" {
		out = append(out, s.paint(dim, "saved "+clean(v.saved)))
	}
	return out
}

func (v *view) progressLine(s *terminal, now time.Time, width int) string {
	total := v.start.Iterations
	share := float64(v.iteration) / float64(max(total, 1))
	tail := fmt.Sprintf("  %d/%d  %3.0f%%  %s elapsed", v.iteration, total, 100*share, run.Duration(now.Sub(v.began)))
	if done := v.iteration - max(v.start.FirstIteration, 1) + 1; done > 0 {
		each := float64(now.Sub(v.began)) / float64(done)
		tail += ", " + run.Duration(time.Duration(each*float64(total-v.iteration))) + " left"
	}
	return s.bar(share, max(min(48, width-1-cells(tail)), 5)) + tail
}

func (v *view) lossLine(s *terminal) string {
	var parts []string
	if v.report.Iteration > 0 {
		parts = append(parts, fmt.Sprintf("train loss %.3f", v.report.TrainLoss))
	} else if n := len(v.train); n > 0 {
		parts = append(parts, fmt.Sprintf("train loss %.3f", v.train[n-1].loss))
	}
	if n := len(v.val); n > 0 {
		text := fmt.Sprintf("val loss %.3f", v.val[n-1].loss)
		if best := lowest(v.val); best.iteration != v.val[n-1].iteration {
			text += fmt.Sprintf(" (best %.3f at %d)", best.loss, best.iteration)
		}
		parts = append(parts, s.paint(alarm, s.pick("● ", "o "))+text)
	}
	return strings.Join(parts, "   ")
}

// preferenceLine tells how often and by how much the chosen answers of pairs are preferred.
func (v *view) preferenceLine(s *terminal) string {
	of := func(f run.Figures) string {
		right, ok := f.Get(run.RewardsAccuracies)
		margin, _ := f.Get(run.RewardsMargins)
		if !ok {
			return ""
		}
		return fmt.Sprintf("preferred %.0f %%, margin %.3f", 100*right, margin)
	}
	text := of(v.report.Figures)
	if val := of(v.valid); val != "" {
		text = strings.TrimPrefix(text+"   "+s.paint(alarm, s.pick("● ", "o "))+val, "   ")
	}
	return text
}

func (v *view) speedLine(s *terminal) string {
	r := v.report
	if r.Iteration == 0 {
		return s.paint(dim, "speed and memory show at the first report")
	}
	return strings.Join([]string{
		fmt.Sprintf("%.0f tokens/s", r.TokensPerSecond),
		fmt.Sprintf("%.2f it/s", r.IterationsPerSecond),
		fmt.Sprintf("lr %.2e", r.LearningRate),
		count(r.TrainedTokens) + " tokens",
		fmt.Sprintf("peak %.2f GB", r.PeakMemory),
	}, s.pick(" · ", " | "))
}

// summary is what stays in the scrollback when the run has ended.
func (v *view) summary(e run.End, s *terminal) string {
	arrow := s.pick(" → ", " -> ")
	head := map[string]string{
		run.Done:        s.paint(good, "Trained"),
		run.Interrupted: s.paint(alarm, "Interrupted") + ", trained",
		run.Failed:      s.paint(alarm, "Failed") + ", trained",
	}[e.Outcome]
	done := e.Iteration - max(v.start.FirstIteration, 1) + 1
	lines := []string{fmt.Sprintf("%s %d iterations in %s", head, max(done, 0), run.Duration(seconds(e.Seconds)))}
	if v.report.Iteration > 0 {
		lines = append(lines, "  "+v.speedLine(s))
		lines = append(lines, fmt.Sprintf("  train loss %.3f%s%.3f", v.firstLoss, arrow, v.report.TrainLoss))
	}
	if n := len(v.val); n > 0 {
		best := lowest(v.val)
		if line := v.preferenceLine(s); line != "" {
			lines = append(lines, "  "+line)
		}
		lines = append(lines, fmt.Sprintf("  val loss %.3f%s%.3f, best %.3f at iteration %d", v.val[0].loss, arrow, v.val[n-1].loss, best.loss, best.iteration))
	}
	width, _ := s.size()
	lines = append(lines, s.chart(v.train, v.val, v.start.FirstIteration, v.start.Iterations, width, chartRows)...)
	if v.saved != "" {
		lines = append(lines, "  saved "+clean(v.saved))
	}
	return strings.Join(lines, "\n")
}

func lowest(points []point) point {
	best := points[0]
	for _, p := range points[1:] {
		if p.loss < best.loss {
			best = p
		}
	}
	return best
}
