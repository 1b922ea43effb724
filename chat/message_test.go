package chat

import (
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/chat/jinja"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ content, want, err string }{
		{`[{"role": "user", "content": "Hi"}]`, `[{"role": "user", "content": "Hi"}]null`, ""},
		{`{"tools": [{"b": 1, "a": 2.0}], "messages": [{"role": "user", "content": null}]}`, `[{"role": "user", "content": null}][{"b": 1, "a": 2.0}]`, ""},
		{`{"prompt": "x"}`, "", "messages: expected a list, found null"},
		{`[]`, "", "empty"},
		{`["Hi"]`, "", "messages[0]: expected an object with role and content, found a string"},
		{`[{"role": 5}]`, "", "messages[0].role: expected a string, found a number"},
		{`[{"content": "Hi"}]`, "", `messages[0]: no "role"`},
		{`{"messages": [{"role": "user"}], "tools": [1]}`, "", "tools[0]: expected an object"},
		{`{"messages": [{"role": "user"}], "tools": {}}`, "", "tools: expected a list of tool schemas, found an object"},
		{"[\n{\"role\": }]", "", "line 2 column 10"},
	} {
		conv, err := parse([]byte(c.content))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", c.content, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.content, err)
			continue
		}
		messages, _ := jinja.FormatJSON(jinja.NewList(conv.messages...))
		tools, _ := jinja.FormatJSON(conv.tools)
		if messages+tools != c.want {
			t.Errorf("%s: read %s", c.content, messages+tools)
		}
	}
}
