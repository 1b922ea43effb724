package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/fault"
)

// A Client talks to one hub and keeps one cache. It is safe for use by several goroutines.
type Client struct {
	cfg  Config
	base *url.URL
	http *http.Client

	tries     int           // of one request without progress
	firstWait time.Duration // before the second try
	chunk     int64         // bytes of one range of a parallel download
	pace      pace
	teller    *teller
}

const (
	maxTries     = 6
	lookUpTries  = 3               // of the first question, which tells whether there is a network at all
	firstWait    = time.Second / 2 // doubled from try to try
	maxWait      = 30 * time.Second
	maxRedirects = 5
	maxJSON      = 64 << 20 // bytes of one answer of the API
	maxHeader    = 1 << 20  // bytes of the header of an answer
)

// New makes a client.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.Endpoint)
	if err != nil || base.Host == "" {
		return nil, errors.New("the endpoint of the hub is not an http or https address")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: cfg.Timeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: cfg.Timeout,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // ranges and sizes are those of the file itself

		MaxResponseHeaderBytes: maxHeader,
	}
	return &Client{
		cfg: cfg, base: base, tries: maxTries, firstWait: firstWait, chunk: 8 << 20, pace: usualPace, teller: newTeller(cfg.Notice),
		// Redirects are followed by send, which knows where the token may go.
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Config is the configuration the client was made with.
func (c *Client) Config() Config { return c.cfg }

// A request is what send sends.
type request struct {
	method, url string
	header      map[string]string
	body        func() (io.ReadCloser, error) // made anew for each try
	size        int64                         // of body
	patience    time.Duration                 // longest silence; 0: the client's
	stay        bool                          // give redirects back instead of following them
}

// send makes one try of a request. Answers that are no success (2xx, or 3xx if asked to stay) become errors.
// The body of the answer has to be closed; a server that goes silent, or nearly so, makes reading it fail.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	if c.cfg.Offline {
		return nil, ErrOffline
	}
	at, err := url.Parse(r.url)
	if err != nil {
		return nil, lasting("the server gave an address that is none")
	}
	for range maxRedirects {
		resp, err := c.sendOnce(ctx, r, at)
		if err != nil {
			return nil, err
		}
		switch {
		case resp.StatusCode/100 == 2, resp.StatusCode/100 == 3 && r.stay:
			return resp, nil
		case resp.StatusCode/100 != 3:
			return nil, c.refusal(resp)
		}
		resp.Body.Close()
		next, err := at.Parse(resp.Header.Get("Location"))
		if err != nil || resp.Header.Get("Location") == "" {
			return nil, lasting("%s: the server redirects to nowhere", c.plainURL(at))
		}
		keeps := resp.StatusCode == http.StatusTemporaryRedirect || resp.StatusCode == http.StatusPermanentRedirect
		if r.body != nil && !(keeps && sameOrigin(at, next)) {
			return nil, lasting("%s: the server redirects an upload to another place: refused", c.plainURL(at))
		}
		at = next
	}
	return nil, lasting("%s: more than %d redirects", c.plainURL(at), maxRedirects)
}

func (c *Client) sendOnce(ctx context.Context, r request, at *url.URL) (*http.Response, error) {
	if at.Scheme != "http" && at.Scheme != "https" {
		return nil, lasting("the server redirects to a %.20q address: refused", at.Scheme)
	}
	patience := r.patience
	if patience == 0 {
		patience = c.cfg.Timeout
	}
	inner, cancel := context.WithCancelCause(ctx)
	dog := c.watch(at.Host, patience, cancel)
	fail := func(err error) error {
		dog.stop()
		defer cancel(nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if why := dog.reason(inner); why != nil {
			err = why
		}
		return c.newNetworkError(at, err)
	}
	req, err := http.NewRequestWithContext(inner, r.method, at.String(), nil)
	if err != nil {
		return nil, fail(err)
	}
	if r.body != nil {
		body, err := r.body()
		if err != nil {
			return nil, fail(&lastingError{err})
		}
		req.Body, req.ContentLength = &sending{ReadCloser: body, dog: dog}, r.size
		if r.size == 0 {
			req.Body.Close()
			req.Body = http.NoBody
		}
	}
	req.Header.Set("User-Agent", "lentil")
	req.Header.Set("Accept-Encoding", "identity")
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	if c.cfg.Token != "" && sameOrigin(at, c.base) {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fail(err)
	}
	dog.pet()
	resp.Body = &answer{ReadCloser: resp.Body, dog: dog, explain: fail, end: func() { dog.stop(); cancel(nil) }}
	return resp, nil
}

// sameOrigin tells whether two addresses have scheme, host and port in common.
func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// trying gives a client that tries everything so often.
func (c *Client) trying(tries int) *Client {
	other := *c
	other.tries = tries
	return &other
}

// retry calls f until it succeeds, fails for good, or has failed c.tries times in a row. f tells how much it
// got done; a try that got something done starts the count anew. What is waited for long is told.
func (c *Client) retry(ctx context.Context, f func() (progress bool, err error)) error {
	begin, asked := time.Now(), time.Duration(0)
	for try := 1; ; try++ {
		progress, err := f()
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		if progress {
			try, begin, asked = 1, time.Now(), 0
		}
		if try >= c.tries {
			if c.tries == 1 {
				return err
			}
			return fault.Advise(err, "Gave up after %d tries; try again later to go on from there.", c.tries)
		}
		// Full wait plus up to half of it again, so that clients that failed together do not come back together.
		wait := min(c.firstWait<<(try-1), maxWait)
		wait += rand.N(wait/2 + 1)
		var status *StatusError
		if errors.As(err, &status) && status.RetryAfter > 0 {
			if asked += min(status.RetryAfter, c.pace.asked+1); asked > c.pace.asked { // no sum overflows
				return fault.Advise(err, "The server asks to wait for %v: try again then.", status.RetryAfter)
			}
			wait = max(wait, status.RetryAfter)
		}
		if time.Since(begin)+wait >= c.pace.tell {
			c.teller.say(c.pace.tell/2, "%v\nTrying again in %v (try %d of %d).", c.withoutToken(err), wait.Round(time.Second/10), try+1, c.tries)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// call sends a request to the API, again if need be, and decodes the JSON of its answer into answer, unless
// that is nil.
func (c *Client) call(ctx context.Context, r request, answer any) (http.Header, error) {
	var header http.Header
	err := c.retry(ctx, func() (bool, error) {
		resp, err := c.send(ctx, r)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		header = resp.Header
		if answer == nil {
			return false, nil
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON+1))
		if err != nil {
			return false, err
		}
		if len(body) > maxJSON {
			return false, lasting("%s: the answer is longer than %d bytes: refused", c.plainURL(resp.Request.URL), maxJSON)
		}
		if err := json.Unmarshal(body, answer); err != nil {
			return false, lasting("%s: the answer is not what a hub answers: %w\nIs HF_ENDPOINT right?", c.plainURL(resp.Request.URL), err)
		}
		return false, nil
	})
	return header, err
}

// post is a request with a JSON body.
func post(url string, value any) (request, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return request{}, err
	}
	return bytesRequest(http.MethodPost, url, body, "application/json"), nil
}

func bytesRequest(method, url string, body []byte, contentType string) request {
	return request{
		method: method, url: url, size: int64(len(body)), header: map[string]string{"Content-Type": contentType},
		body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}
}
