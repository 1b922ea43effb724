package chat

import (
	"testing"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/internal/spoil"
)

const hostileTemplate = `{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}{{ m | tojson }}{% else %}<|{{ m['role'] }}|>{{ m.content }}` +
	`{% for c in m.tool_calls or [] %}{{ c.function.name }}({{ c.function.arguments.items() | list }}){% endfor %}{% endif %}{% endfor %}` +
	`{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}{% if add_generation_prompt %}<|assistant|>{% endif %}`

const hostileConversation = `{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi é"}]},
 {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {"a": 1.0, "b": [true, null]}}}]},
 {"role": "tool", "content": "-3e2"}], "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]}`

// A conversation is messages and tools, as a row of a dataset has them.
type conversation struct {
	messages []Value
	tools    Value
}

// parse reads a list of messages, or an object with messages and tools.
func parse(data []byte) (c conversation, err error) {
	v, err := jinja.ParseJSON(data)
	if err != nil {
		return c, err
	}
	if d, ok := v.(*Dict); ok {
		tools, _ := d.Get("tools")
		if c.tools, err = CheckTools(tools); err != nil {
			return c, err
		}
		v, _ = d.Get("messages")
	}
	c.messages, err = CheckMessages(v)
	return c, err
}

// renderAll renders a conversation with a template in all ways that there are.
func renderAll(t *testing.T, c conversation, template string) {
	t.Helper()
	r, err := NewRenderer(fakeTokenizer{template: template, thinking: true})
	if err != nil {
		return
	}
	for _, opt := range []Options{{}, {AddGenerationPrompt: true}, {ContinueFinal: true}} {
		text, spans, err := r.RenderSpans(c.messages, c.tools, opt)
		if err != nil {
			continue
		}
		for _, s := range spans {
			if s.Start < 0 || s.Start > s.End || s.End > len(text) {
				t.Errorf("span %v of %d bytes", s, len(text))
			}
		}
	}
}

// TestSpoiledConversation cuts and changes a conversation and a template.
func TestSpoiledConversation(t *testing.T) {
	spoil.Each(t, []byte(hostileConversation), spoil.Limit{Places: 150}, func(t *testing.T, spoiled []byte) {
		if c, err := parse(spoiled); err == nil {
			renderAll(t, c, hostileTemplate)
		}
	})
	c, err := parse([]byte(hostileConversation))
	if err != nil {
		t.Fatal(err)
	}
	spoil.Each(t, []byte(hostileTemplate), spoil.Limit{Places: 150}, func(t *testing.T, spoiled []byte) { renderAll(t, c, string(spoiled)) })
}

// FuzzConversation renders foreign conversations with foreign templates, within the budget.
func FuzzConversation(f *testing.F) {
	f.Add([]byte(hostileConversation), hostileTemplate)
	f.Add([]byte(`[{"role": "user", "content": "Hi"}]`), "{% generation %}{{ messages[0]['content'] }}{% endgeneration %}")
	f.Fuzz(func(t *testing.T, data []byte, template string) {
		if c, err := parse(data); err == nil {
			renderAll(t, c, template)
		}
	})
}
