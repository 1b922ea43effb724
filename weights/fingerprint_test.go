package weights

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/quant"
)

// TestFingerprint: a model is told from one with other weights, names or settings, and not from its copy in another place
// or under other names of files.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	values := func(n int, at int, value float32) []float32 {
		v := make([]float32, n)
		v[at] = value
		return v
	}
	const large = 1 << 20 // numbers: more than are hashed as a whole
	make := func(file, config string, tensors ...Tensor) string {
		dir := t.TempDir()
		if err := WriteSafetensors(filepath.Join(dir, file), tensors, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.Fingerprint()
	}
	const file, config = "model.safetensors", `{"model_type": "llama"}`
	all := map[string]string{}
	for name, print := range map[string]string{
		"small":              make(file, config, FloatTensor("a", values(4, 0, 1), 4)),
		"another number":     make(file, config, FloatTensor("a", values(4, 3, 1), 4)),
		"another name":       make(file, config, FloatTensor("b", values(4, 0, 1), 4)),
		"another shape":      make(file, config, FloatTensor("a", values(4, 0, 1), 2, 2)),
		"another type":       make(file, config, Tensor{Name: "a", DType: quant.I32, Shape: []int{4}, Data: FloatTensor("", values(4, 0, 1), 4).Data}),
		"another config":     make(file, `{"model_type": "qwen2"}`, FloatTensor("a", values(4, 0, 1), 4)),
		"large":              make(file, config, FloatTensor("a", values(large, 0, 1), large)),
		"large, at its end":  make(file, config, FloatTensor("a", values(large, large-1, 1), large)),
		"large, of one kind": make(file, config, Tensor{Name: "a", DType: quant.F32, Shape: []int{large}, Data: bytes.Repeat([]byte{1, 2, 3, 4}, large)}),
	} {
		if other, taken := all[print]; taken {
			t.Errorf("%s has the fingerprint of %s", name, other)
		}
		all[print] = name
	}
	if moved := make("model-00001-of-00001.safetensors", config, FloatTensor("a", values(4, 0, 1), 4)); all[moved] != "small" {
		t.Errorf("under another name it is %q", all[moved])
	}
}
