package emulate

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestPrune: the libraries used last stay, and so does what others are building.
func TestPrune(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	make := func(name string, age time.Duration) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var libraries []string
	for i := range librariesKept + 3 {
		libraries = append(libraries, make(fmt.Sprintf("libcuda-%02d.so", i), time.Duration(i)*time.Minute))
	}
	others := map[string]bool{make("build-now", time.Minute): true, make("build-left", 2*time.Hour): false, make("notes", 48*time.Hour): true}
	prune(dir)
	for i, path := range libraries {
		if _, err := os.Stat(path); (err == nil) != (i < librariesKept) {
			t.Errorf("library %d of %d, the newest first: %v", i, len(libraries), err)
		}
	}
	for path, stays := range others {
		if _, err := os.Stat(path); (err == nil) != stays {
			t.Errorf("%s: %v", path, err)
		}
	}
}
