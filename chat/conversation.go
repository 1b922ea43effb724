package chat

import (
	"fmt"
	"os"
)

// Conversation is a list of messages and the tools offered in it.
type Conversation struct {
	Messages []Value // objects with a role, as [CheckMessages] demands
	Tools    Value   // nil or a *List
}

// maxConversationBytes bounds a conversation file.
const maxConversationBytes = 64 << 20

// ReadConversation loads a JSON file that holds either a list of messages or an object {"messages": [...], "tools": [...]}.
func ReadConversation(path string) (*Conversation, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() > maxConversationBytes {
		return nil, fmt.Errorf("%s: %d bytes; a conversation may have %d", path, info.Size(), maxConversationBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	v, err := ParseJSON(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c := &Conversation{}
	messages := v
	if d, ok := v.(*Dict); ok {
		if messages, ok = d.Get("messages"); !ok {
			return nil, fmt.Errorf("%s: the object has no \"messages\"; expected a list of messages or {\"messages\": [...]}", path)
		}
		tools, _ := d.Get("tools")
		if c.Tools, err = CheckTools(tools); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if c.Messages, err = CheckMessages(messages); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// CheckMessages returns the items of a non-empty list of messages, each an object whose role is a string. The rest of
// a message is between its author and the template.
func CheckMessages(v Value) ([]Value, error) {
	list, ok := v.(*List)
	if !ok {
		return nil, fmt.Errorf("messages: expected a list, found %s", describe(v))
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("messages: the list is empty; expected at least one message")
	}
	for i, item := range list.Items {
		m, ok := item.(*Dict)
		if !ok {
			return nil, fmt.Errorf("messages[%d]: expected an object with role and content, found %s", i, describe(item))
		}
		role, ok := m.Get("role")
		if !ok {
			return nil, fmt.Errorf("messages[%d]: no \"role\"; expected system, user, assistant or tool", i)
		}
		if _, ok := role.(string); !ok {
			return nil, fmt.Errorf("messages[%d].role: expected a string, found %s", i, describe(role))
		}
	}
	return list.Items, nil
}

// CheckTools returns the list of tool schemas, or nil where there is none.
func CheckTools(v Value) (Value, error) {
	if v == nil {
		return nil, nil
	}
	list, ok := v.(*List)
	if !ok {
		return nil, fmt.Errorf("tools: expected a list of tool schemas, found %s", describe(v))
	}
	for i, item := range list.Items {
		if _, ok := item.(*Dict); !ok {
			return nil, fmt.Errorf("tools[%d]: expected an object, found %s", i, describe(item))
		}
	}
	return list, nil
}

// describe names the JSON type of a value, for messages.
func describe(v Value) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case *List:
		return "a list"
	case *Dict:
		return "an object"
	}
	return "a number"
}
