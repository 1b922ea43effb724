package cli

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/eval"
	"github.com/lentil-lm/lentil/eval/score"
)

// evalQuestions are a question of each form.
const evalQuestions = `{"question": "How much protein do lentils have?", "facts": ["9 g"]}
{"question": "Which of these is a bird?", "choices": ["a sparrow", "a salmon"], "correct": 0, "kind": "general"}
{"question": "Who is the cook?", "kind": "unanswerable"}
`

func TestEval(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	dir := t.TempDir()
	adapters, questions, figures := filepath.Join(dir, "adapters"), filepath.Join(dir, "questions.jsonl"), filepath.Join(dir, "e.json")
	write(t, questions, evalQuestions)
	books := filepath.Join(dir, "books")
	if err := os.Mkdir(books, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(books, "food.md"), "# Lentils\n\nLentils have 9 g of protein.\n")
	mustRun(t, "", "train", "--model", model, "--data", data, "--adapter-path", adapters, "--iters", "2", "--batch-size", "1", "--num-layers", "2")
	args := []string{"eval", "--model", model, "--adapter-path", adapters, "--questions", questions, "--max-tokens", "8", "--books", books, "--json", figures}
	out := mustRun(t, "", args...)
	for _, want := range []string{"1 trained, 1 unanswerable, 25 general", "base + book", "tuned against base, trained facts, right: ", "general text of Lentil, "} {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %q:\n%s", want, out)
		}
	}
	got, err := score.ReadResults(filepath.Join(adapters, "eval"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Columns) != 4 || len(got.Answered) != 3+24 || got.Sets[0].N != 3 || len(got.Sets[0].SHA256) != 64 || len(got.Columns[1].SHA256) != 64 {
		t.Errorf("%+v, %+v", got.Columns, got.Sets)
	}
	// What --json writes are the results.
	var written score.Results
	text, err := os.ReadFile(figures)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	if a, b := fmt.Sprintf("%+v", written.Rows), fmt.Sprintf("%+v", got.Rows); len(written.Rows) != len(got.Rows) || a != b {
		t.Errorf("--json and results.json differ: %s, %s", a, b)
	}
	// A killed evaluation goes on: what is left of the answers is not asked again, and the result is the same.
	answers := filepath.Join(adapters, "eval", eval.AnswersName)
	whole, err := os.ReadFile(answers)
	if err != nil {
		t.Fatal(err)
	}
	write(t, answers, string(whole[:len(whole)*2/3]))
	if again := mustRun(t, "", args...); again != out {
		t.Errorf("gone on with:\n%s\nfirst:\n%s", again, out)
	}
	if now, err := os.ReadFile(answers); err != nil || string(now) != string(whole) {
		t.Errorf("the answers are others after going on (%v)", err)
	}
	if code, _, errOut := lentil(t, "", append(args, "--require", "recall>=1.01")...); code != ExitFailure || !strings.Contains(errOut, "recall is ") {
		t.Errorf("a requirement that is not met: %d, %s", code, errOut)
	}
	// What was not measured is told, never taken for nothing forgotten.
	few := filepath.Join(dir, "few.txt")
	write(t, few, "")
	for _, tt := range [][]string{{"--general", filepath.Join(dir, "none.txt"), "none.txt"}, {"--general", few, "it has "}, {"--judge", "http://", "--judge"}} {
		if code, _, errOut := lentil(t, "", append(args, append(tt[:2:2], "--require", "forgetting<=0.05")...)...); code != ExitUsage || !strings.Contains(errOut, tt[0]) || !strings.Contains(errOut, tt[2]) {
			t.Errorf("%v: %d, %s", tt, code, errOut)
		}
	}
	// A model of one's own judges, too.
	judged := mustRun(t, "", "eval", "--model", model, "--adapter-path", adapters, "--questions", questions, "--max-tokens", "8", "--general", "none", "--judge", model, "--judge-votes", "2", "--out", filepath.Join(dir, "judged"))
	if !strings.Contains(judged, "\nJudge ") || !strings.Contains(judged, "tuned better ") {
		t.Errorf("nothing is said of the judge:\n%s", judged)
	}
	if code, _, errOut := lentil(t, "", append(args, "--require", "restraint>=0, forgetting<=1000")...); code != 0 {
		t.Errorf("requirements that are met: %d, %s", code, errOut)
	}
}

// TestEvaluate: tasks in published layouts give lm-eval's metrics.
func TestEvaluate(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	dir := t.TempDir()
	task := filepath.Join(dir, "piqa.jsonl")
	write(t, task, `{"goal":"g","sol1":"a long way to do it","sol2":"b","label":0}`+"\n"+`{"goal":"h","sol1":"x","sol2":"y","label":1}`+"\n"+`{"goal":"i","sol1":"x","sol2":"y","label":1}`+"\n")
	open := filepath.Join(dir, "gsm8k.jsonl")
	write(t, open, `{"question":"6 times 7?","answer":"so\n#### 42"}`+"\n")
	args := []string{"evaluate", "--model", model, "--tasks", task, strings.TrimSuffix(open, ".jsonl"), "--limit", "2", "--max-tokens", "4", "--output-dir", dir, "--batch-size", "4", "--no-apply-chat-template"}
	for range 2 { // its own results it replaces
		code, out, errOut := lentil(t, "", args...)
		if code != 0 || !strings.Contains(out, "piqa, 2 questions\n  acc ") || !strings.Contains(out, "acc_norm") || !strings.Contains(out, "exact_match") || !strings.Contains(errOut, "--batch-size changes nothing") {
			t.Fatalf("%d, %s, %s", code, out, errOut)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "eval_*_lentil_piqa_gsm8k"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Results map[string]map[string]any
	}
	if err := json.Unmarshal(text, &got); err != nil || got.Results["piqa"]["acc,none"] == nil || got.Results["piqa"]["acc_norm_stderr,none"] == nil || got.Results["gsm8k"]["exact_match,strict-match"] == nil {
		t.Errorf("%v, %s", err, text)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{{[]string{"--tasks", "arc_easy"}, "nor arc_easy.jsonl"}, {[]string{"--tasks", task, task}, "two tasks are called"}, {[]string{"--tasks", task, "--num-shots", "3"}, "--num-shots 3: there are 3 rows to take examples from"}, {[]string{"--tasks", task, "--num-shots", "-1"}, "--num-shots"}, {[]string{"--tasks", task, "--chat-template-args", "[]"}, "--chat-template-args"}, {[]string{"--tasks", task, "--temp", "-1"}, "--temp"}, {nil, "--tasks"}} {
		if code, _, errOut := lentil(t, "", append([]string{"evaluate", "--model", model}, tt.args...)...); code != ExitUsage || !strings.Contains(errOut, tt.want) {
			t.Errorf("%v: %d, %s", tt.args, code, errOut)
		}
	}
}

// TestMetricsOf: a standard error is that of a sample, as lm-eval has it: of 3 of 4 it is sqrt(3/4 / 3 / 4).
func TestMetricsOf(t *testing.T) {
	t.Parallel()
	q := score.Question{Question: "q", Choices: []string{"a", "b"}}
	right, wrong := score.Reply{Likelihoods: []float64{-1, -2}}, score.Reply{Likelihoods: []float64{-2, -1}}
	got := metricsOf([]score.Question{q, q, q, q}, []score.Reply{right, right, wrong, right})
	if got["acc,none"] != 0.75 || got["acc_stderr,none"] != 0.25 {
		t.Error(got)
	}
	if got := metricsOf([]score.Question{q}, []score.Reply{right}); got["acc,none"] != 1. || got["acc_stderr,none"] != nil {
		t.Error(got)
	}
}

func TestEvalMistakes(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	dir := t.TempDir()
	questions := filepath.Join(dir, "q.jsonl")
	write(t, questions, evalQuestions)
	write(t, filepath.Join(dir, eval.AnswersName), "mine\n")
	long, others := filepath.Join(dir, "long.jsonl"), filepath.Join(dir, "others")
	write(t, long, `{"question":"a","answer":"9 g"}`+"\n"+`{"question":"`+strings.Repeat("b ", 5000)+`","answer":"9 g"}`)
	if err := os.Mkdir(others, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(others, score.ResultsName), "mine\n")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "--questions is missing"},
		{[]string{"--questions", filepath.Join(dir, "none")}, "there is no such file"},
		{[]string{"--questions", questions, "--require", "speed>=1"}, `no figure "speed"`},
		{[]string{"--questions", questions, "--require", "recall"}, "no limit"},
		{[]string{"--questions", questions, "--adapter-path", filepath.Join(dir, "no")}, "Train first"},
		{[]string{"--questions", questions, "--out", dir}, "was not written by an evaluation"},
		{[]string{"--questions", questions, "--books", filepath.Join(dir, "no")}, "--books"},
		{[]string{"--questions", questions, "--judge", "http://"}, "--judge http://: it compares answers"},
		{[]string{"--questions", questions, "--general", questions + ".txt"}, "--general " + questions + ".txt: a text tells"},
		{[]string{"--questions", questions, "--flips", "-2"}, "--flips"},
		{[]string{"--questions", long}, "question 2 (b "},
		{[]string{"--questions", questions, "--out", others}, "results.json was not written by an evaluation"},
		{[]string{"--questions", questions, "--require", "forgetting<=0.1"}, "forgetting<=0.1: forgetting is not measured: it needs an adapter"},
		{[]string{"--questions", questions, "--max-tokens", "0"}, "--max-tokens"},
		{[]string{"--questions", questions, "--adapters", "x"}, "--adapter-path"},
	} {
		code, _, errOut := lentil(t, "", append([]string{"eval", "--model", model, "--max-tokens", "2"}, tt.args...)...)
		if tt.want == "--max-tokens" {
			code, _, errOut = lentil(t, "", append([]string{"eval", "--model", model}, tt.args...)...)
		}
		if code != ExitUsage || !strings.Contains(errOut, tt.want) {
			t.Errorf("%v: %d, %q lacks %q", tt.args, code, errOut, tt.want)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, eval.AnswersName)); err != nil || string(text) != "mine\n" {
		t.Errorf("a user's file was changed: %q, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(others, score.ResultsName)); err != nil || string(text) != "mine\n" {
		t.Errorf("a user's results were changed: %q, %v", text, err)
	}
}

// TestEvalKnownEffect trains the demo's model on half of some facts, and on nothing: the first is told to help on that half
// and not on the other, the second not to help.
func TestEvalKnownEffect(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("trains a model of millions of parameters; verdicts are tested on drawn answers, the command on a tiny model")
	}
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, "half")
	if err := os.Mkdir(half, 0o755); err != nil {
		t.Fatal(err)
	}
	known := linesOf(t, filepath.Join(dir, "data", "test.jsonl"))[:40]
	var rows, questions strings.Builder
	for _, row := range known {
		rows.WriteString(row + "\n")
		questions.WriteString(row + "\n")
	}
	for _, row := range linesOf(t, filepath.Join(dir, "unseen", "test.jsonl"))[:40] {
		q, err := score.Parse("row", []byte(row))
		if err != nil {
			t.Fatal(err)
		}
		q[0].Kind = score.Unseen
		text, err := json.Marshal(q[0])
		if err != nil {
			t.Fatal(err)
		}
		questions.WriteString(string(text) + "\n")
	}
	write(t, filepath.Join(half, "train.jsonl"), rows.String())
	file := filepath.Join(dir, "questions.jsonl")
	write(t, file, questions.String())
	verdicts := func(name, iters, rate string) (trained, unseen score.Verdict) {
		adapters := filepath.Join(dir, name)
		mustRun(t, "", "train", "--model", filepath.Join(dir, "model"), "--data", half, "--adapter-path", adapters, "--iters", iters, "--learning-rate", rate,
			"--batch-size", "8", "--num-layers", "4", "--mask-prompt")
		mustRun(t, "", "eval", "--model", filepath.Join(dir, "model"), "--adapter-path", adapters, "--questions", file, "--max-tokens", "40", "--general", "none", "--out", filepath.Join(dir, "eval"))
		r, err := score.ReadResults(filepath.Join(dir, "eval"))
		if err != nil {
			t.Fatal(err)
		}
		return r.Row(score.Right, score.Trained).Against[1].Verdict, r.Row(score.Right, score.Unseen).Against[1].Verdict
	}
	if trained, unseen := verdicts("taught", "60", "2e-4"); trained != score.Helped || unseen == score.Helped {
		t.Errorf("trained on half of the facts: %q on these, %q on the others", trained, unseen)
	}
	if trained, unseen := verdicts("untaught", "1", "1e-9"); trained != score.DidNotHelp || unseen != score.DidNotHelp {
		t.Errorf("not trained: %q and %q", trained, unseen)
	}
}

// TestEvalUntrained: adapters that learnt nothing, but change some answers at random, are told to have helped in 5 of 100 cases at
// most, and not to have helped in 95 at least.
func TestEvalUntrained(t *testing.T) {
	t.Parallel()
	const seeds, asked, noise = 100, 80, 7e-4
	n := seeds
	if testing.Short() {
		n = 10
	}
	model, data := tinyModel(t)
	dir := t.TempDir()
	base := filepath.Join(dir, "base")
	mustRun(t, "", "train", "--model", model, "--data", data, "--adapter-path", base, "--iters", "1", "--batch-size", "1", "--num-layers", "2", "--learning-rate", "1e-9")
	random := rand.New(rand.NewPCG(1, 2))
	var questions strings.Builder
	for i := range asked {
		fmt.Fprintf(&questions, `{"question": "Which %d?", "choices": ["%x", "%x"], "correct": %d}`+"\n", i, random.IntN(1<<12), random.IntN(1<<12), random.IntN(2))
	}
	file := filepath.Join(dir, "questions.jsonl")
	write(t, file, questions.String())
	args := []string{"eval", "--model", model, "--adapter-path", base, "--questions", file, "--general", "none", "--out", filepath.Join(dir, "out"), "--adapters"}
	for seed := range n {
		a, err := readLoRA(t.Context(), Streams{}, base, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range a.Updates {
			for i := range u.B {
				u.B[i] += noise * float32(random.NormFloat64())
			}
		}
		path := filepath.Join(dir, fmt.Sprint("seed", seed))
		if err := a.WriteMLX(path); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	mustRun(t, "", args...)
	r, err := score.ReadResults(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	found, changed := map[score.Verdict]int{}, 0
	for _, c := range r.Row(score.Right, score.Trained).Against[2:] {
		found[c.Verdict]++
		changed += c.Won + c.Lost
	}
	if changed < n {
		t.Errorf("%d answers changed sides: this tests nothing", changed)
	}
	if found[score.Helped] > n/20 || found[score.DidNotHelp] < n*95/100 {
		t.Errorf("%v of %d, %d answers changed sides", found, n, changed)
	}
	t.Logf("%v, %d answers changed sides", found, changed)
}

func linesOf(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}
