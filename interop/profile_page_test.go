package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestProfilePage makes, uses and deletes a profile in the chat page in Chromium, and looks at what an answer breaks of it.
func TestProfilePage(t *testing.T) {
	need(t, "browser")
	browser := chromium(t)
	anna := filepath.Join(t.TempDir(), "anna.yaml")
	if err := os.WriteFile(anna, []byte("diet: [vegetarian]\navoid: [gluten]\nseverity: {gluten: intolerance}\ndislikes: [coriander]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url, _ := served(t, "--profile", anna)
	var got struct {
		Steps              map[string]string
		Errors, Violations []string
		Overflow, Looks    int
	}
	if err := json.Unmarshal([]byte(inBrowser(t, browser, "profilepage", url)), &got); err != nil {
		t.Fatal(err)
	}
	for name, is := range got.Steps {
		if is != "ok" {
			t.Errorf("%s: %s", name, is)
		}
	}
	if len(got.Steps) < 12 || got.Looks != 6 || len(got.Errors)+len(got.Violations) > 0 || got.Overflow > 0 {
		t.Errorf("%d steps, %d looks; errors %q; axe-core: %q; %d pixels too wide", len(got.Steps), got.Looks, got.Errors, got.Violations, got.Overflow)
	}
}
