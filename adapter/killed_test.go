package adapter_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
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

// unlessThere is the same command by a user who sees that the killed one came to its end.
func unlessThere(a *adapter.Adapter, write func(string) error) func(string) error {
	return func(dir string) error {
		_, err := os.Stat(filepath.Join(dir, adapter.ConfigFile))
		a.Overwrite = err == nil
		return write(dir)
	}
}
