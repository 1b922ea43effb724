package serve

import (
	"encoding/json"
	"net/http"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
)

// messagesRequest is a request of Anthropic's /v1/messages.
type messagesRequest struct {
	Model         string          `json:"model"`
	System        json.RawMessage `json:"system"`
	Messages      json.RawMessage `json:"messages"`
	MaxTokens     *int            `json:"max_tokens"`
	StopSequences stringList      `json:"stop_sequences"`
	Temperature   *float64        `json:"temperature"`
	TopP          *float64        `json:"top_p"`
	TopK          *int            `json:"top_k"`
	Stream        bool            `json:"stream"`
	Tools         json.RawMessage `json:"tools"`
	ToolChoice    json.RawMessage `json:"tool_choice"`
	Thinking      *struct {
		Type string `json:"type"`
	} `json:"thinking"`
}

// anthropicError answers with an error.
func anthropicError(w http.ResponseWriter, e *apiError) {
	if e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	writeJSON(w, e.status, e.anthropic())
}

func (e *apiError) anthropic() map[string]any {
	kind := map[int]string{
		http.StatusNotFound: "not_found_error", http.StatusTooManyRequests: "rate_limit_error", http.StatusUnauthorized: "authentication_error",
		http.StatusForbidden: "permission_error", http.StatusRequestEntityTooLarge: "request_too_large", http.StatusServiceUnavailable: "overloaded_error",
	}[e.status]
	switch {
	case kind != "":
	case e.status < http.StatusInternalServerError:
		kind = "invalid_request_error"
	default:
		kind = "api_error"
	}
	return map[string]any{"type": "error", "error": map[string]any{"type": kind, "message": e.message}}
}

// rawOf writes a value as JSON.
func rawOf(v chat.Value) (json.RawMessage, error) {
	text, err := jinja.FormatJSON(v)
	return json.RawMessage(text), err
}

// newDict makes an object of keys and values.
func newDict(pairs ...any) *chat.Dict {
	d := jinja.NewDict()
	for i := 0; i < len(pairs); i += 2 {
		d.Set(pairs[i].(string), pairs[i+1])
	}
	return d
}

// chatRequest makes a request of OpenAI's of it, which has the same in other words.
func (r *messagesRequest) chatRequest() (_ *chatRequest, err error) {
	out := &chatRequest{Model: r.Model, Stream: r.Stream}
	out.Temperature, out.TopP, out.TopK, out.MaxTokens, out.Stop = r.Temperature, r.TopP, r.TopK, r.MaxTokens, r.StopSequences
	if r.Thinking != nil {
		out.TemplateKwargs = json.RawMessage(`{"enable_thinking": ` + map[bool]string{true: "true", false: "false"}[r.Thinking.Type == "enabled"] + `}`)
	}
	messages := jinja.NewList()
	system, err := value("system", r.System)
	if err != nil {
		return nil, err
	}
	if system != nil {
		text, err := textOf("system", system)
		if err != nil {
			return nil, err
		}
		messages.Items = append(messages.Items, chat.NewMessage("system", text))
	}
	v, err := value("messages", r.Messages)
	if err != nil {
		return nil, err
	}
	items, err := chat.CheckMessages(v)
	if err != nil {
		return nil, badField("messages", "%v", err)
	}
	for _, m := range items {
		more, err := fromBlocks(m.(*chat.Dict))
		if err != nil {
			return nil, err
		}
		messages.Items = append(messages.Items, more...)
	}
	if out.Messages, err = rawOf(messages); err != nil {
		return nil, err
	}
	if err = r.tools(out); err != nil {
		return nil, err
	}
	return out, nil
}

// fromBlocks makes messages of one whose content is blocks: calls go into a list, and each result is a message.
func fromBlocks(m *chat.Dict) (out []chat.Value, err error) {
	content, _ := m.Get("content")
	list, ok := content.(*chat.List)
	if !ok {
		return []chat.Value{m}, nil
	}
	role, _ := m.Get("role")
	text, calls := jinja.NewList(), jinja.NewList()
	for _, b := range list.Items {
		block, _ := b.(*chat.Dict)
		if block == nil {
			return nil, badField("messages", "messages: expected blocks of content such as {\"type\": \"text\", \"text\": ...}")
		}
		kind, _ := block.Get("type")
		get := func(key string) chat.Value { v, _ := block.Get(key); return v }
		switch kind {
		case "tool_use":
			calls.Items = append(calls.Items, newDict("id", get("id"), "type", "function", "function", newDict("name", get("name"), "arguments", get("input"))))
		case "tool_result":
			said, err := textOf("messages.tool_result.content", get("content"))
			if err != nil {
				return nil, err
			}
			out = append(out, newDict("role", "tool", "tool_call_id", get("tool_use_id"), "content", said))
		case "thinking", "redacted_thinking":
		default:
			text.Items = append(text.Items, block)
		}
	}
	if len(text.Items) > 0 || len(calls.Items) > 0 {
		d := newDict("role", role, "content", text)
		if len(calls.Items) > 0 {
			d.Set("tool_calls", calls)
		}
		out = append(out, d)
	}
	return out, nil
}

// tools gives tools and the choice of one in OpenAI's form.
func (r *messagesRequest) tools(out *chatRequest) error {
	v, err := value("tools", r.Tools)
	if err != nil || v == nil {
		return err
	}
	list, ok := v.(*chat.List)
	if !ok {
		return badField("tools", "tools: expected a list")
	}
	tools := jinja.NewList()
	for i, item := range list.Items {
		d, _ := item.(*chat.Dict)
		if d == nil {
			return badField("tools", "tools[%d]: expected an object", i)
		}
		f := jinja.NewDict()
		for from, to := range map[string]string{"name": "name", "description": "description", "input_schema": "parameters"} {
			if v, ok := d.Get(from); ok {
				f.Set(to, v)
			}
		}
		tools.Items = append(tools.Items, newDict("type", "function", "function", f))
	}
	if out.Tools, err = rawOf(tools); err != nil {
		return err
	}
	choice, err := dict("tool_choice", r.ToolChoice)
	if err != nil || choice == nil {
		return err
	}
	kind, _ := choice.Get("type")
	name, _ := choice.Get("name")
	if kind == "tool" {
		out.ToolChoice, err = rawOf(newDict("name", name))
	} else {
		out.ToolChoice, err = rawOf(kind)
	}
	return err
}

// anthropicQuery reads a request and makes its query; the caller releases the variant.
func (s *Server) anthropicQuery(w http.ResponseWriter, r *http.Request, request *messagesRequest) (*query, error) {
	if err := readRequest(w, r, request); err != nil {
		return nil, err
	}
	c, err := request.chatRequest()
	if err != nil {
		return nil, err
	}
	q, err := s.chatQuery(r.Context(), c)
	if err == nil {
		q.options.Client = s.clientOf(r)
	}
	return q, err
}

// countTokens answers POST /v1/messages/count_tokens.
func (s *Server) countTokens(w http.ResponseWriter, r *http.Request) {
	q, err := s.anthropicQuery(w, r, &messagesRequest{})
	if err != nil {
		anthropicError(w, s.toAPI(err))
		return
	}
	defer s.models.release(q.variant)
	writeJSON(w, http.StatusOK, map[string]any{"input_tokens": len(q.prompt)})
}

// anthropicMessages answers POST /v1/messages.
func (s *Server) anthropicMessages(w http.ResponseWriter, r *http.Request) {
	var request messagesRequest
	q, err := s.anthropicQuery(w, r, &request)
	if err != nil {
		anthropicError(w, s.toAPI(err))
		return
	}
	defer s.models.release(q.variant)
	if q.options.MaxTokens == 0 {
		anthropicError(w, badField("max_tokens", "max_tokens: found 0, expected 1 or more"))
		return
	}
	reply := &anthropicReply{request: &request, id: newID("msg_"), prompt: len(q.prompt)}
	if request.Stream {
		out := newStream(w, false)
		err := s.answer(r.Context(), q, reply.stream(out))
		if err == nil {
			err = out.send("message_stop", map[string]any{"type": "message_stop"})
		}
		switch {
		case err == nil:
		case !out.begun:
			anthropicError(w, s.toAPI(err))
		default:
			out.send("error", s.toAPI(err).anthropic()) // to a client that may have gone
		}
		return
	}
	var whole wholeAnswer
	if err := s.answer(r.Context(), q, func(e event) error {
		whole.take(e)
		return nil
	}); err != nil {
		anthropicError(w, s.toAPI(err))
		return
	}
	blocks := []any{}
	if whole.reasoning.Len() > 0 {
		blocks = append(blocks, map[string]any{"type": "thinking", "thinking": whole.reasoning.String(), "signature": ""})
	}
	if whole.text.Len() > 0 {
		blocks = append(blocks, map[string]any{"type": "text", "text": whole.text.String()})
	}
	for _, c := range whole.calls {
		blocks = append(blocks, map[string]any{"type": "tool_use", "id": newID("toolu_"), "name": c.Name, "input": json.RawMessage(c.Arguments)})
	}
	m := reply.message(blocks, whole.stats)
	m["stop_reason"], m["stop_sequence"] = reply.reason(whole.finish, whole.stopped)
	whole.stats.tell(m)
	writeJSON(w, http.StatusOK, m)
}

// anthropicReply is what all pieces of a reply have in common.
type anthropicReply struct {
	request *messagesRequest
	id      string
	prompt  int // tokens
	block   int // that is open, or the next one
	open    bool
	kind    chat.PartKind
	begun   bool
}

func (a *anthropicReply) message(blocks []any, stats answerStats) map[string]any {
	return map[string]any{
		"id": a.id, "type": "message", "role": "assistant", "model": modelOr(a.request.Model), "content": blocks, "stop_reason": nil, "stop_sequence": nil,
		"usage": map[string]any{"input_tokens": a.prompt - stats.CachedTokens, "output_tokens": stats.GenerationTokens, "cache_read_input_tokens": stats.CachedTokens, "cache_creation_input_tokens": 0},
	}
}

// reason says why an answer ended. Of several stop sequences, the one that came is not known.
func (a *anthropicReply) reason(finish string, stopped bool) (string, any) {
	switch {
	case finish == "length":
		return "max_tokens", nil
	case finish == "tool_calls":
		return "tool_use", nil
	case stopped && len(a.request.StopSequences) == 1:
		return "stop_sequence", a.request.StopSequences[0]
	case stopped:
		return "stop_sequence", nil
	}
	return "end_turn", nil
}

// stream writes events as Anthropic has them: blocks that begin, grow and end.
func (a *anthropicReply) stream(out *stream) func(event) error {
	type m = map[string]any
	send := func(v m) error { return out.send(v["type"].(string), v) }
	closeBlock := func() error {
		if !a.open {
			return nil
		}
		a.open = false
		a.block++
		return send(m{"type": "content_block_stop", "index": a.block - 1})
	}
	openBlock := func(kind chat.PartKind, block m) error {
		if a.open && a.kind == kind && kind != chat.ToolCall {
			return nil
		}
		if err := closeBlock(); err != nil {
			return err
		}
		a.open, a.kind = true, kind
		return send(m{"type": "content_block_start", "index": a.block, "content_block": block})
	}
	delta := func(d m) error { return send(m{"type": "content_block_delta", "index": a.block, "delta": d}) }
	return func(e event) error {
		if e.part == nil && e.finish == "" {
			return out.alive(e.done, e.total)
		}
		if !a.begun {
			a.begun = true
			if err := send(m{"type": "message_start", "message": a.message([]any{}, answerStats{})}); err != nil {
				return err
			}
		}
		if e.part == nil {
			if err := closeBlock(); err != nil {
				return err
			}
			why, which := a.reason(e.finish, e.stopped)
			last := m{"type": "message_delta", "delta": m{"stop_reason": why, "stop_sequence": which}, "usage": m{"output_tokens": e.stats.GenerationTokens}}
			e.stats.tell(last)
			return send(last)
		}
		block, d := m{"type": "text", "text": ""}, m{"type": "text_delta", "text": e.part.Text}
		switch e.part.Kind {
		case chat.Reasoning:
			block, d = m{"type": "thinking", "thinking": ""}, m{"type": "thinking_delta", "thinking": e.part.Text}
		case chat.ToolCall:
			block, d = m{"type": "tool_use", "id": newID("toolu_"), "name": e.part.Call.Name, "input": m{}}, m{"type": "input_json_delta", "partial_json": e.part.Call.Arguments}
		}
		if err := openBlock(e.part.Kind, block); err != nil {
			return err
		}
		return delta(d)
	}
}
