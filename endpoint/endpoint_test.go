package endpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/fault"
)

const answer = `{"choices": [{"message": {"content": "four"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}`

// open makes a client of a handler that is asked for chat completions.
func open(t *testing.T, o Options, chat http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/models") {
			fmt.Fprint(w, `{"data": [{"id": "first"}, {"id": "second"}]}`)
			return
		}
		chat(w, r)
	}))
	t.Cleanup(server.Close)
	o.Setting, o.Naming, o.KeyFrom, o.Wait = "endpoint", "endpoint_model", "LENTIL_KEY", time.Millisecond
	c, err := Open(t.Context(), server.URL+"/v1/chat/completions", "", o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestChat: the request is as OpenAI documents it, and the reply is read as a whole.
func TestChat(t *testing.T) {
	t.Parallel()
	c := open(t, Options{Key: " secret\n", Together: 3}, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Model       string
			Messages    []struct{ Role, Content string }
			MaxTokens   int `json:"max_tokens"`
			Temperature float64
			Seed        uint64
			Format      struct {
				Type   string
				Schema struct{ Schema map[string]any } `json:"json_schema"`
			} `json:"response_format"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Error(err, r.URL, r.Header)
		}
		if body.Model != "first" || len(body.Messages) != 2 || body.Messages[0].Role != "system" || body.Messages[1].Content != "2 + 2?" || body.MaxTokens != 9 || body.Seed != 5 || body.Format.Schema.Schema["type"] != "string" {
			t.Errorf("%+v", body)
		}
		fmt.Fprint(w, answer)
	})
	got, err := c.Chat(t.Context(), Request{System: "Be short.", User: "2 + 2?", MaxTokens: 9, Seed: 5 << 33, Schema: `{"type": "string"}`})
	if want := (Reply{Text: "four", Prompt: 7, Tokens: 3}); err != nil || got != want || c.Together() != 3 || c.Model() != "first" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestLeaves: what an endpoint refuses by name is left out from then on, a schema also without one.
func TestLeaves(t *testing.T) {
	t.Parallel()
	for refuses, says := range map[string]string{
		maxTokens:   `{"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."}}`,
		temperature: `{"error": {"message": "Unsupported value: 'temperature' does not support 0 with this model."}}`,
		seed:        `{"detail": [{"loc": ["body", "seed"], "msg": "extra fields not permitted"}]}`,
		format:      `bad request`,
	} {
		calls := 0
		c := open(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
			calls++
			var body map[string]any
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			if body[refuses] != nil {
				http.Error(w, says, http.StatusBadRequest)
				return
			}
			if refuses == maxTokens && body[newTokens] != 9.0 {
				t.Errorf("%v", body)
			}
			fmt.Fprint(w, answer)
		})
		for range 2 {
			if got, err := c.Chat(t.Context(), Request{User: "2 + 2?", MaxTokens: 9, Schema: `{"type": "string"}`}); err != nil || got.Text != "four" {
				t.Errorf("%s: %+v, %v", refuses, got, err)
			}
		}
		if calls != 3 {
			t.Errorf("%s: %d calls, want 3", refuses, calls)
		}
	}
	c := open(t, Options{}, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "never", http.StatusBadRequest) })
	if _, err := c.Chat(t.Context(), Request{User: "?", Schema: `{}`}); fault.SettingOf(err) != "endpoint" || !strings.Contains(err.Error(), "never") {
		t.Errorf("%v", err)
	}
}

// TestBusy: a server that asks to wait is left alone for as long, and gets fewer calls at a time.
func TestBusy(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]func() string{
		"seconds": func() string { return "0.2" },
		"a date":  func() string { return time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		var refused time.Time
		c := open(t, Options{Together: 8}, func(w http.ResponseWriter, _ *http.Request) {
			if refused.IsZero() {
				refused = time.Now()
				w.Header().Set("Retry-After", after())
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			if time.Since(refused) < 150*time.Millisecond {
				t.Errorf("%s: asked again after %v", name, time.Since(refused))
			}
			fmt.Fprint(w, answer)
		})
		if _, err := c.Chat(t.Context(), Request{User: "?"}); err != nil || c.allowed != 4.25 {
			t.Errorf("%s: %v, %g calls at a time", name, err, c.allowed)
		}
	}
	if got := retryAfter(http.Header{"Retry-After": {"1e300"}}); got != 24*time.Hour {
		t.Errorf("%v", got)
	}
}

// TestWrong: each way of failing is an error that says so, after as many tries as are worth it, without a secret.
func TestWrong(t *testing.T) {
	t.Parallel()
	const key = "sk-very-secret"
	tests := []struct {
		name  string
		reply http.HandlerFunc
		want  string
		tries int64
	}{
		{"no key", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "Incorrect API key provided: "+key, http.StatusUnauthorized)
		}, "Put the key into LENTIL_KEY", 1},
		{"no model", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such model", http.StatusNotFound) }, "no such model", 1},
		{"busy", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "later", http.StatusTooManyRequests) }, "later", 3},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "does not answer in JSON: <html>", 3},
		{"too long", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"choices": [{"message": {"content": %q}}]}`, strings.Repeat("x", 1000))
		}, "more than 500 bytes", 1},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF", 3},
		{"sleeps", func(_ http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err == nil { // a server that has not read all does not notice that nobody waits
				<-r.Context().Done()
			}
		}, "Timeout", 3},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, "302", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			c := open(t, Options{Key: key, Tries: 3, Time: 200 * time.Millisecond, Bytes: 500}, func(w http.ResponseWriter, r *http.Request) { calls.Add(1); tt.reply(w, r) })
			_, err := c.Chat(context.Background(), Request{User: "?"})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), key) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if calls.Load() != tt.tries {
				t.Errorf("%d tries, want %d", calls.Load(), tt.tries)
			}
		})
	}
}

// TestAddress: what is no address is refused, and names, passwords and queries are shown nowhere.
func TestAddress(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "localhost:8080", "ftp://x/v1", "http://", "http://u:geheim@[::1/v1?key=geheim", "http://u:geheim@127.0.0.1:1/v1?key=geheim"} {
		_, err := Open(t.Context(), address, "", Options{Setting: "endpoint", Wait: time.Hour})
		if fault.SettingOf(err) != "endpoint" || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", address, err)
		}
	}
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		fmt.Fprint(w, answer)
	}))
	defer server.Close()
	c, err := Open(t.Context(), server.URL+"/deployments/x/?api-version=1", "m", Options{})
	if err == nil {
		_, err = c.Chat(t.Context(), Request{User: "?"})
	}
	if want := []string{"/deployments/x/chat/completions?api-version=1"}; err != nil || !slices.Equal(asked, want) {
		t.Errorf("%v, %v", asked, err)
	}
}
