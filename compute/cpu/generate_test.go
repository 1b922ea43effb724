package cpu

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGenerated demands that the arm64 assembly is what its generator writes.
func TestGenerated(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not on the path")
	}
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "./_generate", "-in", "_generate", "-out", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, _ := filepath.Glob(filepath.Join(dir, "*_arm64.s"))
	have, _ := filepath.Glob("*_arm64.s")
	if len(want) == 0 || len(want) != len(have) {
		t.Errorf("the generator writes %d files, there are %d", len(want), len(have))
	}
	for _, path := range want {
		new, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		old, _ := os.ReadFile(filepath.Base(path))
		if string(old) != string(new) {
			t.Errorf("%s differs from what go run ./compute/cpu/_generate writes", filepath.Base(path))
		}
	}
}
