package report

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/run"
)

// PageName is the file name of a report in the folder of its adapter.
const PageName = "report.html"

// mark opens a page that Lentil wrote and may write again.
const mark = "<!-- Written by lentil report. -->"

//go:embed page.tmpl
var pageText string

//go:embed style.css
var style string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// A Command is one that goes on from a run, as it is typed.
type Command struct{ What, Line string }

// A Page is a report on one run.
type Page struct {
	*Run
	Commands []Command // the caller knows how the program was begun
	Live     bool      // it is served while the run goes on, and follows it
}

// HTML writes the page: one file that needs no other.
func (p *Page) HTML() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("<!doctype html>\n" + mark + "\n")
	err := pageTemplate.Execute(&b, p)
	return b.Bytes(), err
}

// Write writes the page into path, unless something else lies there.
func (p *Page) Write(path string, overwrite bool) error {
	if !overwrite {
		if err := vacant(path); err != nil {
			return err
		}
	}
	text, err := p.HTML()
	if err != nil {
		return err
	}
	return atomicfile.Write(path, text)
}

// vacant refuses a path where anything but a report of ours lies.
func vacant(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fault.At("out", "%w", err)
	case info.IsDir():
		return fault.Given("out", path, "this is a folder, expected a file")
	case !info.Mode().IsRegular() || info.Size() == 0:
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return fault.At("out", "%w", err)
	}
	defer file.Close()
	begin := make([]byte, 256)
	n, _ := file.Read(begin)
	if !bytes.Contains(begin[:n], []byte(mark)) {
		return fault.Given("out", path, "this is there already, and no report of Lentil's").Try("Give another file, or %v to replace it.", fault.Setting("overwrite"))
	}
	return nil
}

// Name is the folder's.
func (r *Run) Name() string { return filepath.Base(filepath.Clean(r.Folder)) }

// Style is the page's style sheet.
func (p *Page) Style() template.CSS { return template.CSS(style) }

// State says in a word or two where the run stands.
func (r *Run) State() string {
	switch {
	case r.End != nil && r.End.Outcome == run.Done:
		return "trained to the end"
	case r.End != nil && r.End.Outcome == run.Failed:
		return "failed: " + r.End.Error
	case r.End != nil:
		return "interrupted"
	case r.Start.Iterations == 0:
		return "not begun"
	}
	return "not ended: it is running, or was killed"
}

// Summary are the figures at the top of the page.
func (r *Run) Summary() (out []Command) {
	add := func(what, format string, args ...any) { out = append(out, Command{what, fmt.Sprintf(format, args...)}) }
	if n := len(r.Train); n > 0 {
		last := r.Train[n-1]
		add("iterations", "%d of %d", last.Iteration, r.Start.Iterations)
		add("training loss", "%s → %s", number(r.Train[0].TrainLoss), number(last.TrainLoss))
		add("tokens trained on", "%d", last.TrainedTokens)
		add("peak memory", "%s GB", number(last.PeakMemory))
	}
	if n := len(r.Valid); n > 0 {
		add("validation loss", "%s → %s", number(r.Valid[0].Loss), number(r.Valid[n-1].Loss))
	}
	if b := r.Best(); b != nil {
		add("best validation", "%s at iteration %d", number(b.Loss), b.Iteration)
	}
	if n := len(r.Valid); n > 0 {
		for _, f := range r.Valid[n-1].Figures {
			add("validation "+f.Name, "%s", number(f.Value))
		}
	}
	if t := r.Tested; t != nil && len(t.Figures) == 0 {
		add("test perplexity", "%s", number(t.Perplexity))
	} else if t != nil { // of an objective that has none
		add("test loss", "%s", number(t.Loss))
		for _, f := range t.Figures {
			add("test "+f.Name, "%s", number(f.Value))
		}
	}
	if r.End != nil {
		add("time", "%s", run.Duration(time.Duration(r.End.Seconds*float64(time.Second))))
	}
	if r.Start.TrainableParams > 0 {
		add("trainable parameters", "%.2f M of %.2f M", float64(r.Start.TrainableParams)/1e6, float64(r.Start.TotalParams)/1e6)
	}
	return out
}

// A Figure is a chart with what stands below it.
type Figure struct {
	Title   string
	SVG     template.HTML
	Legend  []Legend
	Caption string
}

func figure(d *drawing, caption string) Figure {
	if d == nil {
		return Figure{}
	}
	return Figure{d.title, d.svg(), d.legend, caption}
}

// Curves are the charts of the run, those that there is something for.
func (r *Run) Curves() (out []Figure) {
	for _, f := range []Figure{
		figure(losses([]*Run{r}), "Mean cross-entropy of a token, in nats."), figure(r.asked(), "Measured with the questions that were given for it."),
		figure(r.rates(), ""), figure(r.speed(), ""), figure(r.memory(), ""),
	} {
		if f.SVG != "" {
			out = append(out, f)
		}
	}
	return out
}

// Lengths are the histograms of row lengths.
func (r *Run) Lengths() (out []Figure) {
	for _, d := range r.Data {
		f := figure(bars("lengths-"+d.Split, "Lengths of rows, "+d.Split+" set", d.BinWidth, d.Bins), fmt.Sprintf("Median %d tokens, 95 %% up to %d, longest %d.", d.Median, d.P95, d.Longest))
		if f.SVG != "" && d.BinWidth > 0 {
			out = append(out, f)
		}
	}
	return out
}

// Learnt is the share of tokens that are learnt, the others being masked or cut off.
func (p *Page) Learnt(d run.Data) string {
	return fmt.Sprintf("%.0f %%", 100*float64(d.LossTokens)/float64(max(d.Tokens, 1)))
}

// Answers is the chart of right answers.
func (p *Page) Answers() Figure {
	return figure(intervals(p.Results), "Points are shares of right answers, lines their 95 % intervals.")
}

// A Verdict is a sentence on one comparison.
type Verdict struct{ What, Said, Class string }

// Verdicts are the comparisons of all columns.
func (p *Page) Verdicts() (out []Verdict) {
	for c, column := range p.Results.Columns {
		for _, row := range p.Results.Rows {
			if got := row.Against[c]; got != nil {
				class := map[score.Verdict]string{score.Helped: "good", score.Harmed: "bad"}[got.Verdict]
				out = append(out, Verdict{fmt.Sprintf("%s against %s, %s", column.Name, p.Results.Columns[column.Against].Name, strings.ToLower(row.Title())), row.Said(c), class})
			}
		}
	}
	return out
}

// mostFlips is how many answers that changed sides a page shows of each kind.
const mostFlips = 40

// A Flip is a question with the answers before and after.
type Flip struct {
	Question, Reference, Before, After, Why string
	Right                                   bool // after
}

// Flips are the answers that changed sides, in the column of the adapter.
func (p *Page) Flips() (out []Flip) {
	c := p.Results.Tuned()
	won, lost := p.Results.Flips(c)
	for i, list := range [][]score.Answered{lost, won} {
		for _, a := range list[:min(len(list), mostFlips)] {
			before, after := a.Replies[p.Results.Columns[c].Against], a.Replies[c]
			why := after.Mark.Why
			if i == 1 {
				why = before.Mark.Why
			}
			out = append(out, Flip{a.Question.Question, a.Reference(), before.Answer, after.Answer, why, i == 1})
		}
	}
	return out
}

// FlipCount is how many became right, and wrong.
func (p *Page) FlipCount() string {
	won, lost := p.Results.Flips(p.Results.Tuned())
	return fmt.Sprintf("%d became right, %d became wrong", len(won), len(lost))
}

// Samples are the answers on the way, the last of them.
func (r *Run) Samples() []run.Asked { return r.Asked[max(0, len(r.Asked)-8):] }

// A Setting is one of the run's.
type Setting struct{ Name, Value string }

// SettingList are the settings in the order of their names.
func (r *Run) SettingList() (out []Setting) {
	all := r.Settings()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] != "" {
			out = append(out, Setting{name, all[name]})
		}
	}
	return out
}

// CommandLine is the command that made the run, for a shell.
func (r *Run) CommandLine() string {
	var parts []string
	for i, a := range r.Manifest.Command {
		if i == 0 {
			a = filepath.Base(a)
		}
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\$&;|<>*?()[]{}~#!`") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		parts = append(parts, a)
	}
	return strings.Join(parts, " ")
}

// Started is when the run began.
func (r *Run) Started() string { return r.Manifest.Started.Format("2 January 2006, 15:04 MST") }

// Bytes writes a size for people.
func (p *Page) Bytes(n int64) string { return run.Bytes(n) }

// Percent writes a share for people.
func (p *Page) Percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// Perplexity writes one as the commands do.
func (p *Page) Perplexity(v float64) string { return fmt.Sprintf("%.3f", v) }

// Table is the log's figures by iteration as CSV.
func (r *Run) Table() string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	rows := map[int][]string{}
	row := func(iteration int) []string {
		if rows[iteration] == nil {
			rows[iteration] = make([]string, 8)
			rows[iteration][0] = strconv.Itoa(iteration)
		}
		return rows[iteration]
	}
	f := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for _, e := range r.Train {
		copy(row(e.Iteration)[1:], []string{f(e.TrainLoss)})
		copy(row(e.Iteration)[3:], []string{f(e.LearningRate), f(e.TokensPerSecond), strconv.FormatInt(e.TrainedTokens, 10), f(e.PeakMemory)})
	}
	for _, e := range r.Valid {
		row(e.Iteration)[2] = f(e.Loss)
	}
	for _, e := range r.Asked {
		row(e.Iteration)[7] = fmt.Sprintf("%d/%d", e.Right, e.Questions)
	}
	w.Write([]string{"iteration", "train_loss", "val_loss", "learning_rate", "tokens_per_second", "trained_tokens", "peak_memory", "right_answers"})
	for _, it := range slices.Sorted(maps.Keys(rows)) {
		w.Write(rows[it])
	}
	w.Flush()
	return b.String()
}

// mostData bounds what a page carries for download, in bytes.
const mostData = 8 << 20

// TableURL is Table as a link.
func (r *Run) TableURL() template.URL { return dataURL("text/csv", []byte(r.Table())) }

// ResultsURL is the results of the evaluation as a link; empty where they are too large.
func (p *Page) ResultsURL() template.URL {
	text, err := json.Marshal(p.Results)
	if err != nil || len(text) > mostData {
		return ""
	}
	return dataURL("application/json", text)
}

// ManifestURL is run.json as a link.
func (r *Run) ManifestURL() template.URL {
	text, err := json.MarshalIndent(r.Manifest, "", "    ")
	if err != nil || len(text) > mostData {
		return ""
	}
	return dataURL("application/json", text)
}

func dataURL(kind string, data []byte) template.URL {
	return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data))
}

// Title is the page's.
func (p *Page) Title() string {
	return cmp.Or(p.Start.Title, filepath.Base(p.Manifest.Model)+" · "+p.Name())
}
