package atomicfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// RecordName is the file in which a folder keeps which of its files were written by sets, see [Set.Record].
const RecordName = ".lentil.json"

// maxRecord is how long a record may be.
const maxRecord = 16 << 20

// A Record tells which files of a folder were written by sets and have not been touched since.
type Record struct {
	dir   string
	files map[string]mark
}

// A mark is what a file looked like when it was written. Whoever edits it changes that.
type mark struct {
	Size     int64 `json:"size"`
	Modified int64 `json:"modified"` // nanoseconds since 1970
}

// recordText is a record as it lies in the folder.
type recordText struct {
	About string          `json:"about"`
	Files map[string]mark `json:"files"`
}

// ReadRecord reads the record of a folder. One that is not there or cannot be read records nothing.
func ReadRecord(dir string) Record {
	var text recordText
	data, err := smallfile.Read(filepath.Join(dir, RecordName), maxRecord)
	if err != nil || json.Unmarshal(data, &text) != nil {
		text.Files = nil
	}
	return Record{dir, text.Files}
}

// Has tells whether a set wrote the file and nobody has changed it. Its name is relative and separated by slashes.
func (r Record) Has(name string) bool {
	was, ok := r.files[name]
	if !ok {
		return false
	}
	info, err := os.Lstat(filepath.Join(r.dir, filepath.FromSlash(name)))
	return err == nil && info.Mode().IsRegular() && was == markOf(info)
}

// below tells whether recorded files lie in a folder of that name.
func (r Record) below(folder string) bool {
	for name := range r.files {
		if strings.HasPrefix(name, folder+"/") {
			return true
		}
	}
	return false
}

func markOf(info fs.FileInfo) mark { return mark{info.Size(), info.ModTime().UnixNano()} }

// Record has Commit keep in the folder which files the set wrote: a later command may replace these, see [Unowned].
func (s *Set) Record() { s.recorded = true }

// writeRecord puts the record among the staged files.
func (s *Set) writeRecord() error {
	old := ReadRecord(s.dir)
	text := recordText{About: "Files that Lentil wrote here, and may replace while they are unchanged.", Files: maps.Clone(old.files)}
	if text.Files == nil {
		text.Files = map[string]mark{}
	}
	for _, name := range s.removed {
		delete(text.Files, name)
	}
	err := s.walk(func(_, rel string, e fs.DirEntry) error {
		info, err := e.Info()
		if err == nil && rel != RecordName {
			text.Files[rel] = markOf(info)
		}
		return err
	})
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(text, "", "    ")
	if err != nil {
		return err
	}
	return s.Write(RecordName, append(data, '\n'))
}

// Vacant refuses, as a mistake in a setting, a path where a write would replace something: a file with content, or a
// folder with files in it. Pipes and devices are written into, and what killed writers left in a folder is completed
// or removed first. Commands for which the user may allow it have the setting "overwrite".
func Vacant(setting fault.Setting, path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fault.At(setting, "%w", err)
	case info.Mode().IsRegular() && info.Size() > 0:
		return fault.Given(setting, path, "this is there already").Try("Give another name, or %v to replace it.", fault.Setting("overwrite"))
	case !info.IsDir():
		return nil
	}
	return occupied(setting, path, func(string, fs.DirEntry) bool { return true })
}

// Unowned is Vacant for a folder, but takes files that are still as a set left and recorded them, and those that mayGo,
// which may be nil, tells by name and type.
func Unowned(setting fault.Setting, dir string, mayGo func(name string, typ fs.FileMode) bool) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fault.At(setting, "%w", err)
	case !info.IsDir():
		return fault.Given(setting, dir, "this is a file, expected a folder").Try("Give another name.")
	}
	record := ReadRecord(dir)
	return occupied(setting, dir, func(name string, e fs.DirEntry) bool {
		return name != RecordName && !record.Has(name) && (mayGo == nil || !mayGo(name, e.Type()))
	})
}

// occupied refuses a folder in which there are files that count. If the last command was killed on the way to giving its
// files their names, that is completed, and the folder is its own.
func occupied(setting fault.Setting, dir string, counts func(name string, e fs.DirEntry) bool) error {
	completed, err := Settle(dir)
	if err != nil {
		return fault.At(setting, "%s: %w", dir, err)
	}
	if completed {
		return nil
	}
	found, err := list(dir, counts)
	switch {
	case err != nil:
		return fault.At(setting, "%w", err)
	case len(found) == 0:
		return nil
	}
	const most = 3
	names := strings.Join(found[:min(most, len(found))], ", ")
	if more := len(found) - most; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fault.Given(setting, dir, "this is there already, with %s in it", names).
		Try("Give another folder, or %v to replace in this one what has to be replaced.", fault.Setting("overwrite"))
}

// list gives the files of a folder that count, and the folders in it that have none that do not.
func list(dir string, counts func(name string, e fs.DirEntry) bool) ([]string, error) {
	record := ReadRecord(dir)
	var found []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case IsTemporary(path.Base(name)):
			if e.IsDir() {
				return fs.SkipDir
			}
		case e.IsDir() && (name == "." || record.below(name)):
		case counts(name, e):
			if found = append(found, name); e.IsDir() {
				return fs.SkipDir
			}
		}
		return nil
	})
	slices.Sort(found)
	return found, err
}

// Settle completes what a killed set had decided in a folder, which it tells, and clears away what others left there.
func Settle(dir string) (completed bool, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, err
	}
	defer root.Close()
	if completed, err = recoverSet(root); err != nil {
		return false, told(dir, true, err)
	}
	sweepAll(root)
	return completed, nil
}

// Finish completes what a killed set had decided in a folder, before its files are read: some of them are old and some
// new until then. Where nothing is left to do it touches nothing.
func Finish(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, journalName)); err != nil {
		return nil // nor may dir be a folder
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	_, err = recoverSet(root)
	return told(dir, true, err)
}
