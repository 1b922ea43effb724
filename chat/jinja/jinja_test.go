package jinja

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestHostile runs templates made to exhaust something. Each must end in a limit.
func TestHostile(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]string{
		"endless macro":      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
		"mutual macros":      "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
		"recursive loop":     "{% set l = [1] %}{% for x in l recursive %}{{ loop(l) }}{% endfor %}",
		"nested loops":       strings.Repeat("{% for x in range(100000) %}", 4) + strings.Repeat("{% endfor %}", 4),
		"doubling text":      "{% set ns = namespace(s='ab') %}{% for x in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
		"doubling list":      "{% set ns = namespace(l=[1]) %}{% for x in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
		"repetition":         "{{ 'a' * 99999999999 }}",
		"output":             "{% for x in range(100000) %}{{ 'abcdefgh' * 1000 }}{% endfor %}",
		"padding":            "{{ '%999999999d' % 1 }}",
		"filling":            "{{ 'a'.rjust(99999999999) }}",
		"replacing":          "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
		"indenting":          "{{ ('a\n' * 1000000) | indent(1000) }}",
		"nested data":        "{% set ns = namespace(l=[]) %}{% for x in range(10000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
		"nested comparison":  "{% set ns = namespace(l=[], m=[]) %}{% for x in range(10000) %}{% set ns.l = [ns.l] %}{% set ns.m = [ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
		"nested JSON":        "{% set ns = namespace(l=[]) %}{% for x in range(10000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | tojson }}",
		"shared data":        "{% set ns = namespace(l=[1]) %}{% for x in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
		"shared comparison":  "{% set ns = namespace(l=[1], m=[1]) %}{% for x in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
		"shared key":         "{% set ns = namespace(l=(1,)) %}{% for x in range(99) %}{% set ns.l = (ns.l, ns.l) %}{% endfor %}{{ {ns.l: 1} }}",
		"batch":              "{{ [1] | batch(999999999999, 0) | list }}",
		"deep source":        "{{ " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + " }}",
		"deep blocks":        strings.Repeat("{% if 1 %}", 5000) + strings.Repeat("{% endif %}", 5000),
		"deep lists":         "{{ " + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + " }}",
		"long power":         "{{ 9 ** 999999999 }}",
		"deep not":           "{{ " + strings.Repeat("not ", 5000) + "1 }}",
		"deep sign":          "{{ " + strings.Repeat("-", 5000) + "1 }}",
		"deep condition":     "{{ " + strings.Repeat("1 if 1 else ", 5000) + "1 }}",
		"deep targets":       "{% set " + strings.Repeat("(", 5000) + "a" + strings.Repeat(")", 5000) + " = 1 %}",
		"long sum":           "{{ 1" + strings.Repeat("+1", 100_000) + " }}",
		"long attribute":     "{{ a" + strings.Repeat(".a", 100_000) + " }}",
		"calls in arguments": "{% macro f(x) %}{{ f(f(x)) }}{% endmacro %}{{ f(1) }}",
		"time format":        "{{ strftime_now('%c' * 1000000) }}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := renderText(src, NewDict(), time.Time{})
			var e *templateError
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			want := limitError
			if name == "time format" || name == "long power" {
				want = valueError
			}
			if e.kind != want {
				t.Errorf("%s error %v, want a %s error", e.kind, e, want)
			}
		})
	}
}

func TestErrorLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ src, want string }{
		{"a\nb {{ x.y }}", "chat template: line 2: 'x' is undefined"},
		{"{% if 1 %}\n{% for x in [1] %}\n\n{{ raise_exception('boom') }}{% endfor %}{% endif %}", "chat template: line 4: boom"},
		{"{{ {\n'a': 1,\n'b': x + 1} }}", "chat template: line 3: 'x' is undefined"},
		{"{% macro f(a) %}\n{{ a + 1 }}{% endmacro %}\n\n{{ f('b') }}", `chat template: line 2: can only concatenate str (not "int") to str`},
		{"\n{% for %}", "chat template: line 2: expected a name, found '%}'"},
		{"{# a\n #}{% nope %}", "chat template: line 2: unknown tag 'nope'"},
		{"{% if x %}\n\n", "chat template: line 2: unexpected end of template: the block of line 1 needs {% elif %} or {% else %} or {% endif %}"},
		{"{{ 'abc' | shout }}", "chat template: line 1: no filter named 'shout'"},
		{"\n\n{{ 'abc }}", "chat template: line 3: a string is not closed"},
		{"\n{# abc", "chat template: line 2: missing end of comment: expected #}"},
		{"\n{{ (1 + 2 }}", "chat template: line 2: unexpected '}', expected ')'"},
	} {
		_, err := renderText(c.src, NewDict(), time.Time{})
		if err == nil || err.Error() != c.want {
			t.Errorf("%q\n  got  %v\n  want %s", c.src, err, c.want)
		}
	}
}

func TestGenerationSpans(t *testing.T) {
	t.Parallel()
	ctx := NewDict()
	ctx.Set("messages", NewList(message("user", "Hé?"), message("assistant", "Ja."), message("user", "Und?"), message("assistant", "Nein.")))
	const turn = "{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }};{% endgeneration %}{% else %}U:{{ m.content }} {% endif %}"
	for _, c := range []struct{ src, want, err string }{
		{"{% for m in messages %}" + turn + "{% endfor %}", "Ja.;|Nein.;", ""},
		{"{% macro t(m) %}" + turn + "{% endmacro %}{% for m in messages %}{{ t(m) }}{% endfor %}", "Ja.;|Nein.;", ""},
		{"{% set all %}{% for m in messages %}" + turn + "{% endfor %}{% endset %}{{ all }}", "Ja.;|Nein.;", ""},
		{"{% filter upper %}{% for m in messages %}" + turn + "{% endfor %}{% endfilter %}", "", "its place in the output is lost"},
		{"{{ messages[0].content }}", "", ""},
	} {
		tmpl, err := Parse(c.src)
		if err != nil {
			t.Fatal(err)
		}
		text, spans, err := tmpl.Render(ctx, time.Time{})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v", c.src, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range spans {
			got = append(got, text[s.Start:s.End])
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%s: spans %q", c.src, got)
		}
	}
}

func message(role, content string) *Dict {
	d := NewDict()
	d.Set("role", role)
	d.Set("content", content)
	return d
}
