package chat

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/chat/jinja"
)

// Tokenizer is what a renderer needs of a tokenizer: its templates and what they expect to find.
type Tokenizer interface {
	ChatTemplate(withTools bool) (string, bool)
	SpecialTokens() map[string]string
	HasThinking() bool
}

// ErrNoTemplate says that a tokenizer comes without a chat template: the model is a base model.
var ErrNoTemplate = errors.New("the tokenizer has no chat template: use text rows and plain prompts, or take the instruction-tuned version of the model")

// Renderer turns conversations into the text a model was trained on. It may be used by several goroutines at once.
type Renderer struct {
	tok      Tokenizer
	override *jinja.Template

	mu     sync.Mutex
	parsed [2]*jinja.Template // without tools, with tools
}

// NewRenderer returns a renderer for the tokenizer's own chat templates; [ErrNoTemplate] if there are none.
func NewRenderer(tok Tokenizer) (*Renderer, error) {
	r := &Renderer{tok: tok}
	_, err := r.template(false)
	return r, err
}

// NewRendererWith returns a renderer for a template that replaces the tokenizer's own.
func NewRendererWith(tok Tokenizer, template *jinja.Template) *Renderer {
	return &Renderer{tok: tok, override: template}
}

// Options of a rendering.
type Options struct {
	AddGenerationPrompt bool // end with the opening of the assistant's turn
	// ContinueFinal leaves the last message open, so that the model goes on writing it.
	ContinueFinal bool
	// Kwargs are more variables for the template, such as enable_thinking. May be nil.
	Kwargs *Dict
	Now    time.Time // what strftime_now tells; zero means the current local time
}

// Render gives the text of a conversation. tools is nil or a list of tool schemas.
//
// As in mlx-lm, enable_thinking is always defined: true for tokenizers with thinking tokens and false for others,
// unless Kwargs sets it.
func (r *Renderer) Render(messages []Value, tools Value, opt Options) (string, error) {
	text, _, err := r.RenderSpans(messages, tools, opt)
	return text, err
}

// RenderSpans is Render that also tells which bytes came out of the template's {% generation %} blocks.
// Most templates have none.
func (r *Renderer) RenderSpans(messages []Value, tools Value, opt Options) (string, []jinja.Span, error) {
	if opt.ContinueFinal && opt.AddGenerationPrompt {
		return "", nil, errors.New("chat: the final message cannot be continued and a generation prompt added at the same time")
	}
	template, err := r.template(tools != nil)
	if err != nil {
		return "", nil, err
	}
	mark := ""
	if opt.ContinueFinal {
		if messages, mark, err = markEnd(messages); err != nil {
			return "", nil, err
		}
	}
	text, spans, err := template.Render(r.variables(messages, tools, opt), opt.Now)
	if err != nil {
		return "", nil, err
	}
	if mark != "" {
		if text, err = cutAtMark(text, mark); err != nil {
			return "", nil, err
		}
		spans = clip(spans, len(text))
	}
	return text, spans, nil
}

func (r *Renderer) template(withTools bool) (*jinja.Template, error) {
	if r.override != nil {
		return r.override, nil
	}
	i := 0
	if withTools {
		i = 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parsed[i] != nil {
		return r.parsed[i], nil
	}
	src, ok := r.tok.ChatTemplate(withTools)
	if !ok {
		return nil, ErrNoTemplate
	}
	t, err := jinja.Parse(src)
	r.parsed[i] = t
	return t, err
}

func (r *Renderer) variables(messages []Value, tools Value, opt Options) *Dict {
	ctx := jinja.NewDict()
	for name, token := range r.tok.SpecialTokens() {
		ctx.Set(name, token)
	}
	ctx.Set("messages", jinja.NewList(messages...))
	ctx.Set("tools", tools)
	ctx.Set("documents", nil)
	ctx.Set("add_generation_prompt", opt.AddGenerationPrompt)
	ctx.Set("enable_thinking", r.tok.HasThinking())
	if opt.Kwargs != nil {
		for _, name := range opt.Kwargs.Keys() {
			v, _ := opt.Kwargs.Get(name)
			ctx.Set(name, v)
		}
	}
	return ctx
}

// markEnd appends a mark to the text of the final message. The blank at its end tells later whether the template
// strips its messages.
func markEnd(messages []Value) (marked []Value, mark string, err error) {
	if len(messages) == 0 {
		return nil, "", errors.New("chat: there is no final message to continue")
	}
	last, ok := messages[len(messages)-1].(*Dict)
	if !ok {
		return nil, "", fmt.Errorf("chat: the final message is not an object but %s", describe(messages[len(messages)-1]))
	}
	whole, err := jinja.FormatJSON(jinja.NewList(messages...))
	if err != nil {
		return nil, "", err
	}
	for mark = "[continue-here]"; strings.Contains(whole, mark); {
		mark = "[" + mark + "]"
	}
	content, _ := last.Get("content")
	switch c := content.(type) {
	case string:
		content = c + mark + " "
	case *List:
		content = markPart(c, mark)
	default:
		content = nil
	}
	if content == nil {
		return nil, "", errors.New("chat: the final message has no text to continue")
	}
	last = last.Clone()
	last.Set("content", content)
	return append(append([]Value(nil), messages[:len(messages)-1]...), last), mark, nil
}

// markPart marks the last text among content parts; nil if there is none.
func markPart(parts *List, mark string) Value {
	for i := len(parts.Items) - 1; i >= 0; i-- {
		part, ok := parts.Items[i].(*Dict)
		if !ok {
			continue
		}
		if v, _ := part.Get("text"); v != nil {
			if s, ok := v.(string); ok {
				marked := jinja.NewList(append([]Value(nil), parts.Items...)...)
				part = part.Clone()
				part.Set("text", s+mark+" ")
				marked.Items[i] = part
				return marked
			}
		}
	}
	return nil
}

func cutAtMark(text, mark string) (string, error) {
	i := strings.LastIndex(text, mark)
	if i < 0 {
		return "", errors.New("chat: the final message cannot be continued: the chat template does not show its text")
	}
	if strings.HasPrefix(text[i+len(mark):], " ") {
		return text[:i], nil
	}
	return strings.TrimRightFunc(text[:i], jinja.IsSpace), nil // the template strips messages
}

func clip(spans []jinja.Span, n int) []jinja.Span {
	var out []jinja.Span
	for _, s := range spans {
		if s.Start < n {
			out = append(out, jinja.Span{Start: s.Start, End: min(s.End, n)})
		}
	}
	return out
}
