package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/profile"
)

// saveProfile writes a profile into a folder.
func saveProfile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// send asks the server and reads JSON.
func send(t testing.TB, h *httptest.Server, method, path, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequest(method, h.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	out := map[string]any{}
	if err := json.NewDecoder(reply.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, out
}

// parsed is a profile of the test's.
func parsed(t testing.TB, text string) *profile.Profile {
	t.Helper()
	p, err := profile.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestWatch runs scripted pieces through a watch: what is sent, and when.
func TestWatch(t *testing.T) {
	p := parsed(t, "avoid: [nuts, milk]\nseverity: {milk: intolerance}")
	type step struct {
		piece string // "" is the end
		sent  string // of it, so far
	}
	for name, tt := range map[string]struct {
		q       query
		steps   []step
		broken  string // foods
		at      int    // tokens that stay
		verdict string
	}{
		"clean":             {query{profile: p}, []step{{"Eat", ""}, {" rice.", ""}, {" Then", "Eat rice."}, {" sleep", "Eat rice."}, {"", "Eat rice. Then sleep"}}, "", 0, "false []"},
		"broken":            {query{profile: p}, []step{{"Eat", ""}, {" rice.", ""}, {" And", "Eat rice."}, {" nuts.", "Eat rice."}, {" Then", "Eat rice."}}, "nuts", 2, ""},
		"broken at the end": {query{profile: p}, []step{{"Eat nuts", ""}, {"", ""}}, "nuts", 0, ""},
		"intolerance":       {query{profile: p}, []step{{"Drink milk.", ""}, {" Sleep", "Drink milk."}, {"", "Drink milk. Sleep"}}, "", 0, "false [milk]"},
		"no allergy":        {query{profile: parsed(t, "diet: [vegan]")}, []step{{"Eat", "Eat"}, {" ham", "Eat ham"}, {"", "Eat ham"}}, "", 0, "false [ham]"},
	} {
		sent, verdict := "", ""
		w := newWatch(&tt.q, func(e event) error {
			if e.part != nil {
				sent += e.part.Text
			}
			if e.stats.verdict != nil {
				var foods []string
				for _, h := range e.stats.verdict.hits {
					foods = append(foods, h.Text)
				}
				verdict = fmt.Sprint(e.stats.verdict.rewritten, " ", foods)
			}
			return nil
		})
		var err error
		for i, s := range tt.steps {
			e := event{finish: "stop", at: i}
			if s.piece != "" {
				e = event{part: &chat.Part{Kind: chat.Content, Text: s.piece}, at: i + 1}
			}
			err = w.event(e)
			if sent != s.sent {
				t.Errorf("%s: after %q: sent %q, expected %q", name, s.piece, sent, s.sent)
			}
		}
		if (tt.broken != "") != errors.Is(err, errBroken) || verdict != tt.verdict {
			t.Errorf("%s: %v, verdict %q, expected %q", name, err, verdict, tt.verdict)
		}
		if tt.broken != "" && (w.broken[0].Text != tt.broken || w.back() != tt.at) {
			t.Errorf("%s: broken by %v, back to %d", name, w.broken, w.at)
		}
	}
}

// TestWatchAgain: each sentence is written again once, and flagged when it still breaks the profile.
func TestWatchAgain(t *testing.T) {
	q := &query{profile: parsed(t, "avoid: [nuts]")}
	sent := ""
	var last *verdict
	w := newWatch(q, func(e event) error {
		if e.part != nil {
			sent += e.part.Text
		}
		last = e.stats.verdict
		return nil
	})
	for i, s := range []struct {
		piece  string
		broken bool
		sent   string
	}{
		{"Eat nuts.", false, ""}, {" Then", true, ""}, {"Eat walnuts.", false, ""}, {" Sleep.", false, "Eat walnuts."}, {" Eat pecans.", false, "Eat walnuts. Sleep."},
		{" Go", true, "Eat walnuts. Sleep."}, {" Eat rice.", false, "Eat walnuts. Sleep."}, {" Go", false, "Eat walnuts. Sleep. Eat rice."},
	} {
		err := w.event(event{part: &chat.Part{Kind: chat.Content, Text: s.piece}, at: i + 1})
		if errors.Is(err, errBroken) != s.broken || sent != s.sent {
			t.Errorf("%q: %v, sent %q", s.piece, err, sent)
		}
		if s.broken {
			w.back()
		}
	}
	if err := w.event(event{finish: "stop"}); err != nil || sent != "Eat walnuts. Sleep. Eat rice. Go" || !last.rewritten || len(last.hits) != 1 || last.hits[0].Text != "walnuts" {
		t.Errorf("%v, sent %q, %+v", err, sent, last)
	}
}

// heard is an answer as a client hears it.
type heard struct {
	text    string
	logs    int
	verdict *verdict
	stats   answerStats
}

// hear runs a query.
func hear(t *testing.T, s *Server, q *query) (out heard) {
	t.Helper()
	if err := s.answer(t.Context(), q, func(e event) error {
		out.logs += len(e.logs)
		if e.part != nil {
			out.text += e.part.Text
		}
		if e.finish != "" {
			out.verdict, out.stats = e.stats.verdict, e.stats
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestWrittenAgain: an answer that names an allergen goes back to the sentence before, and what was sent stays.
func TestWrittenAgain(t *testing.T) {
	s, _ := newServer(t, nil)
	request := &chatRequest{Messages: json.RawMessage(`[{"role":"user","content":"What is good for strong bones?"}]`)}
	q, err := s.chatQuery(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	defer s.models.release(q.variant)
	q.n, q.logs, q.options.MaxTokens = 1, 0, 60
	q.extra.bias = map[int32]float32{}
	for _, id := range q.options.StopTokens { // an answer of several sentences
		q.extra.bias[id] = -1e9
	}
	plain := hear(t, s, q)
	ends := strings.Split(plain.text, ". ")
	if len(ends) < 3 {
		t.Fatalf("the answer %q has too few sentences for this test", plain.text)
	}
	begin := len(ends[0]) + len(". ")
	words := strings.Fields(ends[1])
	word := slices.MaxFunc(words, func(a, b string) int { return len(a) - len(b) })
	if strings.Contains(plain.text[:begin], word) {
		t.Fatalf("%q is in the first sentence of %q, too", word, plain.text)
	}
	q.profile = &profile.Profile{ID: "anna", Avoid: []string{word}, Severity: map[string]profile.Severity{word: profile.Allergy}}
	again := hear(t, s, q)
	if !again.verdict.rewritten || !strings.HasPrefix(again.text, plain.text[:begin-1]) {
		t.Errorf("without %q\n     %q\nbecame %q", word, plain.text, again.text)
	}
	if rest := again.text[begin-1:]; strings.HasPrefix(rest, plain.text[begin-1:begin+len(ends[1])]) {
		t.Errorf("the sentence with %q is still there: %q", word, again.text)
	}
	if again.stats.GenerationTokens != 60 || again.logs != 60 || again.stats.PromptTokens != len(q.prompt) {
		t.Errorf("figures: %+v and %d log probabilities, expected 60 of each, after %d", again.stats, again.logs, len(q.prompt))
	}
	for _, h := range again.verdict.hits { // it may come again in a later sentence, and is flagged
		if again.text[h.Start:h.End] != h.Text || h.Severity != profile.Allergy {
			t.Errorf("%+v is not in %q", h, again.text)
		}
	}

	// With texts to stop at, the answer begins anew.
	q.options.StopStrings = []string{"no such text"}
	if whole := hear(t, s, q); !whole.stats.verdict.rewritten || whole.stats.GenerationTokens != 60 {
		t.Errorf("with a stop text: %+v, %q", whole.stats, whole.text)
	}
	q.options.StopStrings = nil
	q.profile = &profile.Profile{ID: "anna", Avoid: []string{word}, Severity: map[string]profile.Severity{word: profile.Avoid}}
	if flagged := hear(t, s, q); flagged.text != plain.text || len(flagged.verdict.hits) == 0 || flagged.verdict.rewritten {
		t.Errorf("what is avoided for other reasons is flagged alone: %q: %q, %+v", word, flagged.text, flagged.verdict)
	}
}

// TestProfileAPI asks models with a profile through the APIs.
func TestProfileAPI(t *testing.T) {
	dir := t.TempDir()
	saveProfile(t, dir, "anna.yaml", "avoid: [days, meat, milk, of, the, good, for]\nseverity: {meat: intolerance, milk: intolerance}\n")
	saveProfile(t, dir, "ben.json", `{"base": "other", "diet": ["vegan"]}`)
	_, h := newServer(t, func(o *Options) {
		o.MaxTokens, o.Profiles, o.Data = 24, []Profile{{Path: dir}, {ID: "zoe", Path: filepath.Join(dir, "ben.json")}}, t.TempDir()
	})
	_, list := send(t, h, "GET", "/v1/models", "")
	var ids []string
	for _, m := range list["data"].([]any) {
		ids = append(ids, m.(map[string]any)["id"].(string))
	}
	if !slices.Contains(ids, "base@anna") || slices.Contains(ids, "base@ben") {
		t.Errorf("models: %v", ids)
	}
	ask := `{"model":"base@anna","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"What is beef good for?"}]%s}`
	code, reply := send(t, h, "POST", "/v1/chat/completions", fmt.Sprintf(ask, ""))
	choice := reply["choices"].([]any)[0].(map[string]any)
	verdict, _ := choice["profile"].(map[string]any)
	message := choice["message"].(map[string]any)
	text := []rune(message["content"].(string))
	violations, _ := verdict["violations"].([]any)
	notes, _ := message["annotations"].([]any)
	if code != 200 || verdict["id"] != "anna" || verdict["notice"] != profile.NoAdvice || len(violations) == 0 || len(notes) != len(violations) {
		t.Fatalf("%d: %v", code, reply)
	}
	for _, v := range violations {
		v := v.(map[string]any)
		if got := string(text[int(v["start_index"].(float64)):int(v["end_index"].(float64))]); got != v["text"] {
			t.Errorf("%v stands at %q", v, got)
		}
	}

	r, err := http.Post(h.URL+"/v1/chat/completions", "application/json", strings.NewReader(fmt.Sprintf(ask, `,"stream":true`)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var body bytes.Buffer
	body.ReadFrom(r.Body)
	if s := body.String(); !strings.Contains(s, `"profile":{"id":"anna"`) || !strings.Contains(s, `"type":"profile_violation"`) {
		t.Errorf("the stream has no verdict: %s", s)
	}

	if code, reply = send(t, h, "POST", "/v1/completions", `{"model":"base@anna","prompt":"x"}`); code != 400 {
		t.Errorf("completions: %d %v", code, reply)
	}
	if code, reply = send(t, h, "POST", "/v1/chat/completions", `{"model":"base@nobody","messages":[{"role":"user","content":"x"}]}`); code != 404 {
		t.Errorf("an unknown profile: %d %v", code, reply)
	}
	for path, fields := range map[string]string{
		"/api/chat": `"stream":false,"messages":[{"role":"user","content":"x"}]`, "/v1/messages": `"max_tokens":4,"messages":[{"role":"user","content":"x"}]`,
		"/api/generate": `"stream":false,"prompt":"x"`, "/v1/responses": `"input":"x"`,
	} {
		code, reply = send(t, h, "POST", path, `{"model":"default_model@anna",`+fields+`}`)
		if verdict, _ := reply["profile"].(map[string]any); code != 200 || verdict["id"] != "anna" {
			t.Errorf("%s: %d %v", path, code, reply)
		}
	}
}

// TestProfileEditor is what the page's editor asks for.
func TestProfileEditor(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	file := saveProfile(t, dir, "anna.json", `{"diet":["vegan"]}`)
	_, h := newServer(t, func(o *Options) { o.Profiles, o.Data = []Profile{{Path: file}}, data })
	for _, tt := range []struct {
		method, path, body string
		code               int
		has                string
	}{
		{"GET", "/lentil/profiles", "", 200, "vegan (nothing of animals"},
		{"PUT", "/lentil/profiles/ben", `{"id":"ben","avoid":["nuts"]}`, 200, "Allergies, never suggest"},
		{"PUT", "/lentil/profiles/ben", `{"id":"ben","avoid":["nuts"],"severity":{"nuts":"bad"}}`, 400, "expected allergy, intolerance or avoid"},
		{"PUT", "/lentil/profiles/ben", `{"id":"bert"}`, 400, "expected \\\"ben\\\""},
		{"PUT", "/lentil/profiles/..%2Fben", `{"id":"../ben"}`, 400, "expected letters"},
		{"PUT", "/lentil/profiles/anna", `{"id":"anna"}`, 400, "a file of the server's"},
		{"GET", "/lentil/profiles", "", 200, `"own":true`},
		{"GET", "/v1/models", "", 200, "base@ben"},
		{"DELETE", "/lentil/profiles/anna", "", 400, "the page has no profile"},
		{"DELETE", "/lentil/profiles/ben", "", 200, ""},
		{"DELETE", "/lentil/profiles/ben", "", 400, "the page has no profile"},
	} {
		code, reply := send(t, h, tt.method, tt.path, tt.body)
		text, _ := marshal(reply)
		if code != tt.code || !strings.Contains(string(text), tt.has) {
			t.Errorf("%s %s %s: %d %s, expected %d and %s", tt.method, tt.path, tt.body, code, text, tt.code, tt.has)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(data, "profiles")); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

func TestProfileMistakes(t *testing.T) {
	dir := t.TempDir()
	bad := saveProfile(t, dir, "bad.yaml", "diets: [vegan]\n")
	good := saveProfile(t, t.TempDir(), "anna.yaml", "diet: [vegan]\n")
	for want, sources := range map[string][]Profile{
		`there is no "diets" in a profile`: {{Path: bad}},
		"no such file":                     {{Path: filepath.Join(dir, "none")}},
		"there is no .yaml or .json file":  {{Path: t.TempDir()}},
		"both have the id anna":            {{Path: good}, {Path: filepath.Dir(good)}},
		`id "a b": expected letters`:       {{ID: "a b", Path: good}},
	} {
		if _, err := newProfiles(sources, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %s", err, want)
		}
	}
}
