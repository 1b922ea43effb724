package serve

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/chat"
)

// ollamaVersion is the version of Ollama's API that clients are told: some ask for one that has tools and thinking.
const ollamaVersion = "0.9.0"

// ollamaOptions is what Ollama's clients set.
type ollamaOptions struct {
	Temperature      *float64   `json:"temperature"`
	TopP             *float64   `json:"top_p"`
	TopK             *int       `json:"top_k"`
	MinP             *float64   `json:"min_p"`
	NumPredict       *int       `json:"num_predict"`
	Seed             *int64     `json:"seed"`
	Stop             stringList `json:"stop"`
	RepeatPenalty    *float64   `json:"repeat_penalty"`
	RepeatLastN      *int       `json:"repeat_last_n"`
	PresencePenalty  *float64   `json:"presence_penalty"`
	FrequencyPenalty *float64   `json:"frequency_penalty"`
}

func (o *ollamaOptions) sampling() sampling {
	out := sampling{
		Temperature: o.Temperature, TopP: o.TopP, TopK: o.TopK, MinP: o.MinP, Seed: o.Seed, Stop: o.Stop,
		RepetitionPenalty: o.RepeatPenalty, RepetitionContext: o.RepeatLastN, PresencePenalty: o.PresencePenalty, FrequencyPenalty: o.FrequencyPenalty,
	}
	if o.NumPredict != nil {
		n := max(*o.NumPredict, -1) // -2 fills the context
		out.MaxTokens = &n
	}
	if o.RepeatLastN != nil && *o.RepeatLastN < 0 {
		all := 0
		out.RepetitionContext = &all
	}
	return out
}

// ollamaRequest is a request of /api/chat and of /api/generate.
type ollamaRequest struct {
	Model    string          `json:"model"`
	Messages json.RawMessage `json:"messages"`
	Prompt   string          `json:"prompt"`
	System   string          `json:"system"`
	Raw      bool            `json:"raw"`
	Stream   *bool           `json:"stream"`
	Format   json.RawMessage `json:"format"`
	Options  ollamaOptions   `json:"options"`
	Tools    json.RawMessage `json:"tools"`
	Think    json.RawMessage `json:"think"`
}

// ollamaError answers with an error.
func ollamaError(w http.ResponseWriter, e *apiError) {
	if e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", retryAfter)
	}
	writeJSON(w, e.status, map[string]any{"error": e.message})
}

// chatRequest makes a request of OpenAI's of it.
func (r *ollamaRequest) chatRequest() (*chatRequest, error) {
	out := &chatRequest{sampling: r.Options.sampling(), Model: r.Model, Messages: r.Messages, Tools: r.Tools, Stream: r.Stream == nil || *r.Stream}
	switch think := string(r.Think); think {
	case "", "null":
	case "true", "false":
		out.TemplateKwargs = json.RawMessage(`{"enable_thinking": ` + think + `}`)
	default:
		out.TemplateKwargs = json.RawMessage(`{"enable_thinking": true, "reasoning_effort": ` + think + `}`)
	}
	switch format := string(r.Format); format {
	case "", "null", `""`:
	case `"json"`:
		out.ResponseFormat = json.RawMessage(`{"type": "json_object"}`)
	default:
		if _, err := dict("format", r.Format); err != nil {
			return nil, badField("format", "format: expected json, or a JSON schema")
		}
		out.ResponseFormat = json.RawMessage(`{"type": "json_schema", "json_schema": {"schema": ` + format + `}}`)
	}
	if r.Messages != nil {
		return out, nil
	}
	messages := []map[string]any{}
	if r.System != "" {
		messages = append(messages, map[string]any{"role": "system", "content": r.System})
	}
	messages = append(messages, map[string]any{"role": "user", "content": r.Prompt})
	var err error
	out.Messages, err = marshal(messages)
	return out, err
}

// ollamaChat answers POST /api/chat; ollamaGenerate POST /api/generate.
func (s *Server) ollamaChat(w http.ResponseWriter, r *http.Request)     { s.ollama(w, r, true) }
func (s *Server) ollamaGenerate(w http.ResponseWriter, r *http.Request) { s.ollama(w, r, false) }

func (s *Server) ollama(w http.ResponseWriter, r *http.Request, isChat bool) {
	began := time.Now()
	var request ollamaRequest
	if err := readRequest(w, r, &request); err != nil {
		ollamaError(w, s.toAPI(err))
		return
	}
	reply := &ollamaReply{model: modelOr(request.Model), chat: isChat, began: began}
	empty := string(request.Messages) == "" || string(request.Messages) == "[]" || string(request.Messages) == "null"
	if isChat && empty || !isChat && request.Prompt == "" { // loads the model
		v, err := s.models.acquire(r.Context(), request.Model)
		if err != nil {
			ollamaError(w, s.toAPI(err))
			return
		}
		s.models.release(v)
		m := reply.line("", "")
		m["done"], m["done_reason"] = true, "load"
		writeJSON(w, http.StatusOK, m)
		return
	}
	if !isChat {
		request.Messages = nil
	}
	q, err := s.ollamaQuery(r, &request)
	if err != nil {
		ollamaError(w, s.toAPI(err))
		return
	}
	defer s.models.release(q.variant)
	q.options.Client = s.clientOf(r)
	if request.Stream == nil || *request.Stream {
		out := newStream(w, true)
		err := s.answer(r.Context(), q, func(e event) error {
			if e.part == nil && e.finish == "" {
				return nil
			}
			return out.send("", reply.event(e))
		})
		switch {
		case err == nil:
		case !out.begun:
			ollamaError(w, s.toAPI(err))
		default:
			out.send("", map[string]any{"error": s.toAPI(err).message}) // to a client that may have gone
		}
		return
	}
	var whole wholeAnswer
	if err := s.answer(r.Context(), q, func(e event) error {
		whole.take(e)
		return nil
	}); err != nil {
		ollamaError(w, s.toAPI(err))
		return
	}
	m := reply.line(whole.text.String(), whole.reasoning.String(), whole.calls...)
	reply.finish(m, whole.finish, whole.stats)
	writeJSON(w, http.StatusOK, m)
}

// ollamaQuery makes the query of a request; the caller releases the variant.
func (s *Server) ollamaQuery(r *http.Request, request *ollamaRequest) (*query, error) {
	c, err := request.chatRequest()
	if err != nil {
		return nil, err
	}
	q, err := s.chatQuery(r.Context(), c)
	if err != nil || !request.Raw || request.Messages != nil {
		return q, err
	}
	// The prompt as it is, without a template.
	if q.prompt, err = s.encode(r.Context(), request.Prompt, q.variant.Tokenizer.EncodePlain); err == nil {
		q.opened = ""
		err = s.limit(q, "prompt")
	}
	if err != nil {
		s.models.release(q.variant)
	}
	return q, err
}

// ollamaReply is what all lines of a reply have in common.
type ollamaReply struct {
	model string
	chat  bool
	began time.Time
}

func (o *ollamaReply) line(text, thinking string, calls ...chat.Call) map[string]any {
	m := map[string]any{"model": o.model, "created_at": time.Now().UTC().Format(time.RFC3339Nano), "done": false}
	if !o.chat {
		m["response"] = text
		if thinking != "" {
			m["thinking"] = thinking
		}
		return m
	}
	message := map[string]any{"role": "assistant", "content": text}
	if thinking != "" {
		message["thinking"] = thinking
	}
	if len(calls) > 0 {
		list := []any{}
		for _, c := range calls {
			list = append(list, map[string]any{"function": map[string]any{"name": c.Name, "arguments": json.RawMessage(c.Arguments)}})
		}
		message["tool_calls"] = list
	}
	m["message"] = message
	return m
}

func (o *ollamaReply) event(e event) map[string]any {
	if e.part == nil {
		m := o.line("", "")
		o.finish(m, e.finish, e.stats)
		return m
	}
	switch e.part.Kind {
	case chat.Reasoning:
		return o.line("", e.part.Text)
	case chat.ToolCall:
		return o.line("", "", e.part.Call)
	}
	return o.line(e.part.Text, "")
}

// finish adds what the last line has.
func (o *ollamaReply) finish(m map[string]any, finish string, s answerStats) {
	if finish == "tool_calls" {
		finish = "stop"
	}
	m["done"], m["done_reason"] = true, finish
	m["total_duration"], m["load_duration"] = time.Since(o.began).Nanoseconds(), 0
	m["prompt_eval_count"], m["prompt_eval_duration"] = s.PromptTokens, s.promptTime.Nanoseconds()
	m["eval_count"], m["eval_duration"] = s.GenerationTokens, s.answerTime.Nanoseconds()
	s.tell(m)
}

// ollamaVersion answers GET /api/version.
func (s *Server) ollamaVersion(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"version": ollamaVersion})
}

// ollamaTags answers GET /api/tags, ollamaRunning GET /api/ps.
func (s *Server) ollamaTags(w http.ResponseWriter, _ *http.Request) {
	models := []any{}
	for _, e := range s.models.list() {
		models = append(models, s.ollamaModel(e))
	}
	writeJSON(w, http.StatusOK, map[string]any{"models": models})
}

func (s *Server) ollamaRunning(w http.ResponseWriter, _ *http.Request) {
	models := []any{}
	for _, e := range s.models.list() {
		if e.loaded {
			m := s.ollamaModel(e)
			m["size_vram"], m["expires_at"] = 0, time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339)
			models = append(models, m)
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"models": models})
}

func (s *Server) ollamaModel(e entry) map[string]any {
	return map[string]any{
		"name": e.id, "model": e.id, "modified_at": s.models.created.UTC().Format(time.RFC3339), "size": e.bytes, "digest": fmt.Sprintf("%x", sha256.Sum256([]byte(e.id))),
		"details": map[string]any{"parent_model": "", "format": "lentil", "family": "", "families": []string{}, "parameter_size": "", "quantization_level": ""},
	}
}

// ollamaShow answers POST /api/show.
func (s *Server) ollamaShow(w http.ResponseWriter, r *http.Request) {
	var request struct{ Model, Name string }
	err := readRequest(w, r, &request)
	if request.Model == "" {
		request.Model = request.Name
	}
	var v *variant
	if err == nil {
		v, err = s.models.acquire(r.Context(), request.Model)
	}
	if err != nil {
		ollamaError(w, s.toAPI(err))
		return
	}
	defer s.models.release(v)
	template, _ := v.Tokenizer.ChatTemplate(false)
	capabilities := []string{"completion"}
	if style := v.styleOf(true); style.Calls() {
		capabilities = append(capabilities, "tools")
	}
	if v.Tokenizer.HasThinking() {
		capabilities = append(capabilities, "thinking")
	}
	c := v.Model.Config
	kind := strings.ToLower(c.ModelType)
	writeJSON(w, http.StatusOK, map[string]any{
		"modelfile": "", "parameters": "", "template": template, "capabilities": capabilities,
		"details":    map[string]any{"parent_model": "", "format": "lentil", "family": kind, "families": []string{kind}, "parameter_size": "", "quantization_level": ""},
		"model_info": map[string]any{"general.architecture": kind, kind + ".context_length": c.MaxPositionEmbeddings, kind + ".embedding_length": c.HiddenSize},
	})
}

// ollamaEmbed answers POST /api/embed, and /api/embeddings, which is older.
func (s *Server) ollamaEmbed(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model         string
		Input, Prompt json.RawMessage
	}
	err := readRequest(w, r, &request)
	old := request.Input == nil && request.Prompt != nil
	if old {
		request.Input = request.Prompt
	}
	var vectors [][]float32
	tokens := 0
	if err == nil {
		vectors, tokens, err = s.embedded(r, request.Model, request.Input, "input")
	}
	if err != nil {
		ollamaError(w, s.toAPI(err))
		return
	}
	if old {
		writeJSON(w, http.StatusOK, map[string]any{"embedding": vectors[0]})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"model": modelOr(request.Model), "embeddings": vectors, "prompt_eval_count": tokens})
}
