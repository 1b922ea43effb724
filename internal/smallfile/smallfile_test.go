package smallfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/fault"
)

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func(string, int64) ([]byte, error){Read, ReadAny} {
		if text, err := read(path, 5); err != nil || string(text) != "12345" {
			t.Errorf("%q, %v", text, err)
		}
		var m *fault.Mistake
		if _, err := read(path, 4); !errors.As(err, &m) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "at most") {
			t.Errorf("5 bytes of 4: %v", err)
		}
		if _, err := read(filepath.Join(dir, "none"), 5); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no file: %v", err)
		}
		if _, err := read(dir, 5); err == nil {
			t.Error("a folder was read")
		}
	}
}
