package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/fault"
)

// TestUnowned: a folder may be written to as long as nothing is in it but what sets wrote and nobody changed.
func TestUnowned(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dir")
	check := func(when, vacant, unowned string) {
		t.Helper()
		for name, test := range map[string]struct {
			err  error
			want string
		}{"vacant": {Vacant("save_path", dir), vacant}, "unowned": {Unowned("save_path", dir, nil), unowned}} {
			switch {
			case test.want == "" && test.err != nil:
				t.Errorf("%s, %s: %v", when, name, test.err)
			case test.want != "" && (fault.SettingOf(test.err) != "save_path" || !strings.Contains(test.err.Error(), "with "+test.want+" in it") || !strings.Contains(test.err.Error(), "overwrite")):
				t.Errorf("%s, %s: %v, want one of %s", when, name, test.err, test.want)
			}
		}
	}
	write := func(new map[string]string, gone ...string) {
		t.Helper()
		s, err := Begin(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Discard()
		for name, text := range new {
			if err := s.Write(name, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		s.Remove(gone...)
		s.Record()
		if err := s.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	check("no folder", "", "")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	check("an empty folder", "", "")
	write(map[string]string{"a": "1", "deep/b": "2"})
	check("two files", ".lentil.json, a, deep/b", "")
	write(map[string]string{"c": "3"}, "a")
	check("another set", ".lentil.json, c, deep/b", "")
	put(t, filepath.Join(dir, "c"), "4")
	check("an edited file", ".lentil.json, c, deep/b", "c")
	write(map[string]string{"c": "5"})
	put(t, filepath.Join(dir, "deep", "mine"), "")
	put(t, filepath.Join(dir, "mine", "too"), "")
	check("other files", ".lentil.json, c, deep/b and 2 more", "deep/mine, mine")
	put(t, filepath.Join(dir, RecordName), "no record")
	check("a broken record", ".lentil.json, c, deep and 1 more", "c, deep, mine")
}

func TestVacantFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := Vacant("gguf_path", path); err != nil {
		t.Error(err)
	}
	put(t, path, "")
	if err := Vacant("gguf_path", path); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	put(t, path, "mine")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{path, link} {
		if err := Vacant("gguf_path", path); fault.SettingOf(err) != "gguf_path" || !strings.Contains(err.Error(), "is there already") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := Unowned("save_path", path, nil); err == nil || !strings.Contains(err.Error(), "expected a folder") {
		t.Error(err)
	}
}
