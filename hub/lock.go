package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/lentil-lm/lentil/internal/filelock"
)

const lockPoll = 100 * time.Millisecond

// lock waits for the lock file at path and takes it. The lock is the one of Python's filelock package: flock on
// unix, the first byte on Windows. The system drops it when the process ends, however it ends. waiting, if not
// nil, is called once if another process holds it. The file stays behind: others may have it open.
func lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	for {
		file, err := openLock(path)
		if err != nil {
			return nil, err
		}
		err = filelock.Try(file, 0)
		if errors.Is(err, filelock.ErrNone) {
			err = nil // everybody has it: that costs time, as all may fetch the same file, and no more
		}
		if err == nil && stillThere(file, path) {
			return func() { file.Close() }, nil
		}
		file.Close()
		if err != nil && !errors.Is(err, filelock.ErrHeld) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// stillThere tells whether path is still the locked file: one that was removed meanwhile locks nobody out.
func stillThere(file *os.File, path string) bool {
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}
