package making

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/endpoint"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate/grammar"
	"github.com/lentil-lm/lentil/internal/atomicfile/killtest"
)

// A script is a server that speaks OpenAI's chat completions. What it says follows from what it is asked.
type script struct {
	calls  atomic.Int64
	before func(w http.ResponseWriter, n int64) bool // may answer itself; nil for never
	say    func(system, user string) string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/models") {
		fmt.Fprint(w, `{"data": [{"id": "scripted"}]}`)
		return
	}
	n := s.calls.Add(1)
	var request struct {
		Messages []struct{ Role, Content string }
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.before != nil && s.before(w, n) {
		return
	}
	system, user := "", ""
	for _, m := range request.Messages {
		if m.Role == "system" {
			system = m.Content
		} else {
			user = m.Content
		}
	}
	text, err := json.Marshal(s.say(system, user))
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(w, `{"choices": [{"message": {"role": "assistant", "content": %s}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 100, "completion_tokens": 50}}`, text)
}

// rowOf is a row on a sentence, in JSON.
func rowOf(question, answer, quote string) string {
	text, err := json.Marshal(map[string]string{"kind": "fact", "question": question, "other_wording": "I ask: " + question, "answer": answer, "quote": quote})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// goodRows writes a row on each sentence of the passage that is long enough.
func goodRows(user string) string {
	_, passage, _ := strings.Cut(user, "\"\"\"\n")
	passage, _, _ = strings.Cut(passage, "\n\"\"\"")
	var rows []string
	for i, s := range sentences(passage) {
		if n := wordCount(s); n > 6 && n < 25 && len(rows) < 3 {
			rows = append(rows, rowOf(fmt.Sprintf("What is told, number %d, on the %s?", i, strings.Join(strings.Fields(s)[:5], " ")), "It is told that "+strings.ToLower(s[:1])+s[1:], s))
		}
	}
	return `{"rows": [` + strings.Join(rows, ", ") + `]}`
}

func judged(system, user string) (string, bool) {
	if system != judgeSystem {
		return "", false
	}
	if strings.Contains(user, "Can the question be answered") {
		return "No.", true
	}
	return "Yes.", true
}

func say(system, user string) string {
	if text, ok := judged(system, user); ok {
		return text
	}
	return goodRows(user)
}

func openScript(t testing.TB, s *script, together int) Endpoint {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c, err := endpoint.Open(context.Background(), server.URL+"/v1", "", endpoint.Options{Setting: "endpoint", Together: together, Wait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return Endpoint{c}
}

func writeWith(t testing.TB, model dataset.Completer, change func(*Options)) (*Made, error) {
	t.Helper()
	recipe, err := OpenRecipe("general")
	if err != nil {
		t.Fatal(err)
	}
	o := New(writeBook(t, "mill.md", handbook))
	o.Valid, o.Test = 0, 0
	o.Writer = &Writer{Model: model, Recipe: recipe, Votes: 3}
	if change != nil {
		change(&o)
	}
	return Make(context.Background(), o)
}

func byModel(m *Made) (rows []Row) {
	for _, r := range m.Rows {
		if r.Model != "none" {
			rows = append(rows, r)
		}
	}
	return rows
}

// TestWriter: rows of a good model are taken, with their quotes and their other wordings.
func TestWriter(t *testing.T) {
	m, err := writeWith(t, openScript(t, &script{say: say}, 4), nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := byModel(m)
	if len(rows) < 5 {
		t.Fatalf("%d rows: %+v", len(rows), m.Report.Dropped)
	}
	for _, r := range rows {
		if !r.grounded() || r.Model != "scripted" || !strings.HasPrefix(r.By, "prompt:general/") {
			t.Errorf("%+v", r)
		}
	}
	asked := false
	for _, q := range m.Questions {
		asked = asked || strings.HasPrefix(q.Question, "I ask: ")
	}
	if !asked {
		t.Error("no other wording is among the questions for measuring")
	}
}

// TestRefused: each way of being wrong has its reason, is mended once, and then counted.
func TestRefused(t *testing.T) {
	quote := "The upper stone weighs 12 kilograms."
	tests := []struct {
		name, row, reason string
	}{
		{"good", rowOf("How heavy is the upper stone?", "It has a weight of 12 kilograms.", quote), ""},
		{"quote with other spaces and signs", rowOf("How heavy is the upper stone?", "It has a weight of 12 kilograms.", "The  upper stone weighs 12 kilograms"), ""},
		{"no quote, but its sentence is found", rowOf("How heavy is the upper stone?", "The upper stone weighs 12 kilograms.", ""), ""},
		{"made-up quote", rowOf("How heavy is the lower stone?", "Nobody can say how heavy millers made these.", "The lower one is heavier."), noQuote},
		{"made-up figure", rowOf("How heavy is the upper stone?", "The upper stone weighs 15 kilograms.", quote), noFigure},
		{"other unit", rowOf("How heavy is the upper stone?", "The upper stone weighs 12 pounds.", quote), otherUnit},
		{"speaks of the text", rowOf("What does the passage say of the upper stone?", "The upper stone weighs 12 kilograms.", quote), meta},
		{"no answer", rowOf("How heavy is the upper stone?", " ", quote), noQuestion},
	}
	for _, tt := range tests {
		s := &script{say: func(system, user string) string {
			if text, ok := judged(system, user); ok {
				return text
			}
			if !strings.Contains(user, "upper stone") {
				return "{}"
			}
			return tt.row
		}}
		m, err := writeWith(t, openScript(t, s, 4), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(byModel(m)) > 0; got != (tt.reason == "") || tt.reason != "" && m.Report.Dropped[tt.reason] == 0 {
			t.Errorf("%s: taken %v, %v", tt.name, got, m.Report.Dropped)
		}
	}
	// What is wrong at first may be right when it is mended.
	s := &script{say: func(system, user string) string {
		if strings.Contains(user, "It cannot be taken") {
			return tests[0].row
		}
		return tests[4].row
	}}
	if m, err := writeWith(t, openScript(t, s, 4), nil); err != nil || len(byModel(m)) == 0 {
		t.Errorf("mended: %v, %v", m.Report.Dropped, err)
	}
	// The judge's majority decides on rows that their page supports poorly.
	for answer, taken := range map[string]bool{"Yes": true, "No, it does not.": false, "I cannot say": false} {
		s := &script{say: func(system, user string) string {
			if system == judgeSystem {
				return answer
			}
			return rowOf("How heavy is that?", "Quite a burden, twelve of those units people use for flour sacks.", quote)
		}}
		if m, err := writeWith(t, openScript(t, s, 4), nil); err != nil || (len(byModel(m)) > 0) != taken {
			t.Errorf("judge says %q: %v, %v", answer, m.Report.Dropped, err)
		}
	}
	for most, refused := range map[int]bool{len(strings.Fields(quote)) - 1: true, len(strings.Fields(quote)): false, 0: false} {
		m, err := writeWith(t, openScript(t, &script{say: func(string, string) string { return rowOf("How heavy is the upper stone?", quote, quote) }}, 4), func(o *Options) { o.Writer.MaxCopy = most })
		if err != nil || m.Report.Dropped[copies] > 0 != refused {
			t.Errorf("copied, with at most %d words: %v, %v", most, m.Report.Dropped, err)
		}
	}
}

// TestServers: busy, broken and rude servers are asked again; what stays wrong ends the run with what was found.
func TestServers(t *testing.T) {
	for name, before := range map[string]func(w http.ResponseWriter, n int64) bool{
		"busy": func(w http.ResponseWriter, n int64) bool {
			if n%3 == 0 {
				w.Header().Set("Retry-After", "0.01")
				http.Error(w, "slow down", http.StatusTooManyRequests)
			}
			return n%3 == 0
		},
		"broken": func(w http.ResponseWriter, n int64) bool {
			if n%4 == 1 {
				http.Error(w, "oh", http.StatusBadGateway)
			}
			return n%4 == 1
		},
		"no JSON": func(w http.ResponseWriter, n int64) bool {
			if n%4 == 2 {
				fmt.Fprint(w, "<html>")
			}
			return n%4 == 2
		},
		"hangs up": func(_ http.ResponseWriter, n int64) bool {
			if n%4 == 3 {
				panic(http.ErrAbortHandler)
			}
			return false
		},
	} {
		m, err := writeWith(t, openScript(t, &script{before: before, say: say}, 4), nil)
		if err != nil || len(byModel(m)) < 5 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, code := range map[string]int{"no key": http.StatusUnauthorized, "no such model": http.StatusNotFound, "always busy": http.StatusTooManyRequests} {
		s := &script{say: say, before: func(w http.ResponseWriter, _ int64) bool { http.Error(w, name, code); return true }}
		_, err := writeWith(t, openScript(t, s, 4), nil)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if code == http.StatusUnauthorized && fault.SettingOf(err) != "endpoint" {
			t.Errorf("%s: no mistake: %v", name, err)
		}
	}
}

// TestReplies: rows are found in whatever a model puts around them.
func TestReplies(t *testing.T) {
	row := rowOf("Why so?", "Because.", "It is so.")
	for text, want := range map[string]int{
		`{"rows": [` + row + `, ` + row + `]}`:                       2,
		`[` + row + `]`:                                              1,
		"Here you are:\n```json\n{\"rows\": [" + row + ",]}\n```":    1,
		`{"rows": [` + row + `, {"kind": "fact", "question": "Wh`:    1,
		"<think>{\"question\": \"x\"}</think>" + row:                 1,
		"{\"question\": \"Why\nso?\", \"answer\": \"Because\",}":     1,
		"Q: Why so?\nA: Because.\nIt is.\n\nQ2: And?\nA2: Yes.":      2,
		"**Question:** Why so?\n**Answer:** Because.\nQuote: \"So\"": 1,
		"I am sorry, I cannot.":                                      0,
		"":                                                           0,
		strings.Repeat("{", 10000):                                   0,
	} {
		got := parseDrafts(text)
		if len(got) != want || want > 0 && (got[0].Question == "" || got[0].Answer == "") {
			t.Errorf("%.80q: %+v", text, got)
		}
	}
}

func FuzzReplies(f *testing.F) {
	f.Add(`{"rows": [{"question": "Why?", "answer": "So.", "quote": "x"}]}`)
	f.Add("Q: Why?\nA: So.")
	f.Fuzz(func(t *testing.T, text string) {
		if n := len(parseDrafts(text)); n > 3*maxDrafts {
			t.Errorf("%d rows", n)
		}
	})
}

// TestBudget: no more is asked when it is spent, what is there is kept, and a larger one goes on.
func TestBudget(t *testing.T) {
	s := &script{say: say}
	e := openScript(t, s, 1)
	dir := t.TempDir()
	m, err := writeWith(t, e, func(o *Options) { o.Writer.Dir, o.Writer.Budget = dir, 200 })
	if err != nil {
		t.Fatal(err)
	}
	some, calls := len(byModel(m)), s.calls.Load()
	if calls > 3 {
		t.Errorf("%d calls of 150 tokens for a budget of 200", calls)
	}
	if m, err = writeWith(t, e, func(o *Options) { o.Writer.Dir = dir }); err != nil || len(byModel(m)) <= some {
		t.Errorf("%d rows after %d: %v", len(byModel(m)), some, err)
	}
	before := s.calls.Load()
	if _, err = writeWith(t, e, func(o *Options) { o.Writer.Dir = dir }); err != nil || s.calls.Load() != before {
		t.Errorf("what is known is asked again: %d calls, %v", s.calls.Load()-before, err)
	}
}

func TestPlan(t *testing.T) {
	s := &script{say: say}
	m, err := writeWith(t, openScript(t, s, 4), func(o *Options) { o.PlanOnly = true })
	if err != nil || m.Report.Plan == nil || m.Report.Plan.Calls == 0 || m.Report.Plan.Rows < m.Report.Plan.Calls || s.calls.Load() != 0 {
		t.Errorf("%+v, %d calls, %v", m.Report.Plan, s.calls.Load(), err)
	}
}

// TestInterrupted: a run that is stopped keeps what was answered.
func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	var once sync.Once
	s := &script{say: func(system, user string) string { once.Do(stop); return say(system, user) }}
	e := openScript(t, s, 4)
	recipe, _ := OpenRecipe("general")
	o := New(writeBook(t, "mill.md", handbook))
	o.Writer = &Writer{Model: e, Recipe: recipe, Dir: t.TempDir()}
	if _, err := Make(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestRecipes(t *testing.T) {
	for _, name := range RecipeNames() {
		if _, err := OpenRecipe(name); err != nil {
			t.Error(err)
		}
	}
	for text, want := range map[string]string{
		`{"kinds": {"joke": 1}}`: "joke",
		`{"kinds": {"fact": 1}}`: "audiences",
		`{"kind": {}}`:           "kind",
		`{"kinds": {"profile": 1}, "audiences": ["a"], "difficulties": ["b"]}`: "profiles",
		`{`: "",
	} {
		if _, err := OpenRecipe(writeBook(t, "r.json", text)); err == nil || fault.SettingOf(err) != "recipe" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := OpenRecipe("none"); err == nil {
		t.Error("no error")
	}
}

// Variables of the environment that have the test's binary make a dataset and end.
const (
	killBook, killURL, killOut = "LENTIL_TEST_BOOK", "LENTIL_TEST_URL", "LENTIL_TEST_OUT"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(killBook); path != "" {
		if err := makeAt(path, os.Getenv(killURL), os.Getenv(killOut)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func makeAt(path, url, out string) error {
	c, err := endpoint.Open(context.Background(), url, "", endpoint.Options{Setting: "endpoint", Together: 4})
	if err != nil {
		return err
	}
	recipe, err := OpenRecipe("nutrition")
	if err != nil {
		return err
	}
	o := New(path)
	o.Writer = &Writer{Model: Endpoint{c}, Recipe: recipe, Dir: out, Votes: 1}
	if err := Vacant(out); err != nil {
		return err
	}
	made, err := Make(context.Background(), o)
	if err != nil {
		return err
	}
	return made.Write(out, false)
}

// TestKilledWriting: a process that is killed at 60 random moments leaves the dataset that one makes without a kill, and
// the server is asked for little more than once.
func TestKilledWriting(t *testing.T) {
	kills := 60
	if testing.Short() {
		kills = 6
	}
	var reached chan struct{} // is closed at the call that the kill waits for
	var left atomic.Int64     // calls until then
	s := &script{say: say, before: func(http.ResponseWriter, int64) bool {
		if left.Add(-1) == 0 {
			close(reached)
		}
		return false
	}}
	left.Store(-1)
	server := httptest.NewServer(s)
	defer server.Close()
	path := writeBook(t, "stones.md", longBook())
	whole := filepath.Join(t.TempDir(), "whole")
	if err := makeAt(path, server.URL+"/v1", whole); err != nil {
		t.Fatal(err)
	}
	needed := s.calls.Load()
	s.calls.Store(0)
	want, _ := killtest.Lie(t, whole)
	if !strings.Contains(want["provenance.jsonl"], `"model":"scripted"`) {
		t.Fatal("the model wrote nothing")
	}
	out := filepath.Join(t.TempDir(), "killed")
	dice := rand.New(rand.NewPCG(1, 2))
	run := func(calls int64) error {
		reached = make(chan struct{})
		left.Store(calls)
		cmd := exec.Command(os.Args[0], "-test.run=NONE")
		cmd.Env = append(os.Environ(), killBook+"="+path, killURL+"="+server.URL+"/v1", killOut+"="+out)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		defer close(ended)
		go func() {
			select {
			case <-reached:
				time.Sleep(time.Duration(dice.IntN(3000)) * time.Microsecond)
				cmd.Process.Kill()
			case <-ended:
			}
		}()
		return cmd.Wait()
	}
	killed := 0
	for range kills {
		if err := run(1 + dice.Int64N(needed/4)); err != nil {
			killed++
		}
		if dice.IntN(4) == 0 { // so that the begin is killed as well
			if err := os.RemoveAll(out); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := run(-1); err != nil {
		t.Fatal(err)
	}
	got, behind := killtest.Lie(t, out)
	delete(want, CallsName) // whose lines are in the order of the answers
	delete(got, CallsName)
	if !maps.Equal(got, want) || len(behind) > 0 {
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("%s differs", name)
			}
		}
		t.Errorf("%d files, %d expected; left behind: %v", len(got), len(want), behind)
	}
	if killed < kills/3 {
		t.Errorf("only %d of %d were killed", killed, kills)
	}
	t.Logf("%d killed; %d calls in all, %d are needed", killed, s.calls.Load(), needed)
}

// TestRowSchemas: the schemas are such that decoding can be held to them.
func TestRowSchemas(t *testing.T) {
	for _, schema := range []string{rowSchema("fact"), rowSchema("follow-up"), rowsSchema([]Written{"fact", "follow-up", "why"}), verdictSchema} {
		v, err := jinja.ParseJSON([]byte(schema))
		if err != nil {
			t.Fatalf("%s: %v", schema, err)
		}
		if _, err := grammar.Schema(v); err != nil {
			t.Errorf("%s: %v", schema, err)
		}
	}
}
