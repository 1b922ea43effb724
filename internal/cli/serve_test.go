package cli

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/demo"
)

// lockedBuffer is a buffer that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestServe: the command serves until its context ends, and its log has no word of what was asked.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	t.Setenv(apiKeyVariable, "")
	t.Setenv("XDG_DATA_HOME", filepath.Join(dir, "share"))
	ctx, end := context.WithCancel(t.Context())
	var out, log lockedBuffer
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, []string{"serve", "--model", "m=" + filepath.Join(dir, "model"), "--port", "0", "--threads", "1", "--adapters", filepath.Join(dir, "runs"), "--api-key", "anna=sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"}, Streams{Out: &out, Err: &log})
	}()
	url := ""
	for stop := time.Now().Add(20 * time.Second); url == "" && time.Now().Before(stop); time.Sleep(5 * time.Millisecond) {
		if _, rest, ok := strings.Cut(out.String(), "http://"); ok {
			url, _, _ = strings.Cut(rest, " ")
		}
	}
	ask := func(key string) (int, string) {
		r, err := http.NewRequest("POST", "http://"+url+"/v1/chat/completions", strings.NewReader(`{"messages": [{"role": "user", "content": "What is fibre good for?"}], "max_tokens": 5}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		reply, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("%v; it said %q, %q", err, out.String(), log.String())
		}
		defer reply.Body.Close()
		text, _ := io.ReadAll(reply.Body)
		return reply.StatusCode, string(text)
	}
	if status, text := ask("secret"); status != http.StatusOK || !strings.Contains(text, `"assistant"`) {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := ask("wrong"); status != http.StatusUnauthorized {
		t.Errorf("a wrong key: %d", status)
	}
	end()
	if c := <-code; c != ExitOK {
		t.Errorf("exit %d", c)
	}
	if l := log.String(); !strings.Contains(l, "runs: there is no such folder yet") {
		t.Errorf("a folder of adapters that is not there is not told: %q", l)
	}
	if l := log.String(); !strings.Contains(l, `POST "/v1/chat/completions" 200`) || strings.Contains(l, "fibre") || strings.Contains(l, "secret") {
		t.Errorf("the log: %q", l)
	}
}

func TestServeRefuses(t *testing.T) {
	t.Setenv(apiKeyVariable, "")
	for _, c := range []struct{ args, want string }{
		{"", "--model"},
		{"--host 0.0.0.0", "--api-key"},
		{"--port 70000", "0 to 65535"},
		{"--memory much", "--memory"},
		{"--log-level loud", "WARNING"},
		{"--decode-concurrency 0", "1 or more"},
		{"--chat-template x", "not supported"},
		{"--kv-bits 8 --max-kv-size 9", "--kv-bits"},
		{"--temp -1", "--temp"},
		{"--deadline -1s", "--deadline"},
		{"--api-key a=sha256:12", "--api-key"},
		{"--host 0.0.0.0 --model m --api-key=", "the key is empty"},
		{"--allowed-origins example.org", "https://example.org"},
		{"--allowed-origins https://a.org,https://b.org/page", "https://b.org/page"},
	} {
		var out, log bytes.Buffer
		args := append([]string{"serve", "--port", "0", "--data", ""}, strings.Fields(c.args)...)
		if code := Main(t.Context(), args, Streams{Out: &out, Err: &log}); code != ExitUsage || !strings.Contains(log.String(), c.want) {
			t.Errorf("%s: exit %d, %q, want %q", c.args, code, log.String(), c.want)
		}
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "12": 12, "512MB": 512e6, "1.5 GiB": 3 << 29, "8g": 8e9, "2KiB": 2048, "7B": 7} {
		var b byteSize
		if err := b.Set(text); err != nil || int64(b) != want {
			t.Errorf("%s is %d, %v, want %d", text, b, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1PB", "NaN", "1e30"} {
		if new(byteSize).Set(text) == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
