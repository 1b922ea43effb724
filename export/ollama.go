package export

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tokenizer"
)

// ollamaTemplates are the common ways to write a conversation, as templates of
// Ollama, which are Go's and not Jinja. stop ends an answer.
var ollamaTemplates = []struct{ text, stop string }{
	{"{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n", "<|im_end|>"},
	{"{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}" +
		"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"},
	{"{{- range .Messages }}{{ if eq .Role \"assistant\" }} {{ .Content }}</s>{{ else }}[INST] {{ .Content }} [/INST]{{ end }}{{ end }}", "</s>"},
	{"{{- range .Messages }}{{ if eq .Role \"assistant\" }}{{ .Content }}</s>{{ else }}[INST]{{ .Content }}[/INST]{{ end }}{{ end }}", "</s>"},
	{"{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}</s>\n{{ end }}<|assistant|>\n", "</s>"},
}

// WriteModelfile writes the Modelfile that makes a model of Ollama of a GGUF
// file, into the same folder, and returns its path. A chat template is written
// if one of the known ones gives the same text as the tokenizer's own; otherwise
// Ollama is left to recognize the one that is in the GGUF file.
func WriteModelfile(gguf string, tok *tokenizer.Tokenizer) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "FROM ./%s\n", filepath.Base(gguf))
	source, ok := tok.ChatTemplate(false)
	text, stop := ollamaTemplate(tok)
	switch {
	case text != "":
		fmt.Fprintf(&b, "TEMPLATE \"\"\"%s\"\"\"\nPARAMETER stop %q\n", text, stop)
	case ok && source != "":
		b.WriteString("# The chat template is in the GGUF file; if Ollama does not know it, write a TEMPLATE here.\n")
	default:
		b.WriteString("# A base model: it has no chat template and continues text.\n")
	}
	b.WriteString("# SYSTEM \"\"\"What the assistant is to keep in mind.\"\"\"\n")
	path := filepath.Join(filepath.Dir(gguf), "Modelfile")
	return path, run.WriteFile(path, []byte(b.String()))
}

// turn is a message as Ollama's templates see it.
type turn struct{ Role, Content string }

// ollamaTemplate returns the known template that writes a conversation as the
// tokenizer's own does, "" if none does.
func ollamaTemplate(tok *tokenizer.Tokenizer) (text, stop string) {
	renderer, err := chat.NewRenderer(tok)
	if err != nil {
		return "", ""
	}
	question, answer := turn{"user", "Why is the sky blue?"}, turn{"assistant", "Because air scatters blue light."}
	talk := []turn{question, answer, {"user", "And the sea?"}}
	want, ok := renderTurns(renderer, talk)
	if !ok {
		return "", ""
	}
	if bos, ok := tok.SpecialTokens()["bos_token"]; ok { // which llama.cpp adds
		want = strings.TrimPrefix(want, bos)
	}
	for _, known := range ollamaTemplates {
		var b strings.Builder
		t := template.Must(template.New("").Parse(known.text))
		if err := t.Execute(&b, map[string]any{"Messages": talk}); err == nil && b.String() == want {
			return known.text, known.stop
		}
	}
	return "", ""
}

func renderTurns(r *chat.Renderer, talk []turn) (string, bool) {
	var messages []chat.Value
	for _, m := range talk {
		d := chat.NewDict()
		d.Set("role", m.Role)
		d.Set("content", m.Content)
		messages = append(messages, d)
	}
	text, err := r.Render(messages, nil, chat.Options{AddGenerationPrompt: true})
	return text, err == nil
}
