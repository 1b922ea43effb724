package jinja

import "time"

// Template is a parsed template. It is immutable; several goroutines may render it at once.
type Template struct {
	body []stmt
}

// Parse parses the source of a template. The error tells the line.
func Parse(src string) (*Template, error) {
	if len(src) > maxSourceBytes {
		return nil, errorf(limitError, "the template has %d bytes; at most %d are read", len(src), maxSourceBytes)
	}
	body, err := parse(src)
	if err != nil {
		return nil, err
	}
	return &Template{body: body}, nil
}

// Span is a half-open range of bytes.
type Span struct{ Start, End int }

// Render runs the template with the given variables, which it does not change. now is what strftime_now tells; the
// zero time means the current local one. The error tells the line.
//
// The spans are the bytes of the text that came out of {% generation %} blocks, in order. A block whose text was
// changed on its way out (by a filter, say) is an error.
func (t *Template) Render(variables *Dict, now time.Time) (string, []Span, error) {
	if now.IsZero() {
		now = time.Now()
	}
	st := &state{out: &buffer{}, now: now}
	root := &scope{}
	for i, k := range variables.keys {
		if name, ok := k.(string); ok {
			root.set(name, variables.vals[i])
		}
	}
	if _, err := st.run(root, t.body); err != nil {
		return "", nil, err
	}
	text := string(st.out.b)
	spans := make([]Span, 0, len(st.spans))
	for _, g := range st.spans {
		if g.captured && (g.End > len(text) || text[g.Start:g.End] != g.text) {
			return "", nil, errorf(valueError, "a {%% generation %%} block stands in a macro or set block whose text was changed afterwards, so its place in the output is lost")
		}
		spans = append(spans, g.Span)
	}
	return text, spans, nil
}
