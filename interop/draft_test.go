package interop

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDraftAsMLX: with a draft model, which here is the base of the fine-tuned model,
// generate says what mlx_lm.generate says with it, and what both say without one.
func TestDraftAsMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	const base, adapter, prompt = "testdata/mlx/llama-4bit", "testdata/training/mask", "Why is too much salt a problem?"
	ask := []string{"generate", "--model", base, "--adapter-path", adapter, "--prompt", prompt, "--max-tokens", "40"}
	draft := []string{"--draft-model", base, "--num-draft-tokens", "3"}
	var got struct {
		Text     string
		Drafted  int `json:"drafted_tokens"`
		Accepted int `json:"accepted_tokens"`
	}
	figures := filepath.Join(t.TempDir(), "figures.json")
	lentil(t, append(slices.Concat(ask, draft), "--exact", "--json", figures)...)
	readJSON(t, figures, &got)
	if got.Drafted == 0 || got.Accepted == got.Drafted {
		t.Errorf("%d of %d tokens of the draft were accepted, expected some and not all", got.Accepted, got.Drafted)
	}
	for _, how := range [][]string{draft, nil} {
		args := slices.Concat([]string{"-m", "mlx_lm"}, ask, how, []string{"--verbose", "False"})
		printed := command(t, exec.Command("../.interop/venv/bin/python", args...))
		want, err := json.Marshal(strings.TrimSuffix(printed, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := json.Marshal(got.Text); string(text) != string(want) {
			t.Errorf("answer %s\nmlx-lm's with %v: %s", text, how, want)
		}
	}
}
