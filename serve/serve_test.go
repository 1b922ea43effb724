package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/generate"
)

// modelFolder is the demo's base model, written once for all tests.
var modelFolder = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lentil-serve")
	if err == nil {
		err = demo.Write(dir, false)
	}
	return filepath.Join(dir, "model"), err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := modelFolder(); err == nil {
		os.RemoveAll(filepath.Dir(dir))
	}
	os.Exit(code)
}

// newServer serves the demo's base model.
func newServer(t testing.TB, change func(*Options)) (*Server, *httptest.Server) {
	t.Helper()
	dir, err := modelFolder()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Models: []Model{{ID: "base", Path: dir}}, Open: engine.Options{Threads: 1}, MaxTokens: 12}
	if change != nil {
		change(&o)
	}
	s, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		h.Close()
		s.Close()
	})
	return s, h
}

// saveAdapter writes an adapter that changes answers.
func saveAdapter(t testing.TB, path string, size float32) {
	t.Helper()
	dir, err := modelFolder()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(t.Context(), dir, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	loras, err := adapter.New(e.Model, adapter.Config{Rank: 2, Scale: 1, NumLayers: -1, Keys: []string{"self_attn.q_proj", "self_attn.v_proj"}}, compute.NewKey(5))
	if err != nil {
		t.Fatal(err)
	}
	for k, l := range loras {
		b := make([]float32, l.B.Shape().Elems())
		for i := range b {
			b[i] = size * float32((i*7+k)%11-5)
		}
		if err := e.Model.Device().Write(l.B.Buffer(), compute.FloatBytes(b)); err != nil {
			t.Fatal(err)
		}
	}
	if err := adapter.Save(e.Model, path); err != nil {
		t.Fatal(err)
	}
}

type object = map[string]any

// post sends a request and reads the reply.
func post(t testing.TB, url, path string, body any) (status int, reply object) {
	t.Helper()
	data, ok := body.(string)
	if !ok {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		data = string(b)
	}
	r, err := http.Post(url+path, "application/json", strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &reply); err != nil {
		t.Fatalf("%s: %d %q: %v", path, r.StatusCode, text, err)
	}
	return r.StatusCode, reply
}

// at finds a value within a reply, by keys and indices.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(object)
			v = m[p]
		case int:
			list, _ := v.([]any)
			if p >= len(list) {
				return nil
			}
			v = list[p]
		}
	}
	return v
}

func user(text string) []object { return []object{{"role": "user", "content": text}} }

const question = "What is fibre good for?"

// content is the text of a chat completion.
func content(t testing.TB, url string, body object) string {
	t.Helper()
	status, reply := post(t, url, "/v1/chat/completions", body)
	text, ok := at(reply, "choices", 0, "message", "content").(string)
	if status != http.StatusOK || !ok {
		t.Fatalf("%v: %d %v", body, status, reply)
	}
	return text
}

// events reads a stream: the values of its data lines, and the other lines.
func events(t testing.TB, url, path string, body object) (values []object, done bool) {
	t.Helper()
	data, _ := json.Marshal(body)
	r, err := http.Post(url+path, "application/json", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if kind := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || kind != "text/event-stream" && kind != "application/x-ndjson" {
		text, _ := io.ReadAll(r.Body)
		t.Fatalf("%s: %d %s: %s", path, r.StatusCode, kind, text)
	}
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "data: ")
		if text == "[DONE]" {
			done = true
		} else if ok || strings.HasPrefix(text, "{") {
			var v object
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			values = append(values, v)
		}
	}
	return values, done
}

// TestChat: a chat completion whole and streamed is one answer, that of the engine alone, with usage and timings.
func TestChat(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, func(o *Options) { o.Batch.RowWise = true })
	dir, _ := modelFolder()
	e, err := engine.Open(t.Context(), dir, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	want, _, err := e.Answer(t.Context(), question, generate.Options{MaxTokens: 12})
	if err != nil {
		t.Fatal(err)
	}
	body := object{"model": "base", "messages": user(question), "unknown_field": 1}
	status, reply := post(t, h.URL, "/v1/chat/completions", body)
	if got := at(reply, "choices", 0, "message", "content"); status != http.StatusOK || got != want {
		t.Errorf("%d %q, the engine says %q", status, got, want)
	}
	if n := at(reply, "usage", "completion_tokens"); n != 9.0 || at(reply, "choices", 0, "finish_reason") != "stop" || at(reply, "timings", "predicted_n") != n {
		t.Errorf("usage, timings and finish: %v", reply)
	}
	body["stream"], body["stream_options"] = true, object{"include_usage": true}
	values, done := events(t, h.URL, "/v1/chat/completions", body)
	text, usage := "", any(nil)
	for _, v := range values {
		if piece, ok := at(v, "choices", 0, "delta", "content").(string); ok {
			text += piece
		}
		usage = at(v, "usage", "total_tokens")
	}
	if text != want || !done || usage == nil {
		t.Errorf("streamed %q, done %t, usage %v; want %q", text, done, usage, want)
	}
	if at(values, 0) == nil && at(values[0], "choices", 0, "delta", "role") != "assistant" {
		t.Errorf("the first chunk has no role: %v", values[0])
	}
	// The second message of a conversation finds the first one read.
	next := append(user(question), object{"role": "assistant", "content": want}, object{"role": "user", "content": "And beans?"})
	if _, reply := post(t, h.URL, "/v1/chat/completions", object{"messages": next}); !(at(reply, "usage", "prompt_tokens_details", "cached_tokens").(float64) > 5) {
		t.Errorf("nothing is cached: %v", reply["usage"])
	}
}

// TestParameters: what requests ask for happens.
func TestParameters(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, nil)
	plain := content(t, h.URL, object{"messages": user(question)})
	word := strings.Fields(plain)[2]
	if got := content(t, h.URL, object{"messages": user(question), "stop": word}); strings.Contains(got, word) || !strings.HasPrefix(plain, got) {
		t.Errorf("stop %q: %q of %q", word, got, plain)
	}
	if got := content(t, h.URL, object{"messages": user(question), "max_completion_tokens": 2}); got == plain || !strings.HasPrefix(plain, got) {
		t.Errorf("2 tokens: %q of %q", got, plain)
	}
	drawn := object{"messages": user(question), "temperature": 1.2, "seed": 7, "n": 2}
	_, one := post(t, h.URL, "/v1/chat/completions", drawn)
	_, two := post(t, h.URL, "/v1/chat/completions", drawn)
	first, second := at(one, "choices", 0, "message", "content"), at(one, "choices", 1, "message", "content")
	if first == second || first != at(two, "choices", 0, "message", "content") || second != at(two, "choices", 1, "message", "content") {
		t.Errorf("n and seed: %v, then %v", one["choices"], two["choices"])
	}
	_, logs := post(t, h.URL, "/v1/chat/completions", object{"messages": user(question), "logprobs": true, "top_logprobs": 3})
	list, _ := at(logs, "choices", 0, "logprobs", "content").([]any)
	text := ""
	for _, l := range list {
		text += at(l, "token").(string)
		if top := at(l, "top_logprobs", 0); at(top, "token") != at(l, "token") || at(top, "logprob") != at(l, "logprob") || !(at(l, "logprob").(float64) <= 0) || len(at(l, "top_logprobs").([]any)) != 3 {
			t.Errorf("the greedy token is not the likeliest: %v", l)
		}
	}
	if len(list) < 5 || strings.TrimSpace(text) != strings.TrimSpace(plain) {
		t.Errorf("%d log probabilities of %q, want those of %q", len(list), text, plain)
	}
	id := fmt.Sprint(at(list, 0, "id"))
	if got := content(t, h.URL, object{"messages": user(question), "logit_bias": object{id: -100}}); got == plain {
		t.Errorf("a bias against the first token changed nothing: %q", got)
	}
	if got := content(t, h.URL, object{"messages": user(question), "repetition_penalty": 5.0, "frequency_penalty": 2}); got == plain {
		t.Errorf("penalties changed nothing: %q", got)
	}
	schema := object{"type": "object", "properties": object{"a": object{"enum": []string{"x", "y"}}, "n": object{"type": "integer", "minimum": 3, "maximum": 5}}, "required": []string{"a", "n"}}
	got := content(t, h.URL, object{"messages": user(question), "max_tokens": 60, "response_format": object{"type": "json_schema", "json_schema": object{"name": "s", "schema": schema}}})
	var v struct {
		A string
		N int
	}
	if err := json.Unmarshal([]byte(got), &v); err != nil || v.A != "x" && v.A != "y" || v.N < 3 || v.N > 5 {
		t.Errorf("JSON by a schema: %q: %v", got, err)
	}
	if got := content(t, h.URL, object{"messages": user(question), "grammar": `root ::= "maybe" | "perhaps"`}); got != "maybe" && got != "perhaps" {
		t.Errorf("by a grammar: %q", got)
	}
	if got := content(t, h.URL, object{"messages": append(user(question), object{"role": "assistant", "content": "Fibre"})}); got == plain {
		t.Errorf("an answer that was begun is begun again: %q", got)
	}
}

// TestAdjust: what penalties make of logits, by hand. Token 1 is in the prompt, 2 once and 3 twice in the answer.
func TestAdjust(t *testing.T) {
	for name, c := range map[string]struct {
		adjust
		want []float32
	}{
		"nothing":    {adjust{repetition: 1}, []float32{2, -2, 2, -2}},
		"bias":       {adjust{bias: map[int32]float32{0: -5, 9: 1}}, []float32{-3, -2, 2, -2}},
		"repetition": {adjust{repetition: 2, window: 20}, []float32{2, -4, 1, -4}},
		"window":     {adjust{repetition: 2, window: 2}, []float32{2, -2, 1, -4}},
		"presence":   {adjust{presence: 0.5}, []float32{2, -2, 1.5, -2.5}},
		"frequency":  {adjust{frequency: 0.5}, []float32{2, -2, 1.5, -3}},
		"last two":   {adjust{presence: 1, presenceW: 1, frequency: 0.5, frequencyW: 2}, []float32{2, -2, 0.5, -2.5}},
	} {
		logits := []float32{2, -2, 2, -2}
		c.apply([]int32{1}, []int32{3, 3, 2}, logits)
		if !slices.Equal(logits, c.want) || c.idle() != (name == "nothing") {
			t.Errorf("%s: %v, want %v; idle %t", name, logits, c.want, c.idle())
		}
	}
}

// TestCompletions: echo gives the log probabilities of a prompt, which are those of tokens that come by themselves.
func TestCompletions(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, nil)
	status, reply := post(t, h.URL, "/v1/completions", object{"prompt": []string{"Beans have", "Oats are"}, "max_tokens": 4, "logprobs": 2})
	list, _ := at(reply, "choices").([]any)
	if status != http.StatusOK || len(list) != 2 {
		t.Fatalf("%d %v", status, reply)
	}
	first := at(list, 0, "text").(string)
	_, cut := post(t, h.URL, "/tokenize", object{"content": "Beans have"})
	for _, prompt := range []any{cut["tokens"], []any{cut["tokens"]}} { // as tokens
		status, reply := post(t, h.URL, "/v1/completions", object{"prompt": prompt, "max_tokens": 4})
		if all, _ := at(reply, "choices").([]any); status != http.StatusOK || len(all) != 1 || at(all, 0, "text") != first {
			t.Errorf("%v: %d %v, want %q", prompt, status, reply, first)
		}
	}
	_, echoed := post(t, h.URL, "/v1/completions", object{"prompt": "Beans have" + first, "max_tokens": 0, "logprobs": 1, "echo": true})
	text := at(echoed, "choices", 0, "text")
	tokens, _ := at(echoed, "choices", 0, "logprobs", "tokens").([]any)
	logs, _ := at(echoed, "choices", 0, "logprobs", "token_logprobs").([]any)
	if text != "Beans have"+first || len(tokens) != len(logs) || len(logs) < 5 || logs[0] != nil {
		t.Fatalf("echo: %v", echoed)
	}
	drawn, _ := at(reply, "choices", 0, "logprobs", "token_logprobs").([]any)
	const tolerance = 0.05 // 8-bit activations round otherwise in other company
	if a, b := logs[len(logs)-1].(float64), drawn[len(drawn)-1].(float64); a-b > tolerance || b-a > tolerance {
		t.Errorf("the last token has %g when it is read, %g when it is written", a, b)
	}
	values, done := events(t, h.URL, "/v1/completions", object{"prompt": "Beans have", "max_tokens": 4, "stream": true})
	streamed := ""
	for _, v := range values {
		streamed += at(v, "choices", 0, "text").(string)
	}
	if streamed != first || !done {
		t.Errorf("streamed %q, whole %q", streamed, first)
	}
}

// TestBadRequests: errors are objects that name the field.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, func(o *Options) { o.MaxBody = 4 << 10 })
	m := user("Hi")
	for _, c := range []struct {
		path   string
		body   any
		status int
		param  any
	}{
		{"/v1/chat/completions", "", 400, nil},
		{"/v1/chat/completions", "[]", 400, nil},
		{"/v1/chat/completions", `{"messages": [}`, 400, nil},
		{"/v1/chat/completions", object{}, 400, "messages"},
		{"/v1/chat/completions", object{"messages": []object{{"content": "x"}}}, 400, "messages"},
		{"/v1/chat/completions", object{"messages": []object{{"role": "user", "content": []object{{"type": "image_url", "image_url": object{"url": "data:"}}}}}}, 400, "messages"},
		{"/v1/chat/completions", object{"messages": m, "model": "gpt"}, 404, "model"},
		{"/v1/chat/completions", object{"messages": m, "temperature": "warm"}, 400, "temperature"},
		{"/v1/chat/completions", object{"messages": m, "temperature": -1}, 400, "temperature"},
		{"/v1/chat/completions", object{"messages": m, "top_p": 2}, 400, "top_p"},
		{"/v1/chat/completions", object{"messages": m, "max_tokens": -5}, 400, "max_tokens"},
		{"/v1/chat/completions", object{"messages": m, "max_tokens": 1.5}, 400, "max_tokens"},
		{"/v1/chat/completions", object{"messages": m, "n": 0}, 400, "n"},
		{"/v1/chat/completions", object{"messages": m, "stop": 5}, 400, "stop"},
		{"/v1/chat/completions", object{"messages": m, "logit_bias": object{"x": 1}}, 400, "logit_bias"},
		{"/v1/chat/completions", object{"messages": m, "logprobs": true, "top_logprobs": 99}, 400, "top_logprobs"},
		{"/v1/chat/completions", object{"messages": m, "tools": 5}, 400, "tools"},
		{"/v1/chat/completions", object{"messages": m, "tool_choice": "required"}, 400, "tool_choice"},
		{"/v1/chat/completions", object{"messages": m, "response_format": object{"type": "xml"}}, 400, "response_format"},
		{"/v1/chat/completions", object{"messages": m, "response_format": object{"type": "json_schema", "json_schema": object{"schema": object{"not": object{}}}}}, 400, "response_format"},
		{"/v1/chat/completions", object{"messages": m, "grammar": "root ::= x"}, 400, "grammar"},
		{"/v1/chat/completions", object{"messages": m, "grammar": "root ::= root"}, 400, "grammar"},
		{"/v1/chat/completions", object{"messages": m, "response_format": object{"type": "json_schema", "json_schema": object{"schema": object{"$ref": "#"}}}}, 400, "response_format"},
		{"/v1/chat/completions", object{"messages": user(strings.Repeat("word ", 5000))}, 413, nil},
		{"/v1/chat/completions", object{"messages": user(strings.Repeat("ab ", 1200))}, 400, "messages"},
		{"/v1/completions", object{}, 400, "prompt"},
		{"/v1/completions", object{"prompt": []int{1 << 30}}, 400, "prompt"},
		{"/v1/completions", object{"prompt": "x", "logprobs": 99}, 400, "logprobs"},
		{"/v1/embeddings", object{"input": []string{}}, 400, "input"},
		{"/detokenize", object{"tokens": []int{1, -4}}, 400, "tokens"},
		{"/v1/nothing", object{}, 404, nil},
	} {
		status, reply := post(t, h.URL, c.path, c.body)
		message, _ := at(reply, "error", "message").(string)
		if status != c.status || message == "" || c.param != nil && at(reply, "error", "param") != c.param ||
			c.path != "/v1/chat/completions" && c.param != nil && !strings.HasPrefix(message, c.param.(string)+": ") {
			t.Errorf("%s %.80v: %d %v, want %d and %v", c.path, c.body, status, reply, c.status, c.param)
		}
	}
}

// TestModels: adapters by id, in shares, and as they come into a folder and change there.
func TestModels(t *testing.T) {
	t.Parallel()
	runs := t.TempDir()
	s, h := newServer(t, func(o *Options) { o.Adapters = []string{runs} })
	ask := func(model string) string {
		return content(t, h.URL, object{"model": model, "messages": user(question)})
	}
	base := ask("base")
	if status, _ := post(t, h.URL, "/v1/chat/completions", object{"model": "base+cook", "messages": user(question)}); status != http.StatusNotFound {
		t.Errorf("an adapter that is not there: %d", status)
	}
	saveAdapter(t, filepath.Join(runs, "cook"), 0.3)
	var ids []string
	r, err := http.Get(h.URL + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	var list object
	err = json.NewDecoder(r.Body).Decode(&list)
	r.Body.Close()
	data, _ := list["data"].([]any)
	for _, m := range data {
		ids = append(ids, at(m, "id").(string))
	}
	if want := []string{"base", "base+cook"}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("models %v, want %v", ids, want)
	}
	tuned := ask("base+cook")
	if tuned == base {
		t.Error("the adapter changes nothing")
	}
	if none := ask("base+cook:0"); none != base {
		t.Errorf("none of the adapter: %q, the base says %q", none, base)
	}
	if half := ask("base+cook:0.5"); half == tuned {
		t.Error("half of the adapter is all of it")
	}
	if ask("base:latest") != base || ask("default_model") != base || ask("") != base {
		t.Error("other names of the base")
	}
	if len(s.models.bases[0].variants) != 4 {
		t.Errorf("%d variants", len(s.models.bases[0].variants))
	}
	for i := range mostVariants + 5 { // a client that asks for any share of it
		if status, reply := post(t, h.URL, "/v1/messages/count_tokens", object{"model": fmt.Sprintf("base+cook:0.%03d", i+1), "messages": user("Hi")}); status != http.StatusOK {
			t.Fatalf("%d %v", status, reply)
		}
	}
	if n := len(s.models.bases[0].variants); n != mostVariants {
		t.Errorf("%d variants are kept, want %d", n, mostVariants)
	}
	time.Sleep(10 * time.Millisecond) // for another time of the files
	saveAdapter(t, filepath.Join(runs, "cook"), 0)
	if again := ask("base+cook"); again != base {
		t.Errorf("a new adapter that changes nothing: %q, the base says %q", again, base)
	}
}

// TestAdaptersFolder: what --adapters names may come later, but is no file.
func TestAdaptersFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	models := []Model{{ID: "m", Path: t.TempDir()}}
	if _, err := newModels(Options{Models: models, Adapters: []string{file}}); err == nil || !strings.Contains(err.Error(), "this is a file") {
		t.Errorf("a file: %v", err)
	}
	if _, err := newModels(Options{Models: models, Adapters: []string{file + ".runs"}}); err != nil {
		t.Errorf("a folder that a training run will make: %v", err)
	}
}

// TestMemory: of two models with room for one, the one asked for is loaded.
func TestMemory(t *testing.T) {
	t.Parallel()
	dir, err := modelFolder()
	if err != nil {
		t.Fatal(err)
	}
	n, err := weightBytes(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, h := newServer(t, func(o *Options) {
		o.Models = append(o.Models, Model{ID: "other", Path: dir})
		o.Memory = n + n/2
	})
	for _, id := range []string{"base", "other", "base"} {
		content(t, h.URL, object{"model": id, "messages": user("Hi")})
		for _, b := range s.models.bases {
			if loaded := b.engine != nil; loaded != (b.ID == id) {
				t.Errorf("asked for %s: %s is loaded: %t", id, b.ID, loaded)
			}
		}
	}
}

// TestGuard: who may ask.
func TestGuard(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, func(o *Options) {
		for name, secret := range map[string]string{"one": "secret", "two": hashed + "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"} {
			k, err := NewKey(name, secret)
			if err != nil {
				t.Fatal(err)
			}
			o.Keys = append(o.Keys, k)
		}
		o.Origins = []string{"https://friend.example"}
	})
	for _, c := range []struct {
		method, path string
		header       map[string]string
		want         int
	}{
		{"GET", "/v1/models", nil, 401},
		{"GET", "/health", nil, 200},
		{"GET", "/v1/models", map[string]string{"Authorization": "Bearer secret"}, 200},
		{"GET", "/v1/models", map[string]string{"Authorization": "bearer secret"}, 200},
		{"GET", "/v1/models", map[string]string{"Authorization": "Basic secret"}, 401},
		{"GET", "/v1/models", map[string]string{"X-Api-Key": "other"}, 200},
		{"GET", "/v1/models", map[string]string{"Authorization": "Bearer wrong"}, 401},
		{"GET", "/health", map[string]string{"Host": "evil.example"}, 403},
		{"GET", "/health", map[string]string{"Host": "localhost:1"}, 200},
		{"GET", "/health", map[string]string{"Origin": "https://evil.example"}, 403},
		{"GET", "/health", map[string]string{"Origin": "null"}, 403},
		{"GET", "/health", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"GET", "/health", map[string]string{"Origin": "https://friend.example"}, 200},
		{"GET", "/health", map[string]string{"Origin": h.URL}, 200},
		{"OPTIONS", "/v1/models", map[string]string{"Origin": "https://friend.example"}, 204},
		{"POST", "/v1/chat/completions", nil, 401},
		// A page whose own name points here (DNS rebinding) is of one origin with what it asks.
		{"GET", "/health", map[string]string{"Host": "evil.example:8080", "Origin": "http://evil.example:8080"}, 403},
		{"GET", "/health", map[string]string{"Host": "localhost.evil.example"}, 403},
		{"GET", "/health", map[string]string{"Host": "127.0.0.1.evil.example"}, 403},
		{"GET", "/health", map[string]string{"Host": "[::1]:8080"}, 200},
		// A form of another page sends what needs no leave (CSRF).
		{"POST", "/v1/chat/completions", map[string]string{"Authorization": "Bearer secret", "Content-Type": "text/plain", "Origin": "https://evil.example"}, 403},
		{"POST", "/v1/chat/completions", map[string]string{"Authorization": "Bearer secret", "Origin": "http://localhost:1"}, 403},
		{"OPTIONS", "/v1/chat/completions", map[string]string{"Origin": "https://evil.example"}, 403},
		{"GET", "/page/..%2f..%2f..%2fetc%2fpasswd", nil, 404},
		{"GET", "/lentil/passages/..%2f..%2fetc%2fpasswd", map[string]string{"Authorization": "Bearer secret"}, 404},
		{"GET", "/v1/models/..%2f..%2fetc%2fpasswd", map[string]string{"Authorization": "Bearer secret"}, 404},
		{"GET", "/../../etc/passwd", map[string]string{"Authorization": "Bearer secret"}, 404},
	} {
		r, err := http.NewRequest(c.method, h.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range c.header {
			if k == "Host" {
				r.Host = v
			}
			r.Header.Set(k, v)
		}
		reply, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if reply.StatusCode != c.want {
			t.Errorf("%s %s %v: %d, want %d", c.method, c.path, c.header, reply.StatusCode, c.want)
		}
		for name, want := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if got := reply.Header.Get(name); got != want {
				t.Errorf("%s %s: %s is %q, want %q", c.method, c.path, name, got, want)
			}
		}
	}
	// Who is not let in, or asks for what there is not, is told as the API that was asked tells it.
	for path, where := range map[string][]any{
		"/v1/models": {"error", "type"}, "/v1/messages": {"error", "type"}, "/v1/messages/batches": {"type"}, "/api/pull": {"error"}, "/api/chat": {"error"},
	} {
		for _, header := range []string{"X-Other", "X-Api-Key"} {
			r, _ := http.NewRequest("POST", h.URL+path, nil)
			r.Header.Set(header, "other")
			reply, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			var body any
			err = json.NewDecoder(reply.Body).Decode(&body)
			reply.Body.Close()
			if text, ok := at(body, where...).(string); err != nil || !ok || reply.StatusCode < 400 || (at(body, "type") == "error") != strings.HasPrefix(path, "/v1/messages") {
				t.Errorf("%s with %s: %d %q of %v", path, header, reply.StatusCode, text, body)
			}
		}
	}
	r, _ := http.NewRequest("GET", h.URL+"/metrics", nil)
	r.Header.Set("X-Api-Key", "other")
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, _ := io.ReadAll(reply.Body)
	if !strings.Contains(string(text), `lentil_key_requests_total{key="one"}`) || strings.Contains(string(text), "secret") {
		t.Errorf("metrics: %s", text)
	}
	for host, want := range map[string]bool{"127.0.0.1": true, "::1": true, "localhost": true, "0.0.0.0": false, "example.org": false, "192.168.0.1": false} {
		if Loopback(host) != want {
			t.Errorf("Loopback(%s) is %t", host, !want)
		}
	}
}

// TestBusy: with a queue of one, those after it are told to come again; and who leaves makes room.
func TestBusy(t *testing.T) {
	t.Parallel()
	s, h := newServer(t, func(o *Options) {
		o.Batch.Most, o.Batch.Waiting = 1, 1
		o.MaxTokens = -1
	})
	long, _ := json.Marshal(object{"messages": user(question), "stream": true, "grammar": "root ::= \"a\"*", "logit_bias": object{}, "max_tokens": 100000})
	ctx, leave := context.WithCancel(t.Context())
	open := func() { // and never read
		r, _ := http.NewRequestWithContext(ctx, "POST", h.URL+"/v1/chat/completions", bytes.NewReader(long))
		http.DefaultClient.Do(r) // which fails where it leaves before the head comes
	}
	go open()
	waitFor(t, func() bool { return s.batch.Load().Running == 1 })
	go open()
	waitFor(t, func() bool { return s.batch.Load().Waiting == 1 })
	r, err := http.Post(h.URL+"/v1/chat/completions", "application/json", bytes.NewReader(long))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
	leave()
	waitFor(t, func() bool { l := s.batch.Load(); return l.Running == 0 && l.Waiting == 0 })
	if got := content(t, h.URL, object{"messages": user(question), "max_tokens": 3}); got == "" {
		t.Error("no answer after all have left")
	}
}

// waitFor waits until something is so.
func waitFor(t testing.TB, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not become so")
		}
	}
}

// TestDraining: at the end, an answer under way comes to its end, and a new one is refused.
func TestDraining(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l, time.Minute) }()
	body, _ := json.Marshal(object{"messages": user(question), "stream": true, "max_tokens": 40, "temperature": 1, "seed": 1})
	r, err := http.Post("http://"+l.Addr().String()+"/v1/chat/completions", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	end()
	text, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || !strings.Contains(string(text), "[DONE]") {
		t.Errorf("the answer under way: %v, %q", err, text)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := http.Get("http://" + l.Addr().String() + "/health"); err == nil {
		t.Error("it answers after its end")
	}
}

// TestTogether: many clients at once get what each gets alone, and metrics count them.
func TestTogether(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, func(o *Options) { o.Batch.RowWise = true })
	questions := []string{"What is fibre?", "Why eat lentils?", "Is rice good?", "What has iron?"}
	want := make([]string, len(questions))
	for i, q := range questions {
		want[i] = content(t, h.URL, object{"messages": user(q)})
	}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if got := content(t, h.URL, object{"messages": user(questions[i%4])}); got != want[i%4] {
				t.Errorf("%q: %q in company, %q alone", questions[i%4], got, want[i%4])
			}
		})
	}
	wg.Wait()
	r, err := http.Get(h.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	if !strings.Contains(string(text), `lentil_requests_total{path="/v1/chat/completions",code="200"} 16`) || !strings.Contains(string(text), "lentil_time_to_first_token_seconds_count 16") {
		t.Errorf("metrics: %s", text)
	}
}
