package endpoint

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestRecorded: what the real openai client sent is what this one sends, and what it got is read. The recording was made with
// interop/peer/record_openai.py against lentil serve.
func TestRecorded(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "openai.json"))
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		Exchanges []struct {
			Method, Path, Authorization string
			Request                     map[string]any
			Status                      int
			Type, Response              string
		}
	}
	if err := json.Unmarshal(data, &recorded); err != nil || len(recorded.Exchanges) != 5 {
		t.Fatal(err, len(recorded.Exchanges))
	}
	at := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := &recorded.Exchanges[at]
		at++
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var body map[string]any
		if len(text) > 0 {
			if err := json.Unmarshal(text, &body); err != nil {
				t.Error(err)
			}
		}
		delete(body, "stream") // false is its default
		if r.Method != e.Method || r.URL.Path != e.Path || r.Header.Get("Authorization") != e.Authorization || !reflect.DeepEqual(body, e.Request) {
			t.Errorf("%s %s %v\nwant %s %s %v", r.Method, r.URL.Path, body, e.Method, e.Path, e.Request)
		}
		w.Header().Set("Content-Type", e.Type)
		w.WriteHeader(e.Status)
		fmt.Fprint(w, e.Response)
	}))
	defer server.Close()
	o := Options{Setting: "endpoint", Key: "sk-recorded"}
	c, err := Open(t.Context(), server.URL+"/v1", "", o)
	if err != nil {
		t.Fatal(err)
	}
	const question = "How much protein do cooked lentils have?"
	for _, tt := range []struct {
		r    Request
		want Reply
	}{
		{Request{System: "Be short.", User: question, MaxTokens: 24, Seed: 5 << 33}, Reply{Text: "Cooked lentils have 22 g of protein per 100 g.", Prompt: 29, Tokens: 19}},
		{Request{System: "Be short.", User: question, MaxTokens: 3, Seed: 5 << 33}, Reply{Text: "Cooked", Cut: true, Prompt: 29, Tokens: 3}},
		{Request{User: question, MaxTokens: 8, Schema: `{"enum": ["yes", "no"]}`}, Reply{Text: `"yes"`, Prompt: 16, Tokens: 5}},
	} {
		if got, err := c.Chat(t.Context(), tt.r); err != nil || got != tt.want {
			t.Errorf("%+v, %v, want %+v", got, err, tt.want)
		}
	}
	if c, err = Open(t.Context(), server.URL+"/v1", "no-such-model", o); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Chat(t.Context(), Request{User: question, MaxTokens: 8}); err == nil || !strings.Contains(err.Error(), "model_not_found") || at != 5 {
		t.Errorf("%v after %d calls", err, at)
	}
}
