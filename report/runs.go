package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"slices"

	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/run"
)

//go:embed runs.tmpl
var runsText string

var runsTemplate = template.Must(template.New("runs").Parse(runsText))

// A Comparison is several runs side by side.
type Comparison struct {
	Runs []*Run
	Rows []ComparedRow // settings that differ, then figures
}

// A ComparedRow is one setting or figure of each run; empty where a run has none.
type ComparedRow struct {
	Name   string
	Values []string
}

// notCompared are settings that differ without being a choice.
var notCompared = []string{"adapter_path", "config", "model"}

// Compare puts runs side by side.
func Compare(runs []*Run) *Comparison {
	c := &Comparison{Runs: runs}
	c.row("model", func(r *Run) string { return r.Manifest.Model })
	c.row("started", func(r *Run) string { return r.Manifest.Started.Format("2006-01-02 15:04") })
	c.row("state", (*Run).State)
	all := map[string]bool{}
	settings := make([]map[string]string, len(runs))
	for i, r := range runs {
		settings[i] = r.Settings()
		for name := range settings[i] {
			all[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		differs := false
		row := ComparedRow{Name: name}
		for _, s := range settings {
			row.Values = append(row.Values, s[name])
			differs = differs || s[name] != settings[0][name]
		}
		if differs && !slices.Contains(notCompared, name) {
			c.Rows = append(c.Rows, row)
		}
	}
	c.row("data", func(r *Run) string {
		text := ""
		for _, d := range r.Manifest.Data {
			if slices.Contains(d.Splits, "train") {
				text += fmt.Sprintf("%s (%.8s) ", d.Path, d.SHA256)
			}
		}
		return text
	})
	c.figures()
	return c
}

// figures adds what was measured.
func (c *Comparison) figures() {
	c.row("iterations", func(r *Run) string {
		if n := len(r.Train); n > 0 {
			return fmt.Sprint(r.Train[n-1].Iteration)
		}
		return ""
	})
	c.row("training loss", func(r *Run) string {
		if n := len(r.Train); n > 0 {
			return fmt.Sprintf("%.3f", r.Train[n-1].TrainLoss)
		}
		return ""
	})
	c.row("best validation loss", func(r *Run) string {
		if b := r.Best(); b != nil {
			return fmt.Sprintf("%.3f at %d", b.Loss, b.Iteration)
		}
		return ""
	})
	c.row("test perplexity", func(r *Run) string {
		if r.Tested != nil && len(r.Tested.Figures) == 0 {
			return fmt.Sprintf("%.3f", r.Tested.Perplexity)
		}
		return ""
	})
	for _, name := range []string{run.RewardsAccuracies, run.RewardsMargins} {
		c.row("test "+name, func(r *Run) string {
			if r.Tested == nil {
				return ""
			}
			v, ok := r.Tested.Figures.Get(name)
			if !ok {
				return ""
			}
			return number(v)
		})
	}
	var titles []string
	rows := map[string][]string{}
	for i, r := range c.Runs {
		if r.Results == nil {
			continue
		}
		t := r.Results.Tuned()
		for _, row := range r.Results.Rows {
			title := row.Title()
			if rows[title] == nil {
				titles, rows[title] = append(titles, title), make([]string, len(c.Runs))
			}
			rows[title][i] = row.Scores[t].String()
			if row.Metric == score.Right && row.Against[t] != nil {
				rows[title][i] += ", " + row.Against[t].String()
			}
		}
	}
	for _, title := range titles {
		c.Rows = append(c.Rows, ComparedRow{title, rows[title]})
	}
}

// row adds a row, unless no run has a value.
func (c *Comparison) row(name string, value func(*Run) string) {
	row, some := ComparedRow{Name: name}, false
	for _, r := range c.Runs {
		v := value(r)
		row.Values = append(row.Values, v)
		some = some || v != ""
	}
	if some {
		c.Rows = append(c.Rows, row)
	}
}

// Style is the page's style sheet.
func (c *Comparison) Style() template.CSS { return template.CSS(style) }

// Curves lays the losses over each other.
func (c *Comparison) Curves() Figure { return figure(losses(c.Runs), "") }

// Write writes the comparison as a page into path, unless something else lies there.
func (c *Comparison) Write(path string, overwrite bool) error {
	if !overwrite {
		if err := vacant(path); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	b.WriteString("<!doctype html>\n" + mark + "\n")
	if err := runsTemplate.Execute(&b, c); err != nil {
		return err
	}
	return atomicfile.Write(path, b.Bytes())
}
