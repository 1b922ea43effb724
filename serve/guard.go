package serve

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/fault"
)

// A Key lets whoever sends it ask the server. The server keeps no more than its hash.
type Key struct {
	Name string // for metrics, and for fairness among clients
	Hash [sha256.Size]byte
}

// hashed begins a secret that is given as its hash, in hexadecimal, so that it stands nowhere itself.
const hashed = "sha256:"

// NewKey is the key of a secret, or of its hash behind "sha256:".
func NewKey(name, secret string) (Key, error) {
	text, ok := strings.CutPrefix(secret, hashed)
	if !ok {
		return Key{name, sha256.Sum256([]byte(secret))}, nil
	}
	hash, err := hex.DecodeString(text)
	if err != nil || len(hash) != sha256.Size {
		return Key{}, fault.At("api_key", "behind %s stand %d hexadecimal digits: the SHA-256 of the key", hashed, 2*sha256.Size)
	}
	return Key{name, [sha256.Size]byte(hash)}, nil
}

// NewSecret makes a secret that nobody guesses.
func NewSecret() string {
	var b [24]byte
	rand.Read(b[:])
	return "sk-lentil-" + hex.EncodeToString(b[:])
}

// Loopback reports whether a host, as one listens on it, is reached from this machine alone.
func Loopback(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	return host == "localhost"
}

// open are the paths that need no key: they tell nothing.
func open(path string) bool {
	return path == "/health" || path == "/" || strings.HasPrefix(path, "/page/")
}

// guard lets in whom the server is for.
//
// A web page that somebody visits can send requests to a server on the same machine. Browsers say where such a request
// comes from (Origin), which must be the server itself. And a page can have the name of its own host point to this machine
// (DNS rebinding): then Host is that name, which is none of the server's.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, asked := time.Now(), r
		out := &watched{ResponseWriter: w, control: http.NewResponseController(w), patience: s.writeTime}
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.log("%s %s: a fault of the server: %v", r.Method, pathOf(r), p)
				if out.status == 0 {
					errorOf(asked)(out, &apiError{status: http.StatusInternalServerError, kind: "server_error", message: "a fault of the server, which its log tells"})
				}
			}
			who, _ := s.key(r)
			s.metrics.request(routeOf(asked), out.status, who.Name)
			s.log("%s %s %d %s", r.Method, pathOf(r), out.status, time.Since(began).Round(time.Millisecond))
		}()
		if e := s.refuse(out, r); e != nil {
			errorOf(r)(out, e)
			return
		}
		if r.Method == http.MethodOptions {
			out.WriteHeader(http.StatusNoContent)
			return
		}
		r.Body = http.MaxBytesReader(out, r.Body, s.o.MaxBody)
		out.control.SetReadDeadline(time.Now().Add(bodyTime)) // not all connections have one
		body := &heldBody{ReadCloser: r.Body, s: s}
		defer body.letGo()
		r.Body = body
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		asked = r.WithContext(ctx)
		next.ServeHTTP(out, asked)
	})
}

// mostHeld bounds what the bodies of all requests under way take.
const mostHeld = 512 << 20

// heldBody counts what is read of a body as long as its request is under way.
type heldBody struct {
	io.ReadCloser
	s *Server
	n int64
}

func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if b.s.held.Add(int64(n)) > mostHeld {
		return n, errBusy
	}
	return n, err
}

func (b *heldBody) letGo() { b.s.held.Add(-b.n) }

// pathOf is the path of a request as a log may have it.
func pathOf(r *http.Request) string { return fmt.Sprintf("%.80q", r.URL.Path) }

// routeOf is the path of a request where that is one of the server's.
func routeOf(r *http.Request) string {
	if _, route, ok := strings.Cut(r.Pattern, " "); ok {
		return route
	}
	return "other"
}

// refuse says why a request is not let in; nil if it is.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request) *apiError {
	if !s.knowsHost(r.Host) {
		return &apiError{status: http.StatusForbidden, kind: "permission_error", code: "host", message: fmt.Sprintf("the server is not known as %q: start it with that name among its allowed hosts", r.Host)}
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		switch {
		case slices.Contains(s.o.Origins, "*") || slices.Contains(s.o.Origins, origin):
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key, Anthropic-Version")
			h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
			h.Add("Vary", "Origin")
		case !sameOrigin(origin, r.Host):
			return &apiError{status: http.StatusForbidden, kind: "permission_error", code: "origin", message: fmt.Sprintf("web pages of %q may not ask this server: start it with that among its allowed origins", origin)}
		}
	} else if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
		return &apiError{status: http.StatusForbidden, kind: "permission_error", code: "origin", message: "web pages of other sites may not ask this server"}
	}
	if len(s.o.Keys) > 0 && !open(r.URL.Path) && r.Method != http.MethodOptions {
		if _, ok := s.key(r); !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			return &apiError{status: http.StatusUnauthorized, kind: "authentication_error", code: "invalid_api_key", message: "the server needs an API key: send it as Authorization: Bearer KEY"}
		}
	}
	return nil
}

// knowsHost tells whether a Host header has a name of this server.
func (s *Server) knowsHost(header string) bool {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if Loopback(host) || strings.HasSuffix(host, ".localhost") {
		return true
	}
	for _, known := range s.o.Hosts {
		if known == "*" || strings.EqualFold(known, host) {
			return true
		}
	}
	_, err := netip.ParseAddr(host) // an address cannot be rebound; who listens there needs a key
	return err == nil
}

func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// key finds the key that a request has.
func (s *Server) key(r *http.Request) (Key, bool) {
	secret := r.Header.Get("Authorization")
	if scheme, rest, ok := strings.Cut(secret, " "); ok && strings.EqualFold(scheme, "Bearer") {
		secret = rest
	}
	if k := r.Header.Get("X-Api-Key"); k != "" {
		secret = k
	}
	hash := sha256.Sum256([]byte(secret))
	var found Key
	ok := 0
	for _, k := range s.o.Keys {
		if same := subtle.ConstantTimeCompare(hash[:], k.Hash[:]); same == 1 {
			found, ok = k, 1
		}
	}
	return found, ok == 1
}

// clientOf names who asks, for fairness: by key, address, and the user that a front end tells.
func (s *Server) clientOf(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if k, ok := s.key(r); ok {
		host = k.Name
	}
	return host + "/" + r.Header.Get("X-OpenWebUI-User-Id")
}

// log writes a line, without what was asked or answered.
func (s *Server) log(format string, args ...any) {
	if s.o.Log != nil {
		s.o.Log(fmt.Sprintf(format, args...))
	}
}

// watched remembers the status of a reply. Each piece of it has to be taken within patience, so that a client that stops
// reading holds nothing.
type watched struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	status   int
}

func (w *watched) WriteHeader(code int) {
	if w.status == 0 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *watched) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.control.SetWriteDeadline(time.Now().Add(w.patience))
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }
