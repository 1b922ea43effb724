package export

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// modelfileName is how Ollama finds it.
const modelfileName = "Modelfile"

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
// if one can be found that gives the same text as the tokenizer's own; otherwise
// Ollama is left to recognize the one that is in the GGUF file. source is the
// model's folder, whose generation_config.json gives the parameters, and config
// its config.json.
func WriteModelfile(gguf, source string, config []byte, tok *tokenizer.Tokenizer) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "FROM ./%s\n", filepath.Base(gguf))
	jinja, ok := tok.ChatTemplate(false)
	text, stop, system, dated := ollamaTemplate(tok)
	if dated {
		fmt.Fprintf(&b, "# This template writes the day on which the file was made, %s.\n", time.Now().Format(time.DateOnly))
	}
	switch {
	case text != "":
		fmt.Fprintf(&b, "TEMPLATE \"\"\"%s\"\"\"\n", text)
	case ok && jinja != "":
		b.WriteString("# The chat template is in the GGUF file; if Ollama does not know it, write a TEMPLATE here.\n")
	default:
		b.WriteString("# A base model: it has no chat template and continues text.\n")
	}
	ends := []string{stop}
	for _, id := range model.EndTokens(config, source, tok) {
		end, err := tok.Decode([]int32{id}, false)
		if err != nil {
			return "", err
		}
		ends = append(ends, end)
	}
	ollamaStops(&b, ends)
	ollamaSampling(&b, source)
	if system == "" {
		b.WriteString("# SYSTEM \"\"\"What the assistant is to keep in mind.\"\"\"\n")
	} else {
		fmt.Fprintf(&b, "SYSTEM \"\"\"%s\"\"\"\n", system)
	}
	path := filepath.Join(filepath.Dir(gguf), modelfileName)
	return path, atomicfile.Write(path, []byte(b.String()))
}

// ollamaStops writes the texts that end an answer, each once.
func ollamaStops(b *strings.Builder, ends []string) {
	written := map[string]bool{"": true}
	for _, end := range ends {
		if !written[end] && !strings.ContainsAny(end, "\"\\\n\r") {
			fmt.Fprintf(b, "PARAMETER stop \"%s\"\n", end)
		}
		written[end] = true
	}
}

// ollamaSampling writes how tokens are drawn. Without a generation_config.json
// that is left to Ollama.
func ollamaSampling(b *strings.Builder, source string) {
	var c struct {
		Sample            *bool    `json:"do_sample"`
		Temperature       *float64 `json:"temperature"`
		TopP              *float64 `json:"top_p"`
		TopK              *int     `json:"top_k"`
		MinP              *float64 `json:"min_p"`
		RepetitionPenalty *float64 `json:"repetition_penalty"`
	}
	data, err := weights.ReadFile(filepath.Join(source, "generation_config.json"))
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	switch {
	case err != nil: // GGUF files and many folders have none; mlx-lm ignores broken ones too
		return
	case c.Sample != nil && !*c.Sample:
		b.WriteString("PARAMETER temperature 0\n")
	default:
		for _, p := range []struct {
			name  string
			value *float64
		}{{"temperature", c.Temperature}, {"top_p", c.TopP}, {"min_p", c.MinP}} {
			if p.value != nil {
				fmt.Fprintf(b, "PARAMETER %s %g\n", p.name, *p.value)
			}
		}
		if c.TopK != nil {
			fmt.Fprintf(b, "PARAMETER top_k %d\n", *c.TopK)
		}
	}
	if c.RepetitionPenalty != nil {
		fmt.Fprintf(b, "PARAMETER repeat_penalty %g\n", *c.RepetitionPenalty)
	}
}

// turn is a message as Ollama's templates see it.
type turn struct{ Role, Content string }

// ollamaTemplate returns a template that writes conversations as the tokenizer's
// own does, "" if there is none: a known one, else one inferred. A known one may
// come with the system message that is written when there is none; dated tells
// that an inferred one has today's date in it.
func ollamaTemplate(tok *tokenizer.Tokenizer) (text, stop, system string, dated bool) {
	renderer, err := chat.NewRenderer(tok)
	if err != nil {
		return "", "", "", false
	}
	now := time.Now()
	render := func(talk []turn) (string, bool) { return renderTurns(renderer, tok, talk, now) }
	if text, stop, system = knownTemplate(render); text != "" {
		return text, stop, system, false
	}
	text, ok := inferTemplate(render)
	if !ok {
		return "", "", "", false
	}
	question := []turn{{"user", "Why is the sky blue?"}}
	today, _ := render(question)
	longAgo, _ := renderTurns(renderer, tok, question, now.AddDate(-1, -1, -1))
	return text, "", "", today != longAgo
}

// knownTemplate looks for one of ollamaTemplates that does what render does.
func knownTemplate(render func([]turn) (string, bool)) (text, stop, system string) {
	const mark = "Answer in one sentence."
	talk := []turn{{"user", "Why is the sky blue?"}, {"assistant", "Because air scatters blue light."}, {"user", "And the sea?"}}
	told := append([]turn{{"system", mark}}, talk...)
	plain, ok := render(talk)
	if !ok {
		return "", "", ""
	}
	withSystem, takesSystem := render(told)
	for _, known := range ollamaTemplates {
		ours := func(talk []turn) string { text, _ := runOllama(known.text, talk); return text }
		if ours(talk) == plain && (!takesSystem || ours(told) == withSystem) {
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
func renderTurns(r *chat.Renderer, tok *tokenizer.Tokenizer, talk []turn, now time.Time) (string, bool) {
	var messages []chat.Value
	for _, m := range talk {
		d := jinja.NewDict()
		d.Set("role", m.Role)
		d.Set("content", m.Content)
		messages = append(messages, d)
	}
	text, err := r.Render(messages, nil, chat.Options{AddGenerationPrompt: true, Now: now})
	if err != nil {
		return "", false
	}
	ids, err := tok.Encode("", true)
	if err != nil {
		return "", false
	}
	if bos, ok := tok.BOS(); ok && len(ids) > 0 && ids[0] == bos {
		text = strings.TrimPrefix(text, tok.Piece(bos))
	}
	return text, true
}
