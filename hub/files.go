package hub

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// asideName is a new name beside path, for a file that is not finished.
func asideName(path string) string {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+hex.EncodeToString(b[:])+".tmp")
}

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

// replace renames from to to and removes from if that fails.
func replace(from, to string) error {
	err := os.Rename(from, to)
	if err != nil {
		os.Remove(from)
	}
	return err
}

// copyFile copies a file, whole or not at all.
func copyFile(from, to, aside string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeAside(to, aside, 0o666, func(out *os.File) error {
		_, err := io.Copy(out, in)
		return err
	})
}

// writeFile writes a file, whole or not at all.
func writeFile(path, aside string, data []byte, mode fs.FileMode) error {
	return writeAside(path, aside, mode, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// writeAside writes the file aside and renames it to path when all is well.
func writeAside(path, aside string, mode fs.FileMode, write func(*os.File) error) error {
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(aside)
		return err
	}
	return replace(aside, path)
}

// readSmall reads a regular file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return text, err
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
