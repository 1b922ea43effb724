package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemo goes through the whole demo with far too few steps to learn anything.
func TestDemo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("measures a model of millions of parameters; other tests train, measure and fuse a tiny one")
	}
	dir := t.TempDir()
	figures := filepath.Join(dir, "figures.json")
	code, out, errOut := lentil(t, "", "demo", "--dir", filepath.Join(dir, "demo"), "--iters", "2", "--json", figures)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	for _, want := range []string{"dataset make ", " places with rows", "lentil lora --config", "Iter 2:", "before ", "after ", "Saved the fused model", "Trained facts, right", "tuned against base, facts never told, right: did not help", "report.html", "lentil chat --model"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %q", want)
		}
	}
	text, err := os.ReadFile(figures)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"test_ppl_base", "test_ppl_tuned", "unseen_ppl_base", "unseen_ppl_tuned", "seconds", "peak_bytes", "fuse_survival"} {
		if v, ok := got[key].(float64); !ok || v <= 0 {
			t.Errorf("%s is %v", key, got[key])
		}
	}
	if scores, ok := got["scores"].([]any); !ok || len(scores) < 3 {
		t.Errorf("scores are %v", got["scores"])
	}
	if got["test_ppl_base"].(float64) < 1.2 {
		t.Errorf("the base model has a perplexity of %v on facts it should not know", got["test_ppl_base"])
	}
}
