package dataset

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/chat/jinja"
)

// TestForms reads rows in the forms of other tools, from JSON lines and, where they are texts, from CSV.
func TestForms(t *testing.T) {
	t.Parallel()
	const q, a = `{"role": "user", "content": "Q"}`, `{"role": "assistant", "content": "A"}`
	for _, c := range []struct{ row, want string }{
		{`{"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}`, q + ", " + a},
		{`{"conversations": [{"from": "Human", "value": "Q"}, {"from": "gpt", "value": "A", "weight": 1}], "system": "S"}`,
			`{"role": "system", "content": "S"}, ` + q + `, {"role": "assistant", "content": "A", "weight": 1}`},
		{`{"conversations": [{"from": "system", "value": "S"}, {"from": "human", "value": "Q"}], "system": "T"}`, `{"role": "system", "content": "S"}, ` + q},
		{`{"conversations": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}`, q + ", " + a},
		{`{"messages": [{"from": "user", "value": "Q"}, {"from": "assistant", "value": "A"}]}`, q + ", " + a},
		{`{"messages": "[{\"role\": \"user\", \"content\": \"Q\"}]"}`, q},
		{`{"conversations": [{"from": "human", "value": "Q"}, {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"}, {"from": "observation", "value": "R"}]}`,
			q + `, {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]}, {"role": "tool", "content": "R"}`},
		{`{"conversations": [{"from": "function_call", "value": "no JSON"}]}`, `{"role": "assistant", "content": "no JSON"}`},
		{`{"instruction": "Q", "input": "", "output": "A"}`, q + ", " + a},
		{`{"instruction": "Q", "input": "I", "output": "A", "system": "S", "history": [["Q", "A"]]}`,
			`{"role": "system", "content": "S"}, ` + q + ", " + a + `, {"role": "user", "content": "Q\nI"}, ` + a},
		{`{"instruction": "Q", "input": null, "output": "A"}`, q + ", " + a},
		{`{"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}]}, {"role": "assistant", "content": ["A"]}]}`, q + ", " + a},
		{`{"messages": [{"role": "user", "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]}, {"role": "assistant", "content": null}]}`,
			`{"role": "user", "content": "a b"}, {"role": "assistant", "content": null}`},
	} {
		s := load(t, map[string]string{"train.jsonl": c.row}, Options{})
		row, err := s.Train.Row(0)
		if err != nil {
			t.Errorf("%s: %v", c.row, err)
			continue
		}
		if got, _ := jinja.FormatJSON(jinja.NewList(row.Messages...)); got != "["+c.want+"]" {
			t.Errorf("%s:\n%s, want\n[%s]", c.row, got, c.want)
		}
	}
	for name, content := range map[string]string{
		"alpaca.csv": "instruction,input,output\nQ,,A\n",
		"share.csv":  "conversations\n\"[{\"\"from\"\": \"\"human\"\", \"\"value\"\": \"\"Q\"\"}, {\"\"from\"\": \"\"gpt\"\", \"\"value\"\": \"\"A\"\"}]\"\n",
		"chat.csv":   "messages,tools\n\"[{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"Q\"\"}, {\"\"role\"\": \"\"assistant\"\", \"\"content\"\": \"\"A\"\"}]\",\n",
		"rows.json":  `[{"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}]`,
	} {
		s, err := Load(filepath.Join(writeFiles(t, map[string]string{name: content}), name), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		row, err := s.Train.Row(0)
		if got, _ := jinja.FormatJSON(jinja.NewList(row.Messages...)); err != nil || got != "["+q+", "+a+"]" || row.Tools != nil {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestFormMistakes(t *testing.T) {
	t.Parallel()
	for row, want := range map[string]string{
		`{"conversations": [{"from": "humann", "value": "Q"}]}`:                                                            `conversations[0].from: expected human, gpt, system, tool or function_call, found "humann"`,
		`{"conversations": [{"from": "human", "value": 5}]}`:                                                               `conversations[0].value: expected a string`,
		`{"conversations": "no list"}`:                                                                                     `conversations: expected a list`,
		`{"conversations": "[{]"}`:                                                                                         `conversations: invalid JSON`,
		`{"conversations": []}`:                                                                                            `conversations: the list is empty`,
		`{"instruction": "Q", "output": 5}`:                                                                                `"output": expected a string, found 5`,
		`{"instruction": "Q", "output": "A", "history": [["Q"]]}`:                                                          `history[0]: expected a question and its answer`,
		`{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}`:                            `messages[0].content[0]: a part of the type "image_url"`,
		`{"messages": [{"role": "user", "content": [{"type": "text"}]}]}`:                                                  `messages[0].content[0]: expected {"type": "text"`,
		`{"prompt": "Q", "chosen": "A", "rejected": "B"}`:                                                                  `set completion_feature to chosen`,
		`{"chosen": [{"role": "user", "content": "Q"}], "rejected": []}`:                                                   `set chat_feature to chosen`,
		`{"chosen": "A", "rejected": "B"}`:                                                                                 `set text_feature to chosen`,
		`{"text": "a"}` + "\n" + `{"instruction": "Q", "output": "A"}`:                                                     `:2: expected the key "text"`,
		`{"conversations": [{"from": "human", "value": "Q"}]}` + "\n" + `{"messages": [{"role": "user", "content": "Q"}]}`: `:2: expected the key "conversations"`,
		`{"messages": [{"role": "user", "content": "` + strings.Repeat("x", 100) + `"}], "tools": "[{\"a\": ` + `1}"}`:     `tools: invalid JSON`,
	} {
		_, err := Load(writeFiles(t, map[string]string{"train.jsonl": row}), Options{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "train.jsonl:") {
			t.Errorf("%s: %v, want %q", row, err, want)
		}
	}
}
