package interop

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/lentil-lm/lentil/demo"
)

// chromium finds the browser, or ends the test as need does.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	missing(t, "peer Chromium is missing: install it, or name it in CHROMIUM")
	return ""
}

// TestPages opens reports in Chromium at two sizes, light and dark: axe-core finds nothing, no script fails, nothing but the page
// is asked for, and it is no wider than the window. LENTIL_SHOTS names a folder for screenshots.
func TestPages(t *testing.T) {
	need(t, "browser")
	browser := chromium(t)
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	rows, err := os.ReadFile(at("data/test.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	questions := strings.Join(strings.SplitAfter(string(rows), "\n")[:12], "")
	if err := os.WriteFile(at("questions.jsonl"), []byte(questions), 0o600); err != nil {
		t.Fatal(err)
	}
	lentil(t, "train", "--model", at("model"), "--data", at("data"), "--adapter-path", at("adapters"), "--iters", "40", "--batch-size", "4", "--steps-per-eval", "20",
		"--steps-per-report", "5", "--mask-prompt", "--val-batches", "2", "--eval-questions", at("questions.jsonl"), "--eval-every", "20")
	lentil(t, "eval", "--model", at("model"), "--adapter-path", at("adapters"), "--questions", at("questions.jsonl"), "--books", at("handbook"), "--max-tokens", "30")
	lentil(t, "report", at("adapters"))
	lentil(t, "runs", at("adapters"), at("adapters"), "--out", at("runs.html"))
	live := listening(t, "watch", at("adapters"))
	text := inBrowser(t, browser, "page", "file://"+at("adapters/report.html"), "file://"+at("runs.html"), live)
	var found []struct {
		URL                          string
		Width                        int
		Scheme                       string
		Violations, Requests, Errors []string
		Passes, Overflow             int
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	if len(found) != 3+3*4 {
		t.Fatalf("%d looks at pages", len(found))
	}
	for _, f := range found {
		if len(f.Violations)+len(f.Errors) > 0 || f.Overflow > 0 || f.Passes == 0 {
			t.Errorf("%s, %d wide, %s: %d checks passed, %q, errors %q, %d too wide", f.URL, f.Width, f.Scheme, f.Passes, f.Violations, f.Errors, f.Overflow)
		}
		for _, r := range f.Requests {
			if r != f.URL && !(f.URL == live && strings.HasPrefix(r, live)) {
				t.Errorf("%s asks for %s", f.URL, r)
			}
		}
	}
}

// listening starts a command that serves pages, and gives its address, "http://.../".
func listening(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(mustBuild(t), args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	found := regexp.MustCompile(`http://[\d.:]+`).FindString(line)
	if err != nil || found == "" {
		t.Fatalf("%q, %v", line, err)
	}
	return found + "/"
}

// inBrowser runs peer/SCRIPT.mjs, which drives the browser over pages, and gives what it prints. LENTIL_SHOTS names a folder
// for its screenshots.
func inBrowser(t *testing.T, browser, script string, pages ...string) string {
	t.Helper()
	shots := os.Getenv("LENTIL_SHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	modules, err := filepath.Abs("../.interop/browser/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", append([]string{"peer/" + script + ".mjs", browser, shots}, pages...)...)
	cmd.Env = append(os.Environ(), "BROWSER_MODULES="+modules)
	return command(t, cmd)
}

// mustBuild is the path of the built command.
func mustBuild(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
