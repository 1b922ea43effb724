package chat

import (
	"strings"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/chat/jinja"
)

// A Style is how models of a family mark, in what they write, their reasoning and their calls of tools.
// The zero value marks neither.
type Style struct {
	ThinkOpen, ThinkClose string // "" for a family that does not reason
	CallOpen, CallClose   string // "" for calls that are whole answers
	calls                 callFormat
}

// callFormat is how a call is written.
type callFormat int

const (
	noCalls     callFormat = iota
	jsonCall               // <tool_call>{"name": ..., "arguments": {...}}</tool_call>: Hermes, Qwen 2.5 and 3, SmolLM3
	xmlCall                // <tool_call><function=name><parameter=key>value</parameter></function></tool_call>: Qwen3-Coder
	mistralCall            // [TOOL_CALLS] with a list of calls, or name[ARGS]{...}, to the end
	bareCall               // the whole answer is {"name": ..., "parameters": {...}}: Llama 3
)

// StyleOf finds the style by the text of the chat template, as mlx-lm does; what a template does not mention, its
// model is not taken to write.
func StyleOf(template string) Style {
	var s Style
	has := func(text string) bool { return strings.Contains(template, text) }
	for _, pair := range [][2]string{{"<think>", "</think>"}, {"[THINK]", "[/THINK]"}} {
		if has(pair[1]) || has(pair[0]) {
			s.ThinkOpen, s.ThinkClose = pair[0], pair[1]
			break
		}
	}
	switch {
	case has("[TOOL_CALLS]"):
		s.calls, s.CallOpen = mistralCall, "[TOOL_CALLS]"
	case has("<function="):
		s.calls, s.CallOpen, s.CallClose = xmlCall, "<tool_call>", "</tool_call>"
	case has("<tool_call>"):
		s.calls, s.CallOpen, s.CallClose = jsonCall, "<tool_call>", "</tool_call>"
	case has("<|python_tag|>"), has(`{"name": function name, "parameters"`):
		s.calls = bareCall
	}
	return s
}

// Calls reports whether the style has calls of tools.
func (s Style) Calls() bool { return s.calls != noCalls }

// CallAs gives the texts around the arguments of a call of a tool, for answers that have to be one. ok is false for
// styles whose arguments are no JSON.
func (s Style) CallAs(name string) (before, after string, ok bool) {
	quoted, err := jinja.FormatJSON(name)
	if err != nil {
		return "", "", false
	}
	switch s.calls {
	case jsonCall:
		return s.CallOpen + "\n{\"name\": " + quoted + ", \"arguments\": ", "}\n" + s.CallClose, true
	case mistralCall:
		return s.CallOpen + "[{\"name\": " + quoted + ", \"arguments\": ", "}]", true
	case bareCall:
		return "{\"name\": " + quoted + ", \"parameters\": ", "}", true
	}
	return "", "", false
}

// A PartKind says what a piece of an answer is.
type PartKind int

const (
	Content PartKind = iota
	Reasoning
	ToolCall
)

// A Part is a piece of an answer.
type Part struct {
	Kind PartKind
	Text string // of content and reasoning
	Call Call   // of a tool call
}

// A Call of a tool. Arguments are a JSON object.
type Call struct{ Name, Arguments string }

// A Parser splits what a model writes into parts, as it comes. A call comes whole; one that cannot be read is content.
type Parser struct {
	style Style
	tools bool // calls are looked for
	state PartKind
	held  string // text that could be the beginning of a mark, or of a call
	began bool   // something other than white space has come
	bare  bool   // the answer may be a call as a whole
	trim  bool   // line breaks at the beginning of the next text belong to a mark
}

// NewParser makes the parser of the answer to a prompt, which may have opened the reasoning already. Without tools, calls
// are content.
func (s Style) NewParser(prompt string, tools bool) *Parser {
	p := &Parser{style: s, tools: tools && s.calls != noCalls}
	if s.ThinkOpen != "" && strings.LastIndex(prompt, s.ThinkOpen) > strings.LastIndex(prompt, s.ThinkClose) {
		p.state = Reasoning
		p.trim = true
	}
	return p
}

// Add takes more text and gives the parts that are certain.
func (p *Parser) Add(text string) (parts []Part) {
	p.held += text
	for {
		if p.state != ToolCall {
			at, mark := p.find()
			if at < 0 {
				break
			}
			parts = p.flush(parts, p.held[:at])
			p.state, p.trim = mark.state, true
			if p.held = p.held[at:]; p.state != ToolCall {
				p.held = p.held[len(mark.text):]
				continue
			}
		}
		end := p.callEnd()
		if end < 0 {
			return parts
		}
		text := p.held[:end]
		p.held = p.held[end:]
		parts = p.call(parts, text)
	}
	if p.isBare() {
		return parts
	}
	cut := len(p.held) - p.partial()
	parts = p.flush(parts, p.held[:cut])
	p.held = p.held[cut:]
	return parts
}

// End gives what is held back when the answer is over.
func (p *Parser) End() (parts []Part) {
	switch {
	case p.state == ToolCall, p.bare:
		parts = p.call(parts, p.held)
	default:
		parts = p.flush(parts, p.held)
	}
	p.held, p.bare = "", false
	return parts
}

// mark is a text that changes the state.
type mark struct {
	text  string
	state PartKind
}

// marks are those that may come now.
func (p *Parser) marks() (out []mark) {
	s := p.style
	if s.ThinkOpen != "" && p.state == Content {
		out = append(out, mark{s.ThinkOpen, Reasoning})
	}
	if p.state == Reasoning {
		out = append(out, mark{s.ThinkClose, Content})
	}
	if p.tools && s.CallOpen != "" && p.state == Content {
		out = append(out, mark{s.CallOpen, ToolCall})
	}
	return out
}

// find is the first mark in what is held.
func (p *Parser) find() (at int, which mark) {
	at = -1
	for _, m := range p.marks() {
		if i := strings.Index(p.held, m.text); i >= 0 && (at < 0 || i < at) {
			at, which = i, m
		}
	}
	return at, which
}

// partial is the length of the longest end of what is held that begins a mark, or of a character that is not whole.
func (p *Parser) partial() (hold int) {
	for _, m := range p.marks() {
		for n := min(len(m.text)-1, len(p.held)); n > hold; n-- {
			if strings.HasSuffix(p.held, m.text[:n]) {
				hold = n
			}
		}
	}
	return hold
}

// isBare holds an answer back that may be a call as a whole.
func (p *Parser) isBare() bool {
	if !p.tools || p.style.calls != bareCall || p.began {
		return false
	}
	text := strings.TrimPrefix(strings.TrimLeft(p.held, " \n"), "<|python_tag|>")
	p.bare = text == "" || text[0] == '{' || strings.HasPrefix("<|python_tag|>", text)
	return p.bare
}

// flush gives text as a part of the state's kind.
func (p *Parser) flush(parts []Part, text string) []Part {
	if p.trim {
		text = strings.TrimLeft(text, "\n")
	}
	if text == "" {
		return parts
	}
	p.trim = false
	if strings.TrimSpace(text) != "" {
		p.began = true
	}
	if n := len(parts); n > 0 && parts[n-1].Kind == p.state && p.state != ToolCall {
		parts[n-1].Text += text
		return parts
	}
	return append(parts, Part{Kind: p.state, Text: text})
}

// callEnd is where the call that is held ends; -1 if its end has not come.
func (p *Parser) callEnd() int {
	if p.style.CallClose == "" {
		return -1 // to the end of the answer
	}
	i := strings.Index(p.held, p.style.CallClose)
	if i < 0 {
		return -1
	}
	return i + len(p.style.CallClose)
}

// call reads the text of a call, or calls, with its marks. What cannot be read is content.
func (p *Parser) call(parts []Part, text string) []Part {
	body := strings.TrimSuffix(strings.TrimPrefix(text, p.style.CallOpen), p.style.CallClose)
	calls := p.style.read(strings.TrimSpace(body))
	p.state = Content
	if len(calls) == 0 {
		p.trim = false
		return p.flush(parts, text)
	}
	p.began, p.trim = true, true
	for _, c := range calls {
		parts = append(parts, Part{Kind: ToolCall, Call: c})
	}
	return parts
}

// read gives the calls of a text; none if it is not written as it should be.
func (s Style) read(text string) []Call {
	switch s.calls {
	case xmlCall:
		if call, ok := xmlFunction(text); ok {
			return []Call{call}
		}
		return jsonCalls(text) // which these models write, too
	case mistralCall:
		if name, rest, ok := strings.Cut(text, "[ARGS]"); ok && utf8.ValidString(name) {
			if args, ok := object(rest); ok {
				return []Call{{strings.TrimSpace(name), args}}
			}
			return nil
		}
	case bareCall:
		text = strings.TrimPrefix(text, "<|python_tag|>")
	}
	return jsonCalls(text)
}

// jsonCalls reads {"name": ..., "arguments": ...} or a list of these.
func jsonCalls(text string) (calls []Call) {
	v, err := jinja.ParseJSON([]byte(strings.TrimSpace(text)))
	if err != nil {
		return nil
	}
	items := []Value{v}
	if list, ok := v.(*List); ok {
		items = list.Items
	}
	for _, item := range items {
		d, ok := item.(*Dict)
		if !ok {
			return nil
		}
		name, _ := d.Get("name")
		text, _ := name.(string)
		args, ok := d.Get("arguments")
		if !ok {
			args, ok = d.Get("parameters")
		}
		if text == "" || !ok {
			return nil
		}
		if s, ok := args.(string); ok { // JSON in a string
			if args, err = jinja.ParseJSON([]byte(s)); err != nil {
				return nil
			}
		}
		if _, ok := args.(*Dict); !ok {
			return nil
		}
		written, err := jinja.FormatJSON(args)
		if err != nil {
			return nil
		}
		calls = append(calls, Call{text, written})
	}
	return calls
}

// object reads a JSON object.
func object(text string) (string, bool) {
	v, err := jinja.ParseJSON([]byte(strings.TrimSpace(text)))
	if _, ok := v.(*Dict); err != nil || !ok {
		return "", false
	}
	written, err := jinja.FormatJSON(v)
	return written, err == nil
}

// xmlFunction reads <function=name><parameter=key>value</parameter></function>. Values that are JSON, other than
// strings, are taken as such.
func xmlFunction(text string) (call Call, ok bool) {
	_, rest, ok := strings.Cut(text, "<function=")
	if !ok {
		return call, false
	}
	name, rest, ok := strings.Cut(rest, ">")
	if !ok || name == "" {
		return call, false
	}
	args := jinja.NewDict()
	for {
		_, next, ok := strings.Cut(rest, "<parameter=")
		if !ok {
			break
		}
		key, next, ok := strings.Cut(next, ">")
		if !ok {
			return call, false
		}
		value, after, ok := strings.Cut(next, "</parameter>")
		if !ok {
			return call, false
		}
		value = strings.TrimSuffix(strings.TrimPrefix(value, "\n"), "\n")
		if v, err := jinja.ParseJSON([]byte(value)); err == nil {
			args.Set(key, v)
		} else {
			args.Set(key, value)
		}
		rest = after
	}
	written, err := jinja.FormatJSON(args)
	return Call{name, written}, err == nil
}
