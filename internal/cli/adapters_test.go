package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestAdaptersCommand trains an adapter, takes it to PEFT's layout and back, and doubles it.
func TestAdaptersCommand(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	dir := t.TempDir()
	adapter, peft, back, half, gguf := filepath.Join(dir, "a"), filepath.Join(dir, "peft"), filepath.Join(dir, "back"), filepath.Join(dir, "half"), filepath.Join(dir, "a.gguf")
	mustRun(t, "", "train", "--model", model, "--data", data, "--adapter-path", adapter, "--iters", "20", "--learning-rate", "1e-3",
		"--num-layers", "1", "--threads", "1", "--steps-per-eval", "20", "--val-batches", "1")
	info := mustRun(t, "", "adapters", "info", adapter)
	if !strings.Contains(info, "mlx-lm's layout, rank 8, scale 20 (alpha 160)") || !strings.Contains(info, "1 q_proj") {
		t.Errorf("info prints\n%s", info)
	}
	mustRun(t, "", "adapters", "convert", adapter, "--save-path", peft)
	mustRun(t, "", "adapters", "convert", peft, "--to", "mlx", "--save-path", back)
	mustRun(t, "", "adapters", "convert", peft, "--to", "mlx", "--save-path", back, "--overwrite")
	mustRun(t, "", "adapters", "convert", peft, "--to", "gguf", "--model", model, "--save-path", gguf)
	mustRun(t, "", "adapters", "merge", adapter, peft, "--weights", "0.25,0.75", "--save-path", half)
	ofGGUF := filepath.Join(dir, "of-gguf")
	mustRun(t, "", "adapters", "convert", gguf, "--to", "peft", "--model", model, "--save-path", ofGGUF)
	if info := mustRun(t, "", "adapters", "info", gguf); !strings.Contains(info, "llama.cpp's layout, rank 8, scale 20 (alpha 160)") {
		t.Errorf("info prints\n%s", info)
	}
	loss := func(adapter string) float64 {
		return testLoss(t, mustRun(t, "", "test", "--model", model, "--data", data, "--adapter-path", adapter, "--threads", "1"))
	}
	want := loss(adapter)
	for _, same := range []string{peft, back, half, gguf, ofGGUF} {
		if got := loss(same); got-want > 0.001 || want-got > 0.001 {
			t.Errorf("%s has test loss %.3f, the trained adapter %.3f", filepath.Base(same), got, want)
		}
	}
	if before := loss(""); before < want+0.1 {
		t.Errorf("the adapter changes nothing: %.3f, %.3f before", want, before)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"info", dir}, "not an adapter folder"},
		{[]string{"convert", adapter}, "--save-path is missing"},
		{[]string{"convert", adapter, "--save-path", peft}, "already"},
		{[]string{"convert", adapter, "--save-path", "x", "--to", "gguf"}, "--model is missing"},
		{[]string{"convert", gguf, "--save-path", "x", "--to", "mlx"}, "--model: the adapter is for llama.cpp"},
		{[]string{"convert", adapter, "--save-path", "x", "--to", "onnx"}, "--to onnx: expected mlx, peft or gguf"},
		{[]string{"convert", adapter, "--save-path", gguf, "--to", "gguf", "--model", model}, "is there already"},
		{[]string{"merge", adapter, peft, "--weights", "1", "--save-path", "x"}, "1 numbers for 2 adapters"},
		{[]string{"merge", "--save-path", "x"}, "0 folders"},
	} {
		code, _, errOut := lentil(t, "", append([]string{"adapters"}, test.args...)...)
		if code != 2 || !strings.Contains(errOut, test.want) {
			t.Errorf("%v: exit %d, %q, want 2 and %q", test.args, code, errOut, test.want)
		}
	}
}

// TestDoRACommands: what the commands do with a LoRA they do with a DoRA, and where
// its magnitudes have no place they say so.
func TestDoRACommands(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	dir := t.TempDir()
	adapter, more, peft, back := filepath.Join(dir, "a"), filepath.Join(dir, "more"), filepath.Join(dir, "peft"), filepath.Join(dir, "back")
	settings := []string{"--model", model, "--data", data, "--fine-tune-type", "dora", "--learning-rate", "1e-3", "--num-layers", "1", "--threads", "1"}
	mustRun(t, "", append([]string{"train", "--adapter-path", adapter, "--iters", "20"}, settings...)...)
	if info := mustRun(t, "", "adapters", "info", adapter); !strings.Contains(info, "DoRA in mlx-lm's layout, rank 8, scale 20") {
		t.Errorf("info prints\n%s", info)
	}
	mustRun(t, "", "adapters", "convert", adapter, "--save-path", peft)
	mustRun(t, "", "adapters", "convert", peft, "--to", "mlx", "--save-path", back)
	loss := func(model, adapter string) float64 {
		return testLoss(t, mustRun(t, "", "test", "--model", model, "--data", data, "--adapter-path", adapter, "--threads", "1"))
	}
	want := loss(model, adapter)
	for _, same := range []string{peft, back} {
		if got := loss(model, same); got-want > 0.001 || want-got > 0.001 {
			t.Errorf("%s has test loss %.3f, the trained adapter %.3f", filepath.Base(same), got, want)
		}
	}
	fused := filepath.Join(dir, "fused")
	mustRun(t, "", "fuse", "--model", model, "--adapter-path", adapter, "--save-path", fused, "--dequantize")
	if got := loss(fused, ""); got-want > 0.001 || want-got > 0.001 {
		t.Errorf("fused, the test loss is %.3f, beside the model %.3f", got, want)
	}
	if before := loss(model, ""); before < want+0.1 {
		t.Errorf("the adapter changes nothing: %.3f, %.3f before", want, before)
	}
	// A resumed run with a rate of 0 is the adapter itself: magnitudes too.
	mustRun(t, "", append([]string{"train", "--adapter-path", more, "--iters", "1", "--resume-adapter-file", filepath.Join(adapter, "adapters.safetensors")},
		append(settings, "--learning-rate", "0")...)...)
	if got := loss(model, more); got != want {
		t.Errorf("resumed, the test loss is %.3f, before %.3f", got, want)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"merge", adapter, peft, "--save-path", "x"}, "adapter 1 of 2 is a DoRA"},
		{[]string{"convert", adapter, "--save-path", filepath.Join(dir, "x.gguf"), "--to", "gguf", "--model", model}, "Fuse it into the model with --export-gguf, or train with --fine-tune-type lora."},
	} {
		code, _, errOut := lentil(t, "", append([]string{"adapters"}, test.args...)...)
		if code != 2 || !strings.Contains(errOut, test.want) {
			t.Errorf("%v: exit %d, %q, want 2 and %q", test.args, code, errOut, test.want)
		}
	}
}
