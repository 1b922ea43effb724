package chat

import (
	"fmt"
	"strings"
	"testing"
)

// show writes parts as a line.
func show(parts []Part) string {
	var b strings.Builder
	for i := 0; i < len(parts); i++ {
		p := parts[i]
		switch p.Kind {
		case ToolCall:
			fmt.Fprintf(&b, "{%s %s}", p.Call.Name, p.Call.Arguments)
		default:
			for i+1 < len(parts) && parts[i+1].Kind == p.Kind {
				i++
				p.Text += parts[i].Text
			}
			fmt.Fprintf(&b, "%s(%s)", []string{"c", "r"}[p.Kind], p.Text)
		}
	}
	return b.String()
}

// TestParser: each answer gives the same parts whole, and by pieces of every size.
func TestParser(t *testing.T) {
	t.Parallel()
	qwen, coder, mistral, llama := StyleOf("<think> </think> <tool_call>"), StyleOf("<tool_call>\n<function="), StyleOf("[TOOL_CALLS]"), StyleOf("<|python_tag|>")
	for _, c := range []struct {
		style        Style
		prompt, text string
		want         string
	}{
		{Style{}, "", "a <think>b", "c(a <think>b)"},
		{qwen, "", "<think>\nwhy\n</think>\n\nbecause", "r(why\n)c(because)"},
		{qwen, "…<think>\n", "why</think>\n\nbecause", "r(why)c(because)"},
		{qwen, "", "foo<think>bar</think>baz", "c(foo)r(bar)c(baz)"},
		{qwen, "", "a < b <thin", "c(a < b <thin)"},
		{qwen, "", "x<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1.0}}\n</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>", `c(x){f {"a": 1.0}}{g {}}`},
		{qwen, "", "<tool_call>{\"name\": 5}</tool_call> no", "c(<tool_call>{\"name\": 5}</tool_call> no)"},
		{qwen, "", "<tool_call>{\"name\"", "c(<tool_call>{\"name\")"},
		{coder, "", "<tool_call>\n<function=f>\n<parameter=a>\n5\n</parameter>\n<parameter=b>\nx y\n</parameter>\n</function>\n</tool_call>", `{f {"a": 5, "b": "x y"}}`},
		{mistral, "", `[TOOL_CALLS][{"name": "f", "arguments": {"a": "b"}}]`, `{f {"a": "b"}}`},
		{mistral, "", `ok[TOOL_CALLS]f[ARGS]{"a": [1]}`, `c(ok){f {"a": [1]}}`},
		{llama, "", `{"name": "f", "parameters": {"a": null}}`, `{f {"a": null}}`},
		{llama, "", `<|python_tag|>{"name": "f", "parameters": {}}`, `{f {}}`},
		{llama, "", `{"name"} is no call`, `c({"name"} is no call)`},
		{llama, "", `Hello {"name": "f", "parameters": {}}`, `c(Hello {"name": "f", "parameters": {}})`},
	} {
		for size := 1; size <= len(c.text); size++ {
			p := c.style.NewParser(c.prompt, true)
			var parts []Part
			for at := 0; at < len(c.text); at += size {
				parts = append(parts, p.Add(c.text[at:min(at+size, len(c.text))])...)
			}
			if got := show(append(parts, p.End()...)); got != c.want {
				t.Errorf("%q by %d: %s, want %s", c.text, size, got, c.want)
				break
			}
		}
	}
	p := qwen.NewParser("", false)
	if got := show(append(p.Add("<tool_call>{}</tool_call>"), p.End()...)); got != "c(<tool_call>{}</tool_call>)" {
		t.Errorf("without tools: %s", got)
	}
}
