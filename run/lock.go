package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/internal/filelock"
)

// A lock is held on a file by one process at a time. The system drops it when the process ends, however
// it ends, so a lock file that was left behind blocks nobody.
type lock struct{ file *os.File }

// LockedError says that another process holds a lock.
type LockedError struct {
	Path string
	PID  int // 0 if unknown
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is held by another process", e.Path)
	}
	return fmt.Sprintf("%s is held by process %d", e.Path, e.PID)
}

// lockAt is behind the text, so that others can read who holds the lock.
const lockAt = 1 << 30

// takeLock takes the lock at path without waiting, making the file if need be, and writes this process's
// id into it. If it is held, the error is a *LockedError.
func takeLock(path string) (*lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := filelock.Try(file, lockAt); err != nil {
		defer file.Close()
		if !errors.Is(err, filelock.ErrHeld) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, &LockedError{Path: path, PID: readPID(file)}
	}
	if err := writePID(file); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return &lock{file}, nil
}

// release gives the lock free. The file stays, since another process may have it open by now.
func (l *lock) release() error {
	return errors.Join(l.file.Truncate(0), l.file.Close())
}

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func readPID(file *os.File) int {
	text, err := io.ReadAll(io.LimitReader(file, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}
