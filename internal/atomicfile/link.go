package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxLinks is how many symbolic links may lead from one to the next, as on Linux.
const maxLinks = 40

// follow gives the path that symbolic links at path lead to, which need not exist, or a
// file that is open already.
func follow(path string) (*os.File, string, error) {
	for hop := range maxLinks {
		if file, err := inherited(path); file != nil || err != nil {
			return file, path, err
		}
		if hop > 0 { // the folder first: after a symbolic link, ".." is not what the name says
			folder, name := filepath.Split(path)
			folder, err := filepath.EvalSymlinks(folder)
			if err != nil {
				return nil, path, err
			}
			path = filepath.Join(folder, name)
		}
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Type() != fs.ModeSymlink {
			return nil, path, nil
		}
		if err != nil {
			return nil, path, err
		}
		link, err := os.Readlink(path)
		if err != nil {
			return nil, path, err
		}
		if !filepath.IsAbs(link) {
			link = folderOf(path) + string(filepath.Separator) + link
		}
		path = link
	}
	return nil, path, syscall.ELOOP
}

// folderOf is the folder of path as the system finds it: filepath.Dir takes "link/.." for nothing.
func folderOf(path string) string {
	folder, _ := filepath.Split(path)
	if folder == "" {
		return "."
	}
	return folder
}
