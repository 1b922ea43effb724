package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/yaml"
)

// A field is a key of a file with its value: a string, []any, []field, or another value of JSON.
type field struct {
	key   string
	value any
	line  int
}

// parseFields reads JSON, which begins with a brace, or YAML. An error begins with a line number.
func parseFields(data []byte) ([]field, error) {
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		d := json.NewDecoder(bytes.NewReader(data))
		line := func() int { return 1 + bytes.Count(data[:min(d.InputOffset(), int64(len(data)))], []byte("\n")) }
		fields, err := jsonFields(d, line, 0)
		if err == nil {
			if _, more := d.Token(); more != io.EOF {
				err = errors.New("something stands behind the closing brace")
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = errors.New("the file ends within a value")
		}
		if err != nil {
			return nil, fmt.Errorf("%d: %w", line(), err)
		}
		return fields, nil
	}
	entries, err := yaml.Parse(data)
	if err != nil {
		return nil, err
	}
	fields := make([]field, len(entries))
	for i, e := range entries {
		fields[i] = field{e.Key, plainValue(e.Value), e.Line}
	}
	return fields, nil
}

// plainValue turns lists and mappings into those of field.
func plainValue(v jinja.Value) any {
	switch v := v.(type) {
	case *jinja.List:
		out := make([]any, len(v.Items))
		for i, item := range v.Items {
			out[i] = plainValue(item)
		}
		return out
	case *jinja.Dict:
		var out []field
		for _, k := range v.Keys() {
			value, _ := v.Get(k)
			out = append(out, field{key: k, value: plainValue(value)})
		}
		return out
	}
	return v
}

// jsonFields reads an object: its keys in order, each once.
func jsonFields(d *json.Decoder, line func() int, depth int) ([]field, error) {
	const deepest = 4
	if depth > deepest {
		return nil, errors.New("too many objects within each other")
	}
	if _, err := d.Token(); err != nil { // the brace
		return nil, err
	}
	var out []field
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		f := field{key: key.(string), line: line()}
		if slices.ContainsFunc(out, func(o field) bool { return o.key == f.key }) {
			return nil, fmt.Errorf("%s is there twice", f.key)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		if raw[0] == '{' {
			f.value, err = jsonFields(json.NewDecoder(bytes.NewReader(raw)), func() int { return f.line }, depth+1)
		} else {
			err = json.Unmarshal(raw, &f.value)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	_, err := d.Token()
	return out, err
}

// text is a value that has to be one text.
func (f field) text() (string, error) {
	s, ok := f.value.(string)
	if !ok {
		return "", fault.Of("%s: expected a text", f.key)
	}
	s, err := clean(s)
	if err != nil {
		return "", fault.Of("%s: %w", f.key, err)
	}
	return s, nil
}

// list is a value that has to be a list of texts, each once.
func (f field) list() ([]string, error) {
	items, ok := f.value.([]any)
	if !ok && f.value != nil {
		return nil, fault.Of("%s: expected a list of texts", f.key).Try("With one entry: %s: [one]", f.key)
	}
	if len(items) > mostEach {
		return nil, fault.Of("%s: %d entries, expected at most %d", f.key, len(items), mostEach)
	}
	var out []string
	for i, item := range items {
		s, ok := item.(string)
		if !ok {
			return nil, fault.Of("%s: entry %d is no text", f.key, i+1).Try("Words that YAML takes for something else, such as yes or 1500, stand in quotes.")
		}
		s, err := clean(s)
		if err != nil {
			return nil, fault.Of("%s: entry %d: %w", f.key, i+1, err)
		}
		if slices.ContainsFunc(out, func(o string) bool { return sameThing(o, s) && normal(o) != "" }) {
			return nil, fault.Of("%s: %q is there twice", f.key, s)
		}
		out = append(out, s)
	}
	return out, nil
}

// severities is a value that has to be a mapping to severities.
func (f field) severities() (map[string]Severity, error) {
	fields, ok := f.value.([]field)
	if !ok && f.value != nil {
		return nil, fault.Of("%s: expected a mapping such as gluten: allergy", f.key)
	}
	out := map[string]Severity{}
	for _, e := range fields {
		s, _ := e.value.(string)
		switch Severity(s) {
		case Allergy, Intolerance, Avoid:
			out[e.key] = Severity(s)
		default:
			return nil, fault.Of("severity of %s: expected allergy, intolerance or avoid", e.key)
		}
	}
	return out, nil
}
