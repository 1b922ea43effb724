package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// want fails unless the file at path has that content.
func want(t *testing.T, path, content string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("%s: %q, %v, want %q", path, got, err, content)
	}
}

// wantOnly fails unless the folder has just these files and folders.
func wantOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	var got []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("%s has %v, want %v", dir, got, names)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		old  fs.FileMode // 0: a new file
		o    Options
		mode fs.FileMode // 0: as os.WriteFile makes a new one
	}{
		{"new", 0, Options{}, 0},
		{"replaced", 0o640, Options{}, 0o640},
		{"write-protected", 0o444, Options{}, 0o444},
		{"private", 0o644, Options{Perm: 0o600}, 0o600},
		{"new, private", 0, Options{Perm: 0o600}, 0o600},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "x")
			like := filepath.Join(dir, "like")
			if err := os.WriteFile(like, nil, 0o666); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(like)
			if err != nil {
				t.Fatal(err)
			}
			mode := info.Mode()
			if tt.mode != 0 {
				mode = tt.mode
			}
			if tt.old != 0 {
				put(t, path, "old")
				if err := os.Chmod(path, tt.old); err != nil {
					t.Fatal(err)
				}
			}
			if err := tt.o.Write(path, []byte("new")); err != nil {
				t.Fatal(err)
			}
			want(t, path, "new")
			wantOnly(t, dir, "like", "x")
			if info, err := os.Stat(path); err != nil || info.Mode() != mode {
				t.Errorf("mode %v, %v, want %v", info.Mode(), err, mode)
			}
		})
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	if err := Stream(path, func(w io.Writer) error { _, err := w.Write(large); return err }); err != nil {
		t.Fatal(err)
	}
	want(t, path, string(large))
	broken := errors.New("broken")
	err := Stream(path, func(w io.Writer) error { w.Write(large[:1<<20+1]); return broken })
	if err != broken {
		t.Errorf("error %v, want what the writer said", err)
	}
	want(t, path, string(large))
	wantOnly(t, dir, "x")
}

// TestFile: the content can be read before it has its name, and the file that is there stays until then.
func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	put(t, path, "old")
	f, err := Options{}.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	want(t, f.Name(), "new")
	want(t, path, "old")
	if !f.Temporary() || !IsTemporary(filepath.Base(f.Name())) {
		t.Errorf("%s is no temporary name", f.Name())
	}
	f.Discard()
	wantOnly(t, dir, "x")
	want(t, path, "old")
	if err := f.Commit(); err == nil {
		t.Error("committed after it was discarded")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), "x")
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Skip(err)
	}
	for path, cause := range map[string]error{
		dir: syscall.EISDIR, filepath.Join(dir, "none", "x"): fs.ErrNotExist, filepath.Join(dir, "file", "x"): syscall.ENOTDIR, loop: syscall.ELOOP, "": fs.ErrNotExist,
		dir + "/": syscall.EISDIR, filepath.Join(dir, "none") + "/": syscall.EISDIR,
	} {
		err := Write(path, nil)
		if !errors.Is(err, cause) || !strings.HasPrefix(fmt.Sprint(err), "write "+path+": ") || strings.Contains(fmt.Sprint(err), suffix) {
			t.Errorf("%s: %v", path, err)
		}
	}
	wantOnly(t, dir, "file", "loop")
}

func TestLinks(t *testing.T) {
	t.Parallel()
	if err := os.Symlink("x", filepath.Join(t.TempDir(), "y")); err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct{ name, link, leads string }{
		{"in the folder", "real", "a/real"},
		{"up", "../b/real", "b/real"},
		{"to nothing yet", "../b/new", "b/new"},
		{"through another", "second", "b/real"},
		{"through a linked folder and up", "linked/../real", "b/real"}, // not a/real
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
			put(t, at("a/real"), "old")
			put(t, at("b/real"), "old")
			put(t, at("b/deep/x"), "x")
			for name, to := range map[string]string{"a/second": "../b/real", "a/linked": at("b/deep"), "a/link": tt.link} {
				if err := os.Symlink(filepath.FromSlash(to), at(name)); err != nil {
					t.Fatal(err)
				}
			}
			if err := Write(at("a/link"), []byte("new")); err != nil {
				t.Fatal(err)
			}
			want(t, at(tt.leads), "new")
			if to, err := os.Readlink(at("a/link")); err != nil || to != filepath.FromSlash(tt.link) {
				t.Errorf("the link leads to %q, %v", to, err)
			}
			wantOnly(t, at("a"), "link", "linked", "real", "second")
			if err := (Options{ReplaceLink: true}).Write(at("a/link"), []byte("own")); err != nil {
				t.Fatal(err)
			}
			want(t, at("a/link"), "own")
			want(t, at(tt.leads), "new")
			if err := (Options{}).Symlink("real", at("a/link")); err != nil {
				t.Fatal(err)
			}
			if to, err := os.Readlink(at("a/link")); err != nil || to != "real" {
				t.Errorf("the link leads to %q, %v", to, err)
			}
			wantOnly(t, at("a"), "link", "linked", "real", "second")
		})
	}
}

// TestAside: temporaries can be elsewhere, for folders whose files mean something.
func TestAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	refs := filepath.Join(dir, "refs")
	put(t, filepath.Join(refs, "main"), "old")
	o := Options{Aside: filepath.Join(dir, "unfinished")}
	f, err := o.Create(filepath.Join(refs, "main"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	wantOnly(t, refs, "main")
	if !strings.HasPrefix(f.Name(), filepath.Join(dir, ".unfinished.")) {
		t.Errorf("%s is elsewhere", f.Name())
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, filepath.Join(refs, "main"), "")
	wantOnly(t, dir, "refs")
}

// TestLongName: the longest names that a file system takes leave no room for more.
func TestLongName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := strings.Repeat("n", 255)
	if err := Write(filepath.Join(dir, name), []byte("x")); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, dir, name)
}

// TestLeftovers: the next write clears what killed ones of the same file left, and nothing else.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stay := []string{
		".x.0123abcd.tmp", ".x.0123abc.lentil.tmp", ".x.0123abcg.lentil.tmp", "x.0123abcd.lentil.tmp", ".y.0123abcd.lentil.tmp", ".x.y.0123abcd.lentil.tmp",
	}
	for _, name := range append(stay, ".x.0123abcd.lentil.tmp", ".x.ffffffff.lentil.tmp") {
		put(t, filepath.Join(dir, name), "left")
	}
	living, err := Options{}.Create(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer living.Discard()
	wantOnly(t, dir, append(slices.Clone(stay), filepath.Base(living.Name()))...)
	if err := Write(filepath.Join(dir, "x"), []byte("second")); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, dir, append(slices.Clone(stay), "x", filepath.Base(living.Name()))...)
	if _, err := living.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := living.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, filepath.Join(dir, "x"), "first") // who is done last has it
	wantOnly(t, dir, append(slices.Clone(stay), "x")...)
}

// TestOldLink: a link has no lock, so its age decides.
func TestOldLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, ".x.0123abcd.lentil.tmp")); err != nil {
		t.Skip(err)
	}
	if err := Write(filepath.Join(dir, "x"), nil); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, dir, ".x.0123abcd.lentil.tmp", "x")
	if isOld(filepath.Join(dir, ".x.0123abcd.lentil.tmp"), time.Hour) || !isOld(filepath.Join(dir, ".x.0123abcd.lentil.tmp"), -time.Hour) {
		t.Error("it was made just now")
	}
}

// TestAtOnce: of many writers at once, one after the other has the file, whole.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 20 {
				if err := Write(path, bytes.Repeat([]byte{'a' + byte(i)}, 5000)); err != nil {
					t.Error(err)
				}
				if text, err := os.ReadFile(path); err != nil || len(text) != 5000 || len(bytes.Trim(text, string(text[:1]))) > 0 {
					t.Errorf("%d bytes, %v", len(text), err)
				}
			}
		})
	}
	group.Wait()
	wantOnly(t, dir, "x")
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		err := told("dir/x", true, &fs.PathError{Op: "write", Path: "dir/.x.0123abcd.lentil.tmp", Err: cause})
		if !strings.Contains(err.Error(), "dir/x: the disk is full") || !errors.Is(err, cause) || strings.Contains(err.Error(), "tmp") {
			t.Error(err)
		}
	}
}
