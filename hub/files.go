package hub

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/lentil-lm/lentil/internal/atomicfile"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// canWrite tells a folder that takes no files from one that just takes no symbolic links.
func canWrite(folder string) bool {
	f, err := os.CreateTemp(folder, ".probe")
	if err != nil {
		return false
	}
	f.Close()
	return os.Remove(f.Name()) == nil
}

// copyFile copies a file, whole or not at all.
func copyFile(from, to string, o atomicfile.Options) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return o.Stream(to, func(out io.Writer) error {
		_, err := io.Copy(out, in)
		return err
	})
}

// unfinishedIn keeps temporaries in another folder, where nobody takes one that a crash left behind for a file or a
// ref. Symbolic links are replaced, not followed: what a repository has stays in its folder.
func unfinishedIn(folder string) atomicfile.Options {
	return atomicfile.Options{Aside: filepath.Join(folder, "unfinished"), ReplaceLink: true}
}

// regular tells whether path leads to a file of the given size; a size below zero stands for any.
func regular(path string, size int64) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && (size < 0 || info.Size() == size)
}

// isReadOnly tells that a place is not ours to write to, or on a disk that takes no writes.
func isReadOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}
