//go:build linux || darwin

package machine

import "golang.org/x/sys/unix"

// FreeDisk is how many bytes may still be written at path.
func FreeDisk(path string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize)
}
