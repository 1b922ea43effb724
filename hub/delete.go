package hub

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// A Deletion is what will go when revisions are deleted.
type Deletion struct {
	Bytes int64    // freed
	Repos []string // folders of repositories that go as a whole

	snapshots, refs, trees, blobs []string
	cache                         string
}

// Delete plans the deletion of the chosen revisions. Contents that other revisions of the repository use stay.
// Nothing is deleted before Run.
func (c Cache) Delete(chosen func(CachedRepo, CachedRevision) bool) Deletion {
	d := Deletion{cache: c.Dir}
	for _, repo := range c.Repos {
		var going, staying []CachedRevision
		for _, rev := range repo.Revisions {
			if chosen(repo, rev) {
				going = append(going, rev)
			} else {
				staying = append(staying, rev)
			}
		}
		d.plan(repo, going, staying)
	}
	return d
}

// plan adds the revisions of one repository.
func (d *Deletion) plan(repo CachedRepo, going, staying []CachedRevision) {
	if len(going) == 0 {
		return
	}
	used := map[string]bool{}
	for _, rev := range staying {
		for _, f := range rev.Files {
			used[f.Blob] = true
		}
	}
	freed := map[string]int64{}
	for _, rev := range going {
		d.snapshots = append(d.snapshots, rev.Path)
		d.trees = append(d.trees, filepath.Join(repo.Path, "trees", rev.Commit+".json"), filepath.Join(repo.Path, ".no_exist", rev.Commit))
		for _, ref := range rev.Refs {
			d.refs = append(d.refs, filepath.Join(repo.Path, "refs", filepath.FromSlash(ref)))
		}
		for _, f := range rev.Files {
			if !used[f.Blob] {
				freed[f.Blob] = f.Bytes
			}
		}
	}
	blobs := filepath.Join(repo.Path, "blobs")
	for blob, size := range freed {
		// Only what lies in blobs: a link in a snapshot can lead anywhere.
		if filepath.Dir(blob) == blobs {
			d.blobs = append(d.blobs, blob)
			if _, shared := sharedTarget(d.cache, blob); shared {
				continue // others may use it: whether it goes shows only then
			}
		}
		d.Bytes += size
	}
	if len(staying) == 0 {
		d.Repos = append(d.Repos, repo.Path)
	}
}

// Run deletes: first the names, then the contents, so that no name is left without contents whenever it stops.
func (d Deletion) Run() error {
	var shared []string
	for _, blob := range d.blobs {
		if target, ok := sharedTarget(d.cache, blob); ok {
			shared = append(shared, target)
		}
	}
	for _, group := range [][]string{d.refs, d.snapshots, d.trees, d.blobs, d.Repos} {
		for _, path := range group {
			if err := os.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for _, target := range shared {
		if err := sweepShared(d.cache, target); err != nil {
			return err
		}
	}
	return nil
}
