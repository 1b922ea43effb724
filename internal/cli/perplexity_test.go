package cli

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestPerplexity(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	adapter, figures := filepath.Join(t.TempDir(), "adapter"), filepath.Join(t.TempDir(), "f.json")
	mustRun(t, "", "train", "--model", model, "--data", data, "--adapter-path", adapter, "--iters", "10", "--learning-rate", "1e-3", "--num-layers", "-1", "--mask-prompt", "--threads", "1")
	measure := func(args ...string) (perplexityFigures, string) {
		t.Helper()
		out := mustRun(t, "", append([]string{"perplexity", "--model", model, "--threads", "1", "--json", figures}, args...)...)
		var got perplexityFigures
		readInto(t, figures, &got)
		return got, out
	}

	got, out := measure("--data-path", data, "--sequence-length", "32", "--num-samples", "5", "--batch-size", "2")
	for _, line := range []string{
		`Loading model from .*\.\.\.`, `Model loaded: 0\.0M parameters`, `Loading dataset\.\.\.`, `  Sequence length: 32`, `  Loaded 5 samples`,
		`Evaluating perplexity with batch size 2\.\.\.`, `  Processed 3/3 batches\.\.\.`, `={60}`, `EVALUATION RESULTS`, `Model: .*`,
		`Perplexity: \d+\.\d{3} ± \d+\.\d{3}`, `Evaluation time: \d+\.\d\d seconds`, `Peak memory: \d+\.\d\d GB`, `Tokens per second: \d+`,
		`Dataset statistics:`, `  Total samples: 5`, `  Total tokens: 160`,
	} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(out) {
			t.Errorf("no line %s in\n%s", line, out)
		}
	}
	if got.Tokens != 5*31 || got.Samples != 5 || got.Perplexity.(float64) < 2 || got.StandardError.(float64) <= 0 || got.TPS <= 0 {
		t.Errorf("figures %+v", got)
	}
	if again, _ := measure("--data-path", data, "--sequence-length", "32", "--num-samples", "5", "--batch-size", "5"); again.Loss != got.Loss {
		// The sum over tokens is in one order, whatever the batch.
		if d := math.Abs(again.Loss.(float64) - got.Loss.(float64)); d > 1e-6 {
			t.Errorf("loss %v in batches of 2, %v in one of 5", got.Loss, again.Loss)
		}
	}
	if other, _ := measure("--data-path", data, "--sequence-length", "32", "--num-samples", "5", "--seed", "1"); other.Loss == got.Loss {
		t.Error("another seed takes the same samples")
	}
	if all, out := measure("--data-path", data, "--sequence-length", "32", "--split", "test", "--num-samples", "1000"); all.Samples == 1000 || !strings.Contains(out, "samples, all there are\n") {
		t.Errorf("%d samples of 8 rows\n%s", all.Samples, out)
	}

	// Answers by themselves: what --test measures, with the adapter and without.
	for _, path := range []string{adapter, ""} {
		mustRun(t, "", "test", "--model", model, "--data", data, "--adapter-path", path, "--mask-prompt", "--threads", "1", "--json", figures)
		var want loraFigures
		readInto(t, figures, &want)
		got, _ := measure("--data-path", data, "--split", "test", "--mask-prompt", "--adapter-path", path)
		if d := math.Abs(got.Loss.(float64) - want.TestLoss.(float64)); d > 1e-6 {
			t.Errorf("adapter %q: loss %v, the test found %v", path, got.Loss, want.TestLoss)
		}
	}

	text := filepath.Join(t.TempDir(), "book.txt")
	write(t, text, "\ufeff"+strings.Repeat("Lupins have the most protein of all pulses. ", 20))
	if got, _ := measure("--data-path", text, "--sequence-length", "16"); got.Samples < 2 || got.Tokens != int64(15*got.Samples) {
		t.Errorf("text file: %+v", got)
	}
}

// TestPerplexityOfHubDataset: the rows of a repository are those of the same files here.
func TestPerplexityOfHubDataset(t *testing.T) {
	s := testHub(t)
	model, data := tinyModel(t)
	s.Add("datasets/org/lines", filesOf(t, data))
	for _, split := range []string{"train", "valid", "test"} {
		var got [2]perplexityFigures
		for i, path := range []string{data, "org/lines"} {
			figures := filepath.Join(t.TempDir(), "f.json")
			mustRun(t, "", "perplexity", "--model", model, "--data-path", path, "--split", split, "--sequence-length", "32", "--threads", "1", "--json", figures)
			readInto(t, figures, &got[i])
		}
		if got[0].Loss != got[1].Loss || got[0].Samples == 0 {
			t.Errorf("%s: %+v and %+v", split, got[0], got[1])
		}
	}
	if code, _, errOut := lentil(t, "", "perplexity", "--model", model, "--data-path", "org/none"); code != ExitUsage || !strings.Contains(errOut, "org/none") {
		t.Errorf("no such dataset: %d %s", code, errOut)
	}
}

func TestPerplexityMistakes(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	binary, short, text := filepath.Join(t.TempDir(), "book.pdf"), filepath.Join(t.TempDir(), "short.txt"), t.TempDir()
	write(t, binary, "%PDF-1.5 \xff\xfe\x00")
	write(t, short, "Lupins.")
	write(t, filepath.Join(text, "train.jsonl"), `{"text": "Lupins have the most."}`+"\n")
	for _, tt := range []struct{ args, want string }{
		{"", "--model is missing"},
		{"--sequence-length 1", "--sequence-length 1: must be at least 2"},
		{"--batch-size 0", "--batch-size 0: must be at least 1"},
		{"--seed -1", "--seed -1: expected 0 to 4294967295"},
		{"--split val", "--split val: expected train, valid or test"},
		{"--data-path " + binary, "is no UTF-8 text"},
		{"--data-path " + short, "--sequence-length: the data has 5 tokens, fewer than one sample of 512"},
		{"--data-path " + text + " --split test", "has no rows in its test set"},
		{"--data-path " + text + " --mask-prompt", "Prompt masking not supported for text dataset"},
		{"--data-path " + data + " --sequence-length 2 --mask-prompt", "none of the 24 rows has a token to predict in its first 2"},
		{"--data-path " + data + " --adapter-path none", "--adapter-path none: there is no such folder"},
	} {
		args := append([]string{"perplexity"}, strings.Fields(tt.args)...)
		if tt.args != "" {
			args = append(args, "--model", model)
		}
		if code, _, errOut := lentil(t, "", args...); code != ExitUsage || !strings.Contains(errOut, tt.want) {
			t.Errorf("%s: %d %q, want %q", tt.args, code, errOut, tt.want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
