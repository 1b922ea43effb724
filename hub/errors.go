package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/lentil-lm/lentil/fault"
)

// Kinds of failures, for errors.Is.
var (
	// ErrOffline says that the network is switched off and the cache does not have what is wanted.
	ErrOffline = errors.New("the network is switched off (HF_HUB_OFFLINE)")
	// ErrNotFound says that a repository, revision or file does not exist, or is not for this token to see.
	ErrNotFound = errors.New("not found")
	// ErrDenied says that the token is missing, wrong or not good for this.
	ErrDenied = errors.New("access denied")
	// ErrNotCached says that the server cannot be reached and the cache does not have what is wanted.
	ErrNotCached = errors.New("not in the cache")
)

// Mark declares errors to be mistakes of the user's that a user can put right: a wrong name, a missing token, a network
// that is switched off.
func Mark(err error) error {
	for _, kind := range []error{ErrNotFound, ErrDenied, ErrNoToken, ErrOffline} {
		if errors.Is(err, kind) {
			return fault.Mark(err)
		}
	}
	return err
}

// A StatusError is the refusal of a server.
type StatusError struct {
	Status     int           // HTTP status
	Code       string        // the hub's own word for it, such as "RepoNotFound"; may be empty
	Message    string        // what the server says; may be empty
	URL        string        // without query and password
	RetryAfter time.Duration // how long the server asks to wait; 0: it does not say
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s: %d %s", e.URL, e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	switch {
	case e.Code == "GatedRepo":
		return text + "\nAsk for access on the repository's page, then log in: lentil login"
	case e.Status == http.StatusUnauthorized:
		return text + "\nCheck the name. If the repository is private, log in first: lentil login"
	case e.Status == http.StatusForbidden:
		return text + "\nThe token has no right to do this: make one with that right and log in again: lentil login"
	case e.Code == "RepoNotFound":
		return text + "\nCheck the name. A private repository needs a token: lentil login"
	}
	return text
}

// Is sorts the status into ErrNotFound and ErrDenied.
func (e *StatusError) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Status == http.StatusNotFound || e.Code == "RepoNotFound"
	case ErrDenied:
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
	}
	return false
}

// maxErrorBody is how much of a refusal's text is read.
const maxErrorBody = 64 << 10

// refusal makes a StatusError of an answer and closes its body. Text from the server is cut to one line and
// cleared of the token.
func (c *Client) refusal(resp *http.Response) error {
	defer resp.Body.Close()
	e := &StatusError{
		Status: resp.StatusCode, Code: resp.Header.Get("X-Error-Code"), Message: resp.Header.Get("X-Error-Message"),
		URL: c.plainURL(resp.Request.URL), RetryAfter: retryAfter(resp.Header, time.Now()),
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // half a text is better than none
	var said struct {
		Error any `json:"error"`
	}
	if e.Message == "" && json.Unmarshal(body, &said) == nil && said.Error != nil {
		e.Message = fmt.Sprint(said.Error)
	}
	e.Message, e.Code = c.oneLine(e.Message), c.oneLine(e.Code)
	if c.cfg.TokenError != nil && (errors.Is(e, ErrDenied) || e.Code == "RepoNotFound") {
		return fmt.Errorf("%w\nNo token was sent: %w", e, c.cfg.TokenError)
	}
	return e
}

// oneLine makes text of a server fit for an error of one line.
func (c *Client) oneLine(text string) string {
	if c.cfg.Token != "" {
		text = strings.ReplaceAll(text, c.cfg.Token, "***")
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "..."
	}
	return text
}

// withoutToken keeps the token out of the text of an error, wherever in its answer a server repeats it.
func (c *Client) withoutToken(err error) error {
	if err == nil || c.cfg.Token == "" || !strings.Contains(err.Error(), c.cfg.Token) {
		return err
	}
	return &reworded{strings.ReplaceAll(err.Error(), c.cfg.Token, "***"), err}
}

// reworded is an error with another text.
type reworded struct {
	text string
	err  error
}

func (e *reworded) Error() string { return e.text }
func (e *reworded) Unwrap() error { return e.err }

// plainURL is an address fit for an error: without what may be secret in it.
func (c *Client) plainURL(u *url.URL) string {
	return c.oneLine(u.Scheme + "://" + u.Host + u.EscapedPath())
}

// A networkError is a request that got no answer, or a broken one.
type networkError struct {
	reworded
	down bool // the server's machine cannot be reached
}

// newNetworkError puts host and path in the place of the address in an error of net/http, which may hold a signature.
func (c *Client) newNetworkError(u *url.URL, err error) error {
	var with *url.Error
	if errors.As(err, &with) {
		err = with.Err
	}
	text, down := c.plainURL(u)+": "+c.oneLine(err.Error()), false
	var dial *net.OpError
	if errors.As(err, new(*net.DNSError)) || errors.As(err, &dial) && dial.Op == "dial" {
		text, down = "no network: "+c.oneLine(u.Host)+" cannot be reached", true
	}
	return &networkError{reworded{text, err}, down}
}

// unreachable tells a failure of the network or of the server's machine from an answer of the hub.
func unreachable(err error) bool {
	var status *StatusError
	var network *networkError
	if errors.As(err, &status) {
		return status.Status >= 500 || status.Status == http.StatusRequestTimeout || status.Status == http.StatusTooManyRequests
	}
	return errors.As(err, &network) || errors.Is(err, ErrOffline)
}

var rateLimitReset = regexp.MustCompile(`\br=0\s*;\s*t=(\d{1,6})\b`)

// retryAfter reads how long a server asks to wait: the header Retry-After in seconds or as a date, or the
// reset time in RateLimit when nothing is left.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	if m := rateLimitReset.FindStringSubmatch(h.Get("RateLimit")); m != nil {
		n, _ := strconv.Atoi(m[1]) // at most six digits
		return time.Duration(n) * time.Second
	}
	return 0
}

// passing tells whether a failure may be over by the next try.
func passing(err error) bool {
	var status *StatusError
	switch {
	case errors.As(err, &status):
		switch status.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrOffline):
		return false
	}
	var lasting *lastingError
	return !errors.As(err, &lasting)
}

// A lastingError is one that trying again does not help.
type lastingError struct{ error }

func (e *lastingError) Unwrap() error { return e.error }

// lasting makes an error that is not tried again.
func lasting(format string, args ...any) error {
	return &lastingError{fmt.Errorf(format, args...)}
}
