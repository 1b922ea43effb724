package book

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
)

// maxShelf is how many books folders may hold.
const maxShelf = 10_000

// Shelf lists books: the files that are named, and those in the folders that are named and in folders below these, by
// their ends of name, each once. Hidden files and folders are passed over, as is what a link to a folder leads to.
func Shelf(paths ...string) ([]string, error) {
	var out []string
	found := map[string]bool{}
	add := func(path string) {
		if real := realPath(path); !found[real] {
			found[real] = true
			out = append(out, path)
		}
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			add(path)
			continue
		}
		some := false
		err = filepath.WalkDir(path, func(at string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case at != path && strings.HasPrefix(e.Name(), "."):
				if e.IsDir() {
					return filepath.SkipDir
				}
				return nil
			case e.IsDir() || formatOf(at) < 0:
				return nil
			}
			if info, err := os.Stat(at); err != nil || !info.Mode().IsRegular() {
				return nil // a link to nothing, a pipe
			}
			some = true
			if add(at); len(out) > maxShelf {
				return tooMuch(path, "books", maxShelf)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if !some {
			return nil, fault.Of("%s has no books in it, expected files that end in %s", path, bookEnds()).Try("Give a folder of books, or one book.")
		}
	}
	return out, nil
}

// realPath names a file in one way, whatever leads to it.
func realPath(path string) string {
	if at, err := filepath.Abs(path); err == nil {
		path = at
	}
	if at, err := filepath.EvalSymlinks(path); err == nil {
		path = at
	}
	return path
}

// formatOf is the index of the format that a file's name tells; -1 for none.
func formatOf(path string) int {
	end := strings.ToLower(filepath.Ext(path))
	return slices.IndexFunc(formats, func(f format) bool { return slices.Contains(f.ends, end) })
}

// bookEnds are the ends of the names of books, the first of each format.
func bookEnds() string {
	var ends []string
	for _, f := range formats {
		ends = append(ends, f.ends[0])
	}
	n := len(ends) - 1
	return strings.Join(ends[:n], ", ") + " or " + ends[n]
}
