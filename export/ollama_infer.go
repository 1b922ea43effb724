package export

import (
	"strconv"
	"strings"
	"text/template"
)

// inferTemplate writes down as a template of Ollama what render does with a
// conversation, found out from what stands between its messages. That works for
// chat templates that treat all turns alike; ok is false for others.
func inferTemplate(render func([]turn) (string, bool)) (text string, ok bool) {
	talk := []turn{
		{"user", "Why is the sky blue?"}, {"assistant", "Because air scatters blue light."}, {"user", "And the sea?"},
		{"assistant", "It mirrors the sky."}, {"user", "Is that all?"},
	}
	told := append([]turn{{"system", "Answer in one sentence."}}, talk...)
	plain, ok1 := between(render, talk)
	ruled, ok2 := between(render, told)
	if !ok1 || !ok2 {
		return "", false
	}
	open, answer, next, end := plain[0], plain[1], plain[2], plain[5]
	tail, ok := strings.CutPrefix(end, answer) // what only the last question has behind it, such as <think>
	if !ok {
		return "", false
	}
	text = "{{ if .System }}" + literal(ruled[0]) + "{{ .System }}" + literal(ruled[1]) + "{{ else }}" + literal(open) + "{{ end }}" +
		"{{ range .Messages }}{{ if eq .Role \"user\" }}{{ .Content }}" + literal(answer) +
		"{{ else if eq .Role \"assistant\" }}{{ .Content }}" + literal(next) + "{{ end }}{{ end }}" + literal(tail)
	if strings.Contains(text, `"""`) { // ends the text in a Modelfile
		return "", false
	}
	for _, t := range [][]turn{talk, talk[:1], talk[:3], told, told[:2]} {
		want, ok := render(t)
		if got, runs := runOllama(text, t); !ok || !runs || got != want {
			return "", false
		}
	}
	return text, true
}

// between renders a conversation and returns what stands before, between and
// behind its messages; ok is false if one of them is not there exactly once.
func between(render func([]turn) (string, bool), talk []turn) (parts []string, ok bool) {
	text, ok := render(talk)
	if !ok {
		return nil, false
	}
	for _, t := range talk {
		before, after, found := strings.Cut(text, t.Content)
		if !found || strings.Contains(after, t.Content) {
			return nil, false
		}
		parts = append(parts, before)
		text = after
	}
	return append(parts, text), true
}

// literal is text as a part of a template.
func literal(text string) string {
	if strings.Contains(text, "{{") || strings.Contains(text, "}}") {
		return "{{ " + strconv.Quote(text) + " }}"
	}
	return text
}

// runOllama renders a conversation as Ollama does.
func runOllama(text string, talk []turn) (string, bool) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", false
	}
	data := map[string]any{"Messages": talk, "System": ""}
	if talk[0].Role == "system" {
		data["System"] = talk[0].Content
	}
	var b strings.Builder
	err = t.Execute(&b, data)
	return b.String(), err == nil
}
