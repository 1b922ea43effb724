package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBrokenConfig: a configuration file that is none is refused with its name.
func TestBrokenConfig(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lora.yaml")
	for _, content := range []string{"a: [1,\nb: 2\n", "model: {a: 1\n", "train: \x00"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		code, _, errOut := lentil(t, "", "lora", "-c", path)
		if code != 2 || !strings.Contains(errOut, path) {
			t.Errorf("%q: exit %d, %q", content, code, errOut)
		}
	}
}
