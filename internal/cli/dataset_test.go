package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/book"
)

// TestDatasetRead: a book is summed up, or printed as Markdown, and the file of --json holds all of it.
func TestDatasetRead(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "book.html", `<title>Pulses</title><h1>Peas</h1><p>Green.<span class="pagenum">[12]</span></p><h2>Split</h2><ul><li>soak<li>boil</ul>`)
	figures := filepath.Join(t.TempDir(), "book.json")
	out := mustRun(t, "", "dataset", "read", path, "--json", figures)
	for _, want := range []string{"html (utf-8), \"Pulses\"\n", "5 words in 4 blocks: 2 heading, 1 list, 1 paragraph\n", "\n  Peas\n    Split\n", "      1  page mark: \"[12]\"\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\nhas no %q", out, want)
		}
	}
	var d book.Document
	text, err := os.ReadFile(figures)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil || len(d.Blocks) != 4 || d.Whole() != "Peas\n\nGreen.[12]\n\nSplit\n\nsoak\nboil" {
		t.Errorf("%v: %+v", err, d)
	}
	if out := mustRun(t, "", "dataset", "read", path, "--markdown"); out != "# Peas\n\nGreen.\n\n## Split\n\n- soak\n- boil\n" {
		t.Errorf("%q", out)
	}
	for _, args := range [][]string{{"dataset", "read"}, {"dataset", "read", "nothere.epub"}, {"dataset", "read", t.TempDir()}, {"dataset", "read", writeFile(t, "a.pdf", "%PDF-")}} {
		if code, _, errOut := lentil(t, "", args...); code != ExitUsage || goisms.MatchString(errOut) {
			t.Errorf("%q: exit %d\n%s", args, code, errOut)
		}
	}
}
