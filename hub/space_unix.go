//go:build linux || darwin

package hub

import "golang.org/x/sys/unix"

// freeSpace is how many bytes fit on the disk of a folder; false if unknown.
func freeSpace(folder string) (int64, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
