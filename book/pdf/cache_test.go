package pdf

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestKeptCode: the machine code of versions that nobody uses goes, that of others stays; a version keeps so many files.
func TestKeptCode(t *testing.T) {
	parent := t.TempDir()
	write := func(age time.Duration, path ...string) {
		at := filepath.Join(append([]string{parent}, path...)...)
		os.MkdirAll(filepath.Dir(at), 0o700)
		if err := os.WriteFile(at, []byte("code"), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		os.Chtimes(at, when, when)
		os.Chtimes(filepath.Dir(at), when, when)
	}
	write(2*codeAge, "old", usedMark)
	write(2*codeAge, "unmarked", "code")
	write(codeAge/2, "recent", usedMark)
	for i := range keptCode + 2 {
		write(time.Duration(i)*time.Minute, "mine", "wazero", fmt.Sprint(i))
	}
	write(3*usedEvery, "mine", "wazero", "9.tmp")
	mine := filepath.Join(parent, "mine")
	keepCode(mine)
	names := func(folder string) (out []string) {
		list, _ := os.ReadDir(folder)
		for _, e := range list {
			out = append(out, e.Name())
		}
		return out
	}
	if got := fmt.Sprint(names(parent)); got != "[mine recent]" {
		t.Errorf("versions %s", got)
	}
	if got := fmt.Sprint(names(filepath.Join(mine, "wazero"))); got != "[0 1 2 3]" {
		t.Errorf("files %s", got)
	}
	write(codeAge*2, "late", usedMark)
	keepCode(mine) // within the hour nothing is looked at
	if got := fmt.Sprint(names(parent)); got != "[late mine recent]" {
		t.Errorf("versions %s", got)
	}
	if keepCode("") != nil {
		t.Error("a cache without a folder")
	}
}
