package atomicfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Tests that kill and fail at every disk call are thousands of writes.
func init() { flush = func(*os.File) error { return nil } }

// TestOrder: what a crash of the whole machine may not tear apart is on the disk before the next step begins.
func TestOrder(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "gone"), "old")
	steps := func(what func() error) string {
		var list []string
		end := OnDiskCall(func(op, path string) error {
			name := filepath.Base(path)
			switch {
			case path == dir || path == dir+"/":
				name = "DIR"
			case strings.HasPrefix(name, ".set.") && name != journalName:
				name = "STAGE"
			case name == journalName:
				name = "JOURNAL"
			case name != holderName && IsTemporary(name):
				name = "TEMPORARY"
			}
			list = append(list, op+" "+name)
			return nil
		})
		defer end()
		if err := what(); err != nil {
			t.Error(err)
		}
		return strings.Join(list, ", ")
	}
	got := steps(func() error { return Write(filepath.Join(dir, "x"), []byte("x")) })
	if want := "create TEMPORARY, write TEMPORARY, sync TEMPORARY, rename x, sync folder DIR"; got != want {
		t.Errorf("a file: %s, want %s", got, want)
	}
	s, err := Begin(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(s.Dir(), "a"), "new")
	put(t, filepath.Join(s.Dir(), "b"), "new")
	s.Remove("gone")
	got = steps(s.Commit)
	want := "sync folder STAGE, sync a, sync b, create JOURNAL, write JOURNAL, sync JOURNAL, sync folder DIR, " +
		"rename a, rename b, remove gone, sync folder DIR, remove JOURNAL, sync folder DIR, remove all STAGE"
	if got != want {
		t.Errorf("a set: %s, want %s", got, want)
	}
}

// state is the content of all files below a folder by name, without temporaries.
func state(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case IsTemporary(e.Name()) && e.IsDir():
			return fs.SkipDir
		case !IsTemporary(e.Name()) && !e.IsDir():
			text, err := os.ReadFile(path)
			rel, _ := filepath.Rel(dir, path)
			got[filepath.ToSlash(rel)] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// wantTidy fails if there are temporaries in a folder or below.
func wantTidy(t *testing.T, dir string) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && IsTemporary(e.Name()) {
			t.Errorf("%s was left", path)
		}
		return nil
	})
}

func equal(a, b map[string]string) bool {
	return fmt.Sprint(a) == fmt.Sprint(b) // maps are printed in the order of their keys
}

// A change is what a set does to a folder.
type change struct {
	name     string
	old, new map[string]string // all files before and after
	set      func(dir string) error
}

// writeSet is a command that writes the new files and has the old ones go.
func writeSet(dir string, new map[string]string, gone ...string) error {
	s, err := Begin(dir)
	if err != nil {
		return err
	}
	defer s.Discard()
	for name, text := range new {
		path := filepath.Join(s.Dir(), filepath.FromSlash(name))
		if err := makeFolders(filepath.Dir(path)); err != nil {
			return err
		}
		if err := Write(path, []byte(text)); err != nil {
			return err
		}
	}
	s.Remove(gone...)
	return s.Commit()
}

func changes() []change {
	all := allChanges()
	if testing.Short() {
		return slices.DeleteFunc(all, func(c change) bool { return c.name == "new folder" || c.name == "replaced" || c.name == "all go" })
	}
	return all
}

func allChanges() []change {
	newer := map[string]string{"weights": "new", "config": "new", "more/state": "new"}
	return []change{
		{"new folder", nil, newer, func(dir string) error { return writeSet(dir, newer) }},
		{"replaced", map[string]string{"weights": "old", "config": "old", "more/state": "old", "mine": "mine"},
			map[string]string{"weights": "new", "config": "new", "more/state": "new", "mine": "mine"},
			func(dir string) error { return writeSet(dir, newer) }},
		{"others go", map[string]string{"model": "old", "config": "old", "deep/er/x": "old"}, newer,
			func(dir string) error { return writeSet(dir, newer, "model", "config", "deep/er/x", "never/there") }},
		{"through the set", map[string]string{"weights": "old", "config": "old"}, newer, func(dir string) error {
			s, err := Begin(dir)
			if err != nil {
				return err
			}
			defer s.Discard()
			for name, text := range newer {
				if err := s.Write(name, []byte(text)); err != nil {
					return err
				}
			}
			return s.Commit()
		}},
		{"one file", map[string]string{"config": "old", "model": "old"}, map[string]string{"config": "new", "model": "old"},
			func(dir string) error { return writeSet(dir, map[string]string{"config": "new"}) }},
		{"all go", map[string]string{"config": "old", "model": "old"}, map[string]string{},
			func(dir string) error { return writeSet(dir, nil, "config", "model") }},
		{"one plain file", map[string]string{"config": "old"}, map[string]string{"config": "new"},
			func(dir string) error { return Write(filepath.Join(dir, "config"), []byte("new")) }},
	}
}

// TestKilled kills a process at every disk call: what is there then is, once a next process looked, all
// old or all new; and the same command once more makes it all new and leaves nothing else.
// It is alone with the hook, so it does not run in parallel with others.
func TestKilled(t *testing.T) {
	for _, c := range changes() {
		t.Run(c.name, func(t *testing.T) {
			sawOld, sawNew := 0, 0
			for n := 0; ; n++ {
				dir := filepath.Join(t.TempDir(), "dir")
				for name, text := range c.old {
					put(t, filepath.Join(dir, filepath.FromSlash(name)), text)
				}
				killed, last, err := KillAt(n, func() error { return c.set(dir) })
				if killed != (err != nil) && !strings.HasPrefix(last, "sync folder") && !strings.HasPrefix(last, "remove") {
					t.Fatalf("killed at %q: error %v", last, err)
				}
				if !killed {
					break
				}
				if c.name != "one plain file" {
					look, err := Begin(dir)
					if err != nil {
						t.Fatalf("killed at %q: %v", last, err)
					}
					look.Discard()
				}
				switch got := state(t, dir); {
				case equal(got, c.old):
					sawOld++
				case equal(got, c.new):
					sawNew++
				default:
					t.Errorf("killed at %q: %v is left", last, got)
				}
				if err := c.set(dir); err != nil {
					t.Fatalf("killed at %q and run again: %v", last, err)
				}
				if got := state(t, dir); !equal(got, c.new) {
					t.Errorf("killed at %q and run again: %v", last, got)
				}
				wantTidy(t, dir)
			}
			if sawOld == 0 || sawNew == 0 {
				t.Errorf("%d kills left the old files and %d the new ones", sawOld, sawNew)
			}
		})
	}
}

// TestKilledTwice kills the process that completes what a killed one decided, at every disk call.
func TestKilledTwice(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	c := allChanges()[2]
	for first := 0; ; first++ {
		dir := filepath.Join(t.TempDir(), "dir")
		fresh := func() (killed bool) {
			os.RemoveAll(dir)
			for name, text := range c.old {
				put(t, filepath.Join(dir, filepath.FromSlash(name)), text)
			}
			killed, _, _ = KillAt(first, func() error { return c.set(dir) })
			return killed
		}
		if !fresh() {
			return
		}
		if _, err := os.Lstat(filepath.Join(dir, journalName)); err != nil {
			continue
		}
		for second := 0; fresh(); second++ {
			killed, last, _ := KillAt(second, func() error {
				s, err := Begin(dir)
				if err == nil {
					s.Discard()
				}
				return err
			})
			s, err := Begin(dir)
			if err != nil {
				t.Fatal(err)
			}
			s.Discard()
			if got := state(t, dir); !equal(got, c.old) && !equal(got, c.new) {
				t.Errorf("killed at %q: %v is left", last, got)
			}
			wantTidy(t, dir)
			if !killed {
				break
			}
		}
	}
}

// TestFailed has every disk call fail once: an error comes back, and what is there is all old or all new.
func TestFailed(t *testing.T) {
	for _, c := range changes() {
		t.Run(c.name, func(t *testing.T) {
			for n, failed := 0, true; failed; n++ {
				dir := filepath.Join(t.TempDir(), "dir")
				for name, text := range c.old {
					put(t, filepath.Join(dir, filepath.FromSlash(name)), text)
				}
				failed = false
				left, failing := n, ""
				end := OnDiskCall(func(op, path string) error {
					if left--; left == -1 {
						failed, failing = true, op+" "+path
						return errors.New("failing")
					}
					return nil
				})
				err := c.set(dir)
				end()
				got := state(t, dir)
				switch {
				case err == nil && !equal(got, c.new):
					t.Errorf("failing at %q: no error, %v", failing, got)
				case err != nil && strings.Contains(err.Error(), "run again"):
					if err := c.set(dir); err != nil || !equal(state(t, dir), c.new) {
						t.Errorf("failing at %q, run again: %v, %v", failing, err, state(t, dir))
					}
				case !equal(got, c.old) && !equal(got, c.new):
					t.Errorf("failing at %q: %v, %v", failing, err, got)
				}
				if err := c.set(dir); err != nil {
					t.Fatal(err)
				}
				wantTidy(t, dir)
			}
		})
	}
}

func TestSetModes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"a": 0o600, "b": 0o640} {
		put(t, filepath.Join(dir, name), "old")
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeSet(dir, map[string]string{"a": "new", "b": "new"}); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{"a": 0o600, "b": 0o640} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s has %v, %v", name, info.Mode(), err)
		}
	}
}

// TestSetWrite: errors of the disk and of a file that is written twice name the file as it will be.
func TestSetWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Begin(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Discard()
	if err := s.Write("deep/x", nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "deep", "x")
	if err := s.Write("deep/x", nil); err == nil || err.Error() != "write "+path+": file exists" {
		t.Errorf("written twice: %v", err)
	}
	if err := Write(filepath.Join(s.Dir(), "deep"), nil); err == nil || err.Error() != "write "+filepath.Join(dir, "deep")+": is a directory" {
		t.Errorf("over a folder: %v", err)
	}
	if err := s.Write("../x", nil); err == nil {
		t.Error("written elsewhere")
	}
}

// TestSetDiscarded: nothing is changed, and a folder that the set made goes.
func TestSetDiscarded(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dir")
	for range 2 {
		s, err := Begin(dir)
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(s.Dir(), "x"), "x")
		s.Discard()
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
	put(t, filepath.Join(dir, "mine"), "mine")
	s, err := Begin(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Remove("mine")
	s.Discard()
	wantOnly(t, dir, "mine")
	if err := s.Commit(); err == nil {
		t.Error("committed after it was discarded")
	}
}

// TestSetRefused: what cannot be done is found before anything is changed.
func TestSetRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, s *Set)
		want string
	}{
		{"folder in a file's place", func(t *testing.T, s *Set) { put(t, filepath.Join(s.Dir(), "folder"), "x") }, "folder is there and is no regular file"},
		{"file in a folder's place", func(t *testing.T, s *Set) { put(t, filepath.Join(s.Dir(), "b", "x"), "x") }, "not a directory"},
		{"folder to go", func(t *testing.T, s *Set) { s.Remove("folder") }, "folder is a folder"},
		{"elsewhere", func(t *testing.T, s *Set) { s.Remove("../other") }, `"../other" is no name`},
		{"link among the new", func(t *testing.T, s *Set) {
			if err := os.Symlink("a", filepath.Join(s.Dir(), "c")); err != nil {
				t.Skip(err)
			}
		}, "c is no regular file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			old := map[string]string{"a": "old", "b": "old", "folder/x": "old"}
			for name, text := range old {
				put(t, filepath.Join(dir, filepath.FromSlash(name)), text)
			}
			s, err := Begin(dir)
			if err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(s.Dir(), "a"), "new")
			tt.do(t, s)
			if err := s.Commit(); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if got := state(t, dir); !equal(got, old) {
				t.Errorf("%v is left", got)
			}
			wantTidy(t, dir)
		})
	}
}

// TestSetLinks: a link gives way to the file of a set, and what it leads to stays; the folder itself may be one.
func TestSetLinks(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir, outside := filepath.Join(top, "dir"), filepath.Join(top, "outside")
	put(t, filepath.Join(dir, "x"), "old")
	put(t, outside, "outside")
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink("dir", filepath.Join(top, "linked")); err != nil {
		t.Fatal(err)
	}
	if err := writeSet(filepath.Join(top, "linked"), map[string]string{"link": "new", "x": "new"}); err != nil {
		t.Fatal(err)
	}
	want(t, filepath.Join(dir, "link"), "new")
	want(t, filepath.Join(dir, "x"), "new")
	want(t, outside, "outside")
	wantOnly(t, dir, "link", "x")
}

// TestSetsAtOnce: of sets at once one comes after the other, never a mixture.
func TestSetsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for range 10 {
				text := fmt.Sprint(i)
				if err := writeSet(dir, map[string]string{"a": text, "b": text, "c/d": text}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	got := state(t, dir)
	if len(got) != 3 || got["a"] != got["b"] || got["a"] != got["c/d"] {
		t.Errorf("%v", got)
	}
	wantTidy(t, dir)
}

// TestRemoveLate: a file that is to go may come with another set just before.
func TestRemoveLate(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), "old")
	s, err := Begin(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(s.Dir(), "a"), "new")
	s.Remove("b", "never", "never/there", "file/below")
	end := OnDiskCall(func(op, path string) error {
		if op == "create" && path == journalName {
			put(t, filepath.Join(dir, "b"), "of another set")
		}
		return nil
	})
	defer end()
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, dir, "a", "file")
}

// TestTornJournal: a journal that was not written to its end decides nothing.
func TestTornJournal(t *testing.T) {
	t.Parallel()
	const stage = ".set.0123abcd.lentil.tmp"
	text, err := json.Marshal(journal{Stage: stage, Files: []string{"a", "b"}, Remove: []string{"c"}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(text) + 1 {
		dir := t.TempDir()
		old, new := map[string]string{"a": "old", "c": "old"}, map[string]string{"a": "new", "b": "new"}
		put(t, filepath.Join(dir, "a"), "old")
		put(t, filepath.Join(dir, "c"), "old")
		put(t, filepath.Join(dir, stage, "a"), "new")
		put(t, filepath.Join(dir, stage, "b"), "new")
		put(t, filepath.Join(dir, journalName), string(text[:n]))
		s, err := Begin(dir)
		if err != nil {
			t.Fatal(err)
		}
		s.Discard()
		expected := old
		if n == len(text) {
			expected = new
		}
		if got := state(t, dir); !equal(got, expected) {
			t.Errorf("%d of %d bytes: %v", n, len(text), got)
		}
		wantTidy(t, dir)
	}
}

// TestSweepWithJournal: a folder that a process decided on and was killed, after others looked for journals, stays.
func TestSweepWithJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	staged := filepath.Join(dir, ".set.0123abcd.lentil.tmp", "a")
	put(t, staged, "new")
	put(t, filepath.Join(dir, journalName), `{"stage":".set.0123abcd.lentil.tmp","files":["a"]}`)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sweepAll(root)
	want(t, staged, "new")
}

// FuzzJournal: whatever a folder from elsewhere holds as a journal, nothing outside of the folder changes.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"stage":".set.0123abcd.lentil.tmp","files":["a","deep/b"],"remove":["c"]}`))
	f.Add([]byte(`{"stage":"..","files":["outside"],"remove":["../outside"]}`))
	f.Add([]byte(`{"stage":".set.0123abcd.lentil.tmp","files":["../outside","out/outside"],"remove":["/etc/passwd"]}`))
	f.Add([]byte(`{"stage":".set.0123abcd.lentil.tmp","files":["out"],"remove":["out/outside"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		top := t.TempDir()
		dir := filepath.Join(top, "dir")
		put(t, filepath.Join(top, "outside"), "outside")
		put(t, filepath.Join(dir, "c"), "c")
		for _, name := range []string{"a", "outside", "out/outside", "deep/b"} {
			put(t, filepath.Join(dir, ".set.0123abcd.lentil.tmp", name), "new")
		}
		if err := os.Symlink("..", filepath.Join(dir, "out")); err != nil {
			t.Skip(err)
		}
		put(t, filepath.Join(dir, journalName), string(text))
		if s, err := Begin(dir); err == nil {
			s.Discard()
		}
		want(t, filepath.Join(top, "outside"), "outside")
		wantOnly(t, top, "dir", "outside")
	})
}
