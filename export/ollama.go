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
	text, stop, system := ollamaTemplate(tok)
	switch {
	case text != "":
		fmt.Fprintf(&b, "TEMPLATE \"\"\"%s\"\"\"\nPARAMETER stop %q\n", text, stop)
	case ok && source != "":
		b.WriteString("# The chat template is in the GGUF file; if Ollama does not know it, write a TEMPLATE here.\n")
	default:
		b.WriteString("# A base model: it has no chat template and continues text.\n")
	}
	if system == "" {
		b.WriteString("# SYSTEM \"\"\"What the assistant is to keep in mind.\"\"\"\n")
	} else {
		fmt.Fprintf(&b, "SYSTEM \"\"\"%s\"\"\"\n", system)
	}
	path := filepath.Join(filepath.Dir(gguf), "Modelfile")
	return path, run.WriteFile(path, []byte(b.String()))
}

// turn is a message as Ollama's templates see it.
type turn struct{ Role, Content string }

// ollamaTemplate returns the known template that writes conversations as the
// tokenizer's own does, "" if none does, and the system message that is written
// when there is none.
func ollamaTemplate(tok *tokenizer.Tokenizer) (text, stop, system string) {
	renderer, err := chat.NewRenderer(tok)
	if err != nil {
		return "", "", ""
	}
	const mark = "Answer in one sentence."
	talk := []turn{{"user", "Why is the sky blue?"}, {"assistant", "Because air scatters blue light."}, {"user", "And the sea?"}}
	told := append([]turn{{"system", mark}}, talk...)
	plain, ok := renderTurns(renderer, tok, talk)
	if !ok {
		return "", "", ""
	}
	withSystem, takesSystem := renderTurns(renderer, tok, told)
	for _, known := range ollamaTemplates {
		t := template.Must(template.New("").Parse(known.text))
		ours := func(talk []turn) string {
			var b strings.Builder
			if err := t.Execute(&b, map[string]any{"Messages": talk}); err != nil {
				return ""
			}
			return b.String()
		}
		if ours(talk) == plain {
			return known.text, known.stop, ""
		}
		if !takesSystem || ours(told) != withSystem {
			continue
		}
		before, after, _ := strings.Cut(withSystem, mark)
		if rest, ok := strings.CutPrefix(plain, before); ok && strings.HasSuffix(rest, after) && !strings.Contains(rest, `"""`) {
			return known.text, known.stop, strings.TrimSuffix(rest, after)
		}
	}
	return "", "", ""
}

// renderTurns writes a conversation with the tokenizer's template, without the
// BOS in front, which llama.cpp adds.
func renderTurns(r *chat.Renderer, tok *tokenizer.Tokenizer, talk []turn) (string, bool) {
	var messages []chat.Value
	for _, m := range talk {
		d := chat.NewDict()
		d.Set("role", m.Role)
		d.Set("content", m.Content)
		messages = append(messages, d)
	}
	text, err := r.Render(messages, nil, chat.Options{AddGenerationPrompt: true})
	ids := tok.Encode("", true)
	if bos, ok := tok.BOS(); ok && len(ids) > 0 && ids[0] == bos {
		text = strings.TrimPrefix(text, tok.Piece(bos))
	}
	return text, err == nil
}
