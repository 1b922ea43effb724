//go:build unix

package atomicfile

import (
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// renamesOpen tells that an open file, which keeps its lock, can be renamed and removed.
	renamesOpen = true
	// syncsFolders tells that the list of a folder's files can be brought to the disk.
	syncsFolders = true
)

var ownFile = regexp.MustCompile(`^/(?:proc/self|dev)/fd/([0-9]+)$`)

// inherited opens a name that stands for an open file of this process, such as what /dev/stdout
// leads to: what is written continues there, also where it is a regular file.
func inherited(path string) (*os.File, error) {
	m := ownFile.FindStringSubmatch(path)
	if m == nil {
		return nil, nil
	}
	number, err := strconv.Atoi(m[1])
	if err != nil {
		return nil, unix.EBADF
	}
	fd, err := unix.FcntlInt(uintptr(number), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// keepOwner gives a file the owner of the one that it will replace, where the system lets it.
func keepOwner(file *os.File, old fs.FileInfo) {
	was, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	info, err := file.Stat()
	if err != nil {
		return
	}
	if is, ok := info.Sys().(*syscall.Stat_t); ok && (is.Uid != was.Uid || is.Gid != was.Gid) {
		file.Chown(int(was.Uid), int(was.Gid))
	}
}
