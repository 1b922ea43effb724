package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/hub/hubtest"
)

// TestCardOfMLXAdapter: of an adapter that mlx-lm trained, its config tells.
func TestCardOfMLXAdapter(t *testing.T) {
	s := testHub(t)
	t.Setenv("HF_TOKEN", hubtest.Token)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "adapters.safetensors"), "weights")
	write(t, filepath.Join(dir, "adapter_config.json"), `{"model": "org/base", "data": "/home/someone/books", "fine_tune_type": "lora", "iters": 600,
		"learning_rate": 1e-05, "lora_parameters": {"rank": 8, "scale": 20.0, "dropout": 0.0}, "lr_schedule": null, "mask_prompt": true}`)
	mustRun(t, "", "upload", "--path", dir, "--upload-repo", "me/adapter")
	card := string(s.Files("me/adapter")["README.md"].Data)
	for _, want := range []string{
		"base_model: org/base\n", "trained on books, made with lentil", "| fine tune type | lora |\n| LoRA rank | 8 |\n| LoRA scale | 20 |\n| LoRA dropout | 0 |\n| iters | 600 |\n",
		"| learning rate | 1e-05 |", "| mask prompt | true |", "lentil download me/adapter --local-dir adapter\nlentil chat --model org/base --adapter-path adapter\n",
	} {
		if !strings.Contains(card, want) {
			t.Errorf("%q is not in the card:\n%s", want, card)
		}
	}
	for _, not := range []string{"Measured", "perplexity", "someone", "null"} {
		if strings.Contains(card, not) {
			t.Errorf("%q is in the card:\n%s", not, card)
		}
	}
	write(t, filepath.Join(dir, "adapter_config.json"), "{\n\"model\": 1,\n}")
	os.Remove(filepath.Join(dir, "README.md"))
	if code, _, errOut := lentil(t, "", "upload", "--path", dir, "--upload-repo", "me/adapter"); code != ExitUsage || !strings.Contains(errOut, "adapter_config.json:3:1: ") {
		t.Errorf("spoilt config: %d %q", code, errOut)
	}
}
