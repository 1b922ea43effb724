//go:build unix

package weights

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSpecialFiles: links to devices that never end, and pipes that nobody writes to,
// are refused wherever a model has a file.
func TestSpecialFiles(t *testing.T) {
	t.Parallel()
	files := packedFolder(t, 600)
	for name := range files {
		for kind, put := range map[string]func(path string) error{
			"link to a device": func(path string) error { return os.Symlink("/dev/zero", path) },
			"pipe":             func(path string) error { return unix.Mkfifo(path, 0o600) },
			"folder":           func(path string) error { return os.Mkdir(path, 0o700) },
			"link to itself":   func(path string) error { return os.Symlink(filepath.Base(path), path) },
		} {
			if name == indexName && kind == "link to itself" {
				continue // an index that leads nowhere is none
			}
			dir := t.TempDir()
			writeFolder(t, dir, files)
			path := filepath.Join(dir, name)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			refused(t, kind+" "+name, dir, func() error { src, err := Open(dir); return closed(src, err) })
		}
	}
	pipe := filepath.Join(t.TempDir(), "model.gguf")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, "GGUF", pipe, func() error { src, err := Open(pipe); return closed(src, err) })
	refused(t, "GGUF file", pipe, func() error { _, err := OpenGGUFFile(pipe); return err })
	// A link to a file is fine: that is how the hub's cache stores models.
	dir, store := t.TempDir(), t.TempDir()
	writeFolder(t, store, files)
	for name := range files {
		if err := os.Symlink(filepath.Join(store, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if src, err := Open(dir); closed(src, err) != nil {
		t.Errorf("a folder of links: %v", err)
	}
}

func closed(src Source, err error) error {
	if err != nil {
		return err
	}
	return src.Close()
}

// refused runs open, which must fail with the path and not wait.
func refused(t *testing.T, what, path string, open func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- open() }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", what, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: still waiting", what)
	}
}
