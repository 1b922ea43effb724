package export_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/tokenizer"
)

// modelfile writes the Modelfile of a tokenizer with this chat template, and of a
// folder with this generation_config.json.
func modelfile(t *testing.T, jinja, generation string) string {
	t.Helper()
	return modelfileOf(t, jinja, generation, "{}")
}

// modelfileOf does so with a config.json, too.
func modelfileOf(t *testing.T, jinja, generation, config string) string {
	t.Helper()
	tok, err := tokenizer.Train(slices.Values([]string{"a b"}), tokenizer.TrainOptions{
		VocabSize: 264, SpecialTokens: []string{"<think>", "</think>", "<s>", "</s>"}, BOS: "<s>", EOS: "</s>", ChatTemplate: jinja,
	})
	if err != nil {
		t.Fatal(err)
	}
	source := t.TempDir()
	if generation != "" {
		if err := os.WriteFile(filepath.Join(source, "generation_config.json"), []byte(generation), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path, err := export.WriteModelfile(filepath.Join(t.TempDir(), "model.gguf"), source, []byte(config), tok)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ollamaText renders the TEMPLATE of a Modelfile as Ollama does.
func ollamaText(t *testing.T, modelfile string, system string, messages ...map[string]string) string {
	t.Helper()
	_, rest, _ := strings.Cut(modelfile, `TEMPLATE """`)
	source, _, ok := strings.Cut(rest, `"""`)
	if !ok {
		t.Fatalf("no template in\n%s", modelfile)
	}
	parsed, err := template.New("").Option("missingkey=error").Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	if system != "" {
		messages = append([]map[string]string{{"Role": "system", "Content": system}}, messages...)
	}
	var b strings.Builder
	if err := parsed.Execute(&b, map[string]any{"Messages": messages, "System": system}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestInferredTemplate: templates that no list knows are written down from what
// they do, if they do the same with all turns.
func TestInferredTemplate(t *testing.T) {
	t.Parallel()
	const regular = "{% if messages[0].role == 'system' %}[[{{ messages[0].content }}]]{% set messages = messages[1:] %}{% else %}[[Be {{ '{{' }}kind.]]{% endif %}" +
		"{% for m in messages %}{{ 'Q' if m.role == 'user' else 'A' }}: {{ m.content | trim }}\n{% endfor %}{% if add_generation_prompt %}A: {% endif %}"
	talk := []map[string]string{{"Role": "user", "Content": "One?"}, {"Role": "assistant", "Content": "1"}, {"Role": "user", "Content": "Two?"}}
	text := modelfile(t, regular, "")
	for system, want := range map[string]string{
		"":      "[[Be {{kind.]]Q: One?\nA: 1\nQ: Two?\nA: ",
		"Count": "[[Count]]Q: One?\nA: 1\nQ: Two?\nA: ",
	} {
		if got := ollamaText(t, text, system, talk...); got != want {
			t.Errorf("system %q: %q, want %q", system, got, want)
		}
	}
	// The system message in the last question, as Mistral's models have it.
	const late = "{% if messages[0].role == 'system' %}{% set rules = messages[0].content %}{% set messages = messages[1:] %}{% endif %}" +
		"{% for m in messages %}{% if m.role == 'user' %}[Q]{{ '<' ~ rules ~ '>\n' if loop.last and rules is defined }}{{ m.content }}[/Q]{% else %}{{ m.content }}</s>{% endif %}{% endfor %}"
	text = modelfile(t, late, "")
	for system, want := range map[string]string{
		"":      "[Q]One?[/Q]1</s>[Q]Two?[/Q]",
		"Count": "[Q]One?[/Q]1</s>[Q]<Count>\nTwo?[/Q]",
	} {
		if got := ollamaText(t, text, system, talk...); got != want {
			t.Errorf("system %q: %q, want %q", system, got, want)
		}
	}
	// An opening that is only for the answer to come.
	thinking := strings.Replace(regular, "A: {% endif %}", "A: <think>{% endif %}", 1)
	if got := ollamaText(t, modelfile(t, thinking, ""), "", talk...); !strings.HasSuffix(got, "A: 1\nQ: Two?\nA: <think>") {
		t.Errorf("%q", got)
	}
	dated := strings.Replace(regular, "Be ", "{{ strftime_now('%Y-%m-%d') }} ", 1)
	if text := modelfile(t, dated, ""); !strings.Contains(text, "the day on which") {
		t.Errorf("a date is not told of:\n%s", text)
	}
	for name, jinja := range map[string]string{
		"last turn marked":  strings.Replace(regular, "{{ m.content", "{{ '!' if loop.last }}{{ m.content", 1),
		"system at the end": "{% for m in messages if m.role != 'system' %}{{ m.role }} {{ m.content }};{% endfor %}{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}",
		"content twice":     strings.Replace(regular, "{{ m.content", "{{ m.content }}{{ m.content", 1),
		"triple quotes":     strings.Replace(regular, "A: {% endif %}", `A: """{% endif %}`, 1),
		"no system allowed": "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + regular,
	} {
		if text := modelfile(t, jinja, ""); strings.Contains(text, "\nTEMPLATE") || !strings.Contains(text, "# The chat template is in the GGUF file") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

// TestTemplatesOfFamilies: the real templates of the supported families have a TEMPLATE.
func TestTemplatesOfFamilies(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "shared", "templates")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("shared test data %s is not here", dir)
	}
	for _, name := range []string{
		"hf__llama3_2", "hf__qwen2_5", "hf__mistral_nemo", "lcpp__mistralai-Mistral-Nemo-Instruct-2407", "lcpp__HuggingFaceTB-SmolLM3-3B", "lcpp__Qwen-QwQ-32B", "lcpp__Qwen-Qwen3-0.6B", "lcpp__Qwen3-Coder",
		"lcpp__meta-llama-Llama-3.1-8B-Instruct", "lcpp__meta-llama-Llama-3.3-70B-Instruct", "lcpp__deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
		"lcpp__Mistral-Small-3.2-24B-Instruct-2506", "unsloth__mistral", "unsloth__llama", "unsloth__vicuna", "unsloth__chatml", "unsloth__zephyr", "unsloth__llama-3",
	} {
		jinja, err := os.ReadFile(filepath.Join(dir, name+".jinja"))
		if err != nil {
			t.Fatal(err)
		}
		if text := modelfile(t, string(jinja), ""); !strings.Contains(text, "\nTEMPLATE") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

// TestModelfileParameters: generation_config.json decides; a broken one does not.
func TestModelfileParameters(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ generation, want string }{
		{"", "PARAMETER stop \"</s>\"\n"},
		{`{"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0, "repetition_penalty": 1.05, "eos_token_id": [3, 1, 99999, -4]}`,
			"PARAMETER stop \"</s>\"\nPARAMETER stop \"</think>\"\nPARAMETER temperature 0.7\nPARAMETER top_p 0.8\nPARAMETER min_p 0\nPARAMETER top_k 20\nPARAMETER repeat_penalty 1.05\n"},
		{`{"do_sample": false, "temperature": 0.7}`, "PARAMETER stop \"</s>\"\nPARAMETER temperature 0\n"},
		{`{"temperature": "hot", "eos_token_id": 1}`, "PARAMETER stop \"</think>\"\nPARAMETER stop \"</s>\"\n"},
		{`{"temperature": `, "PARAMETER stop \"</s>\"\n"},
	} {
		var got strings.Builder
		for line := range strings.Lines(modelfile(t, "", test.generation)) {
			if strings.HasPrefix(line, "PARAMETER") {
				got.WriteString(line)
			}
		}
		if got.String() != test.want {
			t.Errorf("%s:\n%swant\n%s", test.generation, &got, test.want)
		}
	}
}

// TestModelfileStops: generation_config.json, config.json and the tokenizer each name another end.
func TestModelfileStops(t *testing.T) {
	t.Parallel()
	got := modelfileOf(t, "", `{"eos_token_id": [0]}`, `{"eos_token_id": 1}`)
	const want = "PARAMETER stop \"<think>\"\nPARAMETER stop \"</think>\"\nPARAMETER stop \"</s>\"\n"
	if !strings.Contains(got, want) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// FuzzModelfile: no chat template or generation_config.json, which may come from
// anyone, gets a command of its own into the Modelfile.
func FuzzModelfile(f *testing.F) {
	f.Add("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: ", `{"temperature": 0.7, "eos_token_id": [3, 1]}`, "</s>")
	f.Add("{% for m in messages %}{{ m.content }}\"\"\"\nADAPTER ./x\n{% endfor %}", `{"temperature": "1\nFROM x"}`, "\"\nFROM /etc/passwd")
	f.Fuzz(func(t *testing.T, jinja, generation, eos string) {
		tok, err := tokenizer.Train(slices.Values([]string{"a b"}), tokenizer.TrainOptions{
			VocabSize: 258, SpecialTokens: []string{"<s>", eos}, EOS: eos, ChatTemplate: jinja,
		})
		if err != nil {
			return
		}
		source := t.TempDir()
		if err := os.WriteFile(filepath.Join(source, "generation_config.json"), []byte(generation), 0o644); err != nil {
			t.Fatal(err)
		}
		path, err := export.WriteModelfile(filepath.Join(source, "model.gguf"), source, nil, tok)
		if err != nil {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rest := string(text)
		for number := 0; rest != ""; number++ {
			var line string
			line, rest, _ = strings.Cut(rest, "\n")
			command, argument, _ := strings.Cut(line, " ")
			switch {
			case strings.HasPrefix(line, "# "), command == "PARAMETER", command == "FROM" && number == 0 && argument == "./model.gguf":
			case command == "TEMPLATE" || command == "SYSTEM":
				inside, quoted := strings.CutPrefix(argument+"\n"+rest, `"""`)
				if !quoted {
					t.Fatalf("%s is not in quotes:\n%s", command, text)
				}
				var ended bool
				if _, rest, ended = strings.Cut(inside, "\"\"\"\n"); !ended {
					t.Fatalf("%s without end:\n%s", command, text)
				}
			default:
				t.Fatalf("line %q in\n%s", line, text)
			}
		}
	})
}
