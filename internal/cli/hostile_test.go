package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/internal/spoil"
)

// TestSpoiledYAML cuts and changes a configuration file of training: each is read, or
// refused with its name.
func TestSpoiledYAML(t *testing.T) {
	const valid = `model: "mlx_model"
train: true
data: data/
seed: 0
num_layers: 16
learning_rate: 1e-5
lora_parameters: &lora
  keys: ["self_attn.q_proj", "self_attn.v_proj"]
  rank: 8
  scale: 20.0
  dropout: 0.0
lr_schedule: {name: cosine_decay, warmup: 100, arguments: [1e-5, 1000, 1e-7]}
hf_dataset:
  - path: "a/b"
    prompt_feature: |
      several
      lines
`
	path := filepath.Join(t.TempDir(), "lora.yaml")
	spoil.Each(t, []byte(valid), spoil.Limit{Places: 120, Bytes: 16 << 20}, func(t *testing.T, spoiled []byte) {
		settings, err := parseYAML(spoiled)
		if err != nil {
			return
		}
		for _, s := range settings {
			pythonJSON(s.value)
		}
	})
	for _, content := range []string{"a: [1,\nb: 2\n", "model: {a: 1\n", "train: \x00"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		code, _, errOut := lentil(t, "", "lora", "-c", path)
		if code != 2 || !strings.Contains(errOut, path) {
			t.Errorf("%q: exit %d, %q", content, code, errOut)
		}
	}
}
