package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/engine"
)

// TestDatasetRead: a book is summed up, or printed as Markdown, and the file of --json holds all of it.
func TestDatasetRead(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "book.html", `<title>Pulses</title><h1>Peas</h1><p>Green.<span class="pagenum">[12]</span></p><h2>Split</h2><ul><li>soak<li>boil</ul>`)
	figures := filepath.Join(t.TempDir(), "book.json")
	out := mustRun(t, "", "dataset", "read", path, "--json", figures)
	for _, want := range []string{"html (utf-8), \"Pulses\"\n", "5 words in 4 blocks: 2 heading, 1 list, 1 paragraph\n", "\n  Peas\n    Split\n", "      1  page mark: \"[12]\"\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\nhas no %q", out, want)
		}
	}
	var d book.Document
	text, err := os.ReadFile(figures)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil || len(d.Blocks) != 4 || d.Whole() != "Peas\n\nGreen.[12]\n\nSplit\n\nsoak\nboil" {
		t.Errorf("%v: %+v", err, d)
	}
	if out := mustRun(t, "", "dataset", "read", path, "--markdown"); out != "# Peas\n\nGreen.\n\n## Split\n\n- soak\n- boil\n" {
		t.Errorf("%q", out)
	}
	// Several books, of which one is none: the others are read.
	dir := t.TempDir()
	for name, text := range map[string]string{"a.md": "# One\n\nPeas.", "b.epub": "no zip", "sub/c.txt": "Beans.", "d.jpg": "no book"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errOut := lentil(t, "", "dataset", "read", dir, "--markdown", "--json", figures)
	if code != ExitUsage || out != "# One\n\nPeas.\n\nBeans.\n" || !strings.Contains(errOut, "b.epub is no zip file") || !strings.Contains(errOut, "1 of 3 books") {
		t.Errorf("exit %d\n%s\n%s", code, out, errOut)
	}
	for _, args := range [][]string{{"dataset", "read"}, {"dataset", "read", "nothere.epub"}, {"dataset", "read", path, "--ocr", "'"}, {"dataset", "read", t.TempDir()}, {"dataset", "read", writeFile(t, "a.pdf", "%PDF-")}} {
		if code, _, errOut := lentil(t, "", args...); code != ExitUsage || goisms.MatchString(errOut) {
			t.Errorf("%q: exit %d\n%s", args, code, errOut)
		}
	}
}

// TestDatasetMakeAndCheck: rows are made of a book, checked with a model, trained on and asked; a bad dataset is told.
func TestDatasetMakeAndCheck(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	dir := t.TempDir()
	text := "# Flour\n\n| Flour | Water | Time |\n|---|---|---|\n| Rye | 80 % | 60 minutes |\n| Wheat | 65 % | 40 minutes |\n\nA quern is a hand mill of two round stones.\n"
	book, data := writeFile(t, "mill.md", text), filepath.Join(dir, "data")
	out := mustRun(t, "", "dataset", "make", book, "--out", data, "--tokenizer", model, "--valid-share", "0", "--test-share", "0")
	for _, want := range []string{"1 of 1 places with rows", "0.0 % of the rows of valid and test", "Questions for measuring: 5 trained", "lentil train --model MODEL --data "} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\nhas no %q", out, want)
		}
	}
	if out := mustRun(t, "", "dataset", "make", book, "--sample", "3"); strings.Count(out, "\nQ: ") != 3 {
		t.Error(out)
	}
	// What cannot be asked for is trained on as text, and a flag for a model says that none is there.
	few, texts := writeFile(t, "few.md", "A few words.\n"), filepath.Join(dir, "few words")
	code, out, errOut := lentil(t, "", "dataset", "make", few, "--out", texts, "--recipe", "none", "--votes", "1")
	if want := "lentil train --model MODEL --data '" + filepath.Join(texts, "text") + "' --learning-rate"; code != ExitOK || !strings.Contains(out, want) || strings.Contains(out, "lentil eval") {
		t.Errorf("exit %d\n%s\nhas no %q", code, out, want)
	}
	if strings.Count(errOut, " changes nothing: no model writes rows") != 2 {
		t.Error(errOut)
	}
	if out := mustRun(t, "", "dataset", "make", book, "--plan", "--format", "text"); !strings.Contains(out, "rows of text: 1 train, 0 valid, 0 test\n") || strings.Contains(out, "Kinds") {
		t.Error(out)
	}
	if out := mustRun(t, "", "dataset", "make", book, "--plan"); !strings.Contains(out, "Nothing is written") {
		t.Error(out)
	}
	figures := filepath.Join(dir, "check.json")
	out = mustRun(t, "", "dataset", "check", data, "--model", model, "--max-seq-length", "512", "--json", figures)
	for _, want := range []string{"train, 0 valid, 0 test", "min ", "cut at 512: 0", "--batch-size 2"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\nhas no %q", out, want)
		}
	}
	var c checked
	if text, err := os.ReadFile(figures); err != nil || json.Unmarshal(text, &c) != nil || len(c.Splits) != 1 || c.Splits[0].Rows == 0 || c.Suggest == 0 || c.Batch == 0 {
		t.Errorf("%v: %+v", err, c)
	}
	mustRun(t, "", "train", "--model", model, "--data", data, "--adapter-path", filepath.Join(dir, "adapters"), "--iters", "1", "--batch-size", "1")
	bad := writeFile(t, "bad.jsonl", `{"prompt": "Why?", "completion": " "}`+"\n")
	if code, out, errOut := lentil(t, "", "dataset", "check", bad); code != ExitFailure || !strings.Contains(out, "WRONG: empty answer: 1") || errOut != "" {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	cut := writeFile(t, "cut.jsonl", `{"prompt": "`+strings.Repeat("why ", 50)+`", "completion": "So."}`+"\n"+`{"prompt": "Why?", "completion": "So."}`+"\n")
	if code, out, _ := lentil(t, "", "dataset", "check", cut, "--model", model, "--max-seq-length", "40"); code != ExitFailure || !strings.Contains(out, "without a token of the answer: 1") {
		t.Errorf("exit %d\n%s", code, out)
	}
	for _, args := range [][]string{
		{"make"}, {"make", book}, {"make", "none.epub", "--out", data}, {"make", book, "--out", data, "--format", "xml"}, {"make", book, "--out", data, "--mix", "x.jsonl"},
		{"make", book, "--out", data, "--mix", "x.jsonl:2"}, {"make", book, "--out", data, "--wordings", "9"}, {"make", book, "--out", data, "--test-share", "1"},
		{"make", book, "--out", data, "--pii", "sell"}, {"make", book, "--out", dir}, {"check"}, {"check", "none"}, {"check", t.TempDir()}, {"check", data, "--batch-size", "0"},
	} {
		if code, out, errOut := lentil(t, "", append([]string{"dataset"}, args...)...); code != ExitUsage || goisms.MatchString(errOut) {
			t.Errorf("%q: exit %d\n%s%s", args, code, out, errOut)
		}
	}
}

// TestDatasetMakeWithEndpoint: a model behind an endpoint writes rows; the second run asks nothing again.
func TestDatasetMakeWithEndpoint(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/models") {
			fmt.Fprint(w, `{"data": [{"id": "writer"}]}`)
			return
		}
		calls.Add(1)
		row, _ := json.Marshal(`{"question": "What grinds grain at home?", "other_wording": "With what is grain ground at home?", "answer": "A quern, a hand mill of two round stones, grinds it.", "quote": "A quern is a hand mill of two round stones that grinds grain at home."}`)
		fmt.Fprintf(w, `{"choices": [{"message": {"content": %s}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}`, row)
	}))
	defer server.Close()
	book := writeFile(t, "mill.md", "# Mills\n\nA quern is a hand mill of two round stones that grinds grain at home. It was in every house of the valley, as the old people tell, and it made a noise that the children knew before they could speak.\n")
	data := filepath.Join(t.TempDir(), "data")
	args := []string{"dataset", "make", book, "--endpoint", server.URL + "/v1", "--recipe", "nutrition", "--valid-share", "0", "--test-share", "0"}
	if out := mustRun(t, "", append(args, "--plan")...); !strings.Contains(out, "would be asked 1 times") {
		t.Error(out)
	}
	mustRun(t, "", append(args, "--out", data)...)
	asked := calls.Load()
	mustRun(t, "", append(args, "--out", data, "--format", "sharegpt")...)
	if calls.Load() != asked {
		t.Errorf("%d calls after %d: answers are not kept", calls.Load(), asked)
	}
	from, err := os.ReadFile(filepath.Join(data, "provenance.jsonl"))
	if err != nil || !strings.Contains(string(from), `"model":"writer"`) {
		t.Errorf("%v: %s", err, from)
	}
	for _, bad := range [][]string{{"--endpoint", "nowhere"}, {"--model", "m", "--endpoint", server.URL}, {"--endpoint", server.URL, "--recipe", "soup"}, {"--budget", "-1"}} {
		if code, _, errOut := lentil(t, "", append([]string{"dataset", "make", book, "--out", data}, bad...)...); code != ExitUsage || goisms.MatchString(errOut) {
			t.Errorf("%q: exit %d\n%s", bad, code, errOut)
		}
	}
}

// TestEngineWriter: a model in this process, whatever it knows, answers in the form that it is asked for.
func TestEngineWriter(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	w, err := newEngineWriter(t.Context(), model, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for schema, fits := range map[string]func(string) bool{
		`{"enum": ["yes", "no"]}`: func(s string) bool { return s == `"yes"` || s == `"no"` },
		`{"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"], "additionalProperties": false}`: func(s string) bool {
			var v struct{ A *string }
			return json.Unmarshal([]byte(s), &v) == nil && v.A != nil
		},
	} {
		out, err := w.Complete(t.Context(), dataset.Prompt{User: "Is it so?", MaxTokens: 200, Temperature: 0.7, Seed: 3, Schema: schema})
		if err != nil || !fits(out.Text) || out.Cut || out.Tokens == 0 {
			t.Errorf("%s: %+v, %v", schema, out, err)
		}
		again, err := w.Complete(t.Context(), dataset.Prompt{User: "Is it so?", MaxTokens: 200, Temperature: 0.7, Seed: 3, Schema: schema})
		if err != nil || again.Text != out.Text {
			t.Errorf("%q, then %q: %v", out.Text, again.Text, err)
		}
	}
}

// TestDatasetFeedback: votes of the chat page become rows, and those that teach nothing are told.
func TestDatasetFeedback(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	vote := func(answer, label string) string {
		return `{"prompt":[{"role":"user","content":"Rice?"}],"completion":[{"role":"assistant","content":"` + answer + `"}],"label":` + label + "}\n"
	}
	for name, text := range map[string]string{"feedback.jsonl": vote("Yes.", "true") + vote("No.", "false"), "alone.jsonl": vote("No.", "false")} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := lentil(t, "", "dataset", "feedback", at("feedback.jsonl"), "--out", at("liked"))
	if code != 0 || !strings.Contains(out, "2 votes and 0 corrections gave 1 rows for training and 0 for validation") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if code, out, errs = lentil(t, "", "dataset", "check", at("liked")); code != 0 {
		t.Errorf("%d %s%s", code, out, errs)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{at("alone.jsonl"), "--out", at("x")}, "1 votes and 0 corrections make no row"},
		{[]string{at("feedback.jsonl")}, "--out"},
		{[]string{at("feedback.jsonl"), "--out", at("x"), "--format", "texts"}, "--format"},
		{[]string{at("feedback.jsonl"), "--out", at("x"), "--valid-share", "1"}, "--valid-share"},
		{[]string{at("none.jsonl"), "--out", at("x")}, "none.jsonl"},
		{nil, "no file was given"},
	} {
		if code, _, errs := lentil(t, "", append([]string{"dataset", "feedback"}, c.args...)...); code != 2 || !strings.Contains(errs, c.want) {
			t.Errorf("%q: %d %s", c.args, code, errs)
		}
	}
}
