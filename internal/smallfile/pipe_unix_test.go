//go:build unix

package smallfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPipe(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := Read(pipe, 5); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a pipe in a folder: %v", err)
	}
	for text, ok := range map[string]bool{"12345": true, "123456": false} {
		go func() {
			w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
			if err == nil {
				w.WriteString(text)
				w.Close()
			}
		}()
		if got, err := ReadAny(pipe, 5); (err == nil) != ok || ok && string(got) != text {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}
