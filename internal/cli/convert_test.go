package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConvertCommand goes from a dense folder to a quantized one, to GGUF and back, and asks each.
func TestConvertCommand(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	dir := t.TempDir()
	ask := func(path string) string {
		return mustRun(t, "", "generate", "--model", path, "--prompt", "Which pulse?", "--max-tokens", "12", "--verbose", "False", "--exact", "--threads", "1")
	}
	small := filepath.Join(dir, "small")
	out := mustRun(t, "", "convert", "--hf-path", model, "--mlx-path", small, "-q", "--q-bits", "8", "--q-group-size", "32", "--dtype", "bfloat16")
	want := `(?s)^\[INFO\] Loading\n\[INFO\] Using dtype: bfloat16\n\[INFO\] Quantizing\n\[INFO\] Quantized model with 9\.\d{3} bits per weight\.\n`
	if !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("convert prints\n%s", out)
	}
	ask(small)

	file := filepath.Join(dir, "gguf", "model.gguf")
	out = mustRun(t, "", "convert", "--model", model, "--mlx-path", file, "--gguf", "f32", "--ollama")
	if !strings.Contains(out, "Converting to GGUF format\nConverted GGUF model saved as: "+file) {
		t.Errorf("convert --gguf prints\n%s", out)
	}
	modelfile, err := os.ReadFile(filepath.Join(dir, "gguf", "Modelfile"))
	if err != nil || !strings.Contains(string(modelfile), "TEMPLATE \"\"\"{{- range .Messages }}<|im_start|>") {
		t.Errorf("Modelfile %q (%v)", modelfile, err)
	}
	back := filepath.Join(dir, "back")
	mustRun(t, "", "convert", "--model", file, "--mlx-path", back, "-d")
	if first, second, third := ask(model), ask(file), ask(back); first != second || first != third {
		t.Errorf("the model says %q, as GGUF %q, converted back %q", first, second, third)
	}
}

// TestConvertAuto chooses bits by a text and by a dataset.
func TestConvertAuto(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	dir := t.TempDir()
	text := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("Which pulse? Lentils are pulses. ", 200)), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"text": text, "rows": data} {
		path, figures := filepath.Join(dir, name), filepath.Join(dir, name+".json")
		out := mustRun(t, "", "convert", "--model", model, "--mlx-path", path, "--quant", "auto", "--target-bpw", "6.5", "--q-group-size", "32",
			"--calibration", from, "--calibration-tokens", "512", "--threads", "1", "--json", figures)
		if !regexp.MustCompile(`(?s)\[INFO\] Quantizing\nMatrix .*model\.embed_tokens .*Calibrated on \d+ tokens.*Perplexity on \d+ other tokens: .*with [56]\.\d{3} bits`).MatchString(out) {
			t.Errorf("%s: convert prints\n%s", name, out)
		}
		var report struct {
			Before float64 `json:"perplexity_before"`
			After  float64 `json:"perplexity_after"`
			BPW    float64 `json:"bits_per_weight"`
			Layers []struct{ Bits int }
		}
		text, err := os.ReadFile(figures)
		if err == nil {
			err = json.Unmarshal(text, &report)
		}
		if err != nil {
			t.Fatal(err)
		}
		if report.Before <= 1 || report.After <= 1 || report.BPW > 6.5 || len(report.Layers) < 5 {
			t.Errorf("%s: %+v", name, report)
		}
		mustRun(t, "", "generate", "--model", path, "--prompt", "Which pulse?", "--max-tokens", "2", "--threads", "1")
	}
}

func TestConvertMistakes(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	there := t.TempDir()
	if err := os.WriteFile(filepath.Join(there, "thesis.docx"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--mlx-path", "x"}, "--model is missing"},
		{[]string{"--model", model, "-q", "-d"}, "exclude each other"},
		{[]string{"--model", model, "-q", "--q-mode", "mxfp6"}, `--q-mode: mode "mxfp6" is not one of affine, mxfp4`},
		{[]string{"--model", model, "--q-mode", "mxfp4"}, "need -q"},
		{[]string{"--model", model, "-q", "--q-mode", "nvfp4", "--quant-predicate", "mixed_3_6"}, "needs --q-mode affine"},
		{[]string{"--model", model, "--mlx-path", filepath.Join(there, "m"), "-q", "--q-mode", "nvfp4", "--q-group-size", "32"}, "expected 4 bits, groups of 16"},
		{[]string{"--model", model, "--q-bits", "4"}, "need -q"},
		{[]string{"--model", model, "--mlx-path", there}, "is there already"},
		{[]string{"--model", model, "--dtype", "int8"}, "--dtype int8: expected float16, bfloat16 or float32"},
		{[]string{"--model", model, "--gguf", "Q9"}, "Q4_K_M"},
		{[]string{"--model", model, "--gguf", "F16", "-q"}, "leave -q"},
		{[]string{"--model", model, "--mlx-path", filepath.Join(there, "n"), "-q", "--q-bits", "7"}, "--q-bits 7: expected 2, 3, 4, 5, 6 or 8"},
		{[]string{"--model", model, "--ollama"}, "--ollama needs --gguf"},
		{[]string{"--model", model, "--target-bpw", "4"}, "need --quant auto"},
		{[]string{"--model", model, "--quant", "most"}, "expected auto"},
		{[]string{"--model", model, "--quant", "auto", "--q-bits", "4"}, "leave --q-bits"},
		{[]string{"--model", model, "--quant", "auto", "-d"}, "exclude each other"},
		{[]string{"--model", model, "--quant", "auto", "--target-bpw", "-1"}, "--target-bpw -1"},
		{[]string{"--model", model, "--mlx-path", filepath.Join(there, "a"), "--quant", "auto", "--target-bpw", "1"}, "the lowest for this model"},
		{[]string{"--model", model, "--mlx-path", filepath.Join(there, "a"), "--quant", "auto", "--calibration", filepath.Join(there, "none")}, "--calibration: "},
	} {
		code, _, errOut := lentil(t, "", append([]string{"convert"}, test.args...)...)
		if code != 2 || !strings.Contains(errOut, test.want) {
			t.Errorf("%v: exit %d, %q, want 2 and %q", test.args, code, errOut, test.want)
		}
	}
}
