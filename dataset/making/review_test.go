package making

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/book"
)

// TestReview: a row is edited and one rejected, through the page; the files have it, and so have those that are made anew.
func TestReview(t *testing.T) {
	for _, format := range []Format{Messages, Completions, Alpaca, ShareGPT, Pairs} {
		t.Run(string(format), func(t *testing.T) {
			made := makeBook(t, handbook, func(o *Options) { o.Format = format })
			dir := filepath.Join(t.TempDir(), "data")
			if err := made.Write(dir, false); err != nil {
				t.Fatal(err)
			}
			review, err := OpenReview(dir)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(&ReviewServer{Review: review})
			defer server.Close()
			post := func(path string, v any) int {
				body, _ := json.Marshal(v)
				reply, err := http.Post(server.URL+path, "application/json", strings.NewReader(string(body)))
				if err != nil {
					t.Fatal(err)
				}
				reply.Body.Close()
				return reply.StatusCode
			}
			n := review.Len()
			first, second := review.Row(0), review.Row(1)
			for want, decision := range map[int]Decision{
				200: {Hash: first.Hash, Action: Edit, Question: "Edited?", Answer: "Edited."},
				400: {Hash: first.Hash, Action: "burn"},
			} {
				if got := post("/decide", decision); got != want {
					t.Errorf("%+v: %d", decision, got)
				}
			}
			if got := post("/decide", Decision{Hash: second.Hash, Action: Reject}); got != 200 {
				t.Error(got)
			}
			if c := review.Counts(); c[Edit] != 1 || c[Reject] != 1 {
				t.Error(c)
			}
			check := func(when string) {
				t.Helper()
				again, err := OpenReview(dir)
				if err != nil {
					t.Fatal(err)
				}
				edits, gone := 0, true
				for i := range again.Len() {
					row := again.Row(i)
					if row.Question == "Edited?" && row.Answer == "Edited." {
						edits++
					}
					gone = gone && (row.Question != second.Question || row.Answer != second.Answer)
				}
				if again.Len() != n-1 || edits != 1 || !gone {
					t.Errorf("%s: %d rows of %d, %d edited, rejected row gone: %v", when, again.Len(), n, edits, gone)
				}
			}
			if got := post("/write", nil); got != 200 {
				t.Fatal(got)
			}
			check("written")
			if err := made.Write(dir, false); err != nil {
				t.Fatal(err)
			}
			check("made anew")
			if r := &made.Report; r.Rows["train"] != n-1 || !strings.Contains(r.String(), "Reviewed: 0 accepted, 1 edited, 1 rejected") {
				t.Errorf("the report tells of %d rows of %d:\n%s", r.Rows["train"], n-1, r)
			}
		})
	}
}

// TestReviewServer: other machines and other pages are refused, and the passage of a row is shown.
func TestReviewServer(t *testing.T) {
	path := writeBook(t, "mill.md", handbook)
	o := New(path)
	o.Valid, o.Test = 0, 0
	made, err := Make(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err := made.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	review, err := OpenReview(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &ReviewServer{Review: review, Regenerate: func(_ *http.Request, row Reviewed, passage string) (string, string, error) {
		return "Again: " + row.Question, fmt.Sprint(len(passage) > 100), nil
	}}
	ask := func(method, path, host, origin, kind string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader("{}"))
		r.Host = host
		r.Header.Set("Content-Type", kind)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, tt := range []struct {
		method, path, host, origin, kind string
		want                             int
	}{
		{"GET", "/", "127.0.0.1:8000", "", "", 200},
		{"GET", "/", "[::1]:8000", "", "", 200},
		{"GET", "/", "evil.example:8000", "", "", 403},
		{"GET", "/rows", "localhost:8000", "http://localhost:8000", "", 200},
		{"POST", "/write", "localhost:8000", "http://evil.example", "application/json", 403},
		{"POST", "/decide", "localhost:8000", "", "text/plain", 400},
		{"POST", "/regenerate?i=0", "localhost:8000", "", "application/json", 200},
		{"GET", "/row?i=9999", "localhost:8000", "", "", 400},
		{"GET", "/row?i=0", "localhost:8000", "", "", 200},
		{"GET", "/other", "localhost:8000", "", "", 404},
	} {
		if got, body := ask(tt.method, tt.path, tt.host, tt.origin, tt.kind); got != tt.want {
			t.Errorf("%+v: %d %.200s", tt, got, body)
		}
	}
	for i := range review.Len() {
		row := review.Row(i)
		before, block, after := review.Passage(i)
		if row.Quote != "" && !strings.Contains(row.Quote, "[phone]") && !strings.Contains(normal(block+after), normal(row.Quote)) {
			t.Errorf("%q is not in the passage %q %q %q", row.Quote, before, block, after)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, DecisionsName), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReview(dir); err == nil {
		t.Error("a broken file of decisions is taken")
	}
}

// TestPassages: the passages of a book have each of its blocks once.
func TestPassages(t *testing.T) {
	d, err := book.Open(writeBook(t, "stones.md", longBook()))
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, p := range passagesOf("stones.md", d) {
		if p.From != at || p.To <= p.From {
			t.Fatalf("a passage of blocks %d to %d after %d", p.From, p.To, at)
		}
		at = p.To
	}
	if at != len(d.Blocks) {
		t.Errorf("%d of %d blocks", at, len(d.Blocks))
	}
}

// TestReviewOfOthers: rows that someone else put into the files are not written over, a review of nothing is none that is
// broken, and all that a page may send is answered.
func TestReviewOfOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	made := makeBook(t, handbook, nil)
	open := func() (*Review, func(path, body string) (int, string)) {
		t.Helper()
		if err := made.Write(dir, true); err != nil {
			t.Fatal(err)
		}
		review, err := OpenReview(dir)
		if err != nil {
			t.Fatal(err)
		}
		s := &ReviewServer{Review: review}
		return review, func(path, body string) (int, string) {
			r := httptest.NewRequest("POST", path, strings.NewReader(body))
			r.Host = "localhost"
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
	}
	review, post := open()
	if code, body := post("/decide", `{"hash":"`+review.Row(0).Hash+`","action":"accept"}`); code != 200 || body != "{\"accept\":1}\n" {
		t.Errorf("the first decision: %d %s", code, body)
	}
	if code, body := post("/decide", "{"); code != 400 {
		t.Errorf("half a decision: %d %s", code, body)
	}
	path := filepath.Join(dir, "train.jsonl")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	own := string(before) + `{"messages": [{"role": "user", "content": "Mine?"}, {"role": "assistant", "content": "Mine."}]}` + "\n"
	if err := os.WriteFile(path, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, body := post("/write", "{}"); code != 400 || !strings.Contains(body, "train.jsonl was changed since the review began") {
		t.Errorf("changed rows: %d %s", code, body)
	}
	if _, err := OpenReview(dir); err == nil || !strings.Contains(err.Error(), "rows of your own") {
		t.Errorf("a row that provenance.jsonl does not tell of: %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != own {
		t.Errorf("the row of one's own is gone: %v", err)
	}

	review, post = open()
	for i := range review.Len() {
		if err := review.Decide(Decision{Hash: review.Row(i).Hash, Action: Reject}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if code, body := post("/write", "{}"); code != 200 || body != "{\"rows\":0}\n" {
			t.Errorf("all rows rejected: %d %s", code, body)
		}
	}
	if got := review.Row(0); got.Hash != "" {
		t.Errorf("a row that is gone: %+v", got)
	}
}
