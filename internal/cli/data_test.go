package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/hub/hubtest"
)

// texts2000 is a Parquet file with 2000 rows and the columns text and id.
func texts2000(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("../../dataset/parquet/testdata/long.parquet")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// dataOf gives the files that a run was trained on, below the cache, by base name, and how many tokens were learnt.
func dataOf(t *testing.T, adapter string) string {
	t.Helper()
	var m struct{ Data []struct{ Path string } }
	text, err := os.ReadFile(filepath.Join(adapter, "run.json"))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range m.Data {
		names = append(names, filepath.Base(d.Path))
	}
	return strings.Join(names, " ")
}

// TestTrainOnHubDataset trains on datasets of the hub, online and offline.
func TestTrainOnHubDataset(t *testing.T) {
	s := testHub(t)
	model, data := tinyModel(t)
	parquet := texts2000(t)
	s.Add("datasets/org/texts", map[string][]byte{
		"README.md":                              []byte("---\r\nlicense: mit\r\n---\r\n# Texts"),
		"data/train-00000-of-00002.parquet":      parquet,
		"data/train-00001-of-00002.parquet":      parquet,
		"data/validation-00000-of-00001.parquet": parquet,
		"data/test-00000-of-00001.parquet":       parquet,
		"data/images.tar":                        make([]byte, 100_000),
	})
	s.Add("datasets/org/lines", filesOf(t, data))
	s.Add("datasets/org/card", map[string][]byte{
		"README.md":   []byte("---\nconfigs:\n- config_name: a\n  data_files: a.parquet\n- config_name: b\n  data_files:\n  - split: train\n    path: [b.parquet]\n---\n"),
		"a.parquet":   parquet,
		"b.parquet":   parquet,
		"train.jsonl": []byte("no rows\n"),
	})
	s.SetPrivate("datasets/org/card")
	t.Setenv("HF_TOKEN", hubtest.Token)
	adapter := filepath.Join(t.TempDir(), "adapter")
	run := func(args ...string) (int, string, string) {
		return lentil(t, "", append([]string{"lora", "--model", model, "--adapter-path", adapter, "--overwrite", "--iters", "2", "--batch-size", "2", "--num-layers", "1",
			"--val-batches", "1", "--test-batches", "2", "--threads", "1"}, args...)...)
	}
	good := func(want string, args ...string) string {
		t.Helper()
		code, out, errOut := run(args...)
		if code != 0 {
			t.Fatalf("%v: exit %d\n%s%s", args, code, out, errOut)
		}
		if got := dataOf(t, adapter); got != want {
			t.Errorf("%v: trained on %s, want %s", args, got, want)
		}
		return out + errOut
	}
	shards := "train-00000-of-00002.parquet train-00001-of-00002.parquet "
	out := good(shards+"validation-00000-of-00001.parquet", "--train", "--data", "org/texts")
	if !strings.Contains(out, "Loading Hugging Face dataset org/texts.") || strings.Contains(out, "Warning: Validation") {
		t.Errorf("output:\n%s", out)
	}
	if got, _ := filepath.Glob(filepath.Join(os.Getenv("HF_HOME"), "hub/datasets--org--texts/snapshots/*/data/*")); len(got) != 3 {
		t.Errorf("fetched %q", got)
	}
	out = good(strings.TrimSpace(shards), "--train", "--data", "org/texts", "--compat", "mlx")
	if !strings.Contains(out, "Warning: Validation set not found or empty") {
		t.Errorf("mlx-lm does not take validation for valid:\n%s", out)
	}
	good("train.jsonl valid.jsonl test.jsonl", "--train", "--test", "--data", "org/lines", "--mask-prompt")

	t.Setenv("HF_HUB_OFFLINE", "1")
	good(shards+"validation-00000-of-00001.parquet", "--train", "--data", "org/texts@main")
	if code, _, errOut := run("--train", "--test", "--data", "org/texts"); code != ExitUsage || !strings.Contains(errOut, "test-00000-of-00001.parquet is not there") {
		t.Errorf("offline, a file is missing: %d %s", code, errOut)
	}
	t.Setenv("HF_HUB_OFFLINE", "")

	config := func(text string) string { return writeFile(t, "c.yaml", text) }
	good("b.parquet", "--train", "--test", "-c", config("hf_dataset: {path: org/card, config: {name: b}, train_split: 'train[:6]', valid_split: 'train[-2:]', test_split: 'train[10:14]'}"))
	good("b.parquet train.jsonl valid.jsonl", "--train", "-c", config("hf_dataset:\n- {name: org/card, config: {data_files: {train: 'b.*'}}, train_split: 'train[:6]', valid_split: 'train[-2:]'}\n- {path: "+data+", valid_split: validation, train_split: train}"))
	good("a.parquet", "--train", "--data", filepath.Join(writeCopy(t, "a.parquet", parquet), "a.parquet"))
	folder := writeCopy(t, "rows/x.parquet", parquet)
	if err := os.WriteFile(filepath.Join(folder, "README.md"), []byte("---\nconfigs:\n- config_name: default\n  data_files: rows/*\n---\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good("x.parquet", "--train", "--data", folder)

	for _, tt := range []struct {
		want string
		args []string
	}{
		{"Dataset not found|not found", []string{"--train", "--data", "org/none"}},
		{"data org/card: there are 2 configurations and none is the default: a, b", []string{"--train", "--data", "org/card"}},
		{`there is no configuration "c"; there is a, b`, []string{"--train", "-c", config("hf_dataset: {path: org/card, config: {name: c}}")}},
		{"org/card: there is no split valid; there is train", []string{"--train", "-c", config("hf_dataset: {path: org/card, config: {name: a}, valid_split: valid}")}},
		{"org/texts: there is no test_split, which --test needs", []string{"--test", "-c", config("hf_dataset: {path: org/texts}")}},
		{`"train[5]" is not understood`, []string{"--train", "-c", config("hf_dataset: {path: org/texts, train_split: 'train[5]'}")}},
		{"hf_dataset: there is no path", []string{"--train", "-c", config("hf_dataset: {train_split: train}")}},
		{"hf_dataset: unknown key train_spilt", []string{"--train", "-c", config("hf_dataset: {path: a/b, train_spilt: train}")}},
		{"hf_dataset: expected a mapping with path, or a list of such, found \"a/b\"", []string{"--train", "-c", config("hf_dataset: a/b")}},
		{"hf_dataset: entry 2: config: unknown key streaming; known are name, revision, data_dir, data_files", []string{"--train", "-c", config("hf_dataset: [{path: a/b}, {path: c/d, config: {streaming: true}}]")}},
		{"Looked for the split test in org/card-test, which has train", []string{"--test", "--data", "org/card-test"}},
		{"unknown row format", []string{"--train", "-c", config("data: org/texts\ntext_feature: body\n")}},
	} {
		s.Add("datasets/org/card-test", map[string][]byte{"train.parquet": parquet})
		want, other, _ := strings.Cut(tt.want, "|")
		if code, _, errOut := run(tt.args...); code != ExitUsage || !strings.Contains(errOut, want) && (other == "" || !strings.Contains(errOut, other)) {
			t.Errorf("%v: %d %s\nwant %q", tt.args, code, errOut, tt.want)
		}
	}
}

func writeCopy(t *testing.T, name string, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
