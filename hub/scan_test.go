package hub

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// revision chooses a revision by its commit.
func revision(commit string) func(CachedRepo, CachedRevision) bool {
	return func(_ CachedRepo, rev CachedRevision) bool { return rev.Commit == commit }
}

// A filledCache has two revisions of org/model, a dataset, and some things that are neither.
type filledCache struct {
	dir           string
	files         map[string][]byte // of the second revision
	first, second string            // commits
	one, two      Snapshot
	half          string // the beginning of a file
	big           int64  // bytes that both revisions use
}

func fillCache(t *testing.T) filledCache {
	t.Helper()
	s, files := newServer(t), modelFiles()
	c := newClient(t, s)
	o := Options{Include: []string{"*.json", "*.safetensors"}}
	download := func(repo Repo) Snapshot {
		t.Helper()
		snap, err := c.Download(t.Context(), repo, o)
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}
	f := filledCache{dir: c.cfg.Cache, files: files}
	f.first = s.Add("org/model", files)
	f.one = download(model)
	files["config.json"] = []byte("{}")
	f.second = s.Add("org/model", files)
	s.AddRef("org/model", "v2", f.second)
	f.two = download(model)
	o.Revision = "v2"
	download(model)
	o.Revision = ""
	s.Add("datasets/org/data", map[string][]byte{"train.json": []byte("[]")})
	download(Repo{Dataset, "org/data"})
	os.Mkdir(filepath.Join(f.dir, "stray"), 0o700)
	os.WriteFile(filepath.Join(f.dir, ".DS_Store"), nil, 0o600)
	f.half = filepath.Join(f.dir, "models--org--model/blobs/abc.incomplete")
	os.WriteFile(f.half, []byte("half"), 0o600)
	f.big = int64(len(files["tokenizer.json"]) + len(files["model.safetensors"]))
	return f
}

// scan looks through the cache, which must have so many repositories.
func (f filledCache) scan(t *testing.T, repos int) Cache {
	t.Helper()
	scan, err := Scan(f.dir)
	if err != nil || len(scan.Repos) != repos {
		t.Fatalf("%+v, %v", scan, err)
	}
	return scan
}

func TestScan(t *testing.T) {
	t.Parallel()
	f := fillCache(t)
	scan := f.scan(t, 2)
	if len(scan.Warnings) != 1 || !slices.Equal(scan.Incomplete, []string{f.half}) {
		t.Fatalf("%+v", scan)
	}
	repo := scan.Repos[1]
	if repo.Repo != model || repo.Bytes != f.big+23+2 || repo.Files != 4 || len(repo.Revisions) != 2 {
		t.Errorf("%+v", repo)
	}
	if refs := repo.Refs(); !slices.Equal(refs, []string{"main", "v2"}) {
		t.Errorf("refs %q", refs)
	}
	if want := f.big + 23 + 2 + 2; scan.Bytes != want {
		t.Errorf("%d bytes in all, want %d", scan.Bytes, want)
	}
	if scan.Repos[0].Repo != (Repo{Dataset, "org/data"}) {
		t.Errorf("%+v", scan.Repos[0])
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	f := fillCache(t)
	// The first revision goes, what the second one uses stays.
	d := f.scan(t, 2).Delete(revision(f.first))
	if d.Bytes != 23 || len(d.Repos) != 0 {
		t.Fatalf("%+v", d)
	}
	if err := d.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.one.Dir); err == nil {
		t.Error("the first revision is still there")
	}
	wantFiles(t, f.two, f.files, "config.json", "model.safetensors", "tokenizer.json")

	// The second one goes too: this is the whole repository.
	if d = f.scan(t, 2).Delete(revision(f.second)); len(d.Repos) != 1 || d.Bytes != f.big+2 {
		t.Fatalf("%+v", d)
	}
	if err := d.Run(); err != nil {
		t.Fatal(err)
	}
	if scan := f.scan(t, 1); scan.Bytes != 2 {
		t.Errorf("left: %+v", scan)
	}
}

// TestDeleteOutside plans to delete a snapshot whose link leads out of the cache.
func TestDeleteOutside(t *testing.T) {
	t.Parallel()
	cache, outside := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	os.WriteFile(outside, []byte("precious"), 0o600)
	commit := strings.Repeat("a", 40)
	for _, name := range []string{"blobs", "snapshots/" + commit, "snapshots/" + strings.Repeat("b", 40)} {
		os.MkdirAll(filepath.Join(cache, "models--org--model", name), 0o700)
	}
	os.Symlink(outside, filepath.Join(cache, "models--org--model/snapshots", commit, "config.json"))
	scan, err := Scan(cache)
	if err != nil || len(scan.Repos) != 1 {
		t.Fatal(err, scan.Warnings)
	}
	if err := scan.Delete(revision(commit)).Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error("deleted a file outside the cache")
	}
}

func TestScanWarnings(t *testing.T) {
	t.Parallel()
	commit := strings.Repeat("a", 40)
	tests := map[string]func(repo string){
		"no snapshots": func(repo string) { os.MkdirAll(repo, 0o700) },
		"not there": func(repo string) {
			os.MkdirAll(repo+"/snapshots", 0o700)
			os.MkdirAll(repo+"/refs", 0o700)
			os.WriteFile(repo+"/refs/main", []byte(commit), 0o600)
		},
		"leads nowhere": func(repo string) {
			os.MkdirAll(repo+"/snapshots/"+commit, 0o700)
			os.Symlink("x", repo+"/snapshots/"+commit+"/f")
		},
		"a file": func(repo string) {
			os.MkdirAll(repo+"/snapshots", 0o700)
			os.WriteFile(repo+"/snapshots/f", nil, 0o600)
		},
	}
	for name, prepare := range tests {
		cache := t.TempDir()
		prepare(filepath.Join(cache, "models--org--model"))
		scan, err := Scan(cache)
		if err != nil || len(scan.Warnings) != 1 || len(scan.Repos) != 0 {
			t.Errorf("%s: %+v, %v", name, scan, err)
		}
	}
	if _, err := Scan(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error without a cache")
	}
}

// TestSharedStore deletes repositories whose contents are shared, as the Python package lays them out.
func TestSharedStore(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	hash := strings.Repeat("ab", 32)
	contents := filepath.Join(cache, "blobs", "ab", hash)
	os.MkdirAll(filepath.Dir(contents), 0o700)
	os.WriteFile(filepath.Join(cache, "blobs/.huggingface-shared-blobs"), []byte("1\n"), 0o600)
	os.WriteFile(contents, make([]byte, 1000), 0o400)
	var refs string
	for i, name := range []string{"a", "b"} {
		repo, commit := filepath.Join(cache, "models--org--"+name), fmt.Sprintf("%040d", i)
		os.MkdirAll(filepath.Join(repo, "blobs"), 0o700)
		os.MkdirAll(filepath.Join(repo, "snapshots", commit), 0o700)
		os.Symlink("../../blobs/ab/"+hash, filepath.Join(repo, "blobs", "etag"))
		os.Symlink("../../blobs/etag", filepath.Join(repo, "snapshots", commit, "model.safetensors"))
		refs += "models--org--" + name + "/blobs/etag\n"
	}
	os.WriteFile(contents+".refs", []byte(refs), 0o600)
	for i, left := range []int64{1000, 0} {
		scan, err := Scan(cache)
		if err != nil || scan.Bytes != 1000 || len(scan.Repos) != 2-i || scan.Repos[0].Bytes != 1000 {
			t.Fatalf("%+v, %v", scan, err)
		}
		if err := scan.Delete(revision(fmt.Sprintf("%040d", i))).Run(); err != nil {
			t.Fatal(err)
		}
		if scan, err = Scan(cache); err != nil || scan.Bytes != left {
			t.Errorf("%d bytes are left, want %d (%v)", scan.Bytes, left, err)
		}
	}
}
