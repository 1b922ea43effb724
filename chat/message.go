package chat

import (
	"fmt"

	"github.com/lentil-lm/lentil/chat/jinja"
)

// NewMessage returns a message with a role and a text content.
func NewMessage(role, content string) *Dict {
	d := jinja.NewDict()
	d.Set("role", role)
	d.Set("content", content)
	return d
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
