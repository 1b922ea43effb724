package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLMEval runs lm-evaluation-harness against lentil serve, with tasks of each kind on a file of rows: choices and texts go
// by the log probabilities of echoed prompts, answers are written.
func TestLMEval(t *testing.T) {
	need(t, "clients")
	url, dir := served(t)
	rows, err := filepath.Abs("testdata/lm_eval/rows.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	tasks := t.TempDir()
	for _, name := range []string{"choice", "text", "write"} {
		text, err := os.ReadFile("testdata/lm_eval/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tasks, name+".yaml"), []byte(strings.ReplaceAll(string(text), "ROWS", rows)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "out.json")
	cmd := exec.Command("../.interop/clients/bin/python", "-m", "lm_eval", "--model", "local-completions", "--model_args",
		"model=base,base_url="+url+"v1/completions,tokenizer="+filepath.Join(dir, "model")+",tokenized_requests=False,num_concurrent=4",
		"--include_path", tasks, "--tasks", "lentil_choice,lentil_text,lentil_write", "--output_path", out)
	cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "HF_DATASETS_CACHE="+t.TempDir())
	command(t, cmd)
	found, err := filepath.Glob(strings.TrimSuffix(out, ".json") + "*")
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Results map[string]map[string]any }
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	acc, _ := got.Results["lentil_choice"]["acc,none"].(float64)
	perplexity, _ := got.Results["lentil_text"]["byte_perplexity,none"].(float64)
	if acc <= 0 || !(perplexity > 1 && perplexity < 100) || got.Results["lentil_write"]["exact_match,none"] == nil {
		t.Errorf("%v", got.Results)
	}
	t.Logf("accuracy %.2f, perplexity of a byte %.2f", acc, perplexity)
}
