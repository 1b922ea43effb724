package serve

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// withTemplate is the demo's model with another chat template.
func withTemplate(t testing.TB, template string) string {
	t.Helper()
	from, err := modelFolder()
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "chat_template.jinja"), []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestAPIs: one question through every API has one answer, whole and streamed.
func TestAPIs(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, func(o *Options) { o.Batch.RowWise = true })
	want := content(t, h.URL, object{"messages": user(question)})
	say := func(values []object, path ...any) (text string) {
		for _, v := range values {
			piece, _ := at(v, path...).(string)
			text += piece
		}
		return text
	}
	check := func(what, got string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	ask := object{"model": "base", "max_tokens": 50, "messages": user(question)}
	_, reply := post(t, h.URL, "/v1/messages", ask)
	check("messages", say([]object{reply}, "content", 0, "text"))
	if at(reply, "stop_reason") != "end_turn" || at(reply, "usage", "output_tokens") != 9.0 {
		t.Errorf("messages: %v", reply)
	}
	ask["stream"] = true
	values, _ := events(t, h.URL, "/v1/messages", ask)
	check("messages, streamed", say(values, "delta", "text"))
	var kinds []string
	for _, v := range values {
		if k := v["type"].(string); len(kinds) == 0 || kinds[len(kinds)-1] != k {
			kinds = append(kinds, k)
		}
	}
	if got := strings.Join(kinds, " "); got != "message_start content_block_start content_block_delta content_block_stop message_delta message_stop" {
		t.Errorf("events of messages: %s", got)
	}
	_, reply = post(t, h.URL, "/v1/messages/count_tokens", object{"messages": user(question)})
	if at(reply, "input_tokens") != 14.0 {
		t.Errorf("count_tokens: %v", reply)
	}
	_, reply = post(t, h.URL, "/v1/messages", object{"max_tokens": 30, "messages": []object{{"role": "user", "content": []object{{"type": "text", "text": question}}}}, "stop_sequences": []string{" for"}})
	if at(reply, "stop_reason") != "stop_sequence" || at(reply, "stop_sequence") != " for" {
		t.Errorf("stop sequence: %v", reply)
	}

	_, reply = post(t, h.URL, "/v1/responses", object{"input": question})
	check("responses", say([]object{reply}, "output", 0, "content", 0, "text"))
	if at(reply, "status") != "completed" || at(reply, "usage", "output_tokens") != 9.0 {
		t.Errorf("responses: %v", reply)
	}
	values, _ = events(t, h.URL, "/v1/responses", object{"input": []object{{"role": "user", "content": []object{{"type": "input_text", "text": question}}}}, "stream": true})
	deltas := ""
	for i, v := range values {
		if v["type"] == "response.output_text.delta" {
			deltas += v["delta"].(string)
		}
		if v["sequence_number"] != float64(i) {
			t.Errorf("event %d has number %v", i, v["sequence_number"])
		}
	}
	check("responses, streamed", deltas)
	if last := values[len(values)-1]; last["type"] != "response.completed" || at(last, "response", "output", 0, "content", 0, "text") != want {
		t.Errorf("the last event of a response: %v", last)
	}

	chat := object{"model": "base:latest", "messages": user(question), "stream": false}
	_, reply = post(t, h.URL, "/api/chat", chat)
	check("ollama", say([]object{reply}, "message", "content"))
	delete(chat, "stream")
	values, _ = events(t, h.URL, "/api/chat", chat)
	check("ollama, streamed", say(values, "message", "content"))
	if last := values[len(values)-1]; last["done"] != true || last["done_reason"] != "stop" || last["eval_count"] != 9.0 {
		t.Errorf("the last line of ollama: %v", last)
	}
	values, _ = events(t, h.URL, "/api/generate", object{"model": "base", "prompt": question})
	check("ollama generate", say(values, "response"))
	_, reply = post(t, h.URL, "/api/generate", object{"model": "base", "prompt": "Beans", "raw": true, "stream": false, "options": object{"num_predict": 3}})
	_, completed := post(t, h.URL, "/v1/completions", object{"prompt": "Beans", "max_tokens": 3})
	if reply["response"] != at(completed, "choices", 0, "text") {
		t.Errorf("raw: %v, a completion is %v", reply["response"], at(completed, "choices", 0, "text"))
	}
	for path, key := range map[string]string{"/api/tags": "models", "/api/ps": "models", "/api/version": "version"} {
		r, err := http.Get(h.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		var v object
		err = json.NewDecoder(r.Body).Decode(&v)
		r.Body.Close()
		if err != nil || v[key] == nil {
			t.Errorf("%s: %v", path, v)
		}
	}
	if _, reply = post(t, h.URL, "/api/show", object{"model": "base"}); at(reply, "capabilities", 0) != "completion" || !(at(reply, "model_info", "llama.context_length").(float64) > 0) {
		t.Errorf("show: %v", reply)
	}
	status, reply := post(t, h.URL, "/api/chat", object{"model": "none", "messages": user("x")})
	if _, ok := reply["error"].(string); status != 404 || !ok {
		t.Errorf("ollama's error: %d %v", status, reply)
	}
	if status, reply = post(t, h.URL, "/v1/messages", object{"model": "none", "messages": user("x")}); status != 404 || at(reply, "error", "type") != "not_found_error" || reply["type"] != "error" {
		t.Errorf("anthropic's error: %d %v", status, reply)
	}
	if status, reply = post(t, h.URL, "/v1/messages", object{"model": "base"}); status != 400 || at(reply, "error", "type") != "invalid_request_error" {
		t.Errorf("anthropic's error of a field: %d %v", status, reply)
	}
}

// TestEmbeddings: vectors have length 1, the same text the same one, in numbers and in base64.
func TestEmbeddings(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, nil)
	_, reply := post(t, h.URL, "/v1/embeddings", object{"input": []string{"beans and rice", "beans and rice", "iron"}})
	vector := func(i int) []any { v, _ := at(reply, "data", i, "embedding").([]any); return v }
	length, same, other := 0.0, 0.0, 0.0
	for i, x := range vector(0) {
		length += x.(float64) * x.(float64)
		same += x.(float64) * vector(1)[i].(float64)
		other += x.(float64) * vector(2)[i].(float64)
	}
	const tolerance = 1e-4
	if !(math.Abs(length-1) <= tolerance) || !(math.Abs(same-1) <= tolerance) || other > 1-tolerance {
		t.Errorf("length² %g, the same text %g, another %g", length, same, other)
	}
	_, coded := post(t, h.URL, "/v1/embeddings", object{"input": "beans and rice", "encoding_format": "base64"})
	b, err := base64.StdEncoding.DecodeString(at(coded, "data", 0, "embedding").(string))
	if err != nil || len(b) != 4*len(vector(0)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	_, reply = post(t, h.URL, "/api/embed", object{"input": "beans and rice"})
	if v, _ := at(reply, "embeddings", 0).([]any); len(v)*4 != len(b) {
		t.Errorf("embed: %v", reply)
	}
	if status, reply := post(t, h.URL, "/v1/embeddings", object{"input": 5}); status != 400 || at(reply, "error", "param") != "input" {
		t.Errorf("%d %v", status, reply)
	}
	_, reply = post(t, h.URL, "/tokenize", object{"content": "beans"})
	_, back := post(t, h.URL, "/detokenize", object{"tokens": reply["tokens"]})
	if back["content"] != "beans" {
		t.Errorf("tokens %v are %v", reply, back)
	}
}

const toolTemplate = `{% if tools %}{{ tools | tojson }} <tool_call>{% endif %}{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.arguments.city }}{% endfor %}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}`

// TestTools: a model that has to call a tool does so with arguments of its schema, in every API.
func TestTools(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, func(o *Options) {
		o.Models[0].Path = withTemplate(t, toolTemplate)
		o.MaxTokens = 200
	})
	parameters := object{"type": "object", "properties": object{"city": object{"enum": []string{"Rome", "Oslo"}}, "days": object{"type": "integer", "minimum": 1, "maximum": 9}}, "required": []string{"city", "days"}}
	tool := object{"type": "function", "function": object{"name": "weather", "parameters": parameters}}
	good := func(what string, args any) {
		t.Helper()
		var v struct {
			City string
			Days int
		}
		text, _ := args.(string)
		if m, ok := args.(object); ok {
			b, _ := json.Marshal(m)
			text = string(b)
		}
		if err := json.Unmarshal([]byte(text), &v); err != nil || v.City != "Rome" && v.City != "Oslo" || v.Days < 1 || v.Days > 9 {
			t.Errorf("%s: arguments %v: %v", what, args, err)
		}
	}
	ask := object{"messages": user("Weather?"), "tools": []object{tool}, "tool_choice": "required"}
	_, reply := post(t, h.URL, "/v1/chat/completions", ask)
	call := at(reply, "choices", 0, "message", "tool_calls", 0)
	good("chat", at(call, "function", "arguments"))
	if at(reply, "choices", 0, "finish_reason") != "tool_calls" || at(call, "function", "name") != "weather" || at(reply, "choices", 0, "message", "content") != nil {
		t.Errorf("chat: %v", reply)
	}
	ask["stream"], ask["tool_choice"] = true, object{"type": "function", "function": object{"name": "weather"}}
	values, _ := events(t, h.URL, "/v1/chat/completions", ask)
	streamed := any(nil)
	for _, v := range values {
		if c := at(v, "choices", 0, "delta", "tool_calls", 0); c != nil {
			streamed = at(c, "function", "arguments")
		}
	}
	good("streamed", streamed)
	_, reply = post(t, h.URL, "/v1/messages", object{"max_tokens": 200, "messages": user("Weather?"), "tools": []object{{"name": "weather", "input_schema": parameters}}, "tool_choice": object{"type": "any"}})
	good("messages", at(reply, "content", 0, "input"))
	if at(reply, "stop_reason") != "tool_use" || at(reply, "content", 0, "type") != "tool_use" {
		t.Errorf("messages: %v", reply)
	}
	_, reply = post(t, h.URL, "/v1/responses", object{"input": "Weather?", "tools": []object{{"type": "function", "name": "weather", "parameters": parameters}}, "tool_choice": "required"})
	good("responses", at(reply, "output", 0, "arguments"))
	if at(reply, "output", 0, "type") != "function_call" {
		t.Errorf("responses: %v", reply)
	}
	// What comes after a call goes into the prompt.
	back := append(user("Weather?"), object{"role": "assistant", "content": nil, "tool_calls": []object{{"id": "1", "type": "function", "function": object{"name": "weather", "arguments": `{"city": "Rome", "days": 1}`}}}}, object{"role": "tool", "tool_call_id": "1", "content": "sunny"})
	if status, reply := post(t, h.URL, "/v1/chat/completions", object{"messages": back, "tools": []object{tool}, "max_tokens": 3}); status != 200 {
		t.Errorf("%d %v", status, reply)
	}
	blocks := append(user("Weather?"), object{"role": "assistant", "content": []object{{"type": "tool_use", "id": "1", "name": "weather", "input": object{"city": "Rome"}}}}, object{"role": "user", "content": []object{{"type": "tool_result", "tool_use_id": "1", "content": "sunny"}}})
	if status, reply := post(t, h.URL, "/v1/messages", object{"messages": blocks, "max_tokens": 3}); status != 200 {
		t.Errorf("%d %v", status, reply)
	}
}

// TestReasoning: what stands between the marks is told as reasoning.
func TestReasoning(t *testing.T) {
	t.Parallel()
	_, h := newServer(t, func(o *Options) {
		o.Models[0].Path = withTemplate(t, "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n</think>{% if enable_thinking %}<think>{% endif %}")
	})
	// The answer of the demo's model never ends its reasoning.
	_, reply := post(t, h.URL, "/v1/chat/completions", object{"messages": user("Beans"), "chat_template_kwargs": object{"enable_thinking": true}})
	if text, _ := at(reply, "choices", 0, "message", "reasoning_content").(string); text == "" || at(reply, "choices", 0, "message", "content") != "" {
		t.Errorf("%v", reply)
	}
	_, reply = post(t, h.URL, "/v1/chat/completions", object{"messages": user("Beans"), "chat_template_kwargs": object{"enable_thinking": false}})
	if at(reply, "choices", 0, "message", "reasoning_content") != nil {
		t.Errorf("%v", reply)
	}
}
