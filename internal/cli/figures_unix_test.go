//go:build unix

package cli

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFiguresIntoPipe: what --json names and is no file stays what it is.
func TestFiguresIntoPipe(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	got := make(chan string)
	go func() {
		text, _ := os.ReadFile(pipe)
		got <- string(text)
	}()
	mustRun(t, "", "scan-cache", "--dir", t.TempDir(), "--json", pipe)
	if text := <-got; !strings.HasPrefix(text, figuresMark) {
		t.Errorf("the pipe carried %q", text)
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	if code, _, errOut := lentil(t, "", "scan-cache", "--dir", t.TempDir(), "--json", socket); code != ExitUsage || !strings.Contains(errOut, "--json") {
		t.Errorf("a socket: exit %d, %q", code, errOut)
	}
	for path, want := range map[string]os.FileMode{pipe: os.ModeNamedPipe, socket: os.ModeSocket} {
		if info, err := os.Lstat(path); err != nil || info.Mode().Type() != want {
			t.Errorf("%s is %v now, %v", path, info.Mode(), err)
		}
	}
}
