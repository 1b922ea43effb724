package cli

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func readInto(t *testing.T, path string, value any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, value); err != nil {
		t.Fatal(err)
	}
}

// The reference ids come from another implementation; see the README beside them.
func TestTokenizeAgainstReference(t *testing.T) {
	t.Parallel()
	names := []string{"llama2", "llama3_2", "mistral_nemo", "qwen2_5"}
	if testing.Short() {
		names = names[:2] // one of each algorithm; package tokenizer tests the others
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := shared(t, "tokenizers")
			var want struct{ IDs, Special [][]int32 }
			readInto(t, filepath.Join(dir, "ref_"+name+".json"), &want)
			var texts []string
			readInto(t, filepath.Join(dir, "strings.json"), &texts)
			for _, c := range []struct {
				flags []string
				want  [][]int32
			}{{nil, want.IDs}, {[]string{"--add-special-tokens"}, want.Special}} {
				args := append([]string{"tokenize", "--model", filepath.Join(dir, name), "--strings", filepath.Join(dir, "strings.json")}, c.flags...)
				code, out, errOut := lentil(t, "", args...)
				if code != 0 {
					t.Fatalf("%v: %d %s", args, code, errOut)
				}
				var got [][]int32
				if err := json.Unmarshal([]byte(out), &got); err != nil {
					t.Fatal(err)
				}
				if len(got) != len(c.want) {
					t.Fatalf("%d lists, want %d", len(got), len(c.want))
				}
				for i := range got {
					if !slices.Equal(got[i], c.want[i]) {
						t.Errorf("%v %q: %v, want %v", c.flags, texts[i], got[i], c.want[i])
					}
				}
			}
		})
	}
}

func TestTokenizePrintsPieces(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shared(t, "tokenizers"), "qwen2_5")
	figures := filepath.Join(t.TempDir(), "out.json")
	code, out, errOut := lentil(t, "Hello world", "tokenize", "--model", dir, "--json", figures, "-")
	const want = "   9707  \"Hello\"\n   1879  \"Ġworld\"\n"
	if code != 0 || out != want {
		t.Errorf("%d %q %q, want %q", code, out, errOut, want)
	}
	var got tokenizeFigures
	readInto(t, figures, &got)
	if !slices.Equal(got.IDs, []int32{9707, 1879}) || !slices.Equal(got.Pieces, []string{"Hello", "Ġworld"}) {
		t.Errorf("--json: %+v", got)
	}
	bad := writeFile(t, "bad.json", "[\n\"a\",\n3]")
	code, _, errOut = lentil(t, "", "tokenize", "--model", dir, "--strings", bad)
	if code != ExitUsage || !strings.Contains(errOut, bad+":3:1: ") {
		t.Errorf("bad list: %d %q", code, errOut)
	}
}

// The reference texts come from Jinja2, with the clock at 22 November 2026.
func TestRenderAgainstReference(t *testing.T) {
	t.Parallel()
	dir := shared(t, "templates")
	var reference map[string]map[string]struct{ Out, Err *string }
	readInto(t, filepath.Join(dir, "reference.json"), &reference)
	var contexts []struct {
		Name string
		Ctx  json.RawMessage
	}
	readInto(t, filepath.Join(dir, "contexts.json"), &contexts)
	files := map[string]string{}
	for _, c := range contexts {
		files[c.Name] = writeFile(t, c.Name+".json", string(c.Ctx))
	}
	for at, template := range slices.Sorted(maps.Keys(reference)) {
		want := reference[template]
		if testing.Short() && at%3 > 0 {
			continue // package jinja renders all of them
		}
		t.Run(template, func(t *testing.T) {
			t.Parallel()
			for name, w := range want {
				code, out, errOut := lentil(t, "", "render", "--template", filepath.Join(dir, template), "--context", files[name], "--now", "2026-11-22T12:00:00Z")
				switch {
				case w.Err != nil && code != ExitUsage:
					t.Errorf("%s: exit %d, want an error like %q", name, code, *w.Err)
				case w.Out != nil && (code != 0 || out != *w.Out):
					t.Errorf("%s: exit %d %s\n got %q\nwant %q", name, code, errOut, out, *w.Out)
				}
			}
		})
	}
}

func TestRenderMessages(t *testing.T) {
	t.Parallel()
	template := writeFile(t, "t.jinja", "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{{ tools | length if tools }}{% if add_generation_prompt %}<assistant>{% endif %}")
	messages := writeFile(t, "m.json", `[{"role": "user", "content": "Hi"}]`)
	tools := writeFile(t, "tools.json", `[{"name": "a"}, {"name": "b"}]`)
	code, out, errOut := lentil(t, "", "render", "--template", template, "--messages", messages, "--tools", tools, "--add-generation-prompt")
	if want := "<user>Hi\n2<assistant>"; code != 0 || out != want {
		t.Errorf("%d %q %q, want %q", code, out, errOut, want)
	}
	bad := writeFile(t, "bad.json", "[\n{\"role\": }]")
	for _, c := range []struct{ args, want string }{
		{"--template " + template + " --messages " + bad, bad + ": "},
		{"--template " + template + " --messages nowhere.json", "--messages: "},
		{"--template " + bad + "x --messages " + messages, "--template: "},
		{"--template " + template + " --context " + messages, "expected a JSON object"},
		{"--template " + template + " --messages " + messages + " --now noon", "--now noon: expected a time"},
	} {
		code, _, errOut := lentil(t, "", append([]string{"render"}, strings.Fields(c.args)...)...)
		if code != ExitUsage || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: %d %q lacks %q", c.args, code, errOut, c.want)
		}
	}
}
