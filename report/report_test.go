package report

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"image/png"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// folderOf writes the folder of a run whose names try to break out of the page.
func folderOf(t *testing.T, events ...run.Event) string {
	t.Helper()
	dir := t.TempDir()
	f, err := run.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := run.Manifest{
		Version: "1.2.3", Command: []string{"/bin/lentil", "train", "--data", "my </script><b> data"}, Started: time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC), Model: "base",
		Machine: "A processor, 2 cores", Data: []run.DataFile{{Path: "train.jsonl", Bytes: 1234, SHA256: strings.Repeat("ab", 32), Splits: []string{"train"}}},
		Settings: map[string]any{"rank": 8, "name": `"><img src=x onerror=alert(1)>`},
	}
	if err := f.WriteManifest(m); err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		f.Report(e)
	}
	return dir
}

func reportAt(it int, loss float64) run.TrainReport {
	return run.TrainReport{Iteration: it, TrainLoss: loss, LearningRate: 1e-4, TokensPerSecond: 100, TrainedTokens: int64(it * 10), PeakMemory: 1.5}
}

// aRun is a run with all that a log can have.
func aRun(t *testing.T) string {
	return folderOf(t, run.Data{Split: "train", Rows: 3, Tokens: 100, LossTokens: 25, Median: 20, P95: 60, Longest: 60, BinWidth: 32, Bins: []int{2, 1}},
		run.Warning{Text: fault.Say("careful <now>")}, run.Start{Title: "base · lora", FirstIteration: 1, Iterations: 30, TrainableParams: 1e6, TotalParams: 5e6},
		run.Validation{Iteration: 1, Loss: 3}, reportAt(10, 2), run.Validation{Iteration: 20, Loss: 1.25}, reportAt(20, 1), run.Asked{Iteration: 20, Questions: 4, Right: 3, Samples: []run.Sample{{Question: "Why?", Answer: "So.", Right: true}}},
		run.Validation{Iteration: 30, Loss: 1.5}, reportAt(30, 0.5), run.Asked{Iteration: 30, Questions: 4, Right: 4}, run.Saved{Iteration: 30}, run.End{Outcome: run.Done, Iteration: 30, Seconds: 12},
		run.TestReport{Loss: 1, Perplexity: 2.718}, run.Fused{Path: "fused", Survival: 0.987, Worst: "q_proj", WorstSurvival: 0.9})
}

// ask writes results of an evaluation beside a run.
func ask(t *testing.T, dir string) *score.Results {
	t.Helper()
	r := &score.Results{Model: "base", Sets: []score.Set{{Path: "questions.jsonl", N: 20}}, Columns: []score.Column{{Name: "base", Against: -1}, {Name: "tuned", Adapter: dir}}}
	for i := range 20 {
		q := score.Question{Question: fmt.Sprintf("Question %d <i>?", i), Answer: "9 g", Kind: score.Trained}
		r.Answered = append(r.Answered, score.Answered{Question: q, Replies: []score.Reply{{Answer: "8 g", Mark: q.Mark("8 g", "")}, {Answer: "9 g", Mark: q.Mark("9 g", "")}}})
	}
	r.Rows = score.Rows(r.Columns, r.Answered, 0)
	r.Texts = []score.Text{{Name: "prose", Tokens: 100, Loss: []float64{1, 1.1}, Perplexity: []float64{math.E, 3.004}, Rise: []score.Interval{{}, {N: 3, Mean: 0.105, Low: 0.1, High: 0.11}}}}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, score.Folder), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, score.Folder, score.ResultsName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPage(t *testing.T) {
	t.Parallel()
	dir := aRun(t)
	results := ask(t, dir)
	r, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := &Page{Run: r, Commands: []Command{{"Ask it", "lentil chat --model 'a b'"}}}
	text, err := p.HTML()
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	plain := html.UnescapeString(page)
	for _, want := range []string{
		"trained to the end", "A processor, 2 cores", strings.Repeat("ab", 32), "25 (25 %)", "1.25 at iteration 20", "30 of 30", "98.7 % of the update", "careful <now>", "lentil chat --model 'a b'",
		"lentil train --data 'my </script><b> data'", "3 of 4 right", "20 became right, 0 became wrong", "best", "kept", results.Rows[0].Scores[1].String(), results.Rows[0].Against[1].Detail(), results.Texts[0].Rise[1].Change(), "3.004",
	} {
		if !strings.Contains(plain, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, bad := range []string{"<img", "<b> data", "<now>", "<i>?", "http://", "https://", "ZgotmplZ"} {
		if strings.Contains(strings.ReplaceAll(page, `xmlns="http://www.w3.org/2000/svg"`, ""), bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	// Its results are those of the evaluation, to the last digit.
	_, data, _ := strings.Cut(page, `download="results.json" href="data:application/json;base64,`)
	data, _, _ = strings.Cut(data, `"`)
	inPage, err := base64.StdEncoding.DecodeString(html.UnescapeString(data))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, score.Folder, score.ResultsName))
	if err != nil || !bytes.Equal(inPage, file) {
		t.Errorf("the results of the page are not those of the file: %v\n%s\n%s", err, inPage, file)
	}
	if table := r.Table(); !strings.Contains(table, "\n20,1,1.25,0.0001,100,200,1.5,3/4\n") {
		t.Errorf("table:\n%s", table)
	}
}

// TestLoad: of several runs in one log the last counts, with those that it goes on from.
func TestLoad(t *testing.T) {
	t.Parallel()
	begin := run.Start{FirstIteration: 1, Iterations: 30}
	for name, tt := range map[string]struct {
		events []run.Event
		want   string // iterations of reports, and the state
	}{
		"nothing":  {nil, "[] not begun"},
		"running":  {[]run.Event{begin, reportAt(10, 1)}, "[10] not ended: it is running, or was killed"},
		"anew":     {[]run.Event{begin, reportAt(10, 1), run.End{Outcome: run.Done}, begin, reportAt(5, 1), run.End{Outcome: run.Interrupted}}, "[5] interrupted"},
		"gone on":  {[]run.Event{begin, reportAt(10, 1), reportAt(20, 1), run.Start{FirstIteration: 16, Iterations: 30}, reportAt(20, 2), reportAt(30, 1), run.End{Outcome: run.Done}}, "[10 20 30] trained to the end"},
		"failed":   {[]run.Event{begin, run.End{Outcome: run.Failed, Error: "no memory"}}, "[] failed: no memory"},
		"no start": {[]run.Event{run.Data{Split: "train"}}, "[] not begun"},
	} {
		r, err := Load(folderOf(t, tt.events...))
		if err != nil {
			t.Fatal(err)
		}
		its := []int{}
		for _, e := range r.Train {
			its = append(its, e.Iteration)
		}
		if got := fmt.Sprint(its, " ", r.State()); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		if _, err := (&Page{Run: r}).HTML(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "did not train there") {
		t.Error(err)
	}
	dir := aRun(t)
	ask(t, dir)
	if err := os.WriteFile(filepath.Join(dir, score.Folder, score.ResultsName), []byte(`{"columns":[{"name":"base"}],"rows":[{}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Load(dir); err != nil || r.Results != nil || len(r.Broken) != 1 {
		t.Errorf("results that are none: %+v, %v", r, err)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := aRun(t)
	r, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := &Page{Run: r}
	path := filepath.Join(dir, PageName)
	for range 2 { // its own it may replace
		if err := p.Write(path, false); err != nil {
			t.Fatal(err)
		}
		if _, err := p.WritePictures(filepath.Join(dir, "report"), false); err != nil {
			t.Fatal(err)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "report-*.png"))
	if err != nil || len(names) != 6 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(text))
		if err != nil || img.Bounds().Dx() != pictureScale*chartWidth {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{path, names[0]} {
		if err := os.WriteFile(name, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Write(path, false); err == nil || !strings.Contains(err.Error(), "no report of Lentil's") {
		t.Error(err)
	}
	if _, err := p.WritePictures(filepath.Join(dir, "report"), false); err == nil || !strings.Contains(err.Error(), "no picture of Lentil's") {
		t.Error(err)
	}
	if err := p.Write(path, true); err != nil {
		t.Error(err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	dir := folderOf(t, run.Start{FirstIteration: 1, Iterations: 30})
	server := httptest.NewServer(&Watch{Folder: dir, Page: func() (*Page, error) {
		r, err := Load(dir)
		return &Page{Run: r}, err
	}})
	defer server.Close()
	get := func(path, host string) (int, string) {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			q.Host = host
		}
		answer, err := server.Client().Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	for _, tt := range []struct {
		path, host string
		code       int
	}{{"/", "", 200}, {"/", "localhost:1", 200}, {"/live.js", "", 200}, {"/run.json", "", 404}, {"/", "evil.example", 403}, {"/events", "evil.example:80", 403}, {"/", "localhost.evil.example", 403}} {
		if code, _ := get(tt.path, tt.host); code != tt.code {
			t.Errorf("%s of %q: %d, want %d", tt.path, tt.host, code, tt.code)
		}
	}
	// A new line in the log is told, and on the page.
	events, err := server.Client().Get(server.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	first := make([]byte, 8)
	if _, err := io.ReadFull(events.Body, first); err != nil {
		t.Fatal(err)
	}
	f, err := run.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	f.Report(reportAt(10, 2))
	f.Report(reportAt(20, 1))
	f.Close()
	const told = "data: changed\n\n"
	got := make([]byte, len(told))
	if _, err := io.ReadFull(events.Body, got); err != nil || string(got) != told {
		t.Errorf("%q, %v", got, err)
	}
	if _, page := get("/", ""); !strings.Contains(page, "20 of 30") || !strings.Contains(page, "/live.js") {
		t.Error("the page does not follow")
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	a, b := aRun(t), folderOf(t, run.Start{FirstIteration: 1, Iterations: 10}, reportAt(10, 2))
	ask(t, a)
	var runs []*Run
	for _, dir := range []string{a, b} {
		r, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
	}
	runs[1].Manifest.Settings["rank"] = 16
	c := Compare(runs)
	got := map[string]string{}
	for _, row := range c.Rows {
		got[row.Name] = strings.Join(row.Values, "|")
	}
	for name, want := range map[string]string{"rank": "8|16", "training loss": "0.500|2.000", "best validation loss": "1.250 at 20|", "Trained facts, right": "100 % (83–100), helped|"} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	if _, same := got["name"]; same {
		t.Error("a setting that does not differ is told")
	}
	path := filepath.Join(t.TempDir(), "runs.html")
	if err := c.Write(path, false); err != nil {
		t.Fatal(err)
	}
}

// TestAskedAxis: answers that are all wrong are drawn on an axis of percent, not of the smallest numbers there are.
func TestAskedAxis(t *testing.T) {
	t.Parallel()
	r := &Run{Asked: []run.Asked{{Iteration: 0, Questions: 4}, {Iteration: 20, Questions: 4}}}
	var labels []string
	for _, s := range r.asked().shapes {
		if s.kind == 't' && s.anchor == "end" && s.text != "iteration" {
			labels = append(labels, s.text)
		}
	}
	if got := strings.Join(labels, " "); got != "0 50 100" {
		t.Errorf("the axis has %s", got)
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		low, high float64
		want      string
	}{{0, 1, "0 0.2 0.4 0.6 0.8 1"}, {1, 500, "100 200 300 400 500"}, {-0.02, 0.013, "-0.02 -0.01 0 0.01"}, {1e-5, 1.1e-5, "1e-05 1.02e-05 1.04e-05 1.06e-05 1.08e-05 1.1e-05"}} {
		var got []string
		for _, v := range ticks(tt.low, tt.high, 5) {
			got = append(got, number(v))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%g to %g: %s, want %s", tt.low, tt.high, s, tt.want)
		}
	}
}

// TestPreferences: a run on pairs tells how often chosen answers win, and no perplexity.
func TestPreferences(t *testing.T) {
	t.Parallel()
	figures := run.Figures{{Name: run.RewardsMargins, Value: 0.3124}, {Name: run.RewardsAccuracies, Value: 0.75}}
	r, err := Load(folderOf(t, run.Start{FirstIteration: 1, Iterations: 10}, run.Validation{Iteration: 10, Loss: 0.5, Figures: figures}, run.TestReport{Loss: 0.6, Perplexity: math.NaN(), Figures: figures}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range r.Summary() {
		got = append(got, fmt.Sprint(s))
	}
	all := strings.Join(got, "\n")
	if !strings.Contains(all, "validation rewards/accuracies 0.75") || !strings.Contains(all, "test rewards/margins 0.312") || strings.Contains(all, "perplexity") {
		t.Errorf("%s", all)
	}
}
