// Package endpoint is the client of models that others serve: of endpoints that speak OpenAI's chat completions.
//
// It sends as many calls at a time as the server takes: after a 429 half as many and a wait, after each answer a little more
// again. What a server refuses of a request (a schema, max_tokens, a temperature) is asked for without it from then on.
package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/fault"
)

// Options say how an endpoint is called. What is zero has its default.
type Options struct {
	Setting fault.Setting // that names the endpoint, for errors
	Naming  fault.Setting // that names its model
	KeyFrom string        // where the user puts the key: the name of a variable
	Key     string        // is in no error, whatever the server echoes

	Together int           // calls at a time, at most; 1
	Tries    int           // of one call; 6
	Time     time.Duration // of one try; 10 minutes
	Bytes    int64         // of a reply; 16 MiB
	Wait     time.Duration // after the first failure, twice as long after each further one; a second
	Patience time.Duration // that a server may ask to wait, at most; 2 minutes
}

// A Client calls one model of an endpoint. It may be used by several goroutines at once.
type Client struct {
	base  *url.URL
	shown string // the address as errors have it, without names, passwords and keys
	model string
	o     Options
	http  *http.Client

	mu      sync.Mutex
	under   int             // calls under way
	allowed float64         // calls that may be
	quiet   time.Time       // nothing is sent before
	changed chan struct{}   // is closed when a call may come
	without map[string]bool // what the endpoint does not take in a request
	met     bool            // it has answered at least once
}

// Open makes a client of the endpoint at address, ".../v1". Without the name of a model it takes the first that it lists.
func Open(ctx context.Context, address, model string, o Options) (*Client, error) {
	for _, d := range []struct {
		is *time.Duration
		by time.Duration
	}{{&o.Time, 10 * time.Minute}, {&o.Wait, time.Second}, {&o.Patience, 2 * time.Minute}} {
		if *d.is == 0 {
			*d.is = d.by
		}
	}
	if o.Tries == 0 {
		o.Tries = 6
	}
	if o.Bytes == 0 {
		o.Bytes = 16 << 20
	}
	o.Together, o.Key = max(o.Together, 1), strings.TrimSpace(o.Key)
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.Given(o.Setting, shown(address), "expected an address such as http://localhost:8080/v1")
	}
	u.Path = strings.TrimRight(strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/chat/completions"), "/")
	u.RawPath, u.Fragment = "", ""
	c := &Client{base: u, shown: shown(u.String()), model: model, o: o, allowed: float64(o.Together), changed: make(chan struct{}), without: map[string]bool{}}
	// A redirect would carry the key elsewhere.
	c.http = &http.Client{Timeout: o.Time, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if model == "" {
		var list struct{ Data []struct{ ID string } }
		if err := c.call(ctx, http.MethodGet, "/models", nil, &list); err != nil {
			return nil, err
		}
		if len(list.Data) == 0 || list.Data[0].ID == "" {
			return nil, fault.Given(o.Setting, c.shown, "it lists no model").Try("Name one with %v.", o.Naming)
		}
		c.model = list.Data[0].ID
	}
	return c, nil
}

// shown is an address without the parts that keep secrets.
func shown(address string) string {
	address, _, _ = strings.Cut(address, "?")
	if scheme, rest, ok := strings.Cut(address, "://"); ok {
		host, path, _ := strings.Cut(rest, "/")
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			return strings.TrimSuffix(scheme+"://"+host[at+1:]+"/"+path, "/")
		}
	}
	return address
}

// Model is the model's name, without the address.
func (c *Client) Model() string { return c.model }

// Together is how many calls are worth having at a time.
func (c *Client) Together() int { return c.o.Together }

// A Request is what a model is asked.
type Request struct {
	System, User string
	MaxTokens    int
	Temperature  float64
	Seed         uint64
	Schema       string // that the answer is to fit, as far as the endpoint knows schemas; "" for any text
}

// A Reply is what it answers.
type Reply struct {
	Text   string
	Cut    bool // it has MaxTokens and no end
	Prompt int  // tokens of the prompt
	Tokens int  // of the answer
}

// Names of what servers may not know of a request.
const (
	maxTokens   = "max_tokens"
	newTokens   = "max_completion_tokens" // OpenAI's newer name for it
	temperature = "temperature"
	seed        = "seed"
	format      = "response_format"
)

// body is a request as the endpoint takes it.
func (c *Client) body(r Request) map[string]any {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	var messages []message
	if r.System != "" {
		messages = append(messages, message{"system", r.System})
	}
	body := map[string]any{"model": c.model, "messages": append(messages, message{"user", r.User}), "stream": false}
	c.mu.Lock()
	defer c.mu.Unlock()
	put := func(name string, value any) {
		if !c.without[name] {
			body[name] = value
		}
	}
	put(temperature, r.Temperature)
	put(seed, r.Seed>>33) // some servers take 31 bits
	if c.without[maxTokens] {
		put(newTokens, r.MaxTokens)
	} else {
		put(maxTokens, r.MaxTokens)
	}
	if r.Schema != "" {
		put(format, map[string]any{"type": "json_schema", "json_schema": map[string]any{"name": "rows", "schema": json.RawMessage(r.Schema)}})
	}
	return body
}

// leaves tells what a refused request is sent without from now on: what the refusal names, else the schema.
func (c *Client) leaves(body map[string]any, refusal string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range []string{maxTokens, temperature, seed, newTokens, format} {
		if _, sent := body[name]; sent && strings.Contains(refusal, name) {
			c.without[name] = true
			return true
		}
	}
	_, sent := body[format]
	c.without[format] = c.without[format] || sent
	return sent
}

// Chat asks the model, again if the endpoint is busy or breaks off. The error is a fault, or ctx's, where nothing will be
// better the next time.
func (c *Client) Chat(ctx context.Context, r Request) (out Reply, err error) {
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
	for {
		body := c.body(r)
		err := c.call(ctx, http.MethodPost, "/chat/completions", body, &reply)
		var no *refused
		if errors.As(err, &no) && c.leaves(body, no.said) {
			continue
		}
		if err != nil {
			return out, err
		}
		break
	}
	out.Prompt, out.Tokens = reply.Usage.Prompt, reply.Usage.Tokens
	if len(reply.Choices) > 0 {
		if text := reply.Choices[0].Message.Content; text != nil {
			out.Text = *text
		}
		out.Cut = reply.Choices[0].FinishReason == "length"
	}
	if out.Tokens == 0 { // not every server counts
		out.Prompt, out.Tokens = (len(r.System)+len(r.User))/4, len(out.Text)/4
	}
	return out, nil
}

// enter waits until another call may be under way.
func (c *Client) enter(ctx context.Context) error {
	for {
		c.mu.Lock()
		pause, changed := time.Until(c.quiet), c.changed
		if pause <= 0 && float64(c.under) < max(c.allowed, 1) {
			c.under++
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
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
func (c *Client) leave(busy bool, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under--
	if busy {
		c.allowed = max(c.allowed/2, 1)
		if until := time.Now().Add(wait); until.After(c.quiet) {
			c.quiet = until
		}
	} else {
		c.allowed = min(c.allowed+0.25, float64(c.o.Together))
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// call sends a request until it is answered.
func (c *Client) call(ctx context.Context, method, path string, body, reply any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	var last error
	for try := range c.o.Tries {
		if err := c.enter(ctx); err != nil {
			return err
		}
		again, after, err := c.once(ctx, method, path, text, reply)
		wait := time.Duration(float64(c.o.Wait) * float64(int64(1)<<min(try, 30)) * (0.5 + rand.Float64()))
		if after > 0 {
			wait = after
		}
		c.leave(again, min(wait, c.o.Patience))
		if err == nil || !again || ctx.Err() != nil {
			return err
		}
		last = err
	}
	return last
}

// once sends it once. again says that it may be better the next time, after when the server wants it.
func (c *Client) once(ctx context.Context, method, path string, text []byte, reply any) (again bool, after time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), bytes.NewReader(text))
	if err != nil {
		return false, 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	if c.o.Key != "" {
		request.Header.Set("Authorization", "Bearer "+c.o.Key)
	}
	response, err := c.http.Do(request)
	var dial *net.OpError
	if err != nil && ctx.Err() == nil && errors.As(err, &dial) && dial.Op == "dial" && !c.known(false) {
		return false, 0, fault.At(c.o.Setting, "%w", c.broken(ctx, err)).Try("Is the server running, and is that its address?")
	}
	if err != nil {
		return true, 0, c.broken(ctx, err)
	}
	defer response.Body.Close()
	c.known(true)
	data, err := io.ReadAll(io.LimitReader(response.Body, c.o.Bytes+1))
	if err != nil {
		return true, 0, c.broken(ctx, err)
	}
	if int64(len(data)) > c.o.Bytes {
		return false, 0, fault.At(c.o.Setting, "%s answers with more than %d bytes", c.shown, c.o.Bytes)
	}
	said := c.begin(data)
	switch code := response.StatusCode; {
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		return true, retryAfter(response.Header), fmt.Errorf("the endpoint at %s answers %s: %s", c.shown, response.Status, said)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return false, 0, fault.At(c.o.Setting, "%s answers %s: %s", c.shown, response.Status, said).Try("Put the key into %s.", c.o.KeyFrom)
	case code == http.StatusBadRequest || code == http.StatusUnprocessableEntity:
		return false, 0, fault.At(c.o.Setting, "%w", &refused{fmt.Sprintf("%s answers %s: %s", c.shown, response.Status, said)})
	case code != http.StatusOK:
		return false, 0, fault.At(c.o.Setting, "%s answers %s: %s", c.shown, response.Status, said)
	}
	if err := json.Unmarshal(data, reply); err != nil {
		return true, 0, errors.Join(fmt.Errorf("the endpoint at %s does not answer in JSON: %s", c.shown, said), err)
	}
	return false, 0, nil
}

// known tells whether the endpoint has ever answered: a server that is not there from the beginning is not waited for.
func (c *Client) known(now bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.met = c.met || now
	return c.met
}

// broken is the error of a connection that failed. Go's has the whole address, with keys in its query.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	return fmt.Errorf("the endpoint at %s: %w", c.shown, err)
}

// retryAfter reads for how long a server wants to be left alone: seconds, or a date.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(text, 64); err == nil && s > 0 {
		const day = 24 * time.Hour
		return time.Duration(min(s, day.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// refused says that an endpoint does not take a request as it is.
type refused struct{ said string }

func (r *refused) Error() string { return "the request was refused: " + r.said }

// begin is what is shown of a reply, without the key.
func (c *Client) begin(data []byte) string {
	const most = 300
	text := string(bytes.TrimSpace(data))
	if c.o.Key != "" {
		text = strings.ReplaceAll(text, c.o.Key, "***")
	}
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}
