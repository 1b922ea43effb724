package atomicfile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/internal/filelock"
)

const (
	suffix = ".lentil.tmp"
	// longest is how long a name may be for its temporary to have it in full: file systems
	// take names of 255 bytes, some fewer.
	longest = 200
	// attempts is how often a new name is tried.
	attempts = 100
	// lockAt is far behind all content, which others may read where locks cover bytes.
	lockAt = 1 << 62
	// oldAge is when a temporary whose lock tells nothing belongs to no living process.
	oldAge = 24 * time.Hour
)

// IsTemporary tells the names, without folders, that this package uses while it writes, and
// that a killed process leaves behind: whoever lists a folder's files leaves them out.
func IsTemporary(name string) bool {
	return strings.HasPrefix(name, ".") && strings.HasSuffix(name, suffix)
}

// stem is what the temporaries of a file with that name begin with.
func stem(base string) string {
	if len(base) > longest {
		base = fmt.Sprintf("%x", sha256.Sum256([]byte(base)))
	}
	return "." + base + "."
}

// temporary is a new name beside path: ".NAME.1a2b3c4d.lentil.tmp".
func temporary(path string) string {
	folder, base := filepath.Split(path)
	return fmt.Sprintf("%s%s%08x%s", folder, stem(base), rand.Uint32(), suffix)
}

// isOf tells whether name is that of a temporary for a file named base, "" for any.
func isOf(name, base string) bool {
	if base == "" {
		return IsTemporary(name) && name != journalName
	}
	number, ok := strings.CutPrefix(name, stem(base))
	if !ok {
		return false
	}
	number, ok = strings.CutSuffix(number, suffix)
	return ok && len(number) == 8 && strings.Trim(number, "0123456789abcdef") == ""
}

// createAside makes a new file that is locked.
func createAside(path string, perm fs.FileMode) (*os.File, error) {
	for range attempts {
		file, err := create(temporary(path), perm)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// Before it is locked, another process may take it for one that was left.
		if err := filelock.Try(file, lockAt); !errors.Is(err, filelock.ErrHeld) && isAt(file, file.Name()) {
			return file, nil
		}
		file.Close()
	}
	return nil, fs.ErrExist
}

// isAt tells whether the open file is the one at path.
func isAt(file *os.File, path string) bool {
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}

// sweep removes from a folder what writers of the file named base left when they were
// killed, "" for any file. Temporaries of living writers stay.
func sweep(folder, base string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return // the write itself will tell
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		switch {
		case !isOf(e.Name(), base):
		case e.Type().IsRegular():
			sweepFile(path, func() { remove(path) })
		case e.Type() == fs.ModeSymlink && isOld(path, oldAge):
			remove(path)
		}
	}
}

// sweepFile calls clear if the process that locked the file at path is gone. Where
// open files can be removed, nobody can lock it meanwhile.
func sweepFile(path string, clear func()) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return // not ours to judge
	}
	defer file.Close()
	err = filelock.Try(file, lockAt)
	switch {
	case errors.Is(err, filelock.ErrHeld), !isAt(file, path):
		return
	case err != nil || !renamesOpen: // no locks, or none between writing and renaming
		if !isOld(path, oldAge) {
			return
		}
	}
	if !renamesOpen {
		file.Close()
	}
	clear()
}

// isOld tells whether what is at path was last changed longer ago than age.
func isOld(path string, age time.Duration) bool {
	info, err := os.Lstat(path)
	return err == nil && time.Since(info.ModTime()) > age
}

// sweepAll is sweep for all files of a folder and for the staging folders of sets.
func sweepAll(root *os.Root) {
	sweep(root.Name(), "")
	entries, err := os.ReadDir(root.Name())
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !isOf(e.Name(), setName) {
			continue
		}
		// Who made the folder and is about to lock it finds it gone, and makes another.
		holder, err := createIn(root, e.Name()+"/"+holderName)
		if err == nil {
			holder.Close()
		}
		sweepFile(filepath.Join(root.Name(), e.Name(), holderName), func() {
			// A journal may have come since it was last looked for, and the folder belong to it.
			if _, err := root.Lstat(journalName); errors.Is(err, fs.ErrNotExist) {
				removeAll(root, e.Name())
			}
		})
	}
}
