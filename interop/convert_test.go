package interop

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// TestConvertAsMLX: folders that lentil convert writes hold the very bytes that
// mlx_lm.convert writes on the CPU, under the same settings.
func TestConvertAsMLX(t *testing.T) {
	need(t, "mlx-lm")
	for name, flags := range map[string][]string{
		"4 bits":                {"-q"},
		"mixed":                 {"-q", "--quant-predicate", "mixed_3_6", "--q-group-size", "32"},
		"bfloat16":              {"--dtype", "bfloat16"},
		"mixtral-4bit":          {"-q"},
		"mixtral-4bit, mixed":   {"-q", "--quant-predicate", "mixed_2_6", "--q-group-size", "64"}, // unless told, mlx-lm writes null
		"qwen3_moe-4bit":        {"-q", "--q-bits", "3", "--q-group-size", "32"},
		"qwen3_moe-4bit, mxfp4": {"-q", "--q-mode", "mxfp4"},
		"qwen3_moe-4bit, mixed": {"-q", "--quant-predicate", "mixed_4_6", "--q-group-size", "32"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := "testdata/mlx/llama-dense"
			if model, _, _ := strings.Cut(name, ","); strings.HasSuffix(model, "-4bit") { // made dense, a matrix for each expert
				base = filepath.Join(t.TempDir(), "dense")
				lentil(t, "convert", "--model", "testdata/mlx/"+model, "--mlx-path", base, "-d")
			}
			ours, theirs := filepath.Join(t.TempDir(), "lentil"), filepath.Join(t.TempDir(), "mlx")
			own := append([]string{"convert", "--model", base, "--mlx-path", ours}, flags...)
			if flags[0] == "-q" {
				own = append(own, "--q-rule", "cpu")
			}
			lentil(t, own...)
			peer := append([]string{"-m", "mlx_lm", "convert", "--hf-path", base, "--mlx-path", theirs}, flags...)
			command(t, exec.Command("../.interop/venv/bin/python", peer...))
			sameFolder(t, ours, theirs)
		})
	}
}

// smallFloatModes are the modes of MLX beside affine.
var smallFloatModes = []string{"mxfp4", "nvfp4", "mxfp8"}

// TestSmallFloatsInMLX: lentil convert writes mxfp4, nvfp4 and mxfp8 as mlx_lm.convert
// does, byte by byte and with the same settings; mlx-lm's logits of the folder are
// Lentil's; and both make the same dense model of it again.
func TestSmallFloatsInMLX(t *testing.T) {
	need(t, "mlx-lm")
	const python = "../.interop/venv/bin/python"
	for _, mode := range smallFloatModes {
		for _, dtype := range []string{"float32", "bfloat16", "float16"} {
			t.Run(mode+"/"+dtype, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				base, ours, theirs := filepath.Join(dir, "base"), filepath.Join(dir, "lentil"), filepath.Join(dir, "mlx")
				lentil(t, "convert", "--model", "testdata/mlx/llama-4bit", "--mlx-path", base, "-d", "--dtype", dtype)
				flags := []string{"-q", "--q-mode", mode, "--dtype", dtype}
				lentil(t, append([]string{"convert", "--model", base, "--mlx-path", ours, "--q-rule", "cpu"}, flags...)...)
				command(t, exec.Command(python, append([]string{"-m", "mlx_lm", "convert", "--hf-path", base, "--mlx-path", theirs}, flags...)...))
				sameFolder(t, ours, theirs)

				if dtype == "float32" {
					sameLogits(t, ours, func(tokens, out string) {
						command(t, exec.Command(python, "peer/mlxfp.py", ours, tokens, out))
					})
				}

				ourDense, theirDense := filepath.Join(dir, "lentil-d"), filepath.Join(dir, "mlx-d")
				lentil(t, "convert", "--model", theirs, "--mlx-path", ourDense, "-d")
				command(t, exec.Command(python, "-m", "mlx_lm", "convert", "--hf-path", ours, "--mlx-path", theirDense, "-d"))
				got, want := readArrays(t, filepath.Join(ourDense, "model.safetensors")), readArrays(t, filepath.Join(theirDense, "model.safetensors"))
				for name, w := range want { // in bfloat16 there, in the model's type here
					if !slices.Equal(got[name].values, w.values) {
						t.Errorf("%s dense: not the numbers of mlx-lm", name)
					}
				}
			})
		}
	}
}

// TestConvertedFamiliesInMLX: mlx-lm loads a quantized folder of every family, in a
// mode of its own each, to the logits that Lentil has.
func TestConvertedFamiliesInMLX(t *testing.T) {
	need(t, "mlx-lm")
	for name, flags := range map[string][]string{
		"llama":     {"--q-bits", "5", "--q-group-size", "32"},
		"llama 3":   {"--q-bits", "2", "--q-group-size", "32"},
		"yarn":      {"--q-bits", "8", "--q-group-size", "32"},
		"linear":    {"--q-bits", "6", "--q-group-size", "32"}, // qwen2
		"mistral":   {"--q-mode", "mxfp8"},
		"qwen3":     {"--quant-predicate", "mixed_3_4", "--q-group-size", "32"},
		"smollm3":   {"--q-mode", "nvfp4"},
		"mixtral":   {"--q-bits", "4", "--q-group-size", "32"},
		"qwen3_moe": {"--q-bits", "3", "--q-group-size", "32"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base, folder := modeltest.Write(t, exportedModels()[name]), filepath.Join(t.TempDir(), "converted")
			if err := os.CopyFS(base, os.DirFS("testdata/tokenizer")); err != nil {
				t.Fatal(err)
			}
			lentil(t, append([]string{"convert", "--model", base, "--mlx-path", folder, "-q"}, flags...)...)
			sameLogits(t, folder, func(tokens, out string) {
				var answer any
				mlx(t, &answer, "logits", folder, tokens, out)
			})
		})
	}
}

// sameLogits compares the logits of a folder with those that peer writes to a file.
func sameLogits(t *testing.T, folder string, peer func(tokens, out string)) {
	t.Helper()
	tokens := []int32{5, 100, 7, 300, 42, 42, 9, 501, 77, 13, 260, 31}
	out := filepath.Join(t.TempDir(), "logits.safetensors")
	peer(strings.Trim(strings.Join(strings.Fields(fmt.Sprint(tokens)), ","), "[]"), out)
	want := readArrays(t, out)["logits"].values
	m := open(t, folder, "")
	width := float64(slices.Max(want) - slices.Min(want))
	for name, got := range map[string][]float32{
		"one pass": forward(t, m, tokens), "token by token": cached(t, m, tokens, compute.F32, 1),
	} {
		worst, row := furthest(got, want, m.Config.VocabSize)
		t.Logf("%s: furthest by %.1e of the range", name, worst/width)
		if !(worst <= width*tolerance) {
			t.Errorf("%s: logits of token %d differ by %.3g of the range", name, row, worst/width)
		}
	}
}

// TestAutoBitsInMLX: mlx-lm loads a folder in which each layer has bits of its own.
func TestAutoBitsInMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	dir := t.TempDir()
	base, auto, figures := filepath.Join(dir, "base"), filepath.Join(dir, "auto"), filepath.Join(dir, "figures.json")
	lentil(t, "convert", "--model", "testdata/mlx/llama-4bit", "--mlx-path", base, "-d")
	const target = 5.3 // float32 scales and biases take 1 of them
	lentil(t, "convert", "--model", base, "--mlx-path", auto, "--quant", "auto", "--target-bpw", fmt.Sprint(target), "--calibration", "testdata/chat", "--json", figures)
	var got struct {
		BPW    float64 `json:"bits_per_weight"`
		Layers []struct{ Bits int }
	}
	readJSON(t, figures, &got)
	widths := map[int]int{}
	for _, l := range got.Layers {
		widths[l.Bits]++
	}
	if t.Logf("%.3f bits per weight, layers by bits: %v", got.BPW, widths); got.BPW > target || len(widths) < 2 {
		t.Errorf("%.3f bits per weight and %d widths, expected at most %g and several", got.BPW, len(widths), target)
	}
	sameLogits(t, auto, func(tokens, out string) {
		var answer any
		mlx(t, &answer, "logits", auto, tokens, out)
	})
}

// sameFolder compares the tensors and settings of two converted folders.
func sameFolder(t *testing.T, ours, theirs string) {
	t.Helper()
	got, want := readArrays(t, filepath.Join(ours, "model.safetensors")), readArrays(t, filepath.Join(theirs, "model.safetensors"))
	for name, w := range want {
		if g, ok := got[name]; !ok || g.dtype != w.dtype || !slices.Equal(g.shape, w.shape) || !bytes.Equal(g.data, w.data) {
			t.Errorf("%s is %v %v, mlx-lm writes %v %v (or other numbers)", name, g.dtype, g.shape, w.dtype, w.shape)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d tensors, mlx-lm writes %d", len(got), len(want))
	}
	for _, file := range []string{"config.json", "model.safetensors.index.json"} {
		var both [2]map[string]any
		readJSON(t, filepath.Join(ours, file), &both[0])
		readJSON(t, filepath.Join(theirs, file), &both[1])
		if !reflect.DeepEqual(both[0], both[1]) {
			t.Errorf("%s says %v, mlx-lm's %v", file, both[0], both[1])
		}
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
