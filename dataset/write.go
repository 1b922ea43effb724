package dataset

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
)

// FormatRow writes a row as one line of JSON in a format, which [Load] reads back. What the format has no place for, such
// as a second question in a row of prompt and completion, is refused.
func FormatRow(row Row, as Format) (string, error) {
	d := jinja.NewDict()
	var err error
	switch as {
	case Chat:
		d.Set("messages", jinja.NewList(row.Messages...))
	case Text:
		if row.Text == "" {
			err = fault.Of("a row of the format %s has no place in one of texts", row.Format)
		}
		d.Set("text", row.Text)
	case ShareGPT:
		err = asShareGPT(d, row)
	case Completions, Alpaca:
		err = asPair(d, row, as)
	case Preference:
		err = asPreference(d, row)
	default:
		err = fmt.Errorf("no rows are written in the format %s", as)
	}
	if err != nil {
		return "", err
	}
	if row.Tools != nil {
		if as != Chat && as != ShareGPT {
			return "", fault.Of("rows with tools have no place in the format %s", as)
		}
		d.Set("tools", row.Tools)
	}
	return jinja.FormatJSON(d)
}

// Roles gives role and text of each message; it fails where a content is no text.
func (r *Row) Roles() (roles, texts []string, err error) {
	for i, m := range r.Messages {
		role := roleOf(m.(*chat.Dict))
		content, _ := m.(*chat.Dict).Get("content")
		text, ok := content.(string)
		if !ok && content != nil {
			return nil, nil, fmt.Errorf("message %d: the content is no text", i+1)
		}
		roles, texts = append(roles, role), append(texts, text)
	}
	return roles, texts, nil
}

// shareNames are ShareGPT's names of roles.
var shareNames = map[string]string{"system": "system", "user": "human", "assistant": "gpt", "tool": "tool"}

func asShareGPT(d *chat.Dict, row Row) error {
	list := jinja.NewList()
	for i, v := range row.Messages {
		m := v.(*chat.Dict)
		from, ok := shareNames[roleOf(m)]
		if !ok {
			return fault.Of("message %d: the role %q has no name in ShareGPT's form; it knows %s", i+1, roleOf(m), strings.Join(slices.Sorted(maps.Keys(shareNames)), ", "))
		}
		if len(calls(m)) > 0 || hasReasoning(m) {
			return fault.Of("message %d: calls of tools and reasoning have no place in ShareGPT's form", i+1)
		}
		content, _ := m.Get("content")
		turn := jinja.NewDict()
		turn.Set("from", from)
		turn.Set("value", content)
		list.Items = append(list.Items, turn)
	}
	d.Set(conversationsKey, list)
	return nil
}

// asPair writes one question and its answer.
func asPair(d *chat.Dict, row Row, as Format) error {
	roles, texts, err := row.Roles()
	if err != nil {
		return err
	}
	system := ""
	if len(roles) == 3 && roles[0] == "system" {
		system, roles, texts = texts[0], roles[1:], texts[1:]
	}
	if len(roles) != 2 || roles[0] != "user" || roles[1] != "assistant" {
		return fault.Of("a conversation of %s has no place in the format %s: it takes one question and one answer", strings.Join(roles, ", "), as)
	}
	if as == Completions {
		if system != "" {
			return fault.Of("a system message has no place in the format %s", as)
		}
		d.Set("prompt", texts[0])
		d.Set("completion", texts[1])
		return nil
	}
	d.Set(instructionKey, texts[0])
	d.Set(inputKey, "")
	d.Set(outputKey, texts[1])
	if system != "" {
		d.Set(systemKey, system)
	}
	return nil
}

func asPreference(d *chat.Dict, row Row) error {
	if row.Format != Preference {
		return fault.Of("a row of the format %s has no worse answer", row.Format)
	}
	if len(row.Messages) == 0 {
		d.Set("prompt", row.Text)
		d.Set(chosenKey, row.ChosenText)
		d.Set(rejectedKey, row.RejectedText)
		return nil
	}
	d.Set("prompt", jinja.NewList(row.Messages...))
	d.Set(chosenKey, jinja.NewList(row.Chosen...))
	d.Set(rejectedKey, jinja.NewList(row.Rejected...))
	return nil
}
