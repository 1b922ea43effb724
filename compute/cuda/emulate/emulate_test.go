package emulate

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
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

// TestSources: what is compiled has the kernels and what they run on, and its hash tells the compiler.
func TestSources(t *testing.T) {
	for folder, names := range map[string][]string{"kernels": {"kernels.cu", "common.cuh"}, "emulate": {"source/all.cu", "source/driver.cpp", "source/emulate.h"}} {
		if err := fstest.TestFS(sources[folder], names...); err != nil {
			t.Errorf("%s: %v", folder, err)
		}
	}
	first, err := hash([]byte("13"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := hash([]byte("13"))
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the hash of the same sources is %x and %x, %v", first, again, err)
	}
	if other, err := hash([]byte("14")); err != nil || bytes.Equal(first, other) {
		t.Errorf("the hash of another compiler is the same, %v", err)
	}
}
