package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/internal/smallfile"
)

// A Cache is what Scan finds.
type Cache struct {
	Dir        string
	Bytes      int64 // on the disk; contents that several repositories share count once
	Repos      []CachedRepo
	Incomplete []string // beginnings of files that are still on their way, or were given up
	Warnings   []error  // about what is not a repository, or a broken one; these are left out
}

// A CachedRepo is one repository in the cache.
type CachedRepo struct {
	Repo       Repo
	Path       string
	Bytes      int64
	Files      int // different contents, over all revisions
	Revisions  []CachedRevision
	LastAccess time.Time
	LastChange time.Time
}

// Refs gives the branches and tags of all revisions, in order.
func (r CachedRepo) Refs() []string {
	var refs []string
	for _, rev := range r.Revisions {
		refs = append(refs, rev.Refs...)
	}
	slices.Sort(refs)
	return refs
}

// A CachedRevision is one commit of a repository in the cache.
type CachedRevision struct {
	Commit     string
	Path       string
	Refs       []string
	Bytes      int64
	Files      []CachedFile
	LastChange time.Time
}

// A CachedFile is one file of a revision: its place in the snapshot, and the place of its contents. Both are the same
// for a file that is no link.
type CachedFile struct {
	Path, Blob string
	Bytes      int64
}

// ignored are files that systems leave in folders.
var ignored = []string{".DS_Store", "Thumbs.db", "desktop.ini"}

// Scan looks through a cache. A repository that is broken becomes a warning.
func Scan(dir string) (Cache, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Cache{}, fmt.Errorf("there is no cache yet: %w", err)
	}
	if err != nil {
		return Cache{}, err
	}
	c := Cache{Dir: dir}
	contents := map[string]int64{} // by where they really are
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if slices.Contains(append(ignored, ".locks", "CACHEDIR.TAG"), e.Name()) || isSharedStore(path) {
			continue
		}
		repo, err := scanRepo(path, contents)
		if err != nil {
			c.Warnings = append(c.Warnings, err)
			continue
		}
		c.Repos = append(c.Repos, repo)
		found, _ := filepath.Glob(filepath.Join(globQuote(path), "blobs", "*.incomplete")) // the pattern is good
		c.Incomplete = append(c.Incomplete, found...)
	}
	for path, size := range sharedContents(dir) {
		contents[path] = size
	}
	for _, size := range contents {
		c.Bytes += size
	}
	return c, nil
}

// globQuote makes a path stand for itself in a pattern.
func globQuote(path string) string {
	return strings.NewReplacer(`*`, `[*]`, `?`, `[?]`, `[`, `[[]`).Replace(path)
}

func scanRepo(path string, contents map[string]int64) (CachedRepo, error) {
	repo, ok := repoOfFolder(filepath.Base(path))
	if info, err := os.Stat(path); !ok || err != nil || !info.IsDir() {
		return CachedRepo{}, fmt.Errorf("%s is not the folder of a cached repository", path)
	}
	refs, err := scanRefs(filepath.Join(path, "refs"))
	if err != nil {
		return CachedRepo{}, err
	}
	snapshots, err := os.ReadDir(filepath.Join(path, "snapshots"))
	if err != nil {
		return CachedRepo{}, fmt.Errorf("%s has no snapshots: %w", path, err)
	}
	s := scanner{sizes: map[string]int64{}, contents: contents}
	out := CachedRepo{Repo: repo, Path: path}
	for _, e := range snapshots {
		if slices.Contains(ignored, e.Name()) {
			continue
		}
		rev, err := s.revision(filepath.Join(path, "snapshots", e.Name()))
		if err != nil {
			return CachedRepo{}, err
		}
		rev.Refs = refs[rev.Commit]
		delete(refs, rev.Commit)
		out.Revisions = append(out.Revisions, rev)
	}
	for commit, names := range refs {
		return CachedRepo{}, fmt.Errorf("%s: %s stands for the commit %.60q, which is not there", path, strings.Join(names, ", "), commit)
	}
	for _, size := range s.sizes {
		out.Bytes += size
	}
	out.Files, out.LastAccess, out.LastChange = len(s.sizes), s.accessed, s.changed
	if len(s.sizes) == 0 {
		if info, err := os.Stat(path); err == nil {
			out.LastAccess, out.LastChange = accessTime(info), info.ModTime()
		}
	}
	return out, nil
}

// scanRefs reads which names stand for which commit.
func scanRefs(dir string) (map[string][]string, error) {
	refs := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || slices.Contains(ignored, e.Name()) {
			return err
		}
		commit, err := smallfile.Read(path, 4096)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		refs[string(commit)] = append(refs[string(commit)], filepath.ToSlash(name))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return refs, err
}

// A scanner adds up the contents of one repository.
type scanner struct {
	sizes             map[string]int64 // by path of the blob
	contents          map[string]int64 // of all repositories, by real path
	accessed, changed time.Time
}

func (s *scanner) revision(path string) (CachedRevision, error) {
	info, err := os.Stat(path)
	if err != nil {
		return CachedRevision{}, err
	}
	if !info.IsDir() {
		return CachedRevision{}, fmt.Errorf("%s is a file among the snapshots", path)
	}
	rev := CachedRevision{Commit: filepath.Base(path), Path: path}
	blobs := map[string]int64{}
	err = filepath.WalkDir(path, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		blob := file
		if e.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(file)
			if err != nil {
				return err
			}
			if blob = target; !filepath.IsAbs(target) {
				blob = filepath.Join(filepath.Dir(file), target)
			}
		}
		info, err := os.Stat(blob)
		if err != nil {
			return fmt.Errorf("%s leads to nothing: %w", file, err)
		}
		if info.IsDir() {
			return fmt.Errorf("%s leads to a folder", file)
		}
		s.add(blob, info)
		blobs[blob] = info.Size()
		rev.Files = append(rev.Files, CachedFile{file, blob, info.Size()})
		rev.LastChange = later(rev.LastChange, info.ModTime())
		return nil
	})
	for _, size := range blobs {
		rev.Bytes += size
	}
	if len(blobs) == 0 {
		rev.LastChange = info.ModTime()
	}
	return rev, err
}

func (s *scanner) add(blob string, info fs.FileInfo) {
	s.sizes[blob] = info.Size()
	s.accessed, s.changed = later(s.accessed, accessTime(info)), later(s.changed, info.ModTime())
	if real, err := filepath.EvalSymlinks(blob); err == nil {
		s.contents[real] = info.Size()
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
