package atomicfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/filelock"
)

const (
	// maxJournal is how long a journal may be.
	maxJournal = 16 << 20
	// patience is how long a set waits for another one of its folder to get its names.
	patience = time.Minute
	poll     = 20 * time.Millisecond
)

// A journal is a set that is complete on the disk.
type journal struct {
	Stage  string   `json:"stage"`  // the staging folder
	Files  []string `json:"files"`  // in it, to be renamed
	Remove []string `json:"remove"` // to go
}

// decide writes the journal, does what it says and clears up.
func (s *Set) decide(j journal) error {
	text, err := json.Marshal(j)
	if err == nil && len(text) > maxJournal {
		err = fmt.Errorf("%d files are too many", len(j.Files)+len(j.Remove))
	}
	if err != nil {
		return err
	}
	file, err := claim(s.root)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := writeJournal(s.root, file, text); err != nil {
		if drop(s.root, file) != nil {
			s.close() // a journal without its files would be a false one
		}
		return err
	}
	if err := j.apply(s.root); err != nil {
		s.close() // the staged files are still needed
		return fault.Advise(fmt.Errorf("the new files are complete, but not all have their names yet: %w", err),
			"The same command goes on with that when it is run again.")
	}
	if drop(s.root, file) != nil {
		s.close() // the next Begin clears up
	}
	return nil
}

// drop removes a journal. It has to be gone for good before its staging folder goes.
func drop(root *os.Root, file *os.File) error {
	if err := removeOpen(root, file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFolder(root.Name())
}

func writeJournal(root *os.Root, file *os.File, text []byte) error {
	if err := before("write", file.Name()); err != nil {
		return err
	}
	if _, err := file.Write(text); err != nil {
		return err
	}
	if err := syncFile(file); err != nil {
		return err
	}
	return syncFolder(root.Name())
}

// claim makes the folder's journal, locked and empty yet. While another process has one it waits.
func claim(root *os.Root) (*os.File, error) {
	for {
		file, err := createIn(root, journalName)
		if errors.Is(err, fs.ErrExist) {
			if _, err := recoverSet(root); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := filelock.Try(file, lockAt); !errors.Is(err, filelock.ErrHeld) && isAt(file, file.Name()) {
			return file, nil
		}
		file.Close() // another process takes it for one that was left
	}
}

// recoverSet does what a journal in the folder says, when the process that wrote it is gone, and tells whether there was
// one. One that was not written to its end decided nothing.
func recoverSet(root *os.Root) (completed bool, err error) {
	for end := time.Now().Add(patience); ; time.Sleep(poll) {
		info, err := root.Lstat(journalName)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !info.Mode().IsRegular() || info.Size() > maxJournal {
			return false, fmt.Errorf("%s is no journal of an interrupted write: remove it", journalName)
		}
		file, err := root.OpenFile(journalName, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		err = filelock.Try(file, lockAt)
		if errors.Is(err, filelock.ErrHeld) {
			file.Close()
			if time.Now().After(end) {
				return false, errors.New("another process is writing to this folder: wait for it to end")
			}
			continue
		}
		completed, err = complete(root, file, err != nil)
		file.Close()
		return completed, err
	}
}

// complete does what the journal in file says, and tells whether it says anything.
func complete(root *os.Root, file *os.File, unlocked bool) (completed bool, err error) {
	if !isAt(file, file.Name()) {
		return false, nil // done meanwhile
	}
	text, err := io.ReadAll(io.LimitReader(file, maxJournal))
	if err != nil {
		return false, err
	}
	var j journal
	if json.Unmarshal(text, &j) != nil || !j.valid() {
		if unlocked && !isOld(file.Name(), patience) {
			return false, errors.New("another process is writing to this folder: try again in a minute")
		}
		return false, drop(root, file)
	}
	if err := j.apply(root); err != nil {
		return false, fmt.Errorf("completing what an interrupted command wrote: %w", err)
	}
	if err := drop(root, file); err != nil {
		return false, err
	}
	removeAll(root, j.Stage) // another process may be at it too; the next Begin looks again
	return true, nil
}

// valid tells a journal of this package's from other files.
func (j journal) valid() bool {
	return isOf(j.Stage, setName) && !slices.ContainsFunc(slices.Concat(j.Files, j.Remove), badName)
}

// badName tells names that lead nowhere in a folder.
func badName(name string) bool { return !fs.ValidPath(name) || name == "." }

// apply renames and removes. What is done already is no mistake.
func (j journal) apply(root *os.Root) error {
	folders := map[string]bool{".": true}
	for _, name := range j.Files {
		folder := path.Dir(name)
		if !folders[folder] {
			if err := makeAllIn(root, folder); err != nil {
				return err
			}
		}
		for ; !folders[folder]; folder = path.Dir(folder) {
			folders[folder] = true
		}
		if err := renameIn(root, path.Join(j.Stage, name), name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, name := range j.Remove {
		if err := removeIn(root, name); err != nil && !gone(err) {
			return err
		}
		folders[path.Dir(name)] = true
	}
	for folder := range folders {
		err := syncFolder(filepath.Join(root.Name(), filepath.FromSlash(folder)))
		if err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

// gone tells that there is nothing at a path, or a file where a folder would have to be.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }
