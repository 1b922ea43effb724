package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/internal/filelock"
)

const (
	// setName is what staging folders are named after, and journalName the list of a set that
	// is complete and about to get its names.
	setName     = "set"
	journalName = ".set" + suffix
	// holderName is the file in a staging folder that its process has locked.
	holderName = ".holder" + suffix
)

// A Set replaces files of a folder together: after a kill at any moment, the next Begin for
// the folder finds all old files or completes all new ones.
//
// New files are made in a staging folder inside. Once all are on the disk, a journal
// with their names decides: before it exists the old files are valid, and from
// then on the new ones are. They are renamed one by one, so who reads the folder at that
// moment may see some of each.
//
// A file comes under its name in place of whatever file or symbolic link has it; nothing outside
// of the folder is touched.
type Set struct {
	dir      string
	root     *os.Root // of dir
	stage    string   // name of the staging folder in dir
	holder   *os.File
	made     bool // dir was not there
	removed  []string
	recorded bool // see Record
	done     bool
}

// Begin begins a set for the folder dir, which is made if need be. It first completes what a killed
// process had decided there, and clears away what others left. Defer a call of Discard.
func Begin(dir string) (*Set, error) {
	s := &Set{dir: dir}
	if err := s.begin(); err != nil {
		if s.stage != "" {
			s.Discard()
		}
		s.close()
		return nil, s.told(err)
	}
	return s, nil
}

func (s *Set) begin() error {
	_, err := os.Stat(s.dir)
	s.made = errors.Is(err, fs.ErrNotExist)
	if err := makeFolders(s.dir); err != nil {
		return err
	}
	if s.made {
		if err := syncFolder(filepath.Join(s.dir, "..")); err != nil {
			return err
		}
	}
	if s.root, err = os.OpenRoot(s.dir); err != nil {
		return err
	}
	if _, err := recoverSet(s.root); err != nil {
		return err
	}
	sweepAll(s.root)
	for range attempts {
		s.stage = temporary(setName)
		err := makeFolder(s.root, s.stage)
		if err == nil {
			s.holder, err = createIn(s.root, path.Join(s.stage, holderName))
		}
		// Before it is locked, another process may take the folder for one that was left.
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := filelock.Try(s.holder, lockAt); !errors.Is(err, filelock.ErrHeld) && isAt(s.holder, s.holder.Name()) {
			return nil
		}
		s.holder.Close()
	}
	return fs.ErrExist
}

// Dir is the staging folder. At Commit, each file that is in it or in a folder below comes under the
// same name into the set's folder.
func (s *Set) Dir() string { return filepath.Join(s.dir, s.stage) }

// Write makes a new file of the set with the content data.
func (s *Set) Write(name string, data []byte) error {
	return s.Stream(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Stream makes a new file of the set of what write writes, which is buffered. Its name is relative and separated
// by slashes. Errors of the disk name the file as it will be after Commit.
func (s *Set) Stream(name string, write func(io.Writer) error) error {
	f := &File{path: filepath.Join(s.dir, filepath.FromSlash(name)), aside: true}
	if badName(name) {
		return f.told(fmt.Errorf("%q is no name of a file in the folder", name))
	}
	staged := path.Join(s.stage, name)
	err := makeAllIn(s.root, path.Dir(staged))
	if err == nil {
		f.file, err = createIn(s.root, staged)
	}
	if err != nil {
		return f.told(err)
	}
	w := bufio.NewWriterSize(f, bufferSize)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if closed := f.told(f.file.Close()); err == nil {
		err = closed
	}
	return err
}

// Remove has files of the set's folder go when the new ones come. Names are relative and
// separated by slashes. Those of new files and of files that are not there are no mistake.
func (s *Set) Remove(names ...string) { s.removed = append(s.removed, names...) }

// Commit gives the new files their names. After an error all old ones are there as they were, unless the
// error says otherwise.
func (s *Set) Commit() error {
	defer s.Discard()
	if s.recorded {
		if err := s.writeRecord(); err != nil {
			return err
		}
	}
	j, err := s.journal()
	if err != nil {
		return s.told(err)
	}
	if len(j.Files)+len(j.Remove) <= 1 { // one step needs no journal
		return s.told(j.apply(s.root))
	}
	return s.told(s.decide(j))
}

// Discard removes what was staged, unless Commit has decided on it.
func (s *Set) Discard() {
	if s.done {
		return
	}
	s.clear()
	s.close()
	if s.made {
		remove(s.dir) // succeeds where it is empty
	}
}

// clear removes the staging folder.
func (s *Set) clear() {
	if !renamesOpen && s.holder != nil {
		s.holder.Close()
	}
	removeAll(s.root, s.stage)
}

func (s *Set) close() {
	s.done = true
	if s.holder != nil {
		s.holder.Close()
	}
	if s.root != nil {
		s.root.Close()
	}
}

// journal lists what Commit will do, after a check that it can be done, and brings all
// staged files to the disk.
func (s *Set) journal() (journal, error) {
	j := journal{Stage: s.stage}
	err := s.walk(func(name, rel string, e fs.DirEntry) error {
		j.Files = append(j.Files, rel)
		return s.ready(name, rel)
	})
	if err != nil {
		return j, err
	}
	for _, name := range s.removed {
		if badName(name) {
			return j, fmt.Errorf("%q is no name of a file in the folder", name)
		}
		if slices.Contains(j.Files, name) || slices.Contains(j.Remove, name) {
			continue
		}
		if info, err := s.root.Lstat(name); err == nil && info.IsDir() {
			return j, fmt.Errorf("%s is a folder, no file to be removed", name)
		}
		// One that is not there goes all the same: another set may bring it before this one's turn comes.
		j.Remove = append(j.Remove, name)
	}
	return j, nil
}

// walk calls file for each staged file: its name below the root and the name that it gets. Folders are brought to the disk
// on the way.
func (s *Set) walk(file func(name, rel string, e fs.DirEntry) error) error {
	return fs.WalkDir(s.root.FS(), s.stage, func(name string, e fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(name, s.stage+"/")
		switch {
		case err != nil:
			return err
		case e.IsDir():
			if name != s.stage && IsTemporary(e.Name()) {
				return fs.SkipDir
			}
			return syncFolder(filepath.Join(s.dir, filepath.FromSlash(name)))
		case IsTemporary(e.Name()):
			return nil
		case !e.Type().IsRegular():
			return fmt.Errorf("%s is no regular file", rel)
		case badName(rel):
			return fmt.Errorf("%q is no name for a file", rel)
		}
		return file(name, rel, e)
	})
}

// ready makes a staged file ready to take its place.
func (s *Set) ready(name, rel string) error {
	file, err := s.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	old, err := s.root.Lstat(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err // such as a file where a folder is to be
	case old.Mode().IsRegular():
		keepOwner(file, old)
		if err := chmod(file, old.Mode().Perm()); err != nil {
			return err
		}
	case old.Mode().Type() != fs.ModeSymlink:
		return fmt.Errorf("%s is there and is no regular file", rel)
	}
	return syncFile(file)
}

// told names the folder in an error.
func (s *Set) told(err error) error { return told(s.dir, true, err) }
