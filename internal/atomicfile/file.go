// Package atomicfile writes files that are whole under their names, or not there.
//
// The content goes to a temporary name in the same folder, is brought to the disk and
// renamed, and the folder is brought to the disk as well. A [Set] does so for several
// files of a folder together.
//
// A killed process leaves temporaries behind. Each is locked for as long as its writer
// lives, so the next write to the same target can tell and removes those of the dead.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// bufferSize is how much Stream collects for one call to the system.
const bufferSize = 1 << 20

// Options say how a file is written. The zero value is right for most.
type Options struct {
	// Perm is the mode of the file. If 0, a file that is replaced keeps its mode
	// and its owner, and a new one gets what the umask leaves of 0o666.
	Perm fs.FileMode
	// Aside is the path that temporary names are made from, if not the file's own: for folders
	// in which other programs would take a temporary for something of theirs.
	// It has to be on the file's file system.
	Aside string
	// ReplaceLink has a symbolic link at the path replaced. Otherwise the file that
	// it leads to is written.
	ReplaceLink bool
}

// Write gives the file at path the content data.
func Write(path string, data []byte) error { return Options{}.Write(path, data) }

// Write gives the file at path the content data.
func (o Options) Write(path string, data []byte) error {
	f, err := o.Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// Stream gives the file at path what write writes, unless that fails. What it writes is buffered.
func Stream(path string, write func(io.Writer) error) error { return Options{}.Stream(path, write) }

// Stream gives the file at path what write writes, unless that fails. What it writes is buffered.
func (o Options) Stream(path string, write func(io.Writer) error) error {
	f, err := o.Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	w := bufio.NewWriterSize(f, bufferSize)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Commit()
}

// A File is being written. It has its name from Commit on.
type File struct {
	path   string // as the caller gave it
	target string // where symbolic links lead
	file   *os.File
	aside  bool // under a temporary name; otherwise target is no regular file and is written into
	mode   fs.FileMode
	synced bool
	done   bool
}

// Create begins a file that will replace the one at path, if there is one. What is there
// and is not a regular file (a device, a pipe) is written into. Defer a call of Discard.
func (o Options) Create(path string) (*File, error) {
	f := &File{path: path, target: path}
	if err := f.create(o); err != nil {
		return nil, f.told(err)
	}
	return f, nil
}

func (f *File) create(o Options) error {
	if !o.ReplaceLink {
		file, target, err := follow(f.path)
		if err != nil || file != nil {
			f.file = file
			return err
		}
		f.target = target
	}
	_, name := filepath.Split(f.target)
	old, err := os.Lstat(f.target)
	switch {
	case f.target == "":
		return fs.ErrNotExist
	case name == "":
		return syscall.EISDIR
	case errors.Is(err, fs.ErrNotExist) || err == nil && old.Mode().Type() == fs.ModeSymlink:
		old = nil
	case err != nil:
		return err
	case old.IsDir():
		return syscall.EISDIR
	case !old.Mode().IsRegular():
		f.file, err = os.OpenFile(f.target, os.O_WRONLY, 0)
		return err
	}
	perm := fs.FileMode(0o666)
	switch {
	case o.Perm != 0:
		perm = o.Perm
	case old != nil:
		f.mode = old.Mode().Perm()
		perm = f.mode | 0o200 // writers can lock it, to see that it is held
	}
	aside := o.Aside
	if aside == "" {
		aside = f.target
	}
	sweep(folderOf(aside), filepath.Base(aside))
	if f.file, err = createAside(aside, perm); err != nil {
		return err
	}
	f.aside = true
	if f.mode != 0 {
		keepOwner(f.file, old)
	}
	return nil
}

// Name is the name that the content has now: a temporary one, which others can read it by
// after Sync, or that of what is written into, if Temporary is false.
func (f *File) Name() string {
	if f.aside {
		return f.file.Name()
	}
	return f.target
}

// Temporary tells that the content has a name of its own until Commit.
func (f *File) Temporary() bool { return f.aside }

// Write appends to the file.
func (f *File) Write(data []byte) (int, error) {
	f.synced = false
	if err := before("write", f.Name()); err != nil {
		return 0, f.told(err)
	}
	n, err := f.file.Write(data)
	return n, f.told(err)
}

// Sync brings to the disk what was written so far.
func (f *File) Sync() error {
	if f.synced || !f.aside {
		return nil
	}
	if err := syncFile(f.file); err != nil {
		return f.told(err)
	}
	f.synced = true
	return nil
}

// Commit gives the file its name. After an error nothing of it is left.
func (f *File) Commit() error {
	defer f.Discard()
	if !f.aside {
		f.done = true
		return f.told(f.file.Close())
	}
	if f.mode != 0 {
		if err := chmod(f.file, f.mode); err != nil {
			return f.told(err)
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if !renamesOpen {
		f.file.Close()
	}
	if err := rename(f.file.Name(), f.target); err != nil {
		return f.told(err)
	}
	f.done = true
	f.file.Close() // and with it the lock
	return f.told(syncFolder(folderOf(f.target)))
}

// Discard removes the file, unless Commit has been called.
func (f *File) Discard() {
	if f.done {
		return
	}
	f.done = true
	if f.aside && renamesOpen {
		remove(f.file.Name()) // under its lock: nobody else does
	}
	f.file.Close()
	if f.aside && !renamesOpen {
		remove(f.file.Name())
	}
}

func (f *File) told(err error) error { return told(f.path, f.aside, err) }

// told makes an error of one about path, not about a temporary.
func told(path string, aside bool, err error) error {
	path = final(path)
	switch e := err.(type) {
	case nil:
		return nil
	case *fs.PathError:
		err = e.Err
	case *os.LinkError:
		err = e.Err
	}
	if aside && Full(err) {
		return fmt.Errorf("%s: the disk is full; nothing was left half-written; free some space or choose another folder: %w", path, err)
	}
	return &fs.PathError{Op: "write", Path: path, Err: err}
}

// Full tells whether an error is that of a disk without room, or of a quota that is used up.
func Full(err error) bool {
	for _, full := range fullErrors {
		if errors.Is(err, full) {
			return true
		}
	}
	return false
}

// Rename gives a file that is complete and on the disk its name, in place of what has it. Both names are on one file system.
func Rename(from, to string) error {
	if err := rename(from, to); err != nil {
		return err
	}
	return syncFolder(folderOf(to))
}

// final is path without the staging folder of a set.
func final(path string) string {
	folder, name := filepath.Split(path)
	rest := filepath.Clean(folder)
	for ; rest != filepath.Dir(rest); rest = filepath.Dir(rest) {
		if isOf(filepath.Base(rest), setName) {
			below, err := filepath.Rel(rest, folder)
			if err != nil {
				return path
			}
			return filepath.Join(filepath.Dir(rest), below, name)
		}
	}
	return path
}

// Symlink makes path a symbolic link to target in one step, whatever file or link was there.
func (o Options) Symlink(target, path string) error {
	aside := o.Aside
	if aside == "" {
		aside = path
	}
	for range attempts {
		name := temporary(aside)
		err := symlink(target, name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = Rename(name, path)
		if err != nil {
			remove(name)
		}
		return err
	}
	return fs.ErrExist
}
