//go:build unix

package filelock

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Try takes the lock of file without waiting. Where locks cover bytes (Windows) it is
// the one byte at the given offset, which others then can neither read nor write.
func Try(file *os.File, _ int64) error {
	return result(unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

// result sorts what flock says.
func result(err error) error {
	switch {
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EACCES):
		return ErrHeld
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOLCK):
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	return err
}
