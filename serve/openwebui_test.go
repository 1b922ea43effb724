package serve

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestOpenWebUI answers what Open WebUI 0.12.4 asked in a chat: for models, for an answer with its tools at hand, and then for
// a title, questions to go on with and tags. Of the tools that it gave, the recording has two.
func TestOpenWebUI(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, func(o *Options) { o.Books = []string{"../demo/handbook"} })
	f, err := os.Open("testdata/open-webui-0.12.4.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, sources := 0, 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var asked struct {
			Method, Path string
			Headers      map[string]string
			Body         json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			t.Fatal(err)
		}
		var request chatRequest
		body := asked.Body
		if asked.Method == http.MethodGet {
			body = nil
		} else if err := json.Unmarshal(body, &request); err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest(asked.Method, h.URL+asked.Path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range asked.Headers {
			r.Header.Set(k, v)
		}
		reply, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reply.Body)
		reply.Body.Close()
		if err != nil || reply.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %s %v", asked.Method, asked.Path, reply.StatusCode, text, err)
		}
		switch {
		case asked.Method == http.MethodGet:
			var v object
			if json.Unmarshal(text, &v) != nil || at(v, "data", 0, "id") != "base" {
				t.Errorf("models: %s", text)
			}
		case request.Stream:
			if kind := reply.Header.Get("Content-Type"); kind != "text/event-stream" || !strings.HasSuffix(string(text), "data: [DONE]\n\n") {
				t.Errorf("%s: %s", kind, text)
			}
			said := ""
			for l := range strings.SplitSeq(string(text), "\n") {
				var v object
				if data, ok := strings.CutPrefix(l, "data: {"); ok && json.Unmarshal([]byte("{"+data), &v) == nil {
					piece, _ := at(v, "choices", 0, "delta", "content").(string)
					said += piece
					for i := 0; at(v, "choices", 0, "delta", "annotations", i, "url_citation", "title") != nil; i++ {
						sources++
					}
				}
			}
			if said == "" {
				t.Errorf("no answer: %s", text)
			}
		default:
			var v object
			if json.Unmarshal(text, &v) != nil || at(v, "choices", 0, "message", "role") != "assistant" {
				t.Errorf("%s", text)
			}
		}
	}
	if n != 5 || sources == 0 {
		t.Errorf("%d requests, %d sources", n, sources)
	}
}
