package adapter_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/atomicfile/killtest"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// TestKilled: an adapter's two files are written together, wherever the process is killed, and the same command goes on
// there. It is alone with the hook.
func TestKilled(t *testing.T) {
	m := adapted(t, newCPU(t), modeltest.Spec{Type: "llama"})
	a, err := adapter.Of(m)
	if err != nil {
		t.Fatal(err)
	}
	b := *a
	b.Base, b.Overwrite = "another", true
	nothing := func(string) error { return nil }
	for name, test := range map[string]struct{ begin, command func(string) error }{
		"mlx":                 {nothing, unlessThere(a, a.WriteMLX)},
		"peft":                {nothing, unlessThere(a, a.WritePEFT)},
		"peft in mlx's place": {a.WriteMLX, b.WritePEFT},
		"saved again":         {b.WriteMLX, func(dir string) error { return adapter.Save(m, dir) }},
	} {
		t.Run(name, func(t *testing.T) { killtest.Everywhere(t, test.begin, test.command) })
	}
}

// TestReadAfterKill: an adapter is never read with weights and settings of two.
func TestReadAfterKill(t *testing.T) {
	m := adapted(t, newCPU(t), modeltest.Spec{Type: "llama"})
	one, err := adapter.Of(m)
	if err != nil {
		t.Fatal(err)
	}
	two := *one
	two.Base, two.Overwrite, two.Updates = "two", true, two.Updates[1:]
	seen := map[string]int{}
	for n := 0; ; n++ {
		dir := filepath.Join(t.TempDir(), "out")
		if err := one.WriteMLX(dir); err != nil {
			t.Fatal(err)
		}
		killed, last, _ := atomicfile.KillAt(n, func() error { return two.WriteMLX(dir) })
		got, err := adapter.Read(dir)
		if err != nil {
			t.Fatalf("killed at %q: %v", last, err)
		}
		if want := map[string]int{one.Base: len(one.Updates), two.Base: len(two.Updates)}; len(got.Updates) != want[got.Base] {
			t.Errorf("killed at %q: the settings of %q with %d updates", last, got.Base, len(got.Updates))
		}
		seen[got.Base]++
		if !killed {
			break
		}
	}
	if seen[two.Base] < 3 || seen[one.Base] < 3 {
		t.Errorf("read %v", seen)
	}
}

// unlessThere is the same command by a user who sees that the killed one came to its end.
func unlessThere(a *adapter.Adapter, write func(string) error) func(string) error {
	return func(dir string) error {
		_, err := os.Stat(filepath.Join(dir, adapter.ConfigFile))
		a.Overwrite = err == nil
		return write(dir)
	}
}
