package dataset

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

const (
	plainTemplate = `{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}`
	// callTemplate has the calls as JSON, as Qwen2.5's and Hermes' have them; rawTemplate puts texts together, as DeepSeek's does.
	callTemplate = `{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<{{ m.role }}>{% if m.content %}{{ m.content }}{% endif %}{% for c in m.tool_calls or [] %}` +
		`{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}{% endfor %}{% endfor %}`
	rawTemplate = `{% for m in messages %}<{{ m.role }}>{% if m.content is not none %}{{ m.content }}{% endif %}{% for c in m.tool_calls or [] %}` +
		`{{ c.function.name + ' ' + c.function.arguments }}{% endfor %}{% endfor %}`
	pythonTemplate = `{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }} {{ c.function.arguments }}{% endfor %}{% endfor %}`
	thinkTemplate  = `{% for m in messages %}<{{ m.role }}>{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}{% endfor %}`
)

// called is a row in which a tool is called with arguments in one of their forms.
func called(content, arguments string) string {
	return `{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": ` + content + `, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": ` +
		arguments + `}}]}]}`
}

// TestFit: whichever form a row has, the template gets one that it writes as it should be.
func TestFit(t *testing.T) {
	t.Parallel()
	const text, object = `"{\"x\": \"a\"}"`, `{"x": "a"}`
	for _, c := range []struct{ name, template, row, want string }{
		{"encoded twice", callTemplate, called("null", text), `<user>Q<assistant>{"name": "f", "arguments": {"x": "a"}}`},
		{"object", callTemplate, called("null", object), `<user>Q<assistant>{"name": "f", "arguments": {"x": "a"}}`},
		{"no arguments", callTemplate, called(`""`, `"{}"`), `<user>Q<assistant>{"name": "f", "arguments": {}}`},
		{"text where an object is", rawTemplate, called("null", object), `<user>Q<assistant>f {"x": "a"}`},
		{"text", rawTemplate, called("null", text), `<user>Q<assistant>f {"x": "a"}`},
		{"null is None", pythonTemplate, called("null", text), `<user>Q<assistant>f {"x": "a"}`},
		{"Python's notation", pythonTemplate, called("null", object), `<user>Q<assistant>f {"x": "a"}`},
		{"None is a word", pythonTemplate, `{"messages": [{"role": "user", "content": "None?"}, {"role": "assistant", "content": "None."}]}`, `<user>None?<assistant>None.`},
		{"null", plainTemplate, `{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": null}]}`, "<|im_start|>user\nQ<|im_end|><|im_start|>assistant\n<|im_end|>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tok := smallTokenizer(t, strings.ReplaceAll(c.template, `\n`, "\n"))
			s := load(t, map[string]string{"train.jsonl": c.row}, Options{})
			row, err := s.Train.Row(0)
			if err != nil {
				t.Fatal(err)
			}
			item, err := encoder(t, tok, EncoderOptions{}).Encode(row)
			if err != nil {
				t.Fatal(err)
			}
			if got := decode(t, tok, item.IDs, false); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestLeftOut: what a template leaves out is told with the number of rows and the first of them; a row is refused if
// nothing of its answer is left.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	const (
		ask     = `{"role": "user", "content": "Q"}`
		answer  = `{"role": "assistant", "content": "A"}`
		call    = `{"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}`
		result  = `{"role": "tool", "content": "R"}`
		thought = `{"role": "assistant", "content": "A", "reasoning_content": "T"}`
	)
	silent := strings.Replace(plainTemplate, "{% for m in messages %}", "{% for m in messages if m.role != 'tool' %}", 1)
	row := func(messages ...string) string { return `{"messages": [` + strings.Join(messages, ", ") + `]}` }
	schemas := strings.TrimSuffix(row(ask, answer), "}") + `, "tools": [{"type": "function"}]}`
	for _, c := range []struct {
		name, template string
		mask           bool
		rows           []string
		want           string // in the warnings; empty: there are none
		refused        string
	}{
		{"calls and results", silent, true, []string{row(ask, answer), row(ask, call, result, answer)}, "in 1 row the chat template leaves out calls of tools, what tools answered, which the model will not learn (first in LINE:2)", ""},
		{"calls that are written", callTemplate, true, []string{row(ask, call, result, answer)}, "", ""},
		{"schemas", plainTemplate, true, []string{schemas, schemas}, "in 2 rows the chat template leaves out the schemas of tools", ""},
		{"schemas that are written", callTemplate, true, []string{schemas}, "", ""},
		{"reasoning", plainTemplate, true, []string{row(ask, thought)}, "leaves out reasoning", ""},
		{"reasoning that is written", thinkTemplate, true, []string{row(ask, thought)}, "", ""},
		{"a call as the answer", plainTemplate, true, []string{row(ask, answer), row(ask, call)}, "", "LINE:2: messages[1]: the chat template leaves out calls of tools, and nothing of the answer is left to learn"},
		{"a call as the only answer", plainTemplate, false, []string{row(ask, call)}, "", "nothing of the answer is left"},
		{"a call beside an answer", plainTemplate, false, []string{row(ask, call, ask, answer)}, "leaves out calls of tools", ""},
		{"empty answers", plainTemplate, true, []string{row(ask, answer), row(ask, `{"role": "assistant", "content": " "}`), `{"messages": [` + ask + `, {"role": "assistant", "content": ""}]}`},
			"2 rows are with an empty answer, which the model will learn to give (first LINE:2)", ""},
		{"a role that is none", plainTemplate, true, []string{row(`{"role": "humann", "content": "Q"}`, answer)}, `in 1 row a message has a role that is none (first in LINE:1: "humann")`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tok := smallTokenizer(t, strings.ReplaceAll(c.template, `\n`, "\n"))
			s := load(t, map[string]string{"train.jsonl": strings.Join(c.rows, "\n")}, Options{})
			for _, compat := range []bool{false, true} {
				rows, err := encoder(t, tok, EncoderOptions{MaskPrompt: c.mask, CompatMLX: compat}).Rows(s.Train)
				if err != nil {
					t.Fatal(err)
				}
				report, err := rows.Prepare(context.Background(), nil)
				if refused := strings.Replace(c.refused, "LINE", s.Train.Files[0], 1); !compat && refused != "" {
					if err == nil || !strings.Contains(err.Error(), refused) {
						t.Errorf("%v, want %q", err, refused)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				warnings := fmt.Sprint(report.Warnings())
				if want := strings.Replace(c.want, "LINE", s.Train.Files[0], 1); !compat && want == "" && warnings != "[]" || !strings.Contains(warnings, want) {
					t.Errorf("compat %t: warnings %s, want %q", compat, warnings, want)
				}
			}
		})
	}
}
