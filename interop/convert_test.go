package interop

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// TestConvertAsMLX: folders that lentil convert writes hold the very bytes that
// mlx_lm.convert writes on the CPU, under the same settings.
func TestConvertAsMLX(t *testing.T) {
	need(t, "mlx-lm")
	const base = "testdata/mlx/llama-dense"
	for name, flags := range map[string][]string{
		"4 bits":   {"-q"},
		"mixed":    {"-q", "--quant-predicate", "mixed_3_6", "--q-group-size", "32"},
		"bfloat16": {"--dtype", "bfloat16"},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := filepath.Join(t.TempDir(), "lentil"), filepath.Join(t.TempDir(), "mlx")
			own := append([]string{"convert", "--model", base, "--mlx-path", ours}, flags...)
			if flags[0] == "-q" {
				own = append(own, "--q-rule", "cpu")
			}
			lentil(t, own...)
			peer := append([]string{"-m", "mlx_lm", "convert", "--hf-path", base, "--mlx-path", theirs}, flags...)
			command(t, exec.Command("../.interop/venv/bin/python", peer...))
			got := readArrays(t, filepath.Join(ours, "model.safetensors"))
			want := readArrays(t, filepath.Join(theirs, "model.safetensors"))
			for name, w := range want {
				if g, ok := got[name]; !ok || g.dtype != w.dtype || !slices.Equal(g.shape, w.shape) || !bytes.Equal(g.data, w.data) {
					t.Errorf("%s is %v %v, mlx-lm writes %v %v (or other numbers)", name, g.dtype, g.shape, w.dtype, w.shape)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d tensors, mlx-lm writes %d", len(got), len(want))
			}
			var index [2]struct {
				Metadata map[string]float64 `json:"metadata"`
			}
			readJSON(t, filepath.Join(ours, "model.safetensors.index.json"), &index[0])
			readJSON(t, filepath.Join(theirs, "model.safetensors.index.json"), &index[1])
			if !reflect.DeepEqual(index[0], index[1]) {
				t.Errorf("index says %v, mlx-lm's %v", index[0], index[1])
			}
		})
	}
}

// TestAdapterRoundTripInMLX: an adapter of mlx-lm's that went through PEFT's layout
// and came back still gives mlx-lm the same loss.
func TestAdapterRoundTripInMLX(t *testing.T) {
	need(t, "mlx-lm")
	const base, adapter = "testdata/mlx/llama-4bit", "testdata/training/mask"
	peft, back := filepath.Join(t.TempDir(), "peft"), filepath.Join(t.TempDir(), "back")
	lentil(t, "adapters", "convert", adapter, "--to", "peft", "--save-path", peft)
	lentil(t, "adapters", "convert", peft, "--to", "mlx", "--save-path", back)
	want := testMLX(t, base, adapter)
	sameLoss(t, "back from PEFT, in mlx-lm", testMLX(t, base, back), want, lossTolerance)
	sameLoss(t, "in PEFT's layout, in Lentil", testLentil(t, base, peft), want, lossTolerance)
}
