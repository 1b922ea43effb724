package serve

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/generate/grammar"
)

// completionRequest is a request of /v1/completions.
type completionRequest struct {
	sampling
	Model         string          `json:"model"`
	Prompt        json.RawMessage `json:"prompt"`
	Stream        bool            `json:"stream"`
	StreamOptions *streamOptions  `json:"stream_options"`
	Logprobs      *int            `json:"logprobs"`
	Echo          bool            `json:"echo"`
	Suffix        *string         `json:"suffix"`
}

// mostPrompts bounds the prompts of one request.
const mostPrompts = 256

// promptsOf reads a field that holds one prompt or several, each a string or a list of tokens.
func (s *Server) promptsOf(ctx context.Context, v *variant, raw json.RawMessage, field string) ([][]int32, error) {
	var text string
	var texts []string
	var ids []int32
	var lists [][]int32
	is := func(into any) bool { return json.Unmarshal(raw, into) == nil }
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, badField(field, "%s: there is none", field)
	case is(&text):
		texts = []string{text}
	case is(&texts):
	default:
		switch texts = nil; { // what has failed leaves something there
		case is(&ids):
			lists = [][]int32{ids}
		case !is(&lists):
			return nil, badField(field, "%s: expected a string, a list of strings, a list of tokens, or a list of such lists", field)
		}
	}
	for _, t := range texts {
		ids, err := s.encode(ctx, t, v.Tokenizer.EncodePlain)
		if err != nil {
			return nil, err
		}
		lists = append(lists, ids)
	}
	if len(lists) == 0 || len(lists) > mostPrompts {
		return nil, badField(field, "%s: %d of them, expected 1 to %d", field, len(lists), mostPrompts)
	}
	for i, ids := range lists {
		if len(ids) == 0 { // the text before anything
			first, ok := v.Tokenizer.BOS()
			if !ok {
				return nil, badField(field, "%s: it has no tokens", field)
			}
			lists[i] = []int32{first}
		}
		if err := v.Model.CheckTokens(lists[i]); err != nil {
			return nil, badField(field, "%s: %v", field, err)
		}
	}
	return lists, nil
}

// completions answers POST /v1/completions.
func (s *Server) completions(w http.ResponseWriter, r *http.Request) {
	var request completionRequest
	if err := readRequest(w, r, &request); err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	if _, p := s.models.profiles.of(request.Model); p != nil {
		openAIError(w, badField("model", "model: a profile is told in a conversation: ask /v1/chat/completions"))
		return
	}
	v, err := s.models.acquire(r.Context(), request.Model)
	if err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	defer s.models.release(v)
	queries, err := s.completionQueries(r.Context(), v, &request)
	if err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	for _, q := range queries {
		q.options.Client = s.clientOf(r)
	}
	c := &completion{s: s, request: &request, queries: queries, id: newID("cmpl-"), created: time.Now().Unix(), stats: map[int]answerStats{}}
	if request.Stream {
		c.stream(w, r)
		return
	}
	choices, err := c.whole(r.Context())
	if err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	out := c.head()
	out["choices"], out["usage"] = choices, c.usage()
	if len(choices) == 1 {
		out["timings"] = timingsOf(c.stats[0])
	}
	writeJSON(w, http.StatusOK, out)
}

func (s *Server) completionQueries(ctx context.Context, v *variant, r *completionRequest) (all []*query, err error) {
	prompts, err := s.promptsOf(ctx, v, r.Prompt, "prompt")
	if err != nil {
		return nil, err
	}
	if r.Suffix != nil && *r.Suffix != "" {
		return nil, badField("suffix", "suffix: text cannot be filled in before another")
	}
	for _, prompt := range prompts {
		q := &query{variant: v, prompt: prompt, logs: -1}
		if err := r.apply(s, q); err != nil {
			return nil, err
		}
		if r.Logprobs != nil {
			if q.logs = *r.Logprobs; q.logs < 0 || q.logs > mostTopLogs {
				return nil, badField("logprobs", "logprobs: found %d, expected 0 to %d", q.logs, mostTopLogs)
			}
		}
		if q.options.StopTokens, err = v.Stops(); err != nil {
			return nil, err
		}
		if !r.Echo || q.options.MaxTokens != 0 {
			if err := s.limit(q, "prompt"); err != nil {
				return nil, err
			}
		}
		if r.Grammar != "" {
			source, err := grammar.GBNF(r.Grammar)
			if err == nil {
				err = s.keep(q, source)
			}
			if err != nil {
				return nil, err
			}
		}
		all = append(all, q)
	}
	if n := all[0].n * len(all); n > mostPrompts {
		return nil, badField("n", "n: %d answers in all, %d are the most", n, mostPrompts)
	}
	return all, nil
}

// completion is a reply of /v1/completions under way.
type completion struct {
	s       *Server
	request *completionRequest
	queries []*query
	id      string
	created int64
	stats   map[int]answerStats
}

func (c *completion) head() map[string]any {
	return map[string]any{"id": c.id, "object": "text_completion", "created": c.created, "model": modelOr(c.request.Model), "system_fingerprint": "lentil"}
}

func (c *completion) usage() map[string]any {
	prompt, cached, answer := 0, 0, 0
	for i, s := range statsOf(c.stats) {
		if i%c.queries[0].n == 0 {
			prompt += s.PromptTokens
			cached += s.CachedTokens
		}
		answer += s.GenerationTokens
	}
	return map[string]any{
		"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer, "prompt_tokens_details": map[string]any{"cached_tokens": cached},
	}
}

// whole runs all prompts at the same time and collects their answers.
func (c *completion) whole(ctx context.Context) ([]any, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		answers []wholeAnswer
		echoed  []tokenLog
		err     error
	}
	results := make([]chan result, len(c.queries))
	slots := make(chan struct{}, 8) // prompts of one request that are read at a time
	for i, q := range c.queries {
		results[i] = make(chan result, 1)
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			var r result
			if r.echoed, r.err = c.echo(ctx, q); r.err == nil {
				r.answers = make([]wholeAnswer, q.n)
				r.err = c.s.answerOrNone(ctx, q, func(e event) error {
					r.answers[e.choice].take(e)
					return nil
				})
			}
			results[i] <- r
		}()
	}
	choices := []any{}
	for i, q := range c.queries {
		r := <-results[i]
		if r.err != nil {
			return nil, r.err
		}
		for k := range r.answers {
			a := &r.answers[k]
			n := len(choices)
			c.stats[n] = a.stats
			text, logs := a.text.String(), a.logs
			if c.request.Echo {
				echo, err := q.variant.Tokenizer.Decode(q.prompt, false)
				if err != nil {
					return nil, err
				}
				text, logs = echo+text, slices.Concat(r.echoed, logs)
			}
			choice := map[string]any{"index": n, "text": text, "finish_reason": a.finish, "logprobs": nil}
			if c.request.Logprobs != nil {
				choice["logprobs"] = textLogs(logs, c.request.Echo)
			}
			choices = append(choices, choice)
		}
	}
	return choices, nil
}

// answerOrNone is answer, where no tokens may be wanted at all.
func (s *Server) answerOrNone(ctx context.Context, q *query, emit func(event) error) error {
	if q.options.MaxTokens != 0 {
		return s.answer(ctx, q, emit)
	}
	for i := range q.n {
		stats := answerStats{Stats: generate.Stats{PromptTokens: len(q.prompt)}}
		if err := emit(event{choice: i, finish: generate.FinishLength, stats: stats}); err != nil {
			return err
		}
	}
	return nil
}

// echo gives the log probabilities of a prompt's tokens, where they are asked for: the first has none.
func (c *completion) echo(ctx context.Context, q *query) ([]tokenLog, error) {
	if !c.request.Echo || q.logs < 0 {
		return nil, nil
	}
	s := c.s
	session, err := q.variant.Session(s.o.Session)
	if err != nil {
		return nil, err
	}
	out := []tokenLog{{id: q.prompt[0], text: q.tokenText(q.prompt[0])}}
	err = session.Score(ctx, q.prompt, q.options, func(i int, logits []float32) error {
		if i+1 < len(q.prompt) {
			logSoftmax(logits)
			out = append(out, q.logOf(q.prompt[i+1], logits))
		}
		return nil
	})
	if err != nil {
		session.Close()
		return nil, err
	}
	s.models.rest(q.variant, session)
	return out, nil
}

// textLogs writes log probabilities as completions have them. echoed says that the first token has none.
func textLogs(logs []tokenLog, echoed bool) map[string]any {
	tokens, values, tops, offsets := []string{}, []any{}, []any{}, []int{}
	at := 0
	for i, l := range logs {
		tokens, offsets = append(tokens, l.text), append(offsets, at)
		at += len([]rune(l.text))
		if i == 0 && echoed {
			values, tops = append(values, nil), append(tops, nil)
			continue
		}
		top := map[string]float64{}
		for _, t := range l.top {
			if _, ok := top[t.text]; !ok { // two tokens may have one text: the likelier one counts
				top[t.text] = t.log
			}
		}
		values, tops = append(values, l.log), append(tops, top)
	}
	return map[string]any{"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets}
}

// stream writes the answers as they come, one prompt after the other.
func (c *completion) stream(w http.ResponseWriter, r *http.Request) {
	out := newStream(w, false)
	first := 0
	send := func(i int, text string, finish any, logs []tokenLog, stats *answerStats) error {
		m := c.head()
		choice := map[string]any{"index": i, "text": text, "finish_reason": finish, "logprobs": nil}
		if c.request.Logprobs != nil {
			choice["logprobs"] = textLogs(logs, false)
		}
		m["choices"] = []any{choice}
		if stats != nil {
			m["timings"] = timingsOf(*stats)
		}
		return out.send("", m)
	}
	reply := &streamed{stream: out, end: func() error {
		if o := c.request.StreamOptions; o != nil && o.IncludeUsage {
			m := c.head()
			m["choices"], m["usage"] = []any{}, c.usage()
			if err := out.send("", m); err != nil {
				return err
			}
		}
		return out.write("data: [DONE]\n\n")
	}, fail: func(e *apiError) error { return out.send("", e.object()) }}
	reply.event = func(e event) error {
		i := first + e.choice
		switch {
		case e.part != nil:
			return send(i, e.part.Text, nil, e.logs, nil)
		case e.finish != "":
			c.stats[i] = e.stats
			return send(i, "", e.finish, e.logs, &e.stats)
		}
		return out.alive(e.done, e.total)
	}
	c.s.finishStream(w, reply, func(emit func(event) error) error {
		for _, q := range c.queries {
			echoed, err := c.echo(r.Context(), q)
			if err != nil {
				return err
			}
			if c.request.Echo {
				text, err := q.variant.Tokenizer.Decode(q.prompt, false)
				if err != nil {
					return err
				}
				for k := range q.n {
					if err := send(first+k, text, nil, echoed, nil); err != nil {
						return err
					}
				}
			}
			if err := c.s.answerOrNone(r.Context(), q, emit); err != nil {
				return err
			}
			first += q.n
		}
		return nil
	})
}

// modelOr is a model's id in a reply.
func modelOr(id string) string {
	if strings.TrimSpace(id) == "" {
		return defaultModel
	}
	return id
}
