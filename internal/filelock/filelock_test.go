//go:build unix

package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTry(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	first, second := open(), open()
	if err := Try(first, 0); err != nil {
		t.Fatal(err)
	}
	if err := Try(second, 0); !errors.Is(err, ErrHeld) {
		t.Errorf("a second one got %v", err)
	}
	first.Close()
	if err := Try(second, 0); err != nil {
		t.Errorf("after the first was closed: %v", err)
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]error{
		nil: nil, unix.EWOULDBLOCK: ErrHeld, unix.EACCES: ErrHeld, unix.ENOSYS: ErrNone, unix.ENOTSUP: ErrNone, unix.ENOLCK: ErrNone, unix.EIO: unix.EIO,
	} {
		if got := result(err); !errors.Is(got, want) {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
