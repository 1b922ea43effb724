package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/tune"
)

// TestReport: a run writes its report, which is written again after an evaluation with the numbers of --json.
func TestReport(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	dir := t.TempDir()
	adapters, questions, figures := filepath.Join(dir, "adapters"), filepath.Join(dir, "q.jsonl"), filepath.Join(dir, "e.json")
	write(t, questions, evalQuestions)
	mustRun(t, "", "train", "--model", model, "--data", data, "--adapter-path", adapters, "--iters", "4", "--batch-size", "1", "--num-layers", "2", "--steps-per-report", "2", "--json", filepath.Join(dir, "t.json"))
	page := filepath.Join(adapters, "report.html")
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "trained to the end") || !strings.Contains(string(text), "No questions have been asked yet") {
		t.Errorf("the report at the end of the run: %v", err)
	}
	checkTable(t, page, filepath.Join(dir, "t.json"))
	mustRun(t, "", "eval", "--model", model, "--adapter-path", adapters, "--questions", questions, "--max-tokens", "4", "--json", figures)
	out := mustRun(t, "", "report", adapters, "--png")
	if !strings.Contains(out, "report-before-after.png") {
		t.Errorf("pictures: %s", out)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rows []struct {
			Metric, Kind string
			Scores       []struct{ Mean, Low, High float64 }
		}
	}
	file, err := os.ReadFile(figures)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, &got); err != nil || len(got.Rows) == 0 {
		t.Fatal(err)
	}
	cells := regexp.MustCompile(`<td>(\d+ % \([^<]*\))</td>`).FindAllStringSubmatch(string(text), -1)
	at := 0
	for _, row := range got.Rows {
		for _, s := range row.Scores {
			if want := percents(s.Mean, s.Low, s.High); at >= len(cells) || cells[at][1] != want {
				t.Fatalf("score %d of %s %s in the page is not %s: %v", at, row.Metric, row.Kind, want, cells)
			}
			at++
		}
	}
	// The model card takes the table, and names what was only tested.
	var card hub.Card
	if err := tune.Describe(&card, adapters); err != nil {
		t.Fatal(err)
	}
	if c := fmt.Sprintf("%+v", card.Results); !strings.Contains(c, "Trained facts, right (1 questions)") || !strings.Contains(card.Measured, "q.jsonl") || strings.Contains(card.Data, "q.jsonl") {
		t.Errorf("the card tells %s, trained on %q, measured on %q", c, card.Data, card.Measured)
	}
	if out := mustRun(t, "", "runs", adapters, adapters, "--out", filepath.Join(dir, "runs.html")); !strings.Contains(out, "training loss") {
		t.Errorf("runs: %s", out)
	}
	if code, _, errOut := lentil(t, "", "report", dir); code != ExitUsage || !strings.Contains(errOut, "did not train there") {
		t.Errorf("%d, %s", code, errOut)
	}
	write(t, page, "mine")
	if code, _, errOut := lentil(t, "", "report", adapters); code != ExitUsage || !strings.Contains(errOut, "--overwrite") {
		t.Errorf("%d, %s", code, errOut)
	}
}

// checkTable compares the last losses of a page's data with those that train's --json has, to the last digit.
func checkTable(t *testing.T, page, figures string) {
	t.Helper()
	var want struct {
		TrainLoss float64 `json:"train_loss"`
		ValLoss   float64 `json:"val_loss"`
	}
	file, err := os.ReadFile(figures)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, &want); err != nil || want.TrainLoss == 0 || want.ValLoss == 0 {
		t.Fatal(err, want)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, data, _ := strings.Cut(string(text), "data:text/csv;base64,")
	data, _, _ = strings.Cut(data, `"`)
	table, err := base64.StdEncoding.DecodeString(html.UnescapeString(data))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil || len(rows) < 3 {
		t.Fatal(rows, err)
	}
	last := rows[len(rows)-1]
	for i, v := range map[int]float64{1: want.TrainLoss, 2: want.ValLoss} {
		if got, err := strconv.ParseFloat(last[i], 64); err != nil || got != v {
			t.Errorf("%s is %s in the report and %v in --json", rows[0][i], last[i], v)
		}
	}
}

// percents writes a share and its interval as TestReport expects them, by itself.
func percents(mean, low, high float64) string {
	whole := func(v float64) string { return strings.TrimSuffix(strings.TrimSpace(formatWhole(100*v)), ".") }
	return whole(mean) + " % (" + whole(low) + "–" + whole(high) + ")"
}

func formatWhole(v float64) string {
	text, _ := json.Marshal(int64(v + 0.5))
	return string(text)
}

// TestWatch serves a page until it is stopped.
func TestWatch(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	adapters := filepath.Join(t.TempDir(), "adapters")
	mustRun(t, "", "train", "--model", model, "--data", data, "--adapter-path", adapters, "--iters", "2", "--batch-size", "1", "--num-layers", "2")
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	var errOut bytes.Buffer
	go func() {
		ended <- Main(ctx, []string{"watch", adapters}, Streams{In: strings.NewReader(""), Out: writer, Err: &errOut})
		writer.Close()
	}()
	line := make([]byte, 4096)
	n, err := reader.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(string(line[:n]))
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || !strings.Contains(string(text), "trained to the end") {
		t.Errorf("%v: %s", err, text)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit %d: %s", code, errOut.String())
	}
}
