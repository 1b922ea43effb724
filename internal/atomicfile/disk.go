package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// flush brings an open file or folder to the disk. Most tests have no need to wait for that.
var flush = (*os.File).Sync

// hook, in tests, is asked before each call that changes the disk.
var hook atomic.Pointer[func(op, path string) error]

// OnDiskCall is for tests: from now on f is asked before each call by which this package changes
// the disk, and an error from it is what that call returns, with nothing done. Nobody waits for the disk meanwhile.
// A test that lets it fail from some call on sees what a process leaves that is killed there.
func OnDiskCall(f func(op, path string) error) (end func()) {
	hook.Store(&f)
	return func() { hook.Store(nil) }
}

// errKilled is what disk calls return to a process that is dead for KillAt.
var errKilled = errors.New("killed")

// KillAt is for tests: it runs what as a process that is killed at its n-th disk call, which last tells; false if it has
// no so many. All that the system does by itself then, such as closing files and dropping locks, is done.
func KillAt(n int, what func() error) (killed bool, last string, err error) {
	end := OnDiskCall(func(op, path string) error {
		if n--; n >= 0 {
			return nil
		}
		if !killed {
			killed, last = true, op+" "+path
		}
		return errKilled
	})
	defer end()
	err = what()
	return killed, last, err
}

func before(op, path string) error {
	if f := hook.Load(); f != nil {
		return (*f)(op, path)
	}
	return nil
}

func create(path string, perm fs.FileMode) (*os.File, error) {
	if err := before("create", path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
}

func chmod(file *os.File, mode fs.FileMode) error {
	if err := before("chmod", file.Name()); err != nil {
		return err
	}
	return file.Chmod(mode)
}

func rename(from, to string) error {
	if err := before("rename", to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func remove(path string) error {
	if err := before("remove", path); err != nil {
		return err
	}
	return os.Remove(path)
}

func symlink(target, path string) error {
	if err := before("symlink", path); err != nil {
		return err
	}
	return os.Symlink(target, path)
}

// syncFile brings a file to the disk, where the file system can.
func syncFile(file *os.File) error {
	if err := before("sync", file.Name()); err != nil {
		return err
	}
	return flushed(file)
}

// syncFolder brings to the disk which files a folder has, where the system can.
func syncFolder(path string) error {
	if err := before("sync folder", path); err != nil {
		return err
	}
	if !syncsFolders {
		return nil
	}
	folder, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil // files may be made in it, its list may not be read
	}
	if err != nil {
		return err
	}
	defer folder.Close()
	return flushed(folder)
}

// flushed brings an open file or folder to the disk, where the file system can.
func flushed(file *os.File) error {
	if hook.Load() != nil {
		return nil
	}
	err := flush(file)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

// The functions below keep to a folder: no name and no symbolic link leads them out of it.

func createIn(root *os.Root, name string) (*os.File, error) {
	if err := before("create", name); err != nil {
		return nil, err
	}
	return root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
}

func renameIn(root *os.Root, from, to string) error {
	if err := before("rename", to); err != nil {
		return err
	}
	return root.Rename(from, to)
}

func removeIn(root *os.Root, name string) error {
	if err := before("remove", name); err != nil {
		return err
	}
	return root.Remove(name)
}

func removeAll(root *os.Root, name string) error {
	if err := before("remove all", name); err != nil {
		return err
	}
	return root.RemoveAll(name)
}

func makeFolder(root *os.Root, name string) error {
	if err := before("mkdir", name); err != nil {
		return err
	}
	return root.Mkdir(name, 0o777)
}

func makeAllIn(root *os.Root, name string) error {
	if err := before("mkdir", name); err != nil {
		return err
	}
	return root.MkdirAll(name, 0o777)
}

func makeFolders(path string) error {
	if err := before("mkdir", path); err != nil {
		return err
	}
	return os.MkdirAll(path, 0o777)
}

// removeOpen removes an open file of the root, under its lock where the system lets it.
func removeOpen(root *os.Root, file *os.File) error {
	if !renamesOpen {
		file.Close()
	}
	return removeIn(root, filepath.Base(file.Name()))
}
