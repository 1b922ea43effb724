package book

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestControls: what would be a command to a terminal is left out of each kind of text, and told.
func TestControls(t *testing.T) {
	const text = "Sal\x1b[2Jt \u009bis a mineral.\x07"
	for name, data := range map[string]string{
		"a.txt":  text + "\n",
		"a.md":   "# Sa\x1blt\n\n" + text + "\n\n```\ncode\x1b]0;x\x07\n\ttab\n```\n",
		"a.html": "<title>S\x1bx</title><h1 title='\x1b'>Sa\x1blt</h1><p>" + text + "<table><tr><td>5\x1b g<td>6 g</table>",
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := d.Text() + d.Title + strings.Join(d.Authors, ""); strings.IndexFunc(got, isControl) >= 0 || !strings.Contains(got, "is a mineral.") {
			t.Errorf("%s: %q", name, got)
		}
		for i, r := range d.Removed {
			if r.Reason != Control {
				t.Errorf("%s: removal %d: %+v", name, i, r)
			}
		}
		if n := strings.Count(d.Whole(), "\x1b"); n == 0 {
			t.Errorf("%s: what was left out cannot be put back: %q", name, d.Whole())
		}
	}
}
