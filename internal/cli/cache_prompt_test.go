package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/weights"
)

func TestCachePrompt(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	adapter, figures := filepath.Join(t.TempDir(), "adapter"), filepath.Join(t.TempDir(), "f.json")
	mustRun(t, "", "train", "--model", model, "--data", data, "--adapter-path", adapter, "--iters", "4", "--learning-rate", "1e-2", "--num-layers", "-1", "--threads", "1")
	const document, question = "Lupins have the most protein of all pulses.", " Which pulse has the most protein?"
	ask := []string{"generate", "--max-tokens", "12", "--verbose", "False", "--exact", "--threads", "1"}
	for name, more := range map[string][]string{
		"plain":   nil,
		"adapter": {"--adapter-path", adapter},
		"system":  {"--system-prompt", "Be short."},
		"limited": {"--max-kv-size", "24"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "prompt.safetensors")
			args := append([]string{"cache_prompt", "--model", model, "--prompt-cache-file", file, "--prompt", "-", "--exact", "--threads", "1", "--json", figures}, more...)
			out := mustRun(t, document, args...)
			if !regexp.MustCompile(`^Processed +\d+ tokens \( *\d+\.\d\d tok/s\)\nPeak memory: \d+\.\d{3} GB\nSaving\.\.\.\n$`).MatchString(out) {
				t.Errorf("cache_prompt prints %q", out)
			}
			p, err := generate.OpenPromptCache(file)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if p.Metadata["model"] != model || p.Metadata["tokenizer_config"] != `{"trust_remote_code": false}` {
				t.Errorf("metadata %v", p.Metadata)
			}
			want := mustRun(t, "", append(append(ask, "--model", model, "--prompt", document+question), more...)...)
			resume := append(ask, "--prompt-cache-file", file, "--prompt", question)
			if name == "adapter" {
				resume = append(resume, more...)
			}
			if got := mustRun(t, "", resume...); got != want {
				t.Errorf("from the file %q, from the whole prompt %q", got, want)
			}
			if got := mustRun(t, "", append(resume, "--model", model+"/")...); got != want {
				t.Errorf("with the model's name %q, from the whole prompt %q", got, want)
			}
		})
	}
	var got struct {
		Tokens int `json:"prompt_tokens"`
	}
	if readInto(t, figures, &got); got.Tokens == 0 {
		t.Error("no figures")
	}
}

func TestCachePromptMistakes(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	other, _ := tinyModel(t)
	file, text := filepath.Join(t.TempDir(), "prompt.safetensors"), filepath.Join(t.TempDir(), "book.txt")
	mustRun(t, "", "cache_prompt", "--model", model, "--prompt-cache-file", file, "--prompt", "Lupins", "--eos-token", "<|im_start|>", "--threads", "1")
	write(t, text, "Lupins have the most protein.")
	quantized := filepath.Join(t.TempDir(), "quantized.safetensors")
	if err := weights.WriteSafetensors(quantized, nil, map[string]string{"0.model": model, "1.0": "QuantizedKVCache", "2.0": ""}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"cache_prompt", "--model", model, "--prompt", "x"}, "--prompt-cache-file is missing"},
		{[]string{"cache_prompt", "--model", model, "--prompt-cache-file", filepath.Join(model, "model.safetensors"), "--prompt", "x"}, "no prompt cache that Lentil wrote"},
		{[]string{"cache_prompt", "--model", model, "--prompt-cache-file", file}, "--prompt is missing"},
		{[]string{"cache_prompt", "--model", model, "--prompt-cache-file", filepath.Join(text, "x"), "--prompt", "x"}, "--prompt-cache-file: there is no folder"},
		{[]string{"cache_prompt", "--model", model, "--prompt-cache-file", file, "--prompt", "x", "--kv-bits", "1"}, "--kv-bits 1: expected 2, 3, 4, 5, 6 or 8"},
		{[]string{"cache_prompt", "--model", model, "--prompt-cache-file", file, "--prompt", "x", "--max-kv-size", "3"}, "--max-kv-size 3: expected more than 4"},
		{[]string{"cache_prompt", "--model", model, "--prompt-cache-file", file, "--prompt", "x", "--eos-token", "</end>"}, "--eos-token </end>: this is no token of the model"},
		{[]string{"generate", "--prompt-cache-file", text}, "book.txt: "},
		{[]string{"generate", "--prompt-cache-file", quantized}, `layer 0: tensor "0.0.0" is missing`},
		{[]string{"generate", "--prompt-cache-file", file + "x"}, "prompt.safetensorsx"},
		{[]string{"generate", "--prompt-cache-file", file, "--model", other}, "was made with " + model + "\nGive that model, or none."},
		{[]string{"generate", "--prompt-cache-file", file, "--adapter-path", other}, `was made with ""`},
		{[]string{"generate", "--prompt-cache-file", file, "--system-prompt", "x"}, "Give it to lentil cache_prompt"},
		{[]string{"generate", "--model", model, "-qa"}, "--quantize-activations is not supported"},
	} {
		if code, _, errOut := lentil(t, "", tt.args...); code != ExitUsage || !strings.Contains(errOut, tt.want) {
			t.Errorf("%v: %d %q, want %q", tt.args, code, errOut, tt.want)
		}
	}
	// A folder that another model has moved into.
	if err := os.Rename(filepath.Join(model, "config.json"), filepath.Join(model, "old.json")); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(model, "old.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(model, "config.json"), strings.Replace(string(config), `"num_attention_heads": 4`, `"num_attention_heads": 2`, 1))
	if code, _, errOut := lentil(t, "", "generate", "--prompt-cache-file", file); code != ExitUsage || !strings.Contains(errOut, "the model has 2 heads of 16 values") {
		t.Errorf("another model: %d %q", code, errOut)
	}
}

// TestQuantizedCachePrompt: a quantized file tells its bits by itself, and flags that
// are at odds with it are refused.
func TestQuantizedCachePrompt(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	config, err := os.ReadFile(filepath.Join(model, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(model, "config.json"), strings.Replace(string(config), `"num_attention_heads": 4`, `"num_attention_heads": 1`, 1))
	const document, question = "Lupins have the most protein of all pulses.", " Which pulse has the most protein?"
	file := filepath.Join(t.TempDir(), "prompt.safetensors")
	bits := []string{"--kv-bits", "8", "--kv-group-size", "32", "--quantized-kv-start", "0"}
	mustRun(t, "", append([]string{"cache_prompt", "--model", model, "--prompt-cache-file", file, "--prompt", document, "--exact", "--threads", "1"}, bits...)...)
	p, err := generate.OpenPromptCache(file)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Bits != 8 || p.Group != 32 {
		t.Errorf("the file has %d bits in groups of %d", p.Bits, p.Group)
	}
	ask := []string{"generate", "--max-tokens", "12", "--verbose", "False", "--exact", "--threads", "1", "--prompt-cache-file", file, "--prompt", question}
	want := mustRun(t, "", ask...)
	for _, more := range [][]string{bits, {"--kv-bits", "8"}, {"--kv-group-size", "32"}} {
		if got := mustRun(t, "", append(ask, more...)...); got != want {
			t.Errorf("%v: %q, without them %q", more, got, want)
		}
	}
	for flags, want := range map[string]string{
		"--kv-bits 4":                    "was quantized to 8\nGive that, or leave it out.",
		"--kv-bits 8 --kv-group-size 64": "was quantized in groups of 32\nGive that",
		"--max-kv-size 50":               "such a cache has no limit\nLeave it out",
	} {
		if code, _, errOut := lentil(t, "", append(ask, strings.Fields(flags)...)...); code != ExitUsage || !strings.Contains(errOut, want) {
			t.Errorf("%s: %d %q, want %q", flags, code, errOut, want)
		}
	}
	if code, _, errOut := lentil(t, "", "cache_prompt", "--model", model, "--prompt-cache-file", file, "--prompt", "x", "--kv-bits", "4"); code != ExitUsage || !strings.Contains(errOut, "Give --kv-group-size 32.") {
		t.Errorf("groups wider than heads: %d %q", code, errOut)
	}
	limited := filepath.Join(t.TempDir(), "limited.safetensors")
	mustRun(t, "", "cache_prompt", "--model", model, "--prompt-cache-file", limited, "--prompt", document, "--max-kv-size", "24", "--threads", "1")
	if code, _, errOut := lentil(t, "", "generate", "--prompt-cache-file", limited, "--kv-bits", "4"); code != ExitUsage || !strings.Contains(errOut, "(--max-kv-size 24) do not go together") {
		t.Errorf("a limited file: %d %q", code, errOut)
	}
}
