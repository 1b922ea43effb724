package hub

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/internal/smallfile"
)

// The Python package can keep contents that several repositories have in common in one place:
//
//	<cache>/blobs/.huggingface-shared-blobs     says that this is such a place
//	<cache>/blobs/<first two digits>/<hash>     the contents
//	<cache>/blobs/<first two digits>/<hash>.refs   which blobs of repositories are links to them, one a line
//
// Lentil reads through these links, does not make them, and removes contents when the last link goes.

// isSharedStore tells whether a folder of the cache is the place of shared contents.
func isSharedStore(path string) bool {
	text, err := smallfile.Read(filepath.Join(path, ".huggingface-shared-blobs"), 16)
	return filepath.Base(path) == "blobs" && err == nil && string(text) == "1\n"
}

var sharedPath = regexp.MustCompile(`^([0-9a-f]{2})[/\\]([0-9a-f]{64})$`)

// sharedTarget gives the shared contents that the blob of a repository is a link to.
func sharedTarget(cache, blob string) (string, bool) {
	link, err := os.Readlink(blob)
	if err != nil || !isSharedStore(filepath.Join(cache, "blobs")) {
		return "", false
	}
	if !filepath.IsAbs(link) {
		link = filepath.Join(filepath.Dir(blob), link)
	}
	rel, err := filepath.Rel(filepath.Join(cache, "blobs"), link)
	if err != nil {
		return "", false
	}
	m := sharedPath.FindStringSubmatch(rel)
	return link, m != nil && strings.HasPrefix(m[2], m[1])
}

// sharedContents gives the sizes of all shared contents.
func sharedContents(cache string) map[string]int64 {
	store := filepath.Join(cache, "blobs")
	if !isSharedStore(store) {
		return nil
	}
	out := map[string]int64{}
	filepath.WalkDir(store, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be read is not counted
		}
		if rel, err := filepath.Rel(store, path); err == nil && e.Type().IsRegular() && sharedPath.MatchString(rel) {
			if info, err := e.Info(); err == nil {
				if real, err := filepath.EvalSymlinks(path); err == nil {
					out[real] = info.Size()
				}
			}
		}
		return nil
	})
	return out
}

// sweepShared removes shared contents that no blob of a repository links to any more. They stay if that cannot be
// told.
func sweepShared(cache, target string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	unlock, err := lock(ctx, target+".lock", nil)
	if err != nil {
		return nil // somebody works on it
	}
	defer unlock()
	refs, err := smallfile.Read(target+".refs", maxTree)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(refs)) {
		blob := filepath.Join(cache, filepath.FromSlash(strings.TrimRight(line, "\r\n")))
		if _, err := os.Lstat(blob); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			continue
		}
		if other, ok := sharedTarget(cache, blob); ok && other == target {
			return nil
		}
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(target + ".refs")
}
