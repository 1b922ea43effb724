package export

import (
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// inferTemplate writes down as a template of Ollama what render does with a
// conversation, found out from what stands between its messages. That works for
// chat templates that treat all turns alike, with the system message before them or
// in the last question; ok is false for others.
func inferTemplate(render func([]turn) (string, bool)) (text string, ok bool) {
	talk := []turn{
		{"user", "Why is the sky blue?"}, {"assistant", "Because air scatters blue light."}, {"user", "And the sea?"},
		{"assistant", "It mirrors the sky."}, {"user", "Is that all?"},
	}
	system := turn{"system", "Answer in one sentence."}
	told := append([]turn{system}, talk...)
	plain, ok1 := render(talk)
	ruled, ok2 := render(told)
	parts, ok3 := between(plain, talk)
	if !ok1 || !ok2 || !ok3 {
		return "", false
	}
	open, answer, next, end := parts[0], parts[1], parts[2], parts[5]
	// Behind every question, before answers that are there, and behind the last question: a space, or <think>.
	ask := commonPrefix(answer, end)
	lead, tail := answer[len(ask):], end[len(ask):]
	var start, late string // what is written before all turns, and before the last question
	if parts, ok := between(ruled, told); ok {
		start = "{{ if .System }}" + literal(parts[0]) + "{{ .System }}" + literal(parts[1]) + "{{ else }}" + literal(open) + "{{ end }}"
	} else if parts, ok := between(ruled, slices.Insert(slices.Clone(talk), len(talk)-1, system)); ok {
		before, ok := strings.CutPrefix(parts[len(talk)-1], next)
		if !ok {
			return "", false
		}
		start = literal(open)
		late = "{{ if and $.System (eq (len (slice $.Messages $i)) 1) }}" + literal(before) + "{{ $.System }}" + literal(parts[len(talk)]) + "{{ end }}"
	} else {
		return "", false
	}
	text = start + "{{ range $i, $_ := .Messages }}{{ if eq .Role \"user\" }}" + late + "{{ .Content }}" + literal(ask) +
		"{{ else if eq .Role \"assistant\" }}" + literal(lead) + "{{ .Content }}" + literal(next) + "{{ end }}{{ end }}" + literal(tail)
	if strings.Contains(text, `"""`) { // ends the text in a Modelfile
		return "", false
	}
	for _, t := range [][]turn{talk, talk[:1], talk[:3], told, told[:2], told[:4]} {
		want, ok := render(t)
		if got, runs := runOllama(text, t); !ok || !runs || got != want {
			return "", false
		}
	}
	return text, true
}

// between returns what stands in a text before, between and behind the messages of a
// conversation; ok is false if they are not there in this order, each just once.
func between(text string, talk []turn) (parts []string, ok bool) {
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

// commonPrefix is what both texts begin with, in whole characters.
func commonPrefix(a, b string) string {
	for i, r := range a {
		if !strings.HasPrefix(b[i:], string(r)) {
			return a[:i]
		}
	}
	return a
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
