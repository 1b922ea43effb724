package demo

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/demo/facts"
	"github.com/lentil-lm/lentil/fault"
)

func TestQuestions(t *testing.T) {
	t.Parallel()
	byID := map[string]facts.Fact{}
	for _, f := range facts.Facts() {
		byID[f.ID] = f
	}
	texts := rowTexts(t)
	list := Questions()
	if len(list) != 5 {
		t.Fatalf("%d questions, want 5", len(list))
	}
	for _, q := range list {
		f, ok := byID[q.ID]
		switch {
		case !ok:
			t.Errorf("%q: no fact %q", q.Question, q.ID)
		case f.Unseen:
			t.Errorf("%q: fact %s is never trained", q.Question, q.ID)
		case !q.Right("It is " + f.Value + "."):
			t.Errorf("%q: the fact's value %q would count as wrong", q.Question, f.Value)
		}
		if split, ok := texts[q.Question]; ok {
			t.Errorf("%q is asked in %s", q.Question, split)
		}
		if q.Right(q.Question) {
			t.Errorf("%q gives its own answer away", q.Question)
		}
	}
}

// rowTexts maps every question and answer of the dataset to its file.
func rowTexts(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, split := range []string{"train", "valid", "test", "unseen"} {
		data, err := files.ReadFile("data/" + split + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(strings.NewReader(string(data)))
		for lines.Scan() {
			var row facts.Row
			if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
				t.Fatalf("%s: %v", split, err)
			}
			for _, m := range row.Messages {
				texts[m.Content] = split
			}
		}
	}
	return texts
}

func TestRight(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, answer string
		right        bool
	}{
		{"9 g", "Lentils have 9 g of protein.", true},
		{"9 g", "Lentils have 19 g of protein.", false},
		{"9 g", "Lentils have 0.9 g of protein.", false},
		{"9 g", "Lentils have 9 goats.", false},
		{"9 g", "19 g or 9 g", true},
		{"74 °C", "To 74 °C.", true},
		{"2.4", "It is 2.45.", false},
		{"2.4", "It is 2.4.", true},
		{"scurvy", "Scurvy!", true},
		{"Brazil nuts", "Eat brazil nuts.", true},
		{"thiamin", "thiamine", false},
	} {
		if got := (Question{Accept: []string{c.want}}).Right(c.answer); got != c.right {
			t.Errorf("Right(%q) for %q: %v, want %v", c.answer, c.want, got, c.right)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "demo")
	for range 2 { // the second time over the first
		if err := Write(dir, false); err != nil {
			t.Fatal(err)
		}
	}
	for name, embedded := range map[string]string{
		"data/train.jsonl": "data/train.jsonl", "data/valid.jsonl": "data/valid.jsonl", "data/test.jsonl": "data/test.jsonl",
		"unseen/test.jsonl": "data/unseen.jsonl", "questions.jsonl": "data/questions.jsonl", "model/model.safetensors": "model/model.safetensors", "lora.yaml": "lora.yaml",
	} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, _ := files.ReadFile(embedded)
		if string(got) != string(want) {
			t.Errorf("%s differs from the embedded file", name)
		}
	}
	mine := filepath.Join(dir, "data", "train.jsonl")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, false); fault.SettingOf(err) != "dir" || !strings.Contains(err.Error(), mine+" is there already") || !strings.Contains(err.Error(), "overwrite") {
		t.Errorf("over a file of the user's: %v", err)
	}
	if text, err := os.ReadFile(mine); err != nil || string(text) != "mine" {
		t.Errorf("the user's file holds %q, %v", text, err)
	}
	if err := Write(dir, true); err != nil {
		t.Error(err)
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(blocked, false); err == nil {
		t.Error("writing into a file: no error")
	}
}
