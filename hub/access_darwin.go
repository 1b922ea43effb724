package hub

import (
	"io/fs"
	"syscall"
	"time"
)

// accessTime is when a file was last read, as far as the system keeps track of it.
func accessTime(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(int64(s.Atimespec.Sec), int64(s.Atimespec.Nsec))
	}
	return info.ModTime()
}
