package report

import (
	"fmt"
	"strings"

	"github.com/lentil-lm/lentil/eval/score"
)

// classes are the looks of curves, in order.
var classes = []string{"a", "b", "c", "d", "e", "f"}

// losses draws the training and validation loss of runs; with several, the curves of each have its name.
func losses(runs []*Run) *drawing {
	c := lineChart{id: "loss", title: "Loss"}
	for i, r := range runs {
		train, valid := curve{name: "training loss", class: classes[2*i%len(classes)]}, curve{name: "validation loss", class: classes[(2*i+1)%len(classes)], marks: 'c'}
		if len(runs) > 1 {
			train.name, valid.name = r.Name()+", training", r.Name()+", validation"
		}
		for _, e := range r.Train {
			train.x, train.y = append(train.x, float64(e.Iteration)), append(train.y, e.TrainLoss)
		}
		for _, e := range r.Valid {
			valid.x, valid.y = append(valid.x, float64(e.Iteration)), append(valid.y, e.Loss)
		}
		c.curves = append(c.curves, train, valid)
		if len(runs) == 1 {
			c.notes = r.notes()
		}
	}
	return c.draw()
}

// notes are the best validation, and the one whose weights were kept.
func (r *Run) notes() (out []note) {
	best, chosen := r.Best(), r.Chosen()
	if best == nil {
		return nil
	}
	if best.Iteration == chosen {
		return []note{{float64(chosen), best.Loss, "best and kept"}}
	}
	out = []note{{float64(best.Iteration), best.Loss, "best"}}
	for _, v := range r.Valid {
		if v.Iteration == chosen {
			out = append(out, note{float64(chosen), v.Loss, "kept"})
		}
	}
	return out
}

// over draws one figure of the training reports, from zero on.
func (r *Run) over(id, title, name string, value func(i int) float64) *drawing {
	line := curve{name: name, class: "a"}
	for i, e := range r.Train {
		line.x, line.y = append(line.x, float64(e.Iteration)), append(line.y, value(i))
	}
	return (&lineChart{id: id, title: title, curves: []curve{line}, shows: []float64{0}}).draw()
}

func (r *Run) rates() *drawing {
	return r.over("rate", "Learning rate", "learning rate", func(i int) float64 { return r.Train[i].LearningRate })
}

func (r *Run) speed() *drawing {
	return r.over("speed", "Speed, tokens a second", "tokens a second", func(i int) float64 { return r.Train[i].TokensPerSecond })
}

func (r *Run) memory() *drawing {
	return r.over("memory", "Peak memory, GB", "peak memory in GB", func(i int) float64 { return r.Train[i].PeakMemory })
}

// asked draws the right answers on the way, in percent.
func (r *Run) asked() *drawing {
	line := curve{name: "right answers in percent", class: "c", marks: 'c'}
	for _, a := range r.Asked {
		line.x, line.y = append(line.x, float64(a.Iteration)), append(line.y, 100*float64(a.Right)/float64(max(a.Questions, 1)))
	}
	return (&lineChart{id: "asked", title: "Right answers during training, %", curves: []curve{line}, shows: []float64{0, 100}}).draw()
}

// intervals draws the rows of right answers: for each a point and its interval for every column.
func intervals(r *score.Results) *drawing {
	var rows []score.Row
	for _, row := range r.Rows {
		if row.Metric == score.Right {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	const label, each, line = 210, 18, 14
	height := float64(top)
	d := &drawing{id: "before-after", title: "Right answers with 95 % intervals", width: chartWidth}
	px := func(v float64) float64 { return label + v*(chartWidth-label-24) }
	bottomOf := float64(top + len(rows)*(len(r.Columns)*each+line))
	for _, v := range []float64{0, 0.25, 0.5, 0.75, 1} {
		d.line("grid", px(v), top, px(v), bottomOf)
		d.text("axis", "middle", px(v), bottomOf+18, fmt.Sprintf("%.0f %%", 100*v))
	}
	var told []string
	for _, row := range rows {
		d.text("label", "start", 0, height+each, row.Title())
		for c, s := range row.Scores {
			y := height + each*(float64(c)+0.5)
			class := classes[c%len(classes)]
			d.line(class, px(s.Low), y, px(s.High), y)
			d.mark([]byte{'c', 'd'}[c%2], class, px(s.Mean), y, 5)
			told = append(told, fmt.Sprintf("%s, %s: %s", row.Title(), r.Columns[c].Name, s))
		}
		height += float64(len(r.Columns)*each + line)
	}
	for c, column := range r.Columns {
		d.legend = append(d.legend, Legend{classes[c%len(classes)], column.Name})
	}
	d.height = bottomOf + 28
	d.description = strings.Join(told, "; ") + "."
	return d
}
