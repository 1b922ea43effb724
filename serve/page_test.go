package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/run"
)

// do sends a request of the page's.
func do(t testing.TB, method, url string, body any) (int, object) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(method, url, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, _ := io.ReadAll(reply.Body)
	var v object
	json.Unmarshal(text, &v) // a list stays nil
	return reply.StatusCode, v
}

const (
	chatID = "chat-00000001"
	askID  = "msg-000000001"
)

// watched reads an answer under way to its end.
func watchedAnswer(t testing.TB, url, id string) (text string, last object) {
	t.Helper()
	r, err := http.Get(url + "/lentil/answers/" + id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	all, _ := io.ReadAll(r.Body)
	for _, l := range strings.Split(string(all), "\n") {
		if data, ok := strings.CutPrefix(l, "data: "); ok {
			last = nil
			if err := json.Unmarshal([]byte(data), &last); err != nil {
				t.Fatal(err)
			}
			piece, _ := last["text"].(string)
			text += piece
		}
	}
	return text, last
}

// listed are the chats that a search finds.
func listed(s *store, search string) []found {
	all, _ := s.list(search)
	return all
}

// TestPage: a chat is asked, answered, answered again, voted on and corrected; another server finds it again.
func TestPage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, h := newServer(t, func(o *Options) { o.Data = dir })
	want := content(t, h.URL, object{"messages": []object{{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}}})
	r, err := http.Get(h.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if policy := r.Header.Get("Content-Security-Policy"); r.StatusCode != 200 || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the page: %d, %q", r.StatusCode, policy)
	}
	chats := h.URL + "/lentil/chats/" + chatID
	if code, _ := do(t, "PUT", chats, object{"title": "Fibre"}); code != 200 {
		t.Fatalf("a new chat: %d", code)
	}
	do(t, "PUT", chats+"/"+askID, object{"role": "user", "content": question})
	answers := []string{"ans-000000001", "ans-000000002"}
	for i, id := range answers {
		if code, v := do(t, "POST", chats+"/"+askID+"/new", object{"id": id, "model": "base", "system": "Be brief.", "temperature": float64(3 * i), "seed": 3}); code != 200 {
			t.Fatalf("%d %v", code, v)
		}
		text, last := watchedAnswer(t, h.URL, id)
		if at(last, "message", "content") != text || text == "" || i == 0 && text != want {
			t.Errorf("answer %q, kept %v, want %q", text, last, want)
		}
	}
	_, v := do(t, "GET", chats, nil)
	if list, _ := at(v, "chat", "messages").([]any); len(list) != 3 || at(list[2], "parent") != askID || !(at(list[1], "figures", "predicted_n").(float64) > 0) {
		t.Errorf("%v", v)
	}
	do(t, "POST", chats+"/"+answers[0], object{"vote": 1})
	do(t, "POST", chats+"/"+answers[1], object{"vote": -1})
	code, better := do(t, "POST", chats+"/"+answers[0], object{"content": "Fibre feeds the gut."})
	if code != 200 || better["content"] != "Fibre feeds the gut." {
		t.Errorf("%d %v", code, better)
	}
	pairs, err := os.ReadFile(filepath.Join(dir, "feedback.jsonl"))
	lines := strings.Split(strings.TrimSpace(string(pairs)), "\n")
	if err != nil || len(lines) != 4 {
		t.Fatalf("feedback %s: %v", pairs, err)
	}
	var good vote
	var made, corrected pair
	for i, into := range map[int]any{0: &good, 2: &made, 3: &corrected} {
		if err := json.Unmarshal([]byte(lines[i]), into); err != nil {
			t.Fatal(err)
		}
	}
	asked := []turn{{"system", "Be brief."}, {"user", question}} // what the model saw
	if !slices.Equal(good.Prompt, asked) || !*good.Label || good.Completion[0].Content != want {
		t.Errorf("a vote: %+v", good)
	}
	if !slices.Equal(made.Prompt, asked) || made.By != "votes" || made.Chosen[0].Content != want || made.Rejected[0].Content == want {
		t.Errorf("a pair of votes: %+v", made)
	}
	if corrected.By != "correction" || corrected.Chosen[0].Content != "Fibre feeds the gut." || corrected.Rejected[0].Content != want {
		t.Errorf("a correction: %+v", corrected)
	}
	for search, n := range map[string]int{"": 1, "FIBRE": 1, "gut feeds": 1, "rice": 0} {
		if got := listed(s.store, search); len(got) != n {
			t.Errorf("search %q: %v", search, got)
		}
	}
	exported, err := json.Marshal(s.store.export())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.store.take(exported); n != 1 || err != nil || len(listed(s.store, "")) != 2 {
		t.Errorf("import: %d, %v", n, err)
	}
	if n, err := s.store.take([]byte(`[{"title": "W", "chat": {"title": "W", "history": {"currentId": "b", "messages": {"a": {"id": "a", "parentId": null, "role": "user", "content": "Hi"}, "b": {"id": "b", "parentId": "a", "role": "assistant", "content": "Yes", "model": "m"}}}}}]`)); n != 1 || err != nil || len(listed(s.store, "yes")) != 1 {
		t.Errorf("Open WebUI's export: %d, %v", n, err)
	}
	for what, c := range map[string]struct {
		method, path string
		body         any
		want         int
	}{
		"no such chat":      {"GET", "/lentil/chats/chat-none", nil, 404},
		"a path as an id":   {"PUT", "/lentil/chats/..%2f..%2fx", object{}, 400},
		"an answer by hand": {"PUT", "/lentil/chats/" + chatID + "/msg-000000009", object{"role": "assistant"}, 400},
		"an unknown vote":   {"POST", "/lentil/chats/" + chatID + "/" + answers[0], object{"vote": 7}, 400},
		"an id twice":       {"POST", "/lentil/chats/" + chatID + "/" + askID + "/new", object{"id": answers[0]}, 400},
		"no such model":     {"POST", "/lentil/chats/" + chatID + "/" + askID + "/new", object{"id": "ans-000000004", "model": "x"}, 404},
		"no such file":      {"GET", "/page/..%2fstore.go", nil, 404},
		"a bad import":      {"POST", "/lentil/import", []object{{"title": "x"}}, 400},
		"a vote of words":   {"POST", "/lentil/chats/" + chatID + "/" + answers[0], object{"vote": "bad"}, 400},
		"an odd import":     {"POST", "/lentil/import", []object{{"chat": object{"title": 1}}}, 400},
	} {
		code, v := do(t, c.method, h.URL+c.path, c.body)
		if code != c.want {
			t.Errorf("%s: %d %v, want %d", what, code, v, c.want)
		}
		if said := fmt.Sprint(v); strings.Contains(said, "Go struct") || strings.Contains(said, "Vote") {
			t.Errorf("%s: names of Go's: %s", what, said)
		}
	}
	if _, err := New(t.Context(), Options{Models: s.o.Models, Data: dir}); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a second server: %v", err)
	}
	s.Close()
	// A kill in the middle of a line.
	f, err := os.OpenFile(s.store.path(chatID), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"message": {"id": "cu`)
	f.Close()
	again, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	c, err := again.get(chatID)
	if err != nil || len(c.Messages) != 4 || c.message(answers[0]).Vote != 1 {
		t.Errorf("%v, %v", c, err)
	}
	if err := again.write(chatID, line{Message: &storedMessage{ID: "msg-000000008", Role: "user", Content: "more"}}); err != nil {
		t.Error(err)
	}
	if err := again.read(again.path(chatID)); err != nil || again.chats[chatID].message("msg-000000008") == nil {
		t.Errorf("a line behind one that was cut: %v", err)
	}
	if err := again.write(chatID, line{Deleted: true}); err != nil || slices.ContainsFunc(listed(again, ""), func(f found) bool { return f.ID == chatID }) {
		t.Errorf("deleted: %v", err)
	}
}

// TestStopAnswer: an answer that is stopped is kept as far as it has come.
func TestStopAnswer(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, func(o *Options) {
		o.Data = t.TempDir()
		o.Open = engine.Options{Threads: 1}
	})
	chats := h.URL + "/lentil/chats/" + chatID
	do(t, "PUT", chats, object{"title": "x"})
	do(t, "PUT", chats+"/"+askID, object{"role": "user", "content": question})
	const id = "ans-000000001"
	do(t, "POST", chats+"/"+askID+"/new", object{"id": id, "grammar": `root ::= [a-z]{400} [a-z]*`, "max_tokens": -1})
	_, v := do(t, "GET", chats, nil)
	if at(v, "running", 0, "id") != id { // its grammar has no end
		t.Errorf("it is not under way: %v", v)
	}
	do(t, "DELETE", h.URL+"/lentil/answers/"+id, nil)
	_, last := watchedAnswer(t, h.URL, id)
	if finish := at(last, "message", "finish"); finish != "stopped" {
		t.Errorf("%v", last)
	}
}

// FuzzChatLine: no line of a chat's file, and no export, does harm.
func FuzzChatLine(f *testing.F) {
	f.Add([]byte(`{"chat": {"id": "chat-00000001", "title": "x"}}`), []byte(`[{"title": "x", "messages": [{"id": "a", "role": "user"}]}]`))
	f.Fuzz(func(t *testing.T, text, export []byte) {
		var l line
		if json.Unmarshal(text, &l) == nil {
			c := &storedChat{chatInfo: chatInfo{ID: chatID}}
			c.apply(l)
			c.find([]string{"x"})
			for _, m := range c.Messages {
				c.thread(m.ID)
			}
		}
		var chats []json.RawMessage
		if json.Unmarshal(export, &chats) == nil {
			for _, raw := range chats {
				readExported(raw)
			}
		}
	})
}

// TestSources: an answer comes with the passages of books that are nearest to it, and tells figures that are in none.
func TestSources(t *testing.T) {
	t.Parallel()
	books := t.TempDir()
	text := "# Food\n\n## Grains\n\n" + strings.Repeat("Oats have 10 grams of fibre in 100 grams. ", 15) + "\n\n## Pulses\n\nLentils keep bones strong, and have 1,500 seeds in a cup.\n"
	if err := os.WriteFile(filepath.Join(books, "food.md"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s, h := newServer(t, func(o *Options) { o.Books = []string{books} })
	got := s.shelf.look("Eat lentils for bones.")
	if len(got) == 0 || !strings.Contains(got[0].Text, "Lentils") || !strings.Contains(got[0].Chapter, "Pulses") {
		t.Fatalf("%+v", got)
	}
	if got := s.shelf.look("xyzzy"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := unfounded("1. Take 1500 seeds, 7 beans and 12 plums.\n2. Eat 3,5 of them", "With 7?", got); !slices.Equal(got, []string{"12", "3,5"}) {
		t.Errorf("unfounded %q", got)
	}
	ask := object{"messages": user(question)} // "... is good for strong bones."
	_, reply := post(t, h.URL, "/v1/chat/completions", ask)
	url, _ := at(reply, "choices", 0, "message", "annotations", 0, "url_citation", "url").(string)
	if url == "" {
		t.Fatalf("no annotations: %v", reply)
	}
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if passage, _ := io.ReadAll(r.Body); !strings.Contains(string(passage), "Lentils keep bones strong") {
		t.Errorf("%s", passage)
	}
	ask["stream"] = true
	values, _ := events(t, h.URL, "/v1/chat/completions", ask)
	found := false
	for _, v := range values {
		found = found || at(v, "choices", 0, "delta", "annotations", 0, "url_citation", "title") != nil
	}
	if !found {
		t.Error("no annotations in the stream")
	}
	notes := s.annotations(httptest.NewRequest("GET", "/", nil), json.RawMessage(`[{"role":"user","content":"With 7?"}]`), "Für Knochen: 7 lentils keep bones strong, 1500 seeds and 12 plums.")
	if note := at(object{"all": notes}, "all", len(notes)-1, "unfounded_figure"); len(notes) != 2 || at(note, "figure") != "12" || at(note, "start_index") != 57 || at(note, "end_index") != 59 {
		t.Errorf("%v", notes)
	}
	dir, _ := modelFolder()
	if _, err := New(t.Context(), Options{Models: []Model{{Path: dir}}, Books: []string{filepath.Join(books, "none")}}); err == nil || !strings.Contains(err.Error(), "no such") {
		t.Errorf("books that are not there: %v", err)
	}
}

// TestFiles: the text of a file is read within bounds, and is what the model gets with the question.
func TestFiles(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, func(o *Options) { o.Data, o.MaxBody = t.TempDir(), 1<<20 })
	read := func(name, text string) (int, object) {
		t.Helper()
		r, err := http.Post(h.URL+"/lentil/files?name="+url.QueryEscape(name), "application/octet-stream", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var v object
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, v
	}
	code, got := read("../x/notes.md", "# Pantry\n\n17 jars\n\n- okra\n- oats\n")
	if code != 200 || got["name"] != "notes.md" || got["text"] != "Pantry\n\n17 jars\n\nokra\noats" || got["words"] != 5.0 || got["cut"] != nil {
		t.Errorf("%d %v", code, got)
	}
	if code, got := read("long.txt", strings.Repeat("Bohnen für Gäste. ", 40_000)); code != 200 || got["cut"] != true || len(got["text"].(string)) > mostFileText || len(got["text"].(string)) < mostFileText-4 {
		t.Errorf("a long text: %d, cut %v", code, got["cut"])
	}
	for name, c := range map[string]struct {
		text string
		code int
		want string
	}{
		"cat.png":   {"\x89PNG", 400, "cat.png: books that end in \".png\" are not read, expected .txt"},
		"empty.md":  {"\n", 400, "empty.md has no text"},
		"book.epub": {"no zip", 400, "book.epub"},
		"big.txt":   {strings.Repeat("x", 2<<20), 413, "big.txt is too large"},
	} {
		code, v := read(name, c.text)
		if message, _ := at(v, "error", "message").(string); code != c.code || !strings.Contains(message, c.want) || strings.Contains(message, "lentil-attach") {
			t.Errorf("%s: %d %v", name, code, v)
		}
	}
	chats := h.URL + "/lentil/chats/" + chatID
	do(t, "PUT", chats, object{"title": "x"})
	files := []object{{"name": "a.md", "text": "Beans are good."}}
	do(t, "PUT", chats+"/"+askID, object{"role": "user", "content": question, "files": files, "vote": 1})
	do(t, "POST", chats+"/"+askID+"/new", object{"id": "ans-000000001", "model": "base"})
	answer, _ := watchedAnswer(t, h.URL, "ans-000000001")
	if want := content(t, h.URL, object{"messages": user("File a.md:\n\nBeans are good.\n\n" + question)}); answer != want {
		t.Errorf("answer %q, want that of the whole prompt, %q", answer, want)
	}
	for what, files := range map[string][]object{"a path": {{"name": "../a", "text": "x"}}, "a long text": {{"name": "a", "text": strings.Repeat("x", mostFileText+1)}}, "many": slices.Repeat(files, mostFiles+1)} {
		if code, v := do(t, "PUT", chats+"/msg-000000002", object{"role": "user", "files": files}); code != 400 {
			t.Errorf("%s: %d %v", what, code, v)
		}
	}
}

// TestLongChat: a chat that the model cannot take whole goes on without its beginning.
func TestLongChat(t *testing.T) {
	t.Parallel()
	s, h := newServer(t, func(o *Options) { o.Data = t.TempDir() })
	lines := []line{{Chat: &chatInfo{ID: chatID}}}
	parent := ""
	for i := range 401 {
		m := &storedMessage{ID: fmt.Sprintf("msg-%09d", i), Parent: parent, Role: []string{"user", "assistant"}[i%2], Content: strings.Repeat("Rice and beans, ", 4)}
		lines, parent = append(lines, line{Message: m}), m.ID
	}
	if err := s.store.write(chatID, lines...); err != nil {
		t.Fatal(err)
	}
	code, v := do(t, "POST", h.URL+"/lentil/chats/"+chatID+"/"+parent+"/new", object{"id": "ans-000000001", "model": "base", "max_tokens": -1})
	_, last := watchedAnswer(t, h.URL, "ans-000000001")
	left, _ := at(last, "message", "left").(float64)
	if code != 200 || left < 16 || int(left)%16 != 0 || left > 400 {
		t.Fatalf("%d %v; %v messages were left out", code, v, left)
	}
	most, prompt := at(last, "message", "figures", "context_most").(float64), at(last, "message", "figures", "prompt_n").(float64)+at(last, "message", "figures", "cache_n").(float64)
	if prompt > most*3/4 || prompt < most/4 {
		t.Errorf("a prompt of %v tokens, of %v", prompt, most)
	}
}

// TestKeptOnTheWay: an answer under way is in the chat's file before it ends, as one that was broken off.
func TestKeptOnTheWay(t *testing.T) {
	t.Parallel()
	s, h := newServer(t, func(o *Options) { o.Data, o.Open = t.TempDir(), engine.Options{Threads: 1} })
	s.keepFirst = time.Nanosecond
	chats := h.URL + "/lentil/chats/" + chatID
	do(t, "PUT", chats, object{"title": "x"})
	do(t, "PUT", chats+"/"+askID, object{"role": "user", "content": question})
	const id = "ans-000000001"
	do(t, "POST", chats+"/"+askID+"/new", object{"id": id, "grammar": `root ::= [a-z]{4000}`, "max_tokens": -1})
	for {
		c, err := s.store.get(chatID)
		if err != nil {
			t.Fatal(err)
		}
		if m := c.message(id); m != nil {
			if m.Finish != "broken" || m.Content == "" {
				t.Errorf("%+v", m)
			}
			break
		}
		time.Sleep(time.Millisecond)
	}
	do(t, "DELETE", h.URL+"/lentil/answers/"+id, nil)
	if _, last := watchedAnswer(t, h.URL, id); at(last, "message", "finish") != "stopped" {
		t.Errorf("%v", last)
	}
	if c, err := s.store.get(chatID); err != nil || len(c.Messages) != 2 || c.message(id).Finish != "stopped" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestDataset: chats begin with questions of a dataset, and places of its rows stand beside answers.
func TestDataset(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "rows")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(data, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	row := func(question string) string {
		line, err := json.Marshal(object{"messages": []object{{"role": "user", "content": question}, {"role": "assistant", "content": "Yes."}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(line) + "\n"
	}
	write("train.jsonl", row("Is rice good?")+row("Is rice good?")+row("Tell me of rice.")+row(strings.Repeat("Long ", 60)+"?")+row("Are lentils good for bones?"))
	write("provenance.jsonl", `{"split":"train","row":1,"source":"books/food.md","title":"Food","page":"7","path":["Pulses"],"offset":10,"quote":"Lentils keep bones strong."}
{"split":"train","row":2,"source":"books/food.md","title":"Food","page":"7","path":["Pulses"],"offset":10,"quote":"They have 24 g of protein."}
{"split":"train","row":3,"source":"books/food.md","title":"Food","page":"9","offset":90,"quote":"Rice is white."}
`)
	s, h := newServer(t, func(o *Options) { o.Dataset, o.Data = data, t.TempDir() })
	_, v := do(t, "GET", h.URL+"/lentil/about", nil)
	if starters, _ := at(v, "starters").([]any); len(starters) != 2 || starters[0] != "Is rice good?" || starters[1] != "Are lentils good for bones?" {
		t.Errorf("%v", v)
	}
	if got := s.shelf.look("Lentils make bones strong."); len(got) != 1 || got[0].Name() != "Food, Pulses, p. 7" || got[0].Text != "Lentils keep bones strong.\nThey have 24 g of protein." {
		t.Errorf("%+v", got)
	}
	// The data of a run that was started in another folder lies beside its adapter.
	adapter := filepath.Join(filepath.Dir(data), "cook")
	rows, err := os.Stat(filepath.Join(data, "train.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := run.Manifest{Data: []run.DataFile{{Path: "elsewhere/" + filepath.Base(data) + "/train.jsonl", Bytes: rows.Size(), Splits: []string{"train"}}}}.Text()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(adapter, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(adapter, run.ManifestName), manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := trainedOn(adapter); got != data {
		t.Errorf("the data of the adapter: %q, want %q", got, data)
	}
	dir, _ := modelFolder()
	write("provenance.jsonl", "no JSON\n")
	for what, folder := range map[string]string{"line 1 is no provenance": data, "no such folder": filepath.Join(data, "none")} {
		if _, err := New(t.Context(), Options{Models: []Model{{Path: dir}}, Dataset: folder}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
