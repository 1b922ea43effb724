package chat

import "time"

// Template is a parsed chat template. It is immutable; several goroutines may render it at once.
type Template struct {
	body []stmt
}

// ParseTemplate parses the source of a chat template. The error is an [*Error].
func ParseTemplate(src string) (*Template, error) {
	if len(src) > maxSourceBytes {
		return nil, errorf(LimitError, "the template has %d bytes; at most %d are read", len(src), maxSourceBytes)
	}
	body, err := parse(src)
	if err != nil {
		return nil, err
	}
	return &Template{body: body}, nil
}

// RenderOptions are the circumstances of a rendering.
type RenderOptions struct {
	Now time.Time // what strftime_now tells; zero means the current local time
}

// Span is a half-open range of bytes.
type Span struct{ Start, End int }

// Render runs the template with the variables of ctx, which it does not change. The error is an [*Error].
func (t *Template) Render(ctx *Dict, opt RenderOptions) (string, error) {
	text, _, err := t.RenderSpans(ctx, opt)
	return text, err
}

// RenderSpans is Render that also tells which bytes of the text came out of {% generation %} blocks, in order: what the
// assistant is to learn to write. A block whose text was changed on its way out (by a filter, say) is an error.
func (t *Template) RenderSpans(ctx *Dict, opt RenderOptions) (string, []Span, error) {
	st := &state{out: &buffer{}, now: opt.Now}
	if st.now.IsZero() {
		st.now = time.Now()
	}
	root := &scope{}
	for i, k := range ctx.keys {
		if name, ok := k.(string); ok {
			root.set(name, ctx.vals[i])
		}
	}
	if _, err := st.run(root, t.body); err != nil {
		return "", nil, err
	}
	text := string(st.out.b)
	spans := make([]Span, 0, len(st.spans))
	for _, g := range st.spans {
		if g.captured && (g.End > len(text) || text[g.Start:g.End] != g.text) {
			return "", nil, errorf(ValueError, "a {%% generation %%} block stands in a macro or set block whose text was changed afterwards, so its place in the output is lost")
		}
		spans = append(spans, g.Span)
	}
	return text, spans, nil
}
