// Package killtest holds commands to what a kill may leave.
package killtest

import (
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/internal/atomicfile"
)

// Lie tells what lies below a folder, by name, and which of it a killed command left.
func Lie(t *testing.T, dir string) (files map[string]string, left []string) {
	t.Helper()
	files = map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case atomicfile.IsTemporary(e.Name()) || strings.Contains(e.Name(), ".tmp"):
			left = append(left, rel)
			if e.IsDir() {
				return fs.SkipDir
			}
		case !e.IsDir() && e.Name() != atomicfile.RecordName: // which tells times
			text, err := os.ReadFile(path)
			files[rel] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, left
}

// run runs a command that nobody kills, without a wait for the disk.
func run(command func(string) error, dir string) error {
	_, _, err := atomicfile.KillAt(math.MaxInt, func() error { return command(dir) })
	return err
}

// Everywhere kills a command at every disk call, over what begin made in a new folder. A next look finds
// all old or all new files, and the same command makes all new and leaves nothing else behind.
func Everywhere(t *testing.T, begin func(dir string) error, command func(dir string) error) {
	t.Helper()
	make := func(what ...func(string) error) (dir string, files map[string]string) {
		dir = filepath.Join(t.TempDir(), "out")
		for _, f := range what {
			if err := run(f, dir); err != nil {
				t.Fatal(err)
			}
		}
		files, _ = Lie(t, dir)
		return dir, files
	}
	_, was := make(begin)
	_, will := make(begin, command)
	if maps.Equal(was, will) {
		t.Fatal("the command changes nothing")
	}
	seen := map[bool]int{}
	for n := 0; ; n++ {
		dir, _ := make(begin)
		killed, last, _ := atomicfile.KillAt(n, func() error { return command(dir) })
		if !killed {
			break
		}
		if _, err := atomicfile.Settle(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("killed at %q: %v", last, err)
		}
		got, _ := Lie(t, dir)
		if !maps.Equal(got, was) && !maps.Equal(got, will) {
			t.Errorf("killed at %q: %v is left", last, slices.Sorted(maps.Keys(got)))
		}
		seen[maps.Equal(got, will)]++
		if err := run(command, dir); err != nil {
			t.Errorf("killed at %q, run again: %v", last, err)
			continue
		}
		got, left := Lie(t, filepath.Dir(dir))
		if len(got) != len(will) || len(left) > 0 {
			t.Errorf("killed at %q, run again: %v, and %v is left behind", last, slices.Sorted(maps.Keys(got)), left)
		}
	}
	if seen[false] < 10 || seen[true] < 3 {
		t.Errorf("%d kills left the old files, %d the new ones", seen[false], seen[true])
	}
}
