package serve

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate/grammar"
)

// sampling is the fields of requests that say how tokens are chosen: OpenAI's, and mlx_lm.server's and llama.cpp's names
// of others.
type sampling struct {
	Temperature       *float64           `json:"temperature"`
	TopP              *float64           `json:"top_p"`
	TopK              *int               `json:"top_k"`
	MinP              *float64           `json:"min_p"`
	XTCProbability    *float64           `json:"xtc_probability"`
	XTCThreshold      *float64           `json:"xtc_threshold"`
	RepetitionPenalty *float64           `json:"repetition_penalty"`
	RepetitionContext *int               `json:"repetition_context_size"`
	PresencePenalty   *float64           `json:"presence_penalty"`
	PresenceContext   *int               `json:"presence_context_size"`
	FrequencyPenalty  *float64           `json:"frequency_penalty"`
	FrequencyContext  *int               `json:"frequency_context_size"`
	LogitBias         map[string]float64 `json:"logit_bias"`
	Seed              *int64             `json:"seed"`
	Stop              stringList         `json:"stop"`
	MaxTokens         *int               `json:"max_tokens"`
	MaxCompletion     *int               `json:"max_completion_tokens"`
	N                 *int               `json:"n"`
	Timeout           *float64           `json:"timeout"` // seconds for the whole answer
	Grammar           string             `json:"grammar"` // GBNF, as with llama.cpp
}

// Limits on what one request may ask for.
const (
	mostAnswers  = 16
	mostStops    = 16
	mostTopLogs  = 20
	mostBias     = 10_000
	mostPenalty  = 10
	mostTimeout  = 1e6 // seconds
	contextOfRep = 20  // mlx-lm's window of the repetition penalty
)

// apply fills a query with what the request says, or else the server's own settings.
func (p *sampling) apply(s *Server, q *query) error {
	o := &q.options
	o.Sampling = s.o.Sampling
	for _, f := range []struct{ from, to *float64 }{
		{p.Temperature, &o.Sampling.Temp}, {p.TopP, &o.Sampling.TopP}, {p.MinP, &o.Sampling.MinP},
		{p.XTCProbability, &o.Sampling.XTCProbability}, {p.XTCThreshold, &o.Sampling.XTCThreshold},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if p.TopK != nil {
		o.Sampling.TopK = max(*p.TopK, 0) // -1 is all for some clients
	}
	if err := o.Sampling.Check(); err != nil {
		return fault.Mark(err)
	}
	o.Seed = uint64(time.Now().UnixNano())
	if p.Seed != nil {
		o.Seed = uint64(*p.Seed)
	}
	o.StopStrings = nil
	for _, stop := range p.Stop {
		if stop != "" {
			o.StopStrings = append(o.StopStrings, stop)
		}
	}
	if len(o.StopStrings) > mostStops {
		return badField("stop", "stop: %d texts, %d are the most", len(o.StopStrings), mostStops)
	}
	o.MaxTokens = s.o.MaxTokens
	for _, most := range []*int{p.MaxTokens, p.MaxCompletion} {
		if most == nil {
			continue
		}
		if o.MaxTokens = *most; *most < -1 {
			return badField("max_tokens", "max_tokens: found %d, expected 0 or more, or -1 for no limit", *most)
		}
	}
	if q.n = 1; p.N != nil {
		if q.n = *p.N; q.n < 1 || q.n > mostAnswers {
			return badField("n", "n: found %d, expected 1 to %d", q.n, mostAnswers)
		}
	}
	limit := s.o.Deadline
	if p.Timeout != nil {
		if !(*p.Timeout > 0 && *p.Timeout <= mostTimeout) {
			return badField("timeout", "timeout: found %g, expected seconds, more than 0", *p.Timeout)
		}
		if own := time.Duration(*p.Timeout * float64(time.Second)); limit == 0 || own < limit {
			limit = own
		}
	}
	if limit > 0 {
		q.deadline = time.Now().Add(limit)
	}
	return p.adjust(q)
}

// adjust reads biases and penalties.
func (p *sampling) adjust(q *query) error {
	a := &q.extra
	a.window = contextOfRep
	for _, f := range []struct {
		name     string
		from     *float64
		to       *float64
		least, d float64
	}{
		{"repetition_penalty", p.RepetitionPenalty, &a.repetition, 0, 0}, {"presence_penalty", p.PresencePenalty, &a.presence, -mostPenalty, 0},
		{"frequency_penalty", p.FrequencyPenalty, &a.frequency, -mostPenalty, 0},
	} {
		if f.from == nil {
			continue
		}
		if *f.to = *f.from; !(*f.from >= f.least && *f.from <= mostPenalty) {
			return badField(f.name, "%s: found %g, expected %g to %d", f.name, *f.from, f.least, mostPenalty)
		}
	}
	for _, f := range []struct {
		name string
		from *int
		to   *int
	}{{"repetition_context_size", p.RepetitionContext, &a.window}, {"presence_context_size", p.PresenceContext, &a.presenceW}, {"frequency_context_size", p.FrequencyContext, &a.frequencyW}} {
		if f.from == nil {
			continue
		}
		if *f.to = *f.from; *f.from < 0 {
			return badField(f.name, "%s: found %d, expected 0 or more", f.name, *f.from)
		}
	}
	if len(p.LogitBias) > mostBias {
		return badField("logit_bias", "logit_bias: %d tokens, %d are the most", len(p.LogitBias), mostBias)
	}
	for key, by := range p.LogitBias {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil || id < 0 || int(id) >= q.variant.Model.Config.VocabSize {
			return badField("logit_bias", "logit_bias: %q is no token of the model: expected 0 to %d", key, q.variant.Model.Config.VocabSize-1)
		}
		if !(math.Abs(by) <= 1e4) {
			return badField("logit_bias", "logit_bias: %s: found %g, expected -100 to 100", key, by)
		}
		if a.bias == nil {
			a.bias = map[int32]float32{}
		}
		a.bias[int32(id)] = float32(by)
	}
	return nil
}

// keep reads a grammar into a query.
func (s *Server) keep(q *query, source *grammar.Source) (err error) {
	vocab, err := s.models.vocabulary(q.variant)
	if err == nil {
		q.grammar, err = source.Compile(vocab)
	}
	return err
}

// chatRequest is a request of /v1/chat/completions. Fields that are not here are ignored.
type chatRequest struct {
	sampling
	Model           string          `json:"model"`
	Messages        json.RawMessage `json:"messages"`
	Stream          bool            `json:"stream"`
	StreamOptions   *streamOptions  `json:"stream_options"`
	Logprobs        bool            `json:"logprobs"`
	TopLogprobs     *int            `json:"top_logprobs"`
	Tools           json.RawMessage `json:"tools"`
	ToolChoice      json.RawMessage `json:"tool_choice"`
	ResponseFormat  json.RawMessage `json:"response_format"`
	TemplateKwargs  json.RawMessage `json:"chat_template_kwargs"`
	ReasoningEffort *string         `json:"reasoning_effort"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

// background is how Open WebUI begins what it asks for titles, tags and the like: people come before it.
const background = "### Task:"

// chatQuery makes a query of a chat request. The caller releases its variant.
func (s *Server) chatQuery(ctx context.Context, r *chatRequest) (_ *query, err error) {
	messages, err := messagesOf(r.Messages)
	if err != nil {
		return nil, err
	}
	tools, err := toolsOf(r.Tools)
	if err != nil {
		return nil, err
	}
	kwargs, err := dict("chat_template_kwargs", r.TemplateKwargs)
	if err != nil {
		return nil, err
	}
	if r.ReasoningEffort != nil {
		if kwargs == nil {
			kwargs = jinja.NewDict()
		}
		kwargs.Set("reasoning_effort", *r.ReasoningEffort)
		if *r.ReasoningEffort == "none" {
			kwargs.Set("enable_thinking", false)
		}
	}
	v, err := s.models.acquire(ctx, r.Model)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.models.release(v)
		}
	}()
	q := &query{variant: v, logs: -1}
	_, q.profile = s.models.profiles.of(r.Model)
	messages = q.profile.Tell(messages)
	choice, err := toolChoice(r.ToolChoice, tools)
	if err != nil {
		return nil, err
	}
	shown := tools
	if choice.none {
		shown = nil
	}
	q.style, q.tools = v.styleOf(shown != nil), shown != nil
	if q.prompt, q.opened, err = s.conversation(ctx, v, messages, shown, kwargs); err != nil {
		return nil, err
	}
	if err = r.apply(s, q); err != nil {
		return nil, err
	}
	if q.options.StopTokens, err = v.Stops(); err != nil {
		return nil, err
	}
	if err = s.limit(q, "messages"); err != nil {
		return nil, err
	}
	if r.Logprobs {
		if q.logs = 0; r.TopLogprobs != nil {
			q.logs = *r.TopLogprobs
		}
		if q.logs < 0 || q.logs > mostTopLogs {
			return nil, badField("top_logprobs", "top_logprobs: found %d, expected 0 to %d", q.logs, mostTopLogs)
		}
	}
	if last, ok := messages[len(messages)-1].(*chat.Dict); ok && !r.Stream {
		if text, _ := last.Get("content"); strings.HasPrefix(text.(string), background) {
			q.options.Priority = -1
		}
	}
	return q, s.constrain(q, r, choice, tools)
}

// constrain keeps the answer to a form, where the request asks for one.
func (s *Server) constrain(q *query, r *chatRequest, choice choice, tools chat.Value) error {
	source, err := formatOf(r.ResponseFormat)
	if err != nil {
		return err
	}
	field := "response_format"
	if r.Grammar != "" {
		if source != nil {
			return badField("grammar", "grammar: give it or response_format")
		}
		if source, err = grammar.GBNF(r.Grammar); err != nil {
			return inField("grammar", err)
		}
		field = "grammar"
	}
	if choice.required {
		if source != nil {
			return badField("tool_choice", "tool_choice: an answer that has to be a call cannot have another form")
		}
		if source, err = callSource(q.style, tools, choice.name); err != nil {
			return err
		}
		field = "tools"
	} else if source != nil {
		q.tools = false
	}
	if source == nil {
		return nil
	}
	return inField(field, s.keep(q, source))
}

// inField says which field a mistake that names none is in.
func inField(field string, err error) error {
	var mistake *fault.Mistake
	if errors.As(err, &mistake) && mistake.Setting == "" {
		return fault.At(fault.Setting(field), "%w", err)
	}
	return err
}

// formatOf reads response_format; nil for plain text.
func formatOf(raw json.RawMessage) (*grammar.Source, error) {
	const field = "response_format"
	d, err := dict(field, raw)
	if err != nil || d == nil {
		return nil, err
	}
	kind, _ := d.Get("type")
	switch kind {
	case "text", nil:
		return nil, nil
	case "json_object":
		if schema, ok := d.Get("schema"); ok { // llama.cpp's
			return grammar.Schema(schema)
		}
		return grammar.JSON(), nil
	case "json_schema":
		inner, _ := d.Get("json_schema")
		if named, ok := inner.(*chat.Dict); ok {
			d = named
		}
		schema, ok := d.Get("schema")
		if !ok {
			return nil, badField(field, "response_format.json_schema: there is no schema in it")
		}
		return grammar.Schema(schema)
	case "grammar":
		text, _ := d.Get("grammar")
		source, ok := text.(string)
		if !ok {
			return nil, badField(field, "response_format.grammar: expected a grammar in GBNF, as a string")
		}
		return grammar.GBNF(source)
	}
	return nil, badField(field, "response_format: there is no type %v: expected text, json_object, json_schema or grammar", kind)
}

// toolsOf reads the schemas of tools; nil for none.
func toolsOf(raw json.RawMessage) (chat.Value, error) {
	v, err := value("tools", raw)
	if err != nil {
		return nil, err
	}
	tools, err := chat.CheckTools(v)
	if err != nil {
		return nil, badField("tools", "%v", err)
	}
	if list, ok := tools.(*chat.List); ok && len(list.Items) == 0 {
		return nil, nil
	}
	return tools, nil
}

// choice is what tool_choice says.
type choice struct {
	none, required bool
	name           string // of the tool that has to be called; "" for any
}

func toolChoice(raw json.RawMessage, tools chat.Value) (c choice, err error) {
	v, err := value("tool_choice", raw)
	if err != nil {
		return c, err
	}
	switch v := v.(type) {
	case nil:
		return c, nil
	case string:
		switch v {
		case "auto":
		case "none":
			c.none = true
		case "required", "any":
			c.required = true
		default:
			return c, badField("tool_choice", "tool_choice: found %q, expected auto, none, required, or a tool by name", v)
		}
	case *chat.Dict:
		f, _ := v.Get("function")
		named, _ := f.(*chat.Dict)
		if named == nil {
			named = v
		}
		name, _ := named.Get("name")
		c.name, _ = name.(string)
		c.required = true
		if c.name == "" {
			return c, badField("tool_choice", "tool_choice: expected {\"type\": \"function\", \"function\": {\"name\": ...}}")
		}
	default:
		return c, badField("tool_choice", "tool_choice: expected a string or an object")
	}
	if c.required && tools == nil {
		return c, badField("tool_choice", "tool_choice: there are no tools to call")
	}
	return c, nil
}

// callSource is the texts that call one of some tools, with arguments that its schema takes.
func callSource(style chat.Style, tools chat.Value, name string) (*grammar.Source, error) {
	list, _ := tools.(*chat.List)
	var sources []*grammar.Source
	for _, item := range list.Items {
		tool, _ := item.(*chat.Dict)
		f, _ := tool.Get("function")
		function, _ := f.(*chat.Dict)
		if function == nil {
			function = tool
		}
		n, _ := function.Get("name")
		called, _ := n.(string)
		if called == "" || name != "" && called != name {
			continue
		}
		before, after, ok := style.CallAs(called)
		if !ok {
			return nil, badField("tool_choice", "tool_choice: how this model writes calls is not known well enough to make it call one; auto works if it does so by itself")
		}
		parameters, ok := function.Get("parameters")
		source := grammar.JSON()
		if ok && parameters != nil {
			var err error
			if source, err = grammar.Schema(parameters); err != nil {
				return nil, badField("tools", "tools: %s: %s", called, fault.Text(err, fieldOf))
			}
		}
		sources = append(sources, source.Within(before, after))
	}
	if len(sources) == 0 {
		return nil, badField("tool_choice", "tool_choice: there is no tool %q", name)
	}
	return grammar.OneOf(sources...), nil
}

// listModels answers with what can be asked for.
func (s *Server) listModels(w http.ResponseWriter, _ *http.Request) {
	data := []any{}
	for _, e := range s.models.list() {
		data = append(data, s.modelObject(e))
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": data, "has_more": false})
}

func (s *Server) modelObject(e entry) map[string]any {
	return map[string]any{
		"id": e.id, "object": "model", "created": s.models.created.Unix(), "owned_by": "lentil", "root": e.base, "adapter": e.adapter != "", "loaded": e.loaded,
		"type": "model", "display_name": e.id, "created_at": s.models.created.UTC().Format(time.RFC3339), // Anthropic's
	}
}

func (s *Server) oneModel(w http.ResponseWriter, r *http.Request) {
	for _, e := range s.models.list() {
		if e.id == r.PathValue("id") {
			writeJSON(w, http.StatusOK, s.modelObject(e))
			return
		}
	}
	openAIError(w, s.toAPI(s.models.unknown(r.PathValue("id"))))
}

// usageOf is what OpenAI's clients are told of tokens.
func usageOf(all []answerStats) map[string]any {
	prompt, cached, answer := 0, 0, 0
	for i, s := range all {
		if i == 0 {
			prompt, cached = s.PromptTokens, s.CachedTokens
		}
		answer += s.GenerationTokens
	}
	return map[string]any{
		"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer,
		"prompt_tokens_details": map[string]any{"cached_tokens": cached},
	}
}

// timingsOf is what llama.cpp's clients are told of speed.
func timingsOf(s answerStats) map[string]any {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	read := s.PromptTokens - s.CachedTokens
	t := map[string]any{
		"cache_n": s.CachedTokens, "prompt_n": read, "prompt_ms": ms(s.promptTime), "predicted_n": s.GenerationTokens, "predicted_ms": ms(s.answerTime),
		"predicted_per_second": s.GenerationTPS,
	}
	if s.promptTime > 0 {
		t["prompt_per_second"] = float64(read) / s.promptTime.Seconds()
	}
	if s.DraftedTokens > 0 {
		t["draft_n"], t["draft_n_accepted"] = s.DraftedTokens, s.AcceptedTokens
	}
	return t
}

// chatLogs writes log probabilities as chat completions have them.
func chatLogs(logs []tokenLog) []any {
	out := []any{}
	for _, l := range logs {
		top := []any{}
		for _, t := range l.top {
			top = append(top, oneLog(t))
		}
		m := oneLog(l)
		m["top_logprobs"] = top
		out = append(out, m)
	}
	return out
}

func oneLog(l tokenLog) map[string]any {
	bytes := []int{}
	for _, b := range []byte(l.text) {
		bytes = append(bytes, int(b))
	}
	return map[string]any{"token": l.text, "logprob": l.log, "bytes": bytes, "id": l.id}
}

// callObject writes a call as OpenAI's clients read it.
func callObject(c chat.Call) map[string]any {
	return map[string]any{"id": newID("call_"), "type": "function", "function": map[string]any{"name": c.Name, "arguments": c.Arguments}}
}

// statsOf are the figures of all answers, in their order.
func statsOf(of map[int]answerStats) []answerStats {
	out := make([]answerStats, len(of))
	for i := range out {
		out[i] = of[i]
	}
	return out
}
