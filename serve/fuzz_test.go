package serve

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// bodies are requests of each API, with what their parsers look into.
var bodies = []struct{ path, body string }{
	{"/v1/chat/completions", `{"model": "base", "messages": [{"role": "developer", "content": "Be short."}, {"role": "user", "content": [{"type": "text", "text": "x"}]}, {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "2"}], "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], "tool_choice": "auto", "stop": ["a"], "logit_bias": {"5": 1}, "max_tokens": 2}`},
	{"/v1/chat/completions", `{"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": {"a": {"enum": [1, "b"]}}, "required": ["a"]}}}, "stream": true, "stream_options": {"include_usage": true}, "logprobs": true, "top_logprobs": 2, "max_tokens": 2, "n": 2, "seed": -1, "timeout": 1}`},
	{"/v1/chat/completions", `{"messages": [{"role": "user", "content": "x"}], "grammar": "root ::= [a-c]+ (\"d\" | e)?\ne ::= \"e\"", "max_tokens": 2, "temperature": 1, "top_p": 0.5, "top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1, "presence_penalty": 1, "frequency_penalty": 1, "chat_template_kwargs": {"enable_thinking": false}, "reasoning_effort": "low"}`},
	{"/v1/completions", `{"prompt": ["x", "y"], "max_tokens": 1, "echo": true, "logprobs": 2, "suffix": null}`},
	{"/v1/completions", `{"prompt": [[5, 6], [7]], "max_tokens": 1, "stream": true, "n": 2}`},
	{"/v1/responses", `{"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}, {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "1", "output": "2"}], "instructions": "Be short.", "tools": [{"type": "function", "name": "f", "parameters": {}}], "text": {"format": {"type": "json_object"}}, "max_output_tokens": 2, "stream": true}`},
	{"/v1/embeddings", `{"input": ["x", "y"], "encoding_format": "base64"}`},
	{"/tokenize", `{"content": "x <|im_end|>", "add_special": true}`},
	{"/detokenize", `{"tokens": [5, 6]}`},
	{"/v1/messages", `{"max_tokens": 2, "system": [{"type": "text", "text": "Be short."}], "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [{"type": "thinking", "thinking": "h"}, {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "2"}]}]}], "tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "auto"}, "stop_sequences": ["z"], "stream": true}`},
	{"/v1/messages/count_tokens", `{"messages": [{"role": "user", "content": "x"}]}`},
	{"/api/chat", `{"model": "base:latest", "messages": [{"role": "user", "content": "x", "images": []}], "format": {"type": "object"}, "options": {"num_predict": 2, "temperature": 0, "stop": ["z"], "seed": 1, "num_ctx": 64}, "think": false, "keep_alive": "5m", "stream": false}`},
	{"/api/generate", `{"prompt": "x", "system": "Be short.", "options": {"num_predict": 2}, "raw": false, "format": "json"}`},
	{"/api/embed", `{"input": "x"}`},
	{"/api/embeddings", `{"prompt": "x"}`},
	{"/api/show", `{"model": "base"}`},
}

// FuzzRequests: whatever a request says, its reply is one of the API's, and no fault of the server's.
func FuzzRequests(f *testing.F) {
	s, _ := newServer(f, func(o *Options) {
		o.Deadline, o.MaxTokens, o.MaxBody = 200*time.Millisecond, 4, 1<<16
		o.Log = func(text string) {
			if strings.Contains(text, "a fault of the server") || strings.Contains(text, "an answer failed") {
				f.Error(text)
			}
		}
	})
	for i, b := range bodies {
		f.Add(uint8(i), []byte(b.body))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		path := bodies[int(which)%len(bodies)].path
		r := httptest.NewRequest("POST", "http://localhost"+path, bytes.NewReader(body))
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		kind := w.Header().Get("Content-Type")
		if w.Code == http.StatusInternalServerError {
			t.Errorf("%s %q: %s", path, body, w.Body)
		}
		if kind == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %q: %d %q", path, body, w.Code, w.Body)
		}
		if kind != "application/json" && w.Code != http.StatusOK {
			t.Errorf("%s %q: %d %s", path, body, w.Code, kind)
		}
		if int(which) < len(bodies) && string(body) == bodies[which].body && w.Code != http.StatusOK && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s %s: %d %s", path, body, w.Code, w.Body) // a seed is a good request
		}
	})
}
