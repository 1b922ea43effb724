package dataset

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
)

// This file takes rows in the forms of other tools: ShareGPT's conversations, Alpaca's instructions, OpenAI's messages
// of parts, and lists that are JSON texts, as in CSV files.

// Keys of ShareGPT's and Alpaca's rows. LLaMA-Factory's system and history may stand in rows of both.
const (
	conversationsKey = "conversations"
	systemKey        = "system"
	historyKey       = "history"
	instructionKey   = "instruction"
	inputKey         = "input"
	outputKey        = "output"
)

// listAt gives a list, which may be there as a JSON text; nil where there is none, or null.
func listAt(d *chat.Dict, key string) (chat.Value, error) {
	v, _ := d.Get(key)
	text, ok := v.(string)
	if !ok {
		return v, nil
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	if text[0] != '[' {
		return v, nil // what it is instead is told by whoever needs a list
	}
	list, err := jinja.ParseJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return list, nil
}

func tools(d *chat.Dict) (chat.Value, error) {
	v, err := listAt(d, "tools")
	if err != nil {
		return nil, err
	}
	return chat.CheckTools(v)
}

// messages takes the messages under a key. Parts of texts become one text, unless mlx-lm is copied.
func (o *Options) messages(d *chat.Dict, key string) ([]chat.Value, error) {
	if _, ok := d.Get(key); !ok {
		return nil, missingKey(d, key)
	}
	v, err := listAt(d, key)
	if err != nil {
		return nil, err
	}
	return o.messagesIn(v, key)
}

// messagesIn takes the messages of a list, which was under a key.
func (o *Options) messagesIn(v chat.Value, key string) ([]chat.Value, error) {
	var err error
	if list, ok := v.(*chat.List); ok && !o.CompatMLX {
		if v, err = fromShareGPT(list); err != nil {
			return nil, fmt.Errorf("%s%w", key, err)
		}
	}
	messages, err := chat.CheckMessages(v)
	if err != nil {
		if key != "messages" {
			err = fmt.Errorf("%s", strings.Replace(err.Error(), "messages", key, 1))
		}
		return nil, err
	}
	if o.CompatMLX {
		return messages, nil
	}
	messages = slices.Clone(messages)
	for i, m := range messages {
		if messages[i], err = joinParts(m.(*chat.Dict)); err != nil {
			return nil, fmt.Errorf("%s[%d].content%w", key, i, err)
		}
	}
	return messages, nil
}

// joinParts makes one text of a content that is a list of texts: {"type": "text", "text": "..."}, or plain strings.
func joinParts(m *chat.Dict) (*chat.Dict, error) {
	content, _ := m.Get("content")
	list, ok := content.(*chat.List)
	if !ok {
		return m, nil
	}
	var b strings.Builder
	for i, part := range list.Items {
		text, ok := part.(string)
		if d, isDict := part.(*chat.Dict); isDict {
			kind, _ := d.Get("type")
			if kind != nil && kind != "text" && kind != "input_text" && kind != "output_text" {
				return nil, fault.Of("[%d]: a part of the type %.60q; only texts can be learnt", i, fmt.Sprint(kind)).Try("Leave out the rows with images, sound and files.")
			}
			v, _ := d.Get("text")
			text, ok = v.(string)
		}
		if !ok {
			return nil, fmt.Errorf(`[%d]: expected {"type": "text", "text": "..."}`, i)
		}
		b.WriteString(text)
	}
	return with(m, "content", b.String()), nil
}

// shareRoles are the roles under which ShareGPT's rows know the speakers.
var shareRoles = map[string]string{
	"human": "user", "user": "user",
	"gpt": "assistant", "assistant": "assistant", "model": "assistant", "bot": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
	"system": "system",
	"tool":   "tool", "observation": "tool", "function_response": "tool", "tool_response": "tool",
	"function_call": "function_call", "tool_call": "function_call",
}

// fromShareGPT makes messages with role and content of those with from and value. Others stay as they are.
func fromShareGPT(list *chat.List) (*chat.List, error) {
	out := jinja.NewList()
	for i, item := range list.Items {
		m, ok := item.(*chat.Dict)
		if !ok {
			return list, nil // CheckMessages tells
		}
		from, ok := m.Get("from")
		if _, hasRole := m.Get("role"); !ok || hasRole {
			out.Items = append(out.Items, m)
			continue
		}
		name, _ := from.(string)
		role, ok := shareRoles[strings.ToLower(name)]
		if !ok {
			return nil, fmt.Errorf("[%d].from: expected human, gpt, system, tool or function_call, found %.60q", i, fmt.Sprint(from))
		}
		value, _ := m.Get("value")
		text, ok := value.(string)
		if !ok && value != nil {
			return nil, fmt.Errorf("[%d].value: expected a string", i)
		}
		if role == "function_call" {
			out.Items = append(out.Items, calling(text))
			continue
		}
		message := chat.NewMessage(role, text)
		for _, key := range m.Keys() {
			if v, _ := m.Get(key); key != "from" && key != "value" {
				message.Set(key, v)
			}
		}
		out.Items = append(out.Items, message)
	}
	return out, nil
}

// calling makes a message of a call of a tool in JSON, or a list of them: {"name": "...", "arguments": {...}}. What is
// something else is what the assistant said.
func calling(text string) *chat.Dict {
	v, err := jinja.ParseJSON([]byte(text))
	list, ok := v.(*chat.List)
	if !ok {
		list = jinja.NewList(v)
	}
	out := jinja.NewList()
	for _, item := range list.Items {
		function, ok := item.(*chat.Dict)
		if ok {
			_, ok = function.Get("name")
		}
		if err != nil || !ok {
			return chat.NewMessage("assistant", text)
		}
		call := jinja.NewDict()
		call.Set("type", "function")
		call.Set("function", function)
		out.Items = append(out.Items, call)
	}
	message := chat.NewMessage("assistant", "")
	message.Set("tool_calls", out)
	return message
}

// shareGPT reads a row of ShareGPT's form.
func shareGPT(d *chat.Dict) (row Row, err error) {
	row.Format = Chat
	if row.Tools, err = tools(d); err != nil {
		return row, err
	}
	var o Options // mlx-lm has no reading of its own
	if row.Messages, err = o.messages(d, conversationsKey); err != nil {
		return row, err
	}
	return row, addSystem(&row, d)
}

// alpaca reads a row of Alpaca's form: the input follows the instruction on a line of its own, as in LLaMA-Factory. Its
// sentences for models without a chat template are not put around them.
func alpaca(d *chat.Dict) (row Row, err error) {
	row.Format = Completions
	instruction, err := stringAt(d, instructionKey)
	if err != nil {
		return row, err
	}
	output, err := stringAt(d, outputKey)
	if err != nil {
		return row, err
	}
	input, err := optional(d, inputKey)
	if err != nil {
		return row, err
	}
	system, err := optional(d, systemKey)
	if err != nil {
		return row, err
	}
	if system != "" {
		row.Messages = append(row.Messages, chat.NewMessage("system", system))
	}
	history, err := history(d)
	if err != nil {
		return row, err
	}
	row.Messages = append(row.Messages, history...)
	if strings.TrimSpace(input) != "" {
		instruction += "\n" + input
	}
	row.Messages = append(row.Messages, chat.NewMessage("user", instruction), chat.NewMessage("assistant", output))
	return row, nil
}

// history reads the turns before the instruction: pairs of a question and its answer.
func history(d *chat.Dict) (messages []chat.Value, err error) {
	v, err := listAt(d, historyKey)
	if err != nil || v == nil {
		return nil, err
	}
	turns, ok := v.(*chat.List)
	if !ok {
		return nil, errors.New("history: expected a list of pairs, each a question and its answer")
	}
	for i, turn := range turns.Items {
		pair, _ := turn.(*chat.List)
		if pair == nil || len(pair.Items) != 2 {
			return nil, fmt.Errorf("history[%d]: expected a question and its answer", i)
		}
		for k, role := range []string{"user", "assistant"} {
			text, ok := pair.Items[k].(string)
			if !ok {
				return nil, fmt.Errorf("history[%d][%d]: expected a string", i, k)
			}
			messages = append(messages, chat.NewMessage(role, text))
		}
	}
	return messages, nil
}

// optional gives a string that may be absent or null.
func optional(d *chat.Dict, key string) (string, error) {
	if v, _ := d.Get(key); v == nil {
		return "", nil
	}
	return stringAt(d, key)
}

// preference says that rows are for another kind of training, and how their better halves are trained on.
func (o *Options) preference(d *chat.Dict) error {
	m := fault.Of("the rows are pairs of a chosen and a rejected answer, for preference training. Set %v to dpo or orpo to learn from both", fault.Setting("train_mode"))
	chosen, _ := d.Get(chosenKey)
	if _, ok := chosen.(*chat.List); ok {
		return m.Try("To train on the chosen answers alone, set %v to chosen.", fault.Setting("chat_feature"))
	}
	if _, ok := d.Get(o.PromptFeature); ok {
		return m.Try("To train on the chosen answers alone, set %v to chosen.", fault.Setting("completion_feature"))
	}
	return m.Try("To train on the chosen texts alone, set %v to chosen.", fault.Setting("text_feature"))
}
