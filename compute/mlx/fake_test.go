//go:build (linux || darwin) && (amd64 || arm64) && !static

package mlx

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
	"github.com/lentil-lm/lentil/fault"
)

// fake builds a library that has MLX's names.
func fake(t *testing.T, defines ...string) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is missing, which builds fake libraries")
	}
	path := filepath.Join(t.TempDir(), "libmlxc.so")
	args := append([]string{"-shared", "-fPIC", "-w", "-o", path, "mlxc/testdata/fake.c"}, defines...)
	if out, err := exec.Command(gcc, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// TestRefusals demands a reason and a remedy for a library that cannot be used.
func TestRefusals(t *testing.T) {
	text := filepath.Join(t.TempDir(), "libmlxc.so")
	if err := os.WriteFile(text, []byte("not a library"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		want       []string
	}{
		{"no library", text, []string{"libmlxc.so", mlxc.Variable}},
		{"another library", fake(t, "-DVERSION=0"), []string{"not MLX's C library", mlxc.Variable}},
		{"an old one", fake(t, "-DVERSION=5"), []string{"older than 0.6", mlxc.Variable}},
		{"0.7 without a function", fake(t, "-DVERSION=7", "-DMISSING"), []string{"mlx-c 0.7", "has no mlx_quantized_matmul", mlxc.Variable}},
		{"0.6 that computes nothing", fake(t, "-DVERSION=6"), []string{"matmul", "gave no array", "brew reinstall"}},
		{"one that crashes", fake(t, "-DVERSION=7", "-DCRASH"), []string{"crashed at matmul", "brew reinstall"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(Options{Library: c.path})
			if err == nil {
				t.Fatal("it was taken")
			}
			said := fault.Text(err, func(s fault.Setting) string { return string(s) })
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("%q, want %q in it", said, want)
				}
			}
		})
	}
}

// TestTrialIsRemembered: what was tried is not tried again, until one of its files changes.
func TestTrialIsRemembered(t *testing.T) {
	was, note := notePath, filepath.Join(t.TempDir(), "cache", "mlx-trial")
	notePath = func() string { return note }
	defer func() { notePath = was }()
	folder := t.TempDir()
	path, beside := filepath.Join(folder, "libmlxc.so"), filepath.Join(folder, "libmlx.so")
	for _, file := range []string{path, beside} {
		if err := os.WriteFile(file, []byte("no library, which no trial finds out"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	again := func() error {
		delete(probed, path)
		return probe(path)
	}
	if again() == nil {
		t.Fatal("a trial of a text went well")
	}
	if _, err := os.Stat(note); err == nil {
		t.Error("a trial that failed is remembered")
	}
	remember(stampOf(path))
	if err := again(); err != nil {
		t.Errorf("tried again: %v", err)
	}
	if err := os.WriteFile(beside, []byte("another version of MLX"), 0o666); err != nil {
		t.Fatal(err)
	}
	if again() == nil {
		t.Error("not tried again with another version of MLX")
	}
}

// TestFind looks for the library where the variable says, and says so where it is not.
func TestFind(t *testing.T) {
	t.Setenv(mlxc.Variable, filepath.Join(t.TempDir(), "nowhere"))
	if _, err := mlxc.Find(); err == nil || !strings.Contains(err.Error(), mlxc.Variable) {
		t.Errorf("a path without a library: %v", err)
	}
	if _, err := Devices(); err == nil {
		t.Error("there is a device without a library")
	}
	t.Setenv(mlxc.Variable, t.TempDir())
	if _, err := mlxc.Find(); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
	path := fake(t, "-DVERSION=7")
	t.Setenv(mlxc.Variable, path)
	if got, err := mlxc.Find(); err != nil || got != path {
		t.Errorf("found %q, %v", got, err)
	}
}
