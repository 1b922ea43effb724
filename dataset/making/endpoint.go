package making

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
)

// An Endpoint is a model behind an address that speaks OpenAI's chat completions. It sends as many calls at a time as the
// server takes: after a 429 half as many and a wait, after each answer a little more again.
type Endpoint struct {
	url, model, key string
	client          *http.Client
	most            int
	wait            time.Duration // after the first failure; shorter in tests

	free atomic.Bool // of schemas: the endpoint does not take them

	mu      sync.Mutex
	under   int       // calls under way
	allowed float64   // calls that may be
	quiet   time.Time // nothing is sent before
	changed chan struct{}
}

// Bounds of what an endpoint may take and send.
const (
	callTime  = 10 * time.Minute
	callBytes = 16 << 20
	callTries = 6
	maxWait   = 2 * time.Minute // that a server may ask for
)

// OpenEndpoint makes a Completer of the endpoint at address, ".../v1". Without the name of a model it takes the first that
// the endpoint lists.
func OpenEndpoint(ctx context.Context, address, model, key string, together int) (*Endpoint, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.Given("endpoint", address, "expected an address such as http://localhost:8080/v1")
	}
	base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(address, "/"), "/chat/completions"), "/")
	e := &Endpoint{url: base, model: model, key: key, most: max(together, 1), allowed: float64(max(together, 1)), wait: time.Second, changed: make(chan struct{})}
	e.client = &http.Client{Timeout: callTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if model == "" {
		var list struct{ Data []struct{ ID string } }
		if err := e.call(ctx, http.MethodGet, "/models", nil, &list); err != nil {
			return nil, err
		}
		if len(list.Data) == 0 || list.Data[0].ID == "" {
			return nil, fault.Given("endpoint", address, "it lists no model").Try("Name one with %v.", fault.Setting("endpoint_model"))
		}
		e.model = list.Data[0].ID
	}
	return e, nil
}

// Name is the model's, without the address.
func (e *Endpoint) Name() string { return e.model }

// Together is how many calls are worth having at a time.
func (e *Endpoint) Together() int { return e.most }

// Complete asks the endpoint, again if it is busy or breaks off.
func (e *Endpoint) Complete(ctx context.Context, p dataset.Prompt) (out dataset.Completion, err error) {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	var messages []message
	if p.System != "" {
		messages = append(messages, message{"system", p.System})
	}
	request := map[string]any{
		"model": e.model, "messages": append(messages, message{"user", p.User}), "temperature": p.Temperature, "max_tokens": p.MaxTokens,
		"seed": p.Seed >> 33, "stream": false, // some servers take 31 bits
	}
	var reply struct {
		Choices []struct {
			Message struct {
				Content *string `json:"content"`
			} `json:"message"`
			FinishReason string `json:"finish_reason"`
		} `json:"choices"`
		Usage struct {
			Prompt int `json:"prompt_tokens"`
			Tokens int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if p.Schema != "" && !e.free.Load() {
		request["response_format"] = map[string]any{"type": "json_schema", "json_schema": map[string]any{"name": "rows", "schema": json.RawMessage(p.Schema)}}
	}
	err = e.call(ctx, http.MethodPost, "/chat/completions", request, &reply)
	if _, asked := request["response_format"]; asked && errors.Is(err, errRefused) { // an endpoint that does not know schemas
		e.free.Store(true)
		delete(request, "response_format")
		err = e.call(ctx, http.MethodPost, "/chat/completions", request, &reply)
	}
	if err != nil {
		return out, err
	}
	out.Prompt, out.Tokens = reply.Usage.Prompt, reply.Usage.Tokens
	if len(reply.Choices) > 0 {
		if c := reply.Choices[0].Message.Content; c != nil {
			out.Text = *c
		}
		out.Cut = reply.Choices[0].FinishReason == "length"
	}
	if out.Tokens == 0 { // not every server counts
		out.Prompt, out.Tokens = (len(p.System)+len(p.User))/4, len(out.Text)/4
	}
	return out, nil
}

// enter waits until another call may be under way.
func (e *Endpoint) enter(ctx context.Context) error {
	for {
		e.mu.Lock()
		pause, changed := time.Until(e.quiet), e.changed
		if pause <= 0 && float64(e.under) < max(e.allowed, 1) {
			e.under++
			e.mu.Unlock()
			return nil
		}
		e.mu.Unlock()
		var timer <-chan time.Time
		if pause > 0 {
			timer = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer:
		case <-changed:
		}
	}
}

// leave counts a call that is over: busy ones make the next fewer, after a while.
func (e *Endpoint) leave(busy bool, wait time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.under--
	if busy {
		e.allowed = max(e.allowed/2, 1)
		if until := time.Now().Add(wait); until.After(e.quiet) {
			e.quiet = until
		}
	} else {
		e.allowed = min(e.allowed+0.25, float64(e.most))
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// call sends a request until it is answered.
func (e *Endpoint) call(ctx context.Context, method, path string, body, reply any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	var last error
	for try := range callTries {
		if err := e.enter(ctx); err != nil {
			return err
		}
		again, after, err := e.once(ctx, method, path, text, reply)
		wait := time.Duration(float64(e.wait) * float64(int(1)<<try) * (0.5 + rand.Float64()))
		if after > 0 {
			wait = min(after, maxWait)
		}
		e.leave(again, wait)
		if err == nil || !again || ctx.Err() != nil {
			return err
		}
		last = err
	}
	return last
}

// once sends it once. again says that it may be better the next time, after when the server wants it.
func (e *Endpoint) once(ctx context.Context, method, path string, text []byte, reply any) (again bool, after time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, method, e.url+path, bytes.NewReader(text))
	if err != nil {
		return false, 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	if e.key != "" {
		request.Header.Set("Authorization", "Bearer "+e.key)
	}
	response, err := e.client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return false, 0, ctx.Err()
		}
		return true, 0, fmt.Errorf("endpoint: %w", err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, callBytes+1))
	if err != nil {
		return true, 0, fmt.Errorf("endpoint: %w", err)
	}
	switch code := response.StatusCode; {
	case len(data) > callBytes:
		return false, 0, fault.At("endpoint", "%s answers with more than %d MiB", e.url, callBytes>>20)
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		if s, err := strconv.ParseFloat(response.Header.Get("Retry-After"), 64); err == nil && s > 0 {
			after = time.Duration(min(s, maxWait.Seconds()) * float64(time.Second))
		}
		return true, after, fmt.Errorf("the endpoint at %s answers %s: %s", e.url, response.Status, begin(data))
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return false, 0, fault.At("endpoint", "%s answers %s: %s", e.url, response.Status, begin(data)).Try("Put the key into LENTIL_ENDPOINT_KEY.")
	case code == http.StatusBadRequest || code == http.StatusUnprocessableEntity:
		return false, 0, fault.At("endpoint", "%w: %s answers %s: %s", errRefused, e.url, response.Status, begin(data))
	case code != http.StatusOK:
		return false, 0, fault.At("endpoint", "%s answers %s: %s", e.url, response.Status, begin(data))
	}
	if err := json.Unmarshal(data, reply); err != nil {
		return true, 0, errors.Join(fmt.Errorf("the endpoint at %s does not answer in JSON: %s", e.url, begin(data)), err)
	}
	return false, 0, nil
}

// errRefused says that an endpoint does not take a request as it is.
var errRefused = errors.New("the request was refused")

// begin is what is shown of a reply.
func begin(data []byte) string {
	const most = 200
	return strings.ToValidUTF8(string(bytes.TrimSpace(data[:min(len(data), most)])), "")
}
