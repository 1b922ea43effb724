package chat

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/internal/spoil"
)

const hostileTemplate = `{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}{{ m | tojson }}{% else %}<|{{ m['role'] }}|>{{ m.content }}` +
	`{% for c in m.tool_calls or [] %}{{ c.function.name }}({{ c.function.arguments.items() | list }}){% endfor %}{% endif %}{% endfor %}` +
	`{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}{% if add_generation_prompt %}<|assistant|>{% endif %}`

const hostileConversation = `{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi é"}]},
 {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {"a": 1.0, "b": [true, null]}}}]},
 {"role": "tool", "content": "-3e2"}], "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]}`

// renderAll renders a conversation file with a template in all ways that there are.
func renderAll(t *testing.T, conversation *Conversation, template string) {
	t.Helper()
	r, err := NewRenderer(fakeTokenizer{template: template, thinking: true})
	if err != nil {
		return
	}
	for _, opt := range []Options{{}, {AddGenerationPrompt: true}, {ContinueFinal: true}} {
		text, spans, err := r.RenderSpans(conversation.Messages, conversation.Tools, opt)
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

// TestSpoiledConversation cuts and changes a conversation file and a template.
func TestSpoiledConversation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.json")
	spoil.Each(t, []byte(hostileConversation), spoil.Limit{Places: 150}, func(t *testing.T, spoiled []byte) {
		if err := os.WriteFile(path, spoiled, 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := ReadConversation(path)
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("error %q does not name the file", err)
			}
			return
		}
		renderAll(t, c, hostileTemplate)
	})
	if err := os.WriteFile(path, []byte(hostileConversation), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := ReadConversation(path)
	if err != nil {
		t.Fatal(err)
	}
	spoil.Each(t, []byte(hostileTemplate), spoil.Limit{Places: 150}, func(t *testing.T, spoiled []byte) { renderAll(t, c, string(spoiled)) })
}

// TestBudget: templates built to waste time or memory end with a LimitError.
func TestBudget(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]string{
		"loops in loops":  strings.Repeat("{% for i in range(9999) %}", 5) + strings.Repeat("{% endfor %}", 5),
		"doubling":        "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
		"repetition":      "{{ 'a' * 999999999 }}",
		"recursive macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
		"nested lists":    "{{ " + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + " }}",
		"wide number":     "{{ '%999999999d' % 1 }}",
		"long power":      "{{ 9 ** 999999999 }}",
	} {
		tmpl, err := ParseTemplate(src)
		if err == nil {
			_, err = tmpl.Render(NewDict(), RenderOptions{})
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// FuzzConversation renders foreign conversations with foreign templates, within the budget.
func FuzzConversation(f *testing.F) {
	f.Add([]byte(hostileConversation), hostileTemplate)
	f.Add([]byte(`[{"role": "user", "content": "Hi"}]`), "{% generation %}{{ messages[0]['content'] }}{% endgeneration %}")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, conversation []byte, template string) {
		path := filepath.Join(dir, "chat.json")
		if err := os.WriteFile(path, conversation, 0o644); err != nil {
			t.Fatal(err)
		}
		if c, err := ReadConversation(path); err == nil {
			renderAll(t, c, template)
		}
	})
}
