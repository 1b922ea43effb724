package serve

import (
	"net/http"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/chat"
)

// chatCompletions answers POST /v1/chat/completions.
func (s *Server) chatCompletions(w http.ResponseWriter, r *http.Request) {
	var request chatRequest
	if err := readRequest(w, r, &request); err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	q, err := s.chatQuery(r.Context(), &request)
	if err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	defer s.models.release(q.variant)
	q.options.Client = s.clientOf(r)
	reply := &chatReply{annotate: func(text string) []any { return s.annotations(r, request.Messages, text) }, texts: map[int]string{}, request: &request, id: newID("chatcmpl-"), created: time.Now().Unix(), stats: map[int]answerStats{}}
	if request.Stream {
		s.finishStream(w, reply.stream(newStream(w, false)), func(emit func(event) error) error { return s.answer(r.Context(), q, emit) })
		return
	}
	whole := make([]wholeAnswer, q.n)
	if err := s.answer(r.Context(), q, func(e event) error {
		whole[e.choice].take(e)
		return nil
	}); err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	choices := []any{}
	for i := range whole {
		reply.stats[i] = whole[i].stats
		choice := whole[i].choice(i, request.Logprobs)
		text := whole[i].text.String()
		if notes := append(reply.annotate(text), whole[i].stats.verdict.annotations()...); len(notes) > 0 {
			choice["message"].(map[string]any)["annotations"] = notes
		}
		whole[i].stats.tell(choice)
		choices = append(choices, choice)
	}
	out := reply.head("chat.completion")
	out["choices"], out["usage"], out["timings"] = choices, usageOf(statsOf(reply.stats)), timingsOf(reply.stats[0])
	writeJSON(w, http.StatusOK, out)
}

// wholeAnswer collects an answer.
type wholeAnswer struct {
	text, reasoning strings.Builder
	calls           []chat.Call
	logs            []tokenLog
	finish          string
	stopped         bool
	stats           answerStats
}

func (a *wholeAnswer) take(e event) {
	a.logs = append(a.logs, e.logs...)
	if e.finish != "" {
		a.finish, a.stopped, a.stats = e.finish, e.stopped, e.stats
	}
	if e.part == nil {
		return
	}
	switch e.part.Kind {
	case chat.Content:
		a.text.WriteString(e.part.Text)
	case chat.Reasoning:
		a.reasoning.WriteString(e.part.Text)
	case chat.ToolCall:
		a.calls = append(a.calls, e.part.Call)
	}
}

// choice writes the answer as chat completions have it.
func (a *wholeAnswer) choice(i int, logs bool) map[string]any {
	message := map[string]any{"role": "assistant", "content": a.text.String()}
	if a.reasoning.Len() > 0 {
		message["reasoning_content"] = a.reasoning.String()
	}
	if len(a.calls) > 0 {
		calls := []any{}
		for _, c := range a.calls {
			calls = append(calls, callObject(c))
		}
		message["tool_calls"] = calls
		if a.text.Len() == 0 {
			message["content"] = nil
		}
	}
	out := map[string]any{"index": i, "message": message, "finish_reason": a.finish, "logprobs": nil}
	if logs {
		out["logprobs"] = map[string]any{"content": chatLogs(a.logs)}
	}
	return out
}

// chatReply is what all pieces of a reply have in common.
type chatReply struct {
	request *chatRequest
	id      string
	created int64
	stats   map[int]answerStats
	calls   map[int]int // of each choice, so far

	annotate func(text string) []any // sources of an answer
	texts    map[int]string          // of each choice, so far
}

func (c *chatReply) head(object string) map[string]any {
	return map[string]any{"id": c.id, "object": object, "created": c.created, "model": modelOr(c.request.Model), "system_fingerprint": "lentil"}
}

// a streamed reply writes events, and at last what comes behind them.
type streamed struct {
	*stream
	event func(event) error
	end   func() error
	fail  func(*apiError) error
}

// finishStream runs an answer into a stream. An error before the first event is a reply of its own.
func (s *Server) finishStream(w http.ResponseWriter, out *streamed, answer func(emit func(event) error) error) {
	err := answer(out.event)
	if err == nil {
		err = out.end()
	}
	if err == nil {
		return
	}
	e := s.toAPI(err)
	if !out.begun {
		openAIError(w, e)
		return
	}
	out.fail(e) // to a client that may have gone
}

// stream writes the reply as server-sent events.
func (c *chatReply) stream(out *stream) *streamed {
	c.calls = map[int]int{}
	begun := map[int]bool{}
	chunk := func(i int, delta map[string]any, finish any, logs []tokenLog) map[string]any {
		m := c.head("chat.completion.chunk")
		choice := map[string]any{"index": i, "delta": delta, "finish_reason": finish, "logprobs": nil}
		if c.request.Logprobs {
			choice["logprobs"] = map[string]any{"content": chatLogs(logs)}
		}
		m["choices"] = []any{choice}
		return m
	}
	return &streamed{
		stream: out,
		event: func(e event) error {
			if e.part == nil && e.finish == "" {
				return out.alive(e.done, e.total)
			}
			if !begun[e.choice] {
				begun[e.choice] = true
				if err := out.send("", chunk(e.choice, map[string]any{"role": "assistant", "content": ""}, nil, nil)); err != nil {
					return err
				}
			}
			if e.part != nil {
				return out.send("", chunk(e.choice, c.delta(e), nil, e.logs))
			}
			c.stats[e.choice] = e.stats
			text := c.texts[e.choice]
			if notes := append(c.annotate(text), e.stats.verdict.annotations()...); len(notes) > 0 {
				if err := out.send("", chunk(e.choice, map[string]any{"annotations": notes}, nil, nil)); err != nil {
					return err
				}
			}
			m := chunk(e.choice, map[string]any{}, e.finish, e.logs)
			m["timings"] = timingsOf(e.stats)
			e.stats.tell(m["choices"].([]any)[0].(map[string]any))
			return out.send("", m)
		},
		end: func() error {
			if o := c.request.StreamOptions; o != nil && o.IncludeUsage {
				m := c.head("chat.completion.chunk")
				m["choices"], m["usage"] = []any{}, usageOf(statsOf(c.stats))
				if len(c.stats) == 1 {
					m["timings"] = timingsOf(c.stats[0])
				}
				if err := out.send("", m); err != nil {
					return err
				}
			}
			return out.write("data: [DONE]\n\n")
		},
		fail: func(e *apiError) error { return out.send("", e.object()) },
	}
}

func (c *chatReply) delta(e event) map[string]any {
	switch e.part.Kind {
	case chat.Reasoning:
		return map[string]any{"reasoning_content": e.part.Text}
	case chat.ToolCall:
		call := callObject(e.part.Call)
		call["index"] = c.calls[e.choice]
		c.calls[e.choice]++
		return map[string]any{"tool_calls": []any{call}}
	}
	c.texts[e.choice] += e.part.Text
	return map[string]any{"content": e.part.Text}
}
