//go:build unix

package hub

import (
	"os"

	"golang.org/x/sys/unix"
)

// openLock opens a lock file, which other users of a shared cache may lock too.
func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o664)
}
