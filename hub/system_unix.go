//go:build unix

package hub

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openLock opens a lock file, which other users of a shared cache may lock too.
func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o664)
}

func tryLock(file *os.File) error {
	return lockResult(unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

// lockResult sorts what flock says. On a file system without locks everybody has them: that costs time, as all may
// fetch the same file, and no more.
func lockResult(err error) error {
	switch {
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EACCES):
		return errHeld
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOLCK):
		return nil
	}
	return err
}
