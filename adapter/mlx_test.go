package adapter_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// TestAdapterSettings: what another program left beside them does no harm to the
// settings, and writing them leaves nothing.
func TestAdapterSettings(t *testing.T) {
	t.Parallel()
	f, err := adapter.Read(writePEFT(t, peftConfig, make([]float32, modeltest.Hidden), make([]float32, modeltest.Hidden)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, adapter.ConfigFile+".tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteMLX(dir); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("%d files: %v, %v", len(files), files, err)
	}
	if _, err := adapter.Read(dir); err != nil {
		t.Error(err)
	}
}
