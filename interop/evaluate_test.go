package interop

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/demo"
)

var figure = regexp.MustCompile(`\d+(\.\d+)?`)

// publishedRows writes n rows of each published layout into dir, and others as examples, all made of the demo's rows: questions
// that its model has some idea of.
func publishedRows(t *testing.T, dir string, n int) (tasks []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "data", "test.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var asked, answers []string
	for line := range strings.Lines(string(data)) {
		var row struct{ Messages []struct{ Content string } }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		asked, answers = append(asked, row.Messages[0].Content), append(answers, row.Messages[1].Content)
	}
	type object map[string]any
	layouts := map[string]func(i int, choices []string, right int) object{
		"arc": func(i int, c []string, right int) object {
			return object{"id": fmt.Sprint(i), "question": asked[i], "choices": object{"text": c, "label": []string{"A", "B", "C", "D"}}, "answerKey": string("ABCD"[right])}
		},
		"openbookqa": func(i int, c []string, right int) object {
			return object{"id": fmt.Sprint(i), "question_stem": asked[i], "choices": object{"text": c, "label": []string{"A", "B", "C", "D"}}, "answerKey": string("ABCD"[right])}
		},
		"piqa": func(i int, c []string, right int) object {
			two := []string{c[right], c[(right+1)%4]}
			return object{"goal": asked[i], "sol1": two[i%2], "sol2": two[1-i%2], "label": i % 2}
		},
		"hellaswag": func(i int, c []string, right int) object {
			return object{"activity_label": "Cooking", "ctx_a": asked[i], "ctx_b": "then HE [title] says", "ctx": asked[i] + " then HE says", "endings": c, "label": fmt.Sprint(right)}
		},
		"winogrande": func(i int, c []string, _ int) object {
			return object{"sentence": asked[i] + " Some say _ and that is  it. " + c[0], "option1": c[1], "option2": "né", "answer": fmt.Sprint(1 + i%2)}
		},
		"boolq": func(i int, c []string, _ int) object {
			return object{"question": "is that so", "passage": asked[i] + " " + c[0], "idx": i, "label": i % 2}
		},
		"mmlu": func(i int, c []string, right int) object {
			return object{"question": " " + asked[i] + " ", "subject": "nutrition", "choices": c, "answer": right}
		},
		"truthfulqa": func(i int, c []string, right int) object {
			c = append([]string{c[right]}, append(append([]string{}, c[:right]...), c[right+1:]...)...)
			return object{"question": asked[i], "mc1_targets": object{"choices": c, "labels": []int{1, 0, 0, 0}}}
		},
		"gsm8k": func(i int, c []string, _ int) object {
			return object{"question": asked[i], "answer": c[0] + "\n#### " + fmt.Sprint(i*100)}
		},
		"triviaqa": func(i int, c []string, right int) object {
			return object{"question": strings.TrimSuffix(asked[i], "?"), "answer": object{"value": c[right], "aliases": []string{strings.TrimSuffix(c[right], "."), "x"}}}
		},
	}
	for name, layout := range layouts {
		for ending, from := range map[string]int{".jsonl": 0, ".train.jsonl": 100} {
			var text strings.Builder
			for i := from; i < from+n; i++ {
				right := i * 7 % 4
				var choices []string
				for k := range 4 {
					if k == right { // the others tell other figures, or what is true of something else
						choices = append(choices, answers[i])
						continue
					}
					other := figure.ReplaceAllString(answers[i], fmt.Sprint(k*17+i%7+1))
					if other == answers[i] {
						other = answers[(i+(k-right)*31+len(answers))%len(answers)]
					}
					choices = append(choices, other)
				}
				row, err := json.Marshal(layout(i, choices, right))
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&text, "%s\n", row)
			}
			if err := os.WriteFile(filepath.Join(dir, name+ending), []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		tasks = append(tasks, name)
	}
	return tasks
}

// TestEvaluate: lentil evaluate gives lm-eval's figures to the last digit, on rows of each published layout. lm-eval asks lentil serve for
// likelihoods and answers, and does the rest itself: words, examples, tokens of context and continuation, filters, metrics.
func TestEvaluate(t *testing.T) {
	need(t, "clients")
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	tasks := publishedRows(t, dir, 5)
	model := filepath.Join(dir, "model")
	runs := []struct {
		shots               string
		template, multiturn bool
	}{{"none", false, false}, {"2", false, false}, {"2", true, true}}
	url := listening(t, "serve", "--model", "base="+model, "--exact", "--port", "0", "--data", filepath.Join(dir, "chats"), "--log-level", "ERROR")
	ask := []string{"peer/harness.py", url + "v1/completions", model, dir, strings.Join(tasks, ","), "123", "8"}
	for _, r := range runs {
		ask = append(ask, fmt.Sprintf("%s,%v,%v", r.shots, r.template, r.multiturn))
	}
	var want []map[string]map[string]float64
	if err := json.Unmarshal([]byte(command(t, exec.Command("../.interop/clients/bin/python", ask...))), &want); err != nil {
		t.Fatal(err)
	}
	telling := 0
	for i, r := range runs {
		args := []string{"evaluate", "--model", model, "--max-tokens", "8", "--output-dir", dir, "--tasks"}
		for _, task := range tasks {
			args = append(args, filepath.Join(dir, task+".jsonl"))
		}
		if r.shots != "none" {
			args = append(args, "--num-shots", r.shots)
		}
		if !r.template {
			args = append(args, "--no-apply-chat-template")
		}
		if r.multiturn {
			args = append(args, "--fewshot-as-multiturn")
		}
		_, path, _ := strings.Cut(strings.TrimSpace(lentil(t, args...)), "Wrote ")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Results map[string]map[string]any }
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			for metric, v := range want[i][task] {
				if is, ok := got.Results[task][metric].(float64); !ok || !(math.Abs(is-v) <= lastDigit) {
					t.Errorf("%s shots, template %v, multiturn %v: %s %s is %v, lm-eval says %v", r.shots, r.template, r.multiturn, task, metric, got.Results[task][metric], v)
				} else if v > 0 && v < 1 {
					telling++
				}
			}
		}
	}
	t.Logf("%d figures are neither 0 nor 1", telling)
	if telling < 10 {
		t.Errorf("%d figures are neither 0 nor 1: this tests little", telling)
	}
}

// lastDigit is what is left of a figure that went through JSON.
const lastDigit = 1e-12
