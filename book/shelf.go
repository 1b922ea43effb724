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
// their ends of name. Hidden files and folders are passed over, as is what a link to a folder leads to.
func Shelf(paths ...string) ([]string, error) {
	var out []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, path)
			continue
		}
		some := len(out)
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
			if out = append(out, at); len(out) > maxShelf {
				return tooMuch(path, "books", maxShelf)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(out) == some {
			return nil, fault.Of("%s has no books in it, expected files that end in %s", path, bookEnds()).Try("Give a folder of books, or one book.")
		}
	}
	return out, nil
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
