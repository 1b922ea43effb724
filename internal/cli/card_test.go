package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/hub/hubtest"
	"github.com/lentil-lm/lentil/run"
)

func TestMeasured(t *testing.T) {
	t.Parallel()
	const valid, test = "perplexity on the validation set", "perplexity on the test set"
	first, last, tested := run.Validation{Iteration: 1, Loss: 3}, run.Validation{Iteration: 20, Loss: 2}, run.TestReport{Loss: 1}
	for _, tt := range []struct {
		name    string
		events  []run.Event
		resumed bool
		want    []hub.CardFigure
	}{
		{"nothing", []run.Event{run.Start{FirstIteration: 1}, run.End{}}, false, nil},
		{"all", []run.Event{run.Start{FirstIteration: 1}, first, last, tested}, false, []hub.CardFigure{{Name: valid, Base: "20.086", Tuned: "7.389"}, {Name: test, Tuned: "2.718"}}},
		{"broken off", []run.Event{run.Start{FirstIteration: 1}, first}, false, []hub.CardFigure{{Name: valid, Base: "20.086"}}},
		{"gone on", []run.Event{run.Start{FirstIteration: 1}, first, run.Start{FirstIteration: 11}, last}, false, []hub.CardFigure{{Name: valid, Base: "20.086", Tuned: "7.389"}}},
		{"another run", []run.Event{run.Start{FirstIteration: 1}, first, last, tested, run.Start{FirstIteration: 1}, last}, false, []hub.CardFigure{{Name: valid, Tuned: "7.389"}}},
		{"on another's adapter", []run.Event{run.Start{FirstIteration: 1}, first, last}, true, []hub.CardFigure{{Name: valid, Tuned: "7.389"}}},
		{"without a number", []run.Event{run.Validation{Iteration: 20, Loss: 1e9}}, false, nil},
	} {
		var records []run.Record
		for _, e := range tt.events {
			records = append(records, run.Record{Event: e})
		}
		if got := measured(records, tt.resumed); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

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

func TestDataName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		data  any
		files []string
		want  string
	}{
		{"org/answers", []string{"0000.parquet"}, "org/answers"},
		{"./data", []string{"train.jsonl", "valid.jsonl"}, "train.jsonl, valid.jsonl"},
		{"/home/me/books/", nil, "books"},
		{"", nil, ""},
		{nil, nil, ""},
		{".", nil, ""},
	} {
		if got := dataName(tt.data, tt.files); got != tt.want {
			t.Errorf("%v %v: %q, want %q", tt.data, tt.files, got, tt.want)
		}
	}
}
