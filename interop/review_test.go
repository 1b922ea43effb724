package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/demo"
)

// TestReviewPage goes through rows in Chromium, and looks at what is in the files then. LENTIL_SHOTS names a folder for
// screenshots.
func TestReviewPage(t *testing.T) {
	need(t, "browser")
	browser := chromium(t)
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "made")
	lentil(t, "dataset", "make", filepath.Join(dir, "handbook", "07-eating-plants.md"), "--out", data, "--valid-share", "0", "--test-share", "0")
	before, err := os.ReadFile(filepath.Join(data, "train.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	url := listening(t, "dataset", "review", data)
	text := inBrowser(t, browser, "review", url)
	var saw struct {
		Errors, Requests, Questions, Violations []string
		Marked                                  int
		Said                                    string
	}
	if err := json.Unmarshal([]byte(text), &saw); err != nil {
		t.Fatal(err)
	}
	if len(saw.Errors)+len(saw.Violations) > 0 || saw.Marked == 0 || len(saw.Questions) != 6 || saw.Questions[3] != saw.Questions[5] {
		t.Errorf("%+v", saw)
	}
	for _, r := range saw.Requests {
		if !strings.HasPrefix(r, url) {
			t.Errorf("the page asks for %s", r)
		}
	}
	after, err := os.ReadFile(filepath.Join(data, "train.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if n, was := strings.Count(string(after), "\n"), strings.Count(string(before), "\n"); n != was-1 || !strings.Contains(string(after), "Edited in the browser?") {
		t.Errorf("%d rows of %d; %s", n, was, saw.Said)
	}
}
