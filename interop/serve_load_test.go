package interop

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/demo"
)

// TestServeLoad has 64 clients ask for 20 seconds, some of whom leave, beside one that does not read and one that sends prompts of
// 1 MB: no answer fails, and memory does not grow without bound.
func TestServeLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	url := listening(t, "serve", "--model", filepath.Join(dir, "model"), "--port", "0", "--data", "", "--log-level", "ERROR")
	tool := filepath.Join(dir, "load")
	command(t, exec.Command("go", "build", "-o", tool, "./bench/serve"))
	out := command(t, exec.Command(tool, "--url", strings.TrimSuffix(url, "/"), "--streams", "64", "--tokens", "24", "--prefix", "400", "--seconds", "20"))
	t.Log(out)
	number := func(pattern string) float64 {
		found := regexp.MustCompile(pattern).FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("there is no %q", pattern)
		}
		v, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if answers, errors, large := number(`(\d+) answers`), number(`(\d+) errors`), number(`(\d+) prompts of 1 MB`); answers < 64 || errors > 0 || large < 1 {
		t.Errorf("%g answers, %g errors, %g prompts of 1 MB", answers, errors, large)
	}
	if first, second := number(`(\d+) MB in the first half`), number(`(\d+) MB in the second`); second > 1.3*first+50 {
		t.Errorf("memory grows from %g to %g MB", first, second)
	}
}
