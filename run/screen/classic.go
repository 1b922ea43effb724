package screen

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/run"
)

// classic prints events as mlx-lm up to 0.31 did, line for line, which is what log scrapers read.
type classic struct {
	mu  sync.Mutex
	w   io.Writer
	bar *Bar // where Progress shows; nil: nowhere
}

// NewClassic prints the lines that mlx-lm prints to w, and no progress.
func NewClassic(w io.Writer) Display { return &classic{w: w} }

// Report prints the event's line, if it has one.
func (c *classic) Report(e run.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := e.(run.Progress); ok {
		c.bar.Set(p.Task, p.Done, p.Total)
		return
	}
	text := classicText(e)
	if text == "" {
		return
	}
	c.bar.Clear()
	io.WriteString(c.w, text)
}

func classicText(e run.Event) string {
	switch e := e.(type) {
	case run.Start:
		return classicStart(e)
	case run.Plan:
		return planText(e)
	case run.TrainReport:
		return fmt.Sprintf("Iter %d: Train loss %.3f, Learning Rate %.3e, It/sec %.3f, Tokens/sec %.3f, Trained Tokens %d, Peak mem %.3f GB%s\n",
			e.Iteration, e.TrainLoss, e.LearningRate, e.IterationsPerSecond, e.TokensPerSecond, e.TrainedTokens, e.PeakMemory, figuresText(e.Figures))
	case run.Validation:
		return fmt.Sprintf("Iter %d: Val loss %.3f, Val took %.3fs%s\n", e.Iteration, e.Loss, e.Seconds, figuresText(e.Figures))
	case run.Saved:
		if e.Checkpoint == "" {
			return fmt.Sprintf("Saved final weights to %s.\n", e.Path)
		}
		return fmt.Sprintf("Iter %d: Saved adapter weights to %s and %s.\n", e.Iteration, e.Path, e.Checkpoint)
	case run.BestSaved:
		if e.Questions > 0 {
			return fmt.Sprintf("Iter %d: Most right answers so far, saved its adapter weights to %s.\n", e.Iteration-1, e.Path)
		}
		return fmt.Sprintf("Iter %d: Best val loss so far, saved its adapter weights to %s.\n", e.Iteration, e.Path)
	case run.TestReport:
		if len(e.Figures) > 0 {
			return fmt.Sprintf("Test loss %.3f%s.\n", e.Loss, figuresText(e.Figures))
		}
		return fmt.Sprintf("Test loss %.3f, Test ppl %.3f.\n", e.Loss, e.Perplexity)
	case run.Asked:
		return askedText(e)
	case run.Message:
		return e.Text.String() + "\n"
	case run.Warning:
		return "Warning: " + e.Text.String() + "\n"
	case run.End:
		if e.Outcome == run.Interrupted {
			return fmt.Sprintf("Interrupted after iteration %d, %s.\n", e.Iteration, run.Duration(time.Duration(e.Seconds*1e9)))
		}
	}
	return ""
}

// figuresText goes on with a line of losses.
func figuresText(figures run.Figures) (text string) {
	for _, f := range figures {
		text += fmt.Sprintf(", %s %.4g", f.Name, f.Value)
	}
	return text
}

// askedText tells of the answers on the way, with two of them.
func askedText(e run.Asked) string {
	text := fmt.Sprintf("Iter %d: %d of %d answers right, asking took %.3fs\n", e.Iteration, e.Right, e.Questions, e.Seconds)
	for _, s := range e.Samples {
		mark := "wrong"
		if s.Right {
			mark = "right"
		}
		text += fmt.Sprintf("  %s\n  %s: %s\n", oneLine(s.Question), mark, oneLine(s.Answer))
	}
	return text
}

// oneLine shows the beginning of a text on one line.
func oneLine(text string) string {
	const most = 160
	r := []rune(strings.Join(strings.Fields(text), " "))
	if len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return string(r)
}

func classicStart(e run.Start) string {
	text := ""
	if e.TotalParams > 0 {
		text = fmt.Sprintf("Trainable parameters: %.3f%% (%.3fM/%.3fM)\n",
			100*float64(e.TrainableParams)/float64(e.TotalParams), float64(e.TrainableParams)/1e6, float64(e.TotalParams)/1e6)
	}
	if e.FirstIteration > 1 {
		return text + fmt.Sprintf("Resuming training at iteration %d..., iters: %d\n", e.FirstIteration, e.Iterations)
	}
	return text + fmt.Sprintf("Starting training..., iters: %d\n", e.Iterations)
}

// Close takes a progress bar that is still showing off the screen.
func (c *classic) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bar.Clear()
}
