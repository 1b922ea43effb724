package bench

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/weights"
)

// TestShapes loads a small sibling of each shape with everything that sets it apart.
func TestShapes(t *testing.T) {
	t.Parallel()
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.(*cpu.Device).Close() })
	for _, s := range shapes {
		small := small(s)
		widths := []int{3, 4, 8}
		if testing.Short() {
			widths = widths[1:2]
		}
		for _, bits := range widths {
			dir := t.TempDir()
			if err := small.Write(dir, bits, 32); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if same, err := small.IsIn(dir, bits, 32); !same || err != nil {
				t.Errorf("%s is not found again: %v", s.name, err)
			}
			if _, err := small.IsIn(dir, bits, 64); err == nil {
				t.Errorf("%s: another format is taken for it", s.name)
			}
			other := t.TempDir()
			if err := os.WriteFile(filepath.Join(other, "model.safetensors"), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := small.IsIn(other, bits, 32); err == nil {
				t.Errorf("%s: a folder with other files is taken for an empty one", s.name)
			}
			src, err := weights.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			m, err := model.Load(dev, src)
			if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			session, err := generate.NewSession(m, 0, true)
			if err != nil {
				t.Fatal(err)
			}
			logits, err := session.Prefill(t.Context(), []int32{1, 2, 3}, 0)
			if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			// Logits must neither vanish nor explode, or the speed is that of denormals.
			var square float64
			for _, v := range logits {
				square += float64(v) * float64(v)
			}
			if spread := math.Sqrt(square / float64(len(logits))); spread < 0.05 || spread > 5 {
				t.Errorf("%s, %d bits: logits have a spread of %g", s.name, bits, spread)
			}
			session.Close()
			m.Free()
			src.Close()
		}
	}
}
