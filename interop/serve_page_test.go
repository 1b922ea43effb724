package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/demo"
)

// served starts lentil serve on the demo's model with an adapter of a few steps, and gives its address.
func served(t *testing.T, args ...string) (url, dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	lentil(t, "train", "--model", filepath.Join(dir, "model"), "--data", filepath.Join(dir, "data"), "--adapter-path", filepath.Join(dir, "cook"), "--iters", "20",
		"--batch-size", "4", "--steps-per-eval", "100", "--val-batches", "1")
	url = listening(t, append([]string{
		"serve", "--model", "base=" + filepath.Join(dir, "model"), "--adapter-path", filepath.Join(dir, "cook"), "--port", "0", "--data", filepath.Join(dir, "chats"), "--log-level", "ERROR",
	}, args...)...)
	return url, dir
}

// TestChatPage uses the chat page in Chromium: what it offers works, no script fails, nothing but the server is asked, axe-core
// finds nothing, and it is no wider than a phone. LENTIL_SHOTS names a folder for screenshots.
func TestChatPage(t *testing.T) {
	need(t, "browser")
	browser := chromium(t)
	url, dir := served(t, "--books", "../demo/handbook")
	locked := listening(t, "serve", "--model", filepath.Join(dir, "model"), "--port", "0", "--data", filepath.Join(dir, "locked"), "--api-key", "sesame", "--log-level", "ERROR")
	text := inBrowser(t, browser, "chatpage", url, locked)
	var got struct {
		Steps                        map[string]string
		Errors, Requests, Violations []string
		Overflow                     []string // looks at which the page was wider than the window
		Looks                        int
		Paint, Long, Sent            float64
		Jumps                        []float64
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	for name, is := range got.Steps {
		if is != "ok" {
			t.Errorf("%s: %s", name, is)
		}
	}
	if len(got.Steps) != 37 || got.Looks != 8*4 || len(got.Jumps) != 60 || len(got.Errors)+len(got.Requests)+len(got.Violations) > 0 || len(got.Overflow) > 0 {
		t.Errorf("%d steps, %d looks; errors %q; asked of others %q; axe-core: %q; pixels too wide: %q", len(got.Steps), got.Looks, got.Errors, got.Requests, got.Violations, got.Overflow)
	}
	pairs, err := os.ReadFile(filepath.Join(dir, "chats", "feedback.jsonl"))
	if err != nil || !strings.Contains(string(pairs), "Rice is **good** food.") {
		t.Errorf("feedback %s: %v", pairs, err)
	}
	liked := filepath.Join(dir, "liked") // what was said there is learnt from
	lentil(t, "dataset", "feedback", filepath.Join(dir, "chats", "feedback.jsonl"), "--out", liked)
	lentil(t, "train", "--train-mode", "dpo", "--model", filepath.Join(dir, "model"), "--data", liked, "--adapter-path", filepath.Join(dir, "better"), "--iters", "2", "--batch-size", "1")
	t.Logf("first paint after %.0f ms; 1,000 messages took %.0f ms of the page's thread to come up, jumps of a sixtieth %.0f ms (median) and %.0f ms (longest), a question %.0f ms",
		got.Paint, got.Long, got.Jumps[len(got.Jumps)/2], got.Jumps[len(got.Jumps)-1], got.Sent)
}
