package jinja

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// TestGoldens compares small templates with what Jinja2 made of them (testdata/goldens.py).
func TestGoldens(t *testing.T) {
	t.Parallel()
	golden := readJSON(t, filepath.Join("testdata", "goldens.json")).(*Dict)
	ctx, _ := golden.Get("ctx")
	cases, _ := golden.Get("cases")
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, c := range cases.(*List).Items {
		src, _ := c.(*Dict).Get("src")
		out, isOut := c.(*Dict).Get("out")
		kind, _ := c.(*Dict).Get("err")
		got, err := renderText(src.(string), ctx.(*Dict), now)
		var e *templateError
		switch {
		case isOut && err != nil:
			t.Errorf("%s\n  got  %v\n  want %q", src, err, out)
		case isOut && got != out:
			t.Errorf("%s\n  got  %q\n  want %q", src, got, out)
		case !isOut && !errors.As(err, &e):
			t.Errorf("%s\n  got  %q\n  want a %s error", src, got, kind)
		case !isOut && e.kind.String() != kind:
			t.Errorf("%s\n  got  %s error %v\n  want a %s error", src, e.kind, e, kind)
		}
	}
}

func renderText(src string, ctx *Dict, now time.Time) (string, error) {
	tmpl, err := Parse(src)
	if err != nil {
		return "", err
	}
	text, _, err := tmpl.Render(ctx, now)
	return text, err
}

// FuzzTemplate runs templates that nobody would write: no input may end in anything but text or an error.
func FuzzTemplate(f *testing.F) {
	ctx := fuzzContext(f)
	for _, src := range []string{
		"{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}{% endfor %}",
		"{%- macro f(a, b=1) -%}{{ a ~ b }}{%- endmacro -%}{{ f(2, b='x') }}{{ f(*[1], **{'b': 3}) }}",
		"{% set ns = namespace(x=[]) %}{% for i in range(3) if i %}{% set ns.x = ns.x + [i] %}{% else %}none{% endfor %}{{ ns.x | tojson(indent=2) }}",
		"{{ '%5.1f|%-3s' % (1.25, 'é') }}{{ '{:>8,}'.format(12345) }}{{ 'a,b'.split(',')[::-1] | join }}",
		"{% raw %}{{ }}{% endraw %}{# c -#} {% filter upper | replace('A', 'b') %}a{% endfilter %}{% call f() %}{% endcall %}",
		"{% generation %}x{% endgeneration %}{% with a = 1 %}{{ a if a is odd and not b else -a ** 2 // 3 }}{% endwith %}",
		"{% for x in [1, [2]] recursive %}{{ loop(x) if x is iterable else loop.cycle(x, loop.nextitem) }}{% break %}{% endfor %}",
		"{{ messages | selectattr('role', 'eq', 'user') | map(attribute='content') | list | sort | groupby(0) | dictsort }}",
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		tmpl, err := Parse(src)
		if err != nil {
			var e *templateError
			if !errors.As(err, &e) {
				t.Fatalf("not a template error: %v", err)
			}
			return
		}
		if _, _, err := tmpl.Render(ctx, time.Time{}); err != nil {
			var e *templateError
			if !errors.As(err, &e) {
				t.Fatalf("not a template error: %v", err)
			}
		}
	})
}

func fuzzContext(t testing.TB) *Dict {
	v, err := ParseJSON([]byte(`{"messages": [{"role": "user", "content": "Hi é"}, {"role": "assistant", "content": null, "n": 1.0}], "s": "a b"}`))
	if err != nil {
		t.Fatal(err)
	}
	return v.(*Dict)
}

// FuzzParseJSON checks that what is accepted is written and read back unchanged.
func FuzzParseJSON(f *testing.F) {
	for _, src := range []string{`{"b": [1, 1.0, -2e3, null, true], "a": "\u00e9\ud83d\ude42\n"}`, `123456789012345678901234567890`, `[NaN, Infinity]`, `"\ud800"`} {
		f.Add([]byte(src))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ParseJSON(data)
		if err != nil {
			return
		}
		text, err := FormatJSON(v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseJSON([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if text2, _ := FormatJSON(again); text2 != text {
			t.Fatalf("%s became %s", text, text2)
		}
	})
}
