package dataset

import (
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
)

// Templates differ in the form in which they take calls of tools and messages without text, and some leave out what
// they do not know. This file finds the form of a conversation that a template takes, and what is left out of it.

// LeftOut are the kinds of content of a row that its template does not write.
type LeftOut uint8

// The kinds.
const (
	LeftSchemas   LeftOut = 1 << iota // the schemas of tools
	LeftCalls                         // calls of tools
	LeftResults                       // what tools answered
	LeftReasoning                     // reasoning beside the answers
	leftKinds     = iota
)

var leftNames = [leftKinds]string{"the schemas of tools", "calls of tools", "what tools answered", "reasoning"}

// String lists the kinds.
func (l LeftOut) String() string {
	var names []string
	for i, name := range leftNames {
		if l>>i&1 == 1 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// reasoningKeys are the names under which messages keep reasoning.
var reasoningKeys = []string{"reasoning_content", "reasoning", "thinking"}

// fit puts the messages of a row into the form that the template takes, and gives what it writes of them. Of the forms
// that differ it takes the first that is written as it should be, else the first that is written at all. mlx-lm knows
// one form only.
func (e *Encoder) fit(row *Row) (string, error) {
	if e.opt.CompatMLX {
		return e.write(row.Messages, row.Tools, false)
	}
	var best []chat.Value
	var text string
	var failed error
	for i, messages := range forms(row.Messages) {
		got, err := e.write(messages, row.Tools, false)
		switch {
		case err != nil && i == 0:
			failed = err
		case err != nil:
		case !flawed(got, messages, row.Tools):
			row.Messages = messages
			return got, nil
		case best == nil:
			best, text = messages, got
		}
	}
	if best == nil {
		return "", failed
	}
	row.Messages = best
	return text, nil
}

// forms are a conversation as it is and, where that can be another, with arguments of calls in the other form of text
// and object, and with empty texts in place of null.
func forms(messages []chat.Value) [][]chat.Value {
	forms := [][]chat.Value{messages}
	for _, change := range []func(*chat.Dict) *chat.Dict{otherArguments, emptyContent} {
		for _, form := range slices.Clone(forms) {
			if changed, ok := edit(form, change); ok {
				forms = append(forms, changed)
			}
		}
	}
	return forms
}

// edit makes a conversation in which each message is what change makes of it; nil for no change.
func edit(messages []chat.Value, change func(*chat.Dict) *chat.Dict) ([]chat.Value, bool) {
	out, any := slices.Clone(messages), false
	for i, m := range messages {
		if changed := change(m.(*chat.Dict)); changed != nil {
			out[i], any = changed, true
		}
	}
	return out, any
}

// with gives a copy of an object with another value.
func with(m *chat.Dict, key string, value chat.Value) *chat.Dict {
	m = m.Clone()
	m.Set(key, value)
	return m
}

// without gives a copy of an object without some keys; nil if it has none of them.
func without(m *chat.Dict, drop ...string) *chat.Dict {
	out, any := jinja.NewDict(), false
	for _, key := range m.Keys() {
		if slices.Contains(drop, key) {
			any = true
			continue
		}
		v, _ := m.Get(key)
		out.Set(key, v)
	}
	if !any {
		return nil
	}
	return out
}

func emptyContent(m *chat.Dict) *chat.Dict {
	if content, _ := m.Get("content"); content != nil {
		return nil
	}
	return with(m, "content", "")
}

// calls are the calls of tools in a message, each with the object that has the arguments.
func calls(m *chat.Dict) (list []*chat.Dict) {
	v, _ := m.Get("tool_calls")
	items, _ := v.(*chat.List)
	if items == nil {
		return nil
	}
	for _, item := range items.Items {
		if call, ok := item.(*chat.Dict); ok {
			list = append(list, call)
		}
	}
	return list
}

// function is the part of a call with its name and arguments.
func function(call *chat.Dict) *chat.Dict {
	v, _ := call.Get("function")
	if f, ok := v.(*chat.Dict); ok {
		return f
	}
	return call
}

// otherArguments makes objects of arguments that are JSON texts, and texts of objects.
func otherArguments(m *chat.Dict) *chat.Dict {
	var list []chat.Value
	any := false
	for _, call := range calls(m) {
		f := function(call)
		arguments, _ := f.Get("arguments")
		var other chat.Value
		switch a := arguments.(type) {
		case string:
			if v, err := jinja.ParseJSON([]byte(a)); err == nil {
				other, _ = v.(*chat.Dict)
			}
		case *chat.Dict:
			other, _ = jinja.FormatJSON(a)
		}
		if d, ok := other.(*chat.Dict); other != nil && (!ok || d != nil) {
			any = true
			if changed := with(f, "arguments", other); f == call {
				call = changed
			} else {
				call = with(call, "function", changed)
			}
		}
		list = append(list, call)
	}
	if !any {
		return nil
	}
	return with(m, "tool_calls", jinja.NewList(list...))
}

// flawed tells whether a text has arguments that were encoded twice, an object in Python's notation, or Python's word
// for null where a message has no content.
func flawed(text string, messages []chat.Value, tools chat.Value) bool {
	null := false
	for _, m := range messages {
		m := m.(*chat.Dict)
		if content, _ := m.Get("content"); content == nil {
			null = true
		}
		for _, call := range calls(m) {
			arguments, _ := function(call).Get("arguments")
			switch a := arguments.(type) {
			case string:
				twice, _ := jinja.FormatJSON(a)
				ascii, _ := jinja.DumpJSON(a, 0)
				if _, err := jinja.ParseJSON([]byte(a)); err == nil && (strings.Contains(text, twice) || strings.Contains(text, ascii)) {
					return true
				}
			case *chat.Dict:
				if keys := a.Keys(); len(keys) > 0 && strings.Contains(text, "{'"+keys[0]+"': ") {
					return true
				}
			}
		}
	}
	if !null {
		return false
	}
	given, _ := jinja.FormatJSON(jinja.NewList(append(slices.Clone(messages), tools)...))
	return strings.Count(text, "None") > strings.Count(given, "None")
}

// look finds what of a row the template leaves out of its text: what may be taken away without a change. It fails if
// nothing of the messages that are to be learnt is left.
func (e *Encoder) look(item *Item, text string, row Row, learnt int) error {
	for _, m := range row.Messages {
		role, _ := m.(*chat.Dict).Get("role")
		if name, _ := role.(string); !slices.Contains(knownRoles, name) && item.OddRole == "" {
			item.OddRole = name
		}
	}
	gone := func(messages []chat.Value, tools chat.Value) bool {
		got, err := e.write(messages, tools, false)
		return err == nil && got == text
	}
	if schemas, _ := row.Tools.(*chat.List); schemas != nil && len(schemas.Items) > 0 && gone(row.Messages, nil) {
		item.LeftOut |= LeftSchemas
	}
	for kind, change := range map[LeftOut]func(*chat.Dict) *chat.Dict{
		LeftCalls: func(m *chat.Dict) *chat.Dict {
			if len(calls(m)) == 0 {
				return nil
			}
			return without(m, "tool_calls")
		},
		LeftReasoning: func(m *chat.Dict) *chat.Dict {
			if !hasReasoning(m) {
				return nil
			}
			return without(m, reasoningKeys...)
		},
		LeftResults: func(m *chat.Dict) *chat.Dict {
			content, _ := m.Get("content")
			if text, _ := content.(string); roleOf(m) != "tool" || text == "" {
				return nil
			}
			return with(m, "content", "")
		},
	} {
		if less, ok := edit(row.Messages, change); ok && gone(less, row.Tools) {
			item.LeftOut |= kind
		}
	}
	return e.lookAtAnswers(item, row, learnt)
}

// knownRoles are those that templates know; "developer" stands for system, "ipython" and "function" for tool.
var knownRoles = []string{"system", "developer", "user", "assistant", "tool", "ipython", "function"}

func roleOf(m *chat.Dict) string {
	role, _ := m.Get("role")
	name, _ := role.(string)
	return name
}

func hasReasoning(m *chat.Dict) bool {
	return slices.ContainsFunc(reasoningKeys, func(key string) bool {
		v, _ := m.Get(key)
		text, _ := v.(string)
		return text != ""
	})
}

// lookAtAnswers tells an answer that is empty from the start, and fails if the template leaves out all that the answers
// to be learnt have.
func (e *Encoder) lookAtAnswers(item *Item, row Row, first int) error {
	lost, left := -1, false
	for i, v := range row.Messages[first:] {
		m := v.(*chat.Dict)
		if roleOf(m) != "assistant" {
			left = left || first > 0 || e.opt.MaskPrompt // learnt all the same, and told
			continue
		}
		content, _ := m.Get("content")
		text, isText := content.(string)
		calls, reasoning := len(calls(m)) > 0, hasReasoning(m)
		switch {
		case content != nil && !isText || strings.TrimSpace(text) != "",
			calls && item.LeftOut&LeftCalls == 0, reasoning && item.LeftOut&LeftReasoning == 0:
			left = true
		case calls || reasoning:
			lost = first + i
		default:
			item.EmptyAnswer = true
		}
	}
	if lost >= 0 && !left {
		return fault.Of("messages[%d]: the chat template leaves out %s, and nothing of the answer is left to learn", lost, item.LeftOut).
			Try("Take a model whose chat template knows them, or leave the row out.")
	}
	return nil
}
