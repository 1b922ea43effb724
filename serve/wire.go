package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
)

// An apiError is what a client is told. Each API writes it in its own way.
type apiError struct {
	status  int
	kind    string // OpenAI's type
	code    string // "" for none
	param   string // the field of the request that is at fault; "" for none
	message string
}

func (e *apiError) Error() string { return e.message }

// badField is a mistake in a field of a request.
func badField(param, format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, kind: "invalid_request_error", param: param, message: fmt.Sprintf(format, args...)}
}

// fields are OpenAI's names of settings that are called otherwise here.
var fields = map[fault.Setting]string{"temp": "temperature", "max_kv_size": "messages", "adapter_scale": "model", "memory": "model"}

// fieldOf writes a setting as the field of a request.
func fieldOf(s fault.Setting) string {
	if name, ok := fields[s]; ok {
		return name
	}
	return string(s)
}

// toAPI makes any error one for a client. Only mistakes tell what they are: the rest may have paths of the server in it,
// and goes to the log.
func (s *Server) toAPI(err error) *apiError {
	var known *apiError
	var mistake *fault.Mistake
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, generate.ErrBusy), errors.Is(err, errBusy):
		return &apiError{status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "busy", message: "the server has as many requests as it takes: try again in a moment"}
	case errors.Is(err, errLate):
		return &apiError{status: http.StatusServiceUnavailable, kind: "server_error", code: "timeout", message: errLate.Error()}
	case errors.Is(err, errClosing), errors.Is(err, generate.ErrClosed):
		return &apiError{status: http.StatusServiceUnavailable, kind: "server_error", code: "shutting_down", message: errClosing.Error()}
	case errors.Is(err, errNoModel):
		return &apiError{status: http.StatusNotFound, kind: "invalid_request_error", code: "model_not_found", param: "model", message: fault.Text(err, fieldOf)}
	case errors.As(err, &mistake):
		return &apiError{status: http.StatusBadRequest, kind: "invalid_request_error", param: fieldOf(mistake.Setting), message: fault.Text(err, fieldOf)}
	}
	if s.ctx.Err() != nil {
		return s.toAPI(errClosing)
	}
	s.log("an answer failed: %v", err)
	return &apiError{status: http.StatusInternalServerError, kind: "server_error", message: "the answer failed, and the log of the server tells why"}
}

// object is the error as OpenAI's APIs write it.
func (e *apiError) object() map[string]any {
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	return map[string]any{"error": map[string]any{"message": e.message, "type": e.kind, "param": null(e.param), "code": null(e.code)}}
}

const retryAfter = "2" // seconds

// openAIError answers with an error.
func openAIError(w http.ResponseWriter, e *apiError) {
	if e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	writeJSON(w, e.status, e.object())
}

// errorOf writes errors as the API does whose path was asked for.
func errorOf(r *http.Request) func(http.ResponseWriter, *apiError) {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/api/"):
		return ollamaError
	case path == "/v1/messages" || strings.HasPrefix(path, "/v1/messages/"):
		return anthropicError
	}
	return openAIError
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	data, err := marshal(v)
	if err != nil { // none of our values
		data = []byte("{}")
	}
	w.Write(data) // who does not read it is gone
}

// marshal writes a value in one line, with <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// readRequest reads the JSON object of a request. Fields that it does not know are ignored.
func readRequest(w http.ResponseWriter, r *http.Request, into any) error {
	data, err := io.ReadAll(r.Body)
	http.NewResponseController(w).SetReadDeadline(time.Time{}) // answers may take long
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &apiError{status: http.StatusRequestEntityTooLarge, kind: "invalid_request_error", code: "too_large", message: fmt.Sprintf("a request may have %d bytes", large.Limit)}
	case errors.Is(err, errBusy):
		return err
	case err != nil:
		return &apiError{status: http.StatusBadRequest, kind: "invalid_request_error", message: "the request did not come whole: " + err.Error()}
	}
	return decodeRequest(data, into)
}

// decodeRequest reads a JSON object.
func decodeRequest(data []byte, into any) error {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return badField("", "expected a JSON object as the body of the request")
	}
	err := json.Unmarshal(data, into)
	var known *apiError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	}
	if field, text := wrongKind(err); text != "" {
		return badField(field, "%s", text)
	}
	return badField("", "the body is no valid JSON: %v", err)
}

// wrongKind says which field has a value of another kind than it takes; "" for other errors.
func wrongKind(err error) (field, text string) {
	var kind *json.UnmarshalTypeError
	if !errors.As(err, &kind) {
		return "", ""
	}
	field = strings.TrimPrefix(kind.Field, "sampling.") // the struct that several requests have in them
	return field, fmt.Sprintf("%s: found %s, expected %s", field, kind.Value, kindName(kind.Type.String()))
}

// kindName says what a field takes.
func kindName(t string) string {
	t = strings.TrimPrefix(t, "*")
	switch {
	case strings.HasPrefix(t, "int"), strings.HasPrefix(t, "uint"):
		return "a whole number"
	case strings.HasPrefix(t, "float"):
		return "a number"
	case t == "bool":
		return "true or false"
	case t == "string":
		return "a string"
	case strings.HasPrefix(t, "[]"):
		return "a list"
	}
	return "an object"
}

// stringList is a string or a list of strings.
type stringList []string

func (l *stringList) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		if *l = nil; string(data) != "null" {
			*l = stringList{one}
		}
		return nil
	}
	var many []string
	err := json.Unmarshal(data, &many)
	*l = many
	if err != nil {
		return badField("stop", "stop: expected a string or a list of strings")
	}
	return nil
}

// value reads a part of a request as chat templates see it; nil for nothing.
func value(field string, raw json.RawMessage) (chat.Value, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	v, err := jinja.ParseJSON(raw)
	if err != nil {
		return nil, badField(field, "%s: %v", field, err)
	}
	return v, nil
}

// dict reads a part of a request that is an object; nil for nothing.
func dict(field string, raw json.RawMessage) (*chat.Dict, error) {
	v, err := value(field, raw)
	if err != nil || v == nil {
		return nil, err
	}
	d, ok := v.(*chat.Dict)
	if !ok {
		return nil, badField(field, "%s: expected an object", field)
	}
	return d, nil
}

// messagesOf reads the messages of OpenAI's form as templates take them: texts of several parts are one string, arguments
// of calls are objects, and there is no content that is null.
func messagesOf(raw json.RawMessage) ([]chat.Value, error) {
	v, err := value("messages", raw)
	if err != nil {
		return nil, err
	}
	messages, err := chat.CheckMessages(v)
	if err != nil {
		return nil, badField("messages", "%v", err)
	}
	for i, m := range messages {
		d := m.(*chat.Dict)
		at := fmt.Sprintf("messages[%d]", i)
		content, _ := d.Get("content")
		text, err := textOf(at+".content", content)
		if err != nil {
			return nil, err
		}
		d.Set("content", text)
		if role, _ := d.Get("role"); role == "developer" {
			d.Set("role", "system")
		}
		if err := readCalls(at, d); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// textOf is the text of a content: a string, or a list of parts.
func textOf(at string, content chat.Value) (string, error) {
	switch c := content.(type) {
	case nil:
		return "", nil
	case string:
		return c, nil
	case *chat.List:
		var b strings.Builder
		for i, part := range c.Items {
			if s, ok := part.(string); ok {
				b.WriteString(s)
				continue
			}
			d, ok := part.(*chat.Dict)
			if !ok {
				return "", badField("messages", "%s[%d]: expected a part such as {\"type\": \"text\", \"text\": ...}", at, i)
			}
			kind, _ := d.Get("type")
			text, _ := d.Get("text")
			s, ok := text.(string)
			if !ok {
				return "", badField("messages", "%s[%d]: a part of type %v: the model takes text alone", at, i, kind)
			}
			b.WriteString(s)
		}
		return b.String(), nil
	}
	return "", badField("messages", "%s: expected a string or a list of parts", at)
}

// readCalls turns the arguments of calls that a message has, strings of JSON, into objects.
func readCalls(at string, m *chat.Dict) error {
	v, _ := m.Get("tool_calls")
	if v == nil {
		return nil
	}
	calls, ok := v.(*chat.List)
	if !ok {
		return badField("messages", "%s.tool_calls: expected a list", at)
	}
	for i, c := range calls.Items {
		d, _ := c.(*chat.Dict)
		if d == nil {
			return badField("messages", "%s.tool_calls[%d]: expected an object", at, i)
		}
		f, _ := d.Get("function")
		function, _ := f.(*chat.Dict)
		if function == nil {
			return badField("messages", "%s.tool_calls[%d].function: expected an object", at, i)
		}
		args, _ := function.Get("arguments")
		text, ok := args.(string)
		if !ok {
			continue
		}
		if strings.TrimSpace(text) == "" {
			text = "{}"
		}
		parsed, err := jinja.ParseJSON([]byte(text))
		if err != nil {
			return badField("messages", "%s.tool_calls[%d].function.arguments: %v", at, i, err)
		}
		function.Set("arguments", parsed)
	}
	return nil
}

// templateArgs are variables for chat templates that all requests have.
type templateArgs struct{ dict *chat.Dict }

func (t *templateArgs) read(text string) (err error) {
	if text == "" {
		return nil
	}
	v, err := jinja.ParseJSON([]byte(text))
	if err != nil {
		return fault.At("chat_template_args", "%w", err)
	}
	d, ok := v.(*chat.Dict)
	if !ok {
		return fault.At("chat_template_args", `expected a JSON object such as '{"enable_thinking": false}'`)
	}
	t.dict = d
	return nil
}

// with gives them, with those of a request over them.
func (t *templateArgs) with(more *chat.Dict) *chat.Dict {
	out := jinja.NewDict()
	for _, d := range []*chat.Dict{t.dict, more} {
		if d == nil {
			continue
		}
		for _, k := range d.Keys() {
			v, _ := d.Get(k)
			out.Set(k, v)
		}
	}
	return out
}
