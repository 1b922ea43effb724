package serve

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
)

// responsesRequest is a request of OpenAI's /v1/responses. Nothing is kept of it: a conversation comes whole each time.
type responsesRequest struct {
	Model           string          `json:"model"`
	Input           json.RawMessage `json:"input"`
	Instructions    *string         `json:"instructions"`
	MaxOutputTokens *int            `json:"max_output_tokens"`
	Temperature     *float64        `json:"temperature"`
	TopP            *float64        `json:"top_p"`
	Stream          bool            `json:"stream"`
	Tools           json.RawMessage `json:"tools"`
	ToolChoice      json.RawMessage `json:"tool_choice"`
	Previous        *string         `json:"previous_response_id"`
	Text            *struct {
		Format json.RawMessage `json:"format"`
	} `json:"text"`
	Reasoning *struct {
		Effort *string `json:"effort"`
	} `json:"reasoning"`
}

// chatRequest makes a request of chat completions of it.
func (r *responsesRequest) chatRequest() (_ *chatRequest, err error) {
	if r.Previous != nil && *r.Previous != "" {
		return nil, badField("previous_response_id", "previous_response_id: the server keeps no responses: send the conversation as input")
	}
	out := &chatRequest{Model: r.Model, Stream: r.Stream, ToolChoice: r.ToolChoice}
	out.Temperature, out.TopP, out.MaxTokens = r.Temperature, r.TopP, r.MaxOutputTokens
	if r.Reasoning != nil {
		out.ReasoningEffort = r.Reasoning.Effort
	}
	if r.Text != nil {
		out.ResponseFormat = r.Text.Format
	}
	messages := jinja.NewList()
	if r.Instructions != nil && *r.Instructions != "" {
		messages.Items = append(messages.Items, chat.NewMessage("system", *r.Instructions))
	}
	v, err := value("input", r.Input)
	if err != nil {
		return nil, err
	}
	switch in := v.(type) {
	case string:
		messages.Items = append(messages.Items, chat.NewMessage("user", in))
	case *chat.List:
		for i, item := range in.Items {
			d, _ := item.(*chat.Dict)
			if d == nil {
				return nil, badField("input", "input[%d]: expected an object", i)
			}
			if m := fromItem(d); m != nil {
				messages.Items = append(messages.Items, m)
			}
		}
	default:
		return nil, badField("input", "input: expected a string or a list of items")
	}
	if out.Messages, err = rawOf(messages); err != nil {
		return nil, err
	}
	out.Tools, err = r.functions()
	return out, err
}

// fromItem makes a message of an item; nil for one that says nothing to a model.
func fromItem(d *chat.Dict) chat.Value {
	get := func(key string) chat.Value { v, _ := d.Get(key); return v }
	switch get("type") {
	case "function_call":
		call := newDict("id", get("call_id"), "type", "function", "function", newDict("name", get("name"), "arguments", get("arguments")))
		return newDict("role", "assistant", "content", "", "tool_calls", jinja.NewList(call))
	case "function_call_output":
		return newDict("role", "tool", "tool_call_id", get("call_id"), "content", get("output"))
	case nil, "message":
		return newDict("role", get("role"), "content", get("content"))
	}
	return nil
}

// functions gives tools as chat completions have them.
func (r *responsesRequest) functions() (json.RawMessage, error) {
	v, err := value("tools", r.Tools)
	if err != nil || v == nil {
		return nil, err
	}
	list, ok := v.(*chat.List)
	if !ok {
		return nil, badField("tools", "tools: expected a list")
	}
	tools := jinja.NewList()
	for i, item := range list.Items {
		d, _ := item.(*chat.Dict)
		if d == nil {
			return nil, badField("tools", "tools[%d]: expected an object", i)
		}
		if kind, _ := d.Get("type"); kind != "function" {
			return nil, badField("tools", "tools[%d]: there is no tool of type %v here: expected function", i, kind)
		}
		f := jinja.NewDict()
		for _, key := range []string{"name", "description", "parameters"} {
			if v, ok := d.Get(key); ok {
				f.Set(key, v)
			}
		}
		tools.Items = append(tools.Items, newDict("type", "function", "function", f))
	}
	return rawOf(tools)
}

// responses answers POST /v1/responses.
func (s *Server) responses(w http.ResponseWriter, r *http.Request) {
	var request responsesRequest
	var c *chatRequest
	var q *query
	err := readRequest(w, r, &request)
	if err == nil {
		c, err = request.chatRequest()
	}
	if err == nil {
		q, err = s.chatQuery(r.Context(), c)
	}
	if err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	defer s.models.release(q.variant)
	q.options.Client = s.clientOf(r)
	reply := &response{id: newID("resp_"), model: modelOr(request.Model), created: time.Now().Unix()}
	if request.Stream {
		out := newStream(w, false)
		s.finishStream(w, reply.stream(out), func(emit func(event) error) error { return s.answer(r.Context(), q, emit) })
		return
	}
	if err := s.answer(r.Context(), q, func(e event) error {
		reply.take(e)
		return nil
	}); err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	writeJSON(w, http.StatusOK, reply.object())
}

// response is a reply under way: a list of items.
type response struct {
	id, model string
	created   int64
	items     []map[string]any
	text      strings.Builder // of the last item
	kind      chat.PartKind
	finish    string
	stats     answerStats
	number    int // of the next event
}

// starts reports whether a new item begins with an event.
func (r *response) starts(e event) bool {
	return e.part != nil && (len(r.items) == 0 || r.kind != e.part.Kind || e.part.Kind == chat.ToolCall)
}

// take adds an event.
func (r *response) take(e event) {
	if e.finish != "" {
		r.finish, r.stats = e.finish, e.stats
	}
	if e.part == nil {
		return
	}
	if r.starts(e) {
		r.kind = e.part.Kind
		r.text.Reset()
		r.items = append(r.items, r.item(e.part))
	}
	r.text.WriteString(e.part.Text)
	r.fill()
}

func (r *response) item(p *chat.Part) map[string]any {
	switch p.Kind {
	case chat.ToolCall:
		return map[string]any{"type": "function_call", "id": newID("fc_"), "call_id": newID("call_"), "name": p.Call.Name, "arguments": p.Call.Arguments, "status": "completed"}
	case chat.Reasoning:
		return map[string]any{"type": "reasoning", "id": newID("rs_"), "summary": []any{}, "status": "completed"}
	}
	return map[string]any{"type": "message", "id": newID("msg_"), "role": "assistant", "status": "completed"}
}

// fill puts the text so far into the last item.
func (r *response) fill() {
	last := r.items[len(r.items)-1]
	switch r.kind {
	case chat.Content:
		last["content"] = []any{textPart(r.text.String())}
	case chat.Reasoning:
		last["content"] = []any{map[string]any{"type": "reasoning_text", "text": r.text.String()}}
	}
}

func textPart(text string) map[string]any {
	return map[string]any{"type": "output_text", "text": text, "annotations": []any{}}
}

// object is the response so far.
func (r *response) object() map[string]any {
	status, why := "in_progress", any(nil)
	switch r.finish {
	case "":
	case "length":
		status, why = "incomplete", map[string]any{"reason": "max_output_tokens"}
	default:
		status = "completed"
	}
	output := []any{}
	for _, item := range r.items {
		output = append(output, item)
	}
	s := r.stats
	out := map[string]any{
		"id": r.id, "object": "response", "created_at": r.created, "model": r.model, "status": status, "incomplete_details": why, "error": nil, "output": output,
		"parallel_tool_calls": true, "tool_choice": "auto", "tools": []any{},
		"usage": map[string]any{
			"input_tokens": s.PromptTokens, "output_tokens": s.GenerationTokens, "total_tokens": s.PromptTokens + s.GenerationTokens,
			"input_tokens_details": map[string]any{"cached_tokens": s.CachedTokens}, "output_tokens_details": map[string]any{"reasoning_tokens": 0},
		},
	}
	s.tell(out)
	return out
}

// stream writes the response as server-sent events: items that begin, grow and end.
func (r *response) stream(out *stream) *streamed {
	type m = map[string]any
	send := func(kind string, v m) error {
		v["type"], v["sequence_number"] = kind, r.number
		r.number++
		return out.send(kind, v)
	}
	all := func(steps ...func() error) error {
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	}
	at := func(more m) m {
		i := len(r.items) - 1
		more["output_index"] = i
		more["item_id"] = r.items[i]["id"]
		return more
	}
	begin := func() error {
		if r.number > 0 {
			return nil
		}
		return all(func() error { return send("response.created", m{"response": r.object()}) }, func() error { return send("response.in_progress", m{"response": r.object()}) })
	}
	end := func() error { // of the last item
		if len(r.items) == 0 {
			return nil
		}
		last := r.items[len(r.items)-1]
		if r.kind == chat.Content {
			text := r.text.String()
			if err := all(
				func() error { return send("response.output_text.done", at(m{"content_index": 0, "text": text})) },
				func() error {
					return send("response.content_part.done", at(m{"content_index": 0, "part": textPart(text)}))
				},
			); err != nil {
				return err
			}
		}
		return send("response.output_item.done", m{"output_index": len(r.items) - 1, "item": last})
	}
	event := func(e event) error {
		if e.part == nil && e.finish == "" {
			return out.alive(e.done, e.total)
		}
		if err := begin(); err != nil {
			return err
		}
		starts := r.starts(e)
		if starts || e.finish != "" {
			if err := end(); err != nil {
				return err
			}
		}
		r.take(e)
		if e.part == nil {
			kind := "response.completed"
			if r.finish == "length" {
				kind = "response.incomplete"
			}
			return send(kind, m{"response": r.object()})
		}
		last := r.items[len(r.items)-1]
		if starts {
			item := m{"id": last["id"], "type": last["type"], "status": "in_progress"}
			for _, key := range []string{"role", "name", "call_id", "summary"} {
				if v, ok := last[key]; ok {
					item[key] = v
				}
			}
			switch r.kind {
			case chat.Content:
				item["content"] = []any{}
			case chat.ToolCall:
				item["arguments"] = ""
			}
			if err := send("response.output_item.added", m{"output_index": len(r.items) - 1, "item": item}); err != nil {
				return err
			}
			if r.kind == chat.Content {
				if err := send("response.content_part.added", at(m{"content_index": 0, "part": textPart("")})); err != nil {
					return err
				}
			}
		}
		switch r.kind {
		case chat.ToolCall:
			return all(
				func() error { return send("response.function_call_arguments.delta", at(m{"delta": last["arguments"]})) },
				func() error {
					return send("response.function_call_arguments.done", at(m{"arguments": last["arguments"]}))
				},
			)
		case chat.Reasoning:
			return send("response.reasoning_text.delta", at(m{"content_index": 0, "delta": e.part.Text}))
		}
		return send("response.output_text.delta", at(m{"content_index": 0, "delta": e.part.Text, "logprobs": []any{}}))
	}
	return &streamed{stream: out, event: event, end: func() error { return nil }, fail: func(e *apiError) error {
		return send("error", m{"code": e.code, "message": e.message, "param": e.param})
	}}
}
