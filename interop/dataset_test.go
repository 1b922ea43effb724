package interop

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/hub/hubtest"
)

// datasetPeer makes a command of peer/datasetpeer.py in this home.
func (h hubHome) datasetPeer(args ...string) *exec.Cmd {
	cmd := exec.Command("../.interop/venv/bin/python", append([]string{"peer/datasetpeer.py"}, args...)...)
	cmd.Env = append(h.env, "PYTHONPATH=../.interop/datasets", "HF_DATASETS_DISABLE_PROGRESS_BARS=1")
	return cmd
}

// chatRows are the lines of a split of testdata/chat.
func chatRows(t *testing.T, split string) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/chat/" + split + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// flatRows are chat rows as question and answer, with a number and an empty column beside them.
func flatRows(t *testing.T, split string) []string {
	t.Helper()
	var out []string
	for i, line := range chatRows(t, split) {
		var row struct{ Messages []struct{ Content string } }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		n := len(row.Messages)
		text, err := json.Marshal(map[string]any{"id": i, "question": row.Messages[n-2].Content, "answer": row.Messages[n-1].Content, "tools": nil})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text))
	}
	return out
}

// parquetFile writes rows as pyarrow does.
func (h hubHome) parquetFile(t *testing.T, rows []string, options string) []byte {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "rows.jsonl"), filepath.Join(dir, "rows.parquet")
	if err := os.WriteFile(in, []byte(strings.Join(rows, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, h.datasetPeer("write", in, out, options))
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// addDatasets fills the hub with datasets of every layout.
func addDatasets(t *testing.T, s *hubtest.Server, h hubHome) {
	t.Helper()
	train, valid, test := chatRows(t, "train"), chatRows(t, "valid"), chatRows(t, "test")
	flat := flatRows(t, "train")
	lines := func(rows []string) []byte { return []byte(strings.Join(rows, "\n") + "\n") }
	s.Add("datasets/org/shards", map[string][]byte{
		"README.md":                              []byte("# Rows\n"),
		"data/train-00000-of-00002.parquet":      h.parquetFile(t, train[:19], `{"compression": "zstd", "row_group_size": 5}`),
		"data/train-00001-of-00002.parquet":      h.parquetFile(t, train[19:], `{"compression": "snappy"}`),
		"data/valid-00000-of-00001.parquet":      h.parquetFile(t, valid, `{"compression": "gzip", "data_page_version": "2.0"}`),
		"data/test-00000-of-00001.parquet":       h.parquetFile(t, test, `{"use_dictionary": false}`),
		"data/validation-00000-of-00001.parquet": h.parquetFile(t, test, `{}`),
	})
	s.Add("datasets/org/lines", map[string][]byte{"train.jsonl": lines(train), "valid.jsonl": lines(valid), "test.jsonl": lines(test), "notes.txt": []byte("no rows")})
	s.Add("datasets/org/folders", map[string][]byte{"training/b.jsonl": lines(train[16:]), "training/a.jsonl": lines(train[:16]), "eval/x.jsonl": lines(test), "other.jsonl": lines(valid)})
	empty := []string{`{"prompt": "Which pulse?", "completion": ""}`, `{"prompt": "Peas", "completion": "are green"}`, `{"prompt": "And?", "completion": ""}`, `{"prompt": "Or", "completion": ""}`}
	s.Add("datasets/org/empty", map[string][]byte{"train.jsonl": lines(empty)})
	s.Add("datasets/org/card", map[string][]byte{
		"README.md": []byte("---\nlicense: mit\nconfigs:\n- config_name: first\n  data_files: flat.parquet\n- config_name: second\n  default: true\n  data_files:\n" +
			"  - split: train\n    path:\n    - rows/*.parquet\n  - split: valid\n    path: held out/v.parquet\n---\n# Rows\n"),
		"flat.parquet": h.parquetFile(t, flat, `{}`), "rows/1.parquet": h.parquetFile(t, train[10:], `{}`), "rows/0.parquet": h.parquetFile(t, train[:10], `{}`),
		"held out/v.parquet": h.parquetFile(t, valid, `{"compression": "lz4"}`), "train.jsonl": lines(test),
	})
}

// bareModel is a model whose chat template has no end of a turn.
func bareModel(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/mlx/llama-4bit")); err != nil {
		t.Fatal(err)
	}
	const template = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDatasetsAsMLX trains on datasets of the hub, with the figures of mlx-lm on the same hub: the same rows in the
// same order.
func TestDatasetsAsMLX(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm", "datasets")
	s := newHub(t)
	ours, theirs := newHome(t, s), newHome(t, s)
	addDatasets(t, s, theirs)
	fields := func(rows map[string]any) map[string]any {
		rows["prompt_feature"], rows["completion_feature"] = "question", "answer"
		return rows
	}
	cases := map[string]map[string]any{
		"shards":  {"data": "org/shards", "test": true},
		"lines":   {"data": "org/lines", "test": true},
		"folders": {"data": "org/folders", "test": true},
		"card":    {"data": "org/card"},
		"config": {"mask_prompt": true, "hf_dataset": fields(map[string]any{
			"path": "org/card", "config": map[string]any{"name": "first"}, "train_split": "train[:70%]", "valid_split": "train[-9:]"})},
		// The template writes nothing after an answer: of an empty one there is only the padding to learn.
		"empty answers":  {"data": "org/empty", "mask_prompt": true, "model": bareModel(t)},
		"default slices": {"hf_dataset": map[string]any{"path": "org/shards"}},
		"several": {"test": true, "hf_dataset": []any{
			map[string]any{"path": "org/lines", "train_split": "train[3:11]", "valid_split": "validation", "test_split": "test[:4]"},
			fields(map[string]any{"path": "org/card", "config": map[string]any{"name": "first"}, "train_split": "train[10%:40%]", "valid_split": "train[:3]", "test_split": "train[-4:]"}),
			map[string]any{"path": "org/shards", "train_split": "test+valid[:25%]", "valid_split": "valid[:2]", "test_split": "train[:2]"},
		}},
	}
	for name, c := range cases {
		if c["model"] == nil {
			c["model"] = "testdata/mlx/llama-4bit"
		}
		maps.Copy(c, map[string]any{
			"batch_size": 2, "iters": 6, "steps_per_report": 1, "steps_per_eval": 3, "val_batches": -1,
			"save_every": 100, "seed": 3, "num_layers": 1, "learning_rate": 2e-4, "lora_parameters": map[string]any{"rank": 4, "scale": 10.0, "dropout": 0.0},
			"adapter_path": filepath.Join(t.TempDir(), name),
		})
	}
	var want map[string]struct {
		training
		Error string
	}
	out := command(t, theirs.datasetPeer("train", writeJSON(t, "cases.json", cases)))
	if err := json.Unmarshal([]byte(out), &want); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if want[name].Error != "" {
				t.Fatalf("mlx-lm: %s", want[name].Error)
			}
			sameCurve(t, ours.train(t, c, t.TempDir()), want[name].training, lossTolerance)
		})
	}
}
