package chat

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/chat/jinja"
)

// fakeTokenizer has templates and special tokens and nothing else.
type fakeTokenizer struct {
	template, toolTemplate string
	thinking               bool
}

func (f fakeTokenizer) ChatTemplate(withTools bool) (string, bool) {
	if withTools && f.toolTemplate != "" {
		return f.toolTemplate, true
	}
	return f.template, f.template != ""
}

func (f fakeTokenizer) SpecialTokens() map[string]string {
	return map[string]string{"bos_token": "<s>"}
}

func (f fakeTokenizer) HasThinking() bool { return f.thinking }

func render(t *testing.T, tok fakeTokenizer, messages []Value, tools Value, opt Options) (string, error) {
	t.Helper()
	r, err := NewRenderer(tok)
	if err != nil {
		t.Fatal(err)
	}
	return r.Render(messages, tools, opt)
}

func TestRenderer(t *testing.T) {
	t.Parallel()
	messages := []Value{NewMessage("user", "Hi")}
	off := jinja.NewDict()
	off.Set("enable_thinking", false)
	off.Set("extra", "E")
	const show = "{{ bos_token }}{{ messages[0].content }} {{ tools is none }} {{ documents is none }} {{ add_generation_prompt }} {{ enable_thinking }} {{ extra }}"
	for _, c := range []struct {
		tok   fakeTokenizer
		tools Value
		opt   Options
		want  string
	}{
		{fakeTokenizer{template: show}, nil, Options{}, "<s>Hi True True False False "},
		{fakeTokenizer{template: show, thinking: true}, nil, Options{AddGenerationPrompt: true}, "<s>Hi True True True True "},
		{fakeTokenizer{template: show, thinking: true}, nil, Options{Kwargs: off}, "<s>Hi True True False False E"},
		{fakeTokenizer{template: "plain", toolTemplate: "{{ tools | length }}"}, jinja.NewList(jinja.NewDict()), Options{}, "1"},
		{fakeTokenizer{template: "{{ strftime_now('%d %b %Y') }}"}, nil, Options{Now: time.Date(2024, 2, 3, 0, 0, 0, 0, time.UTC)}, "03 Feb 2024"},
	} {
		got, err := render(t, c.tok, messages, c.tools, c.opt)
		if err != nil || got != c.want {
			t.Errorf("%+v: %q, %v; want %q", c.tok, got, err, c.want)
		}
	}
	if _, err := NewRenderer(fakeTokenizer{}); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("no template: %v", err)
	}
}

func TestContinueFinal(t *testing.T) {
	t.Parallel()
	parts := jinja.NewDict()
	parts.Set("role", "assistant")
	text := jinja.NewDict()
	text.Set("type", "text")
	text.Set("text", "Well")
	parts.Set("content", jinja.NewList(text))
	empty := jinja.NewDict()
	empty.Set("role", "assistant")
	empty.Set("content", nil)
	const plain = "{% for m in messages %}[{{ m.role }}]{{ m.content }}<end>\n{% endfor %}"
	const trimmed = "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}<end>\n{% endfor %}"
	const inParts = "{% for m in messages %}[{{ m.role }}]{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}{% endif %}<end>\n{% endfor %}"
	for i, c := range []struct {
		template string
		last     Value
		want     string
		err      string
	}{
		{plain, NewMessage("assistant", "Well, "), "[user]Well, <end>\n[assistant]Well, ", ""},
		{trimmed, NewMessage("assistant", "Well, "), "[user]Well,<end>\n[assistant]Well,", ""},
		{plain, NewMessage("assistant", ""), "[user]Well, <end>\n[assistant]", ""},
		{plain, NewMessage("assistant", "[continue-here]"), "[user]Well, <end>\n[assistant][continue-here]", ""},
		{inParts, parts, "[user]Well, <end>\n[assistant]Well", ""},
		{plain, empty, "", "no text to continue"},
		{"{{ messages[0].content }}", NewMessage("assistant", "a"), "", "does not show its text"},
	} {
		messages := []Value{NewMessage("user", "Well, "), c.last}
		before := fmt.Sprint(jinja.FormatJSON(c.last))
		got, err := render(t, fakeTokenizer{template: c.template}, messages, nil, Options{ContinueFinal: true})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("case %d: error %v", i, err)
			}
		} else if err != nil || got != c.want {
			t.Errorf("case %d: %q, %v; want %q", i, got, err, c.want)
		}
		if fmt.Sprint(jinja.FormatJSON(c.last)) != before {
			t.Errorf("case %d: the message was changed", i)
		}
	}
	_, err := render(t, fakeTokenizer{template: plain}, []Value{NewMessage("user", "a")}, nil, Options{ContinueFinal: true, AddGenerationPrompt: true})
	if err == nil {
		t.Error("both options: no error")
	}
}
