// Package hubtest is a hub for tests: an HTTP server on the loopback interface that speaks as much of the
// Hugging Face hub's API as is needed to list, download and upload repositories. Large files lie on a second
// server, as they do in earnest, to which downloads are redirected. It holds everything in memory, and it can
// be told to behave badly.
package hubtest

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Token is the token that the server takes for writing and for private repositories.
const Token = "hf_testtokenAbCdEfGhIjKlMnOp"

// User is the owner of Token.
const User = "tester"

// A Server is a hub with its storage.
type Server struct {
	URL     string // the endpoint
	Storage string // where large files are

	// Settings, to be changed before the first request.
	LFSFrom  int // files of this many bytes and more are large files
	PageSize int // entries on one page of the tree
	PartSize int // parts of a multipart upload; 0: uploads come in one piece

	mu       sync.Mutex
	repos    map[string]*repository // by "models/ORG/NAME"
	objects  map[string][]byte      // large files by SHA-256
	parts    map[string]map[int][]byte
	requests []Request
	faults   []*Fault
	commits  int
	hub      *httptest.Server
	storage  *httptest.Server
}

type repository struct {
	private bool
	head    string
	commits map[string]map[string]Entry // commit -> files
	refs    map[string]string           // branches and tags
}

// An Entry is one file of a commit.
type Entry struct {
	Data   []byte
	Large  bool
	SHA256 string // of the contents
	BlobID string // git's id: of the contents, or of the pointer to a large file
}

func newEntry(data []byte, large bool) Entry {
	sum := sha256.Sum256(data)
	e := Entry{Data: data, Large: large, SHA256: hex.EncodeToString(sum[:])}
	if large {
		data = fmt.Appendf(nil, "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", e.SHA256, len(data))
	}
	id := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	e.BlobID = hex.EncodeToString(id[:])
	return e
}

// ETag is the name of the entry's blob in a cache.
func (e Entry) ETag() string {
	if e.Large {
		return e.SHA256
	}
	return e.BlobID
}

// A Request is one request that the server got.
type Request struct {
	Method, Path  string
	Storage       bool // at the storage, not the hub itself
	Range         string
	Authorization string
}

// New starts a server; Close ends it.
func New() *Server {
	s := &Server{
		LFSFrom: 64 << 10, PageSize: 1000,
		repos: map[string]*repository{}, objects: map[string][]byte{}, parts: map[string]map[int][]byte{},
	}
	s.hub = httptest.NewServer(s.watch(false, s.hubRoutes()))
	s.storage = httptest.NewServer(s.watch(true, s.storageRoutes()))
	s.URL, s.Storage = s.hub.URL, s.storage.URL
	return s
}

// Close ends the server and breaks all connections off.
func (s *Server) Close() {
	for _, server := range []*httptest.Server{s.hub, s.storage} {
		server.CloseClientConnections()
		server.Close()
	}
}

// Add makes a commit with these files in place of all that were there, and gives its hash. name is "ORG/NAME"
// or "datasets/ORG/NAME".
func (s *Server) Add(name string, files map[string][]byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	tree := map[string]Entry{}
	for path, data := range files {
		tree[path] = s.entry(data)
	}
	return s.commit(s.repository(name), tree)
}

// AddRef makes a branch or tag.
func (s *Server) AddRef(name, ref, commit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repository(name).refs[ref] = commit
}

// SetPrivate hides a repository from all but the owner of Token.
func (s *Server) SetPrivate(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repository(name).private = true
}

// Files gives the files at the head of a repository; nil if there is none of that name.
func (s *Server) Files(name string) map[string]Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[key(name)]
	if r == nil {
		return nil
	}
	return maps.Clone(r.commits[r.head])
}

// Head gives the newest commit of a repository.
func (s *Server) Head(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repository(name).head
}

// Commits counts the commits of a repository.
func (s *Server) Commits(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.repository(name).commits)
}

// Requests gives what has been asked so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count counts the requests of a method (or of all, if empty) whose path contains part.
func (s *Server) Count(method, part string) int {
	n := 0
	for _, r := range s.Requests() {
		if (method == "" || r.Method == method) && strings.Contains(r.Path, part) {
			n++
		}
	}
	return n
}

// key is the name of a repository with its type in front.
func key(name string) string {
	if strings.HasPrefix(name, "datasets/") || strings.HasPrefix(name, "spaces/") {
		return name
	}
	return "models/" + strings.TrimPrefix(name, "models/")
}

// repository finds or makes a repository.
func (s *Server) repository(name string) *repository {
	r := s.repos[key(name)]
	if r == nil {
		r = &repository{commits: map[string]map[string]Entry{}, refs: map[string]string{}}
		s.repos[key(name)] = r
		s.commit(r, map[string]Entry{".gitattributes": newEntry([]byte("*.safetensors filter=lfs\n"), false)})
	}
	return r
}

func (s *Server) entry(data []byte) Entry {
	e := newEntry(data, len(data) >= s.LFSFrom)
	if e.Large {
		s.objects[e.SHA256] = data
	}
	return e
}

func (s *Server) commit(r *repository, tree map[string]Entry) string {
	s.commits++
	sum := sha1.Sum(fmt.Appendf(nil, "commit %d", s.commits))
	r.head = hex.EncodeToString(sum[:])
	r.commits[r.head] = tree
	r.refs["main"] = r.head
	return r.head
}

// watch notes each request and lets it run into the faults that are set.
func (s *Server) watch(storage bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, Request{r.Method, r.URL.Path, storage, r.Header.Get("Range"), r.Header.Get("Authorization")})
		fault := s.takeFault(r)
		s.mu.Unlock()
		if fault != nil {
			var done bool
			if w, done = fault.begin(w); done {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// A Fault is bad behaviour towards the requests that match.
type Fault struct {
	Method, Path string // Path: part of the path; empty matches all
	FromByte     int64  // only requests for ranges that begin there or behind it
	Skip, Times  int    // how many matching requests go well before, and how many go wrong; Times 0: all

	Status     int           // answer with this status,
	Header     http.Header   // and these headers
	Body       string        // and this text
	DropAfter  int           // break the connection off after so many bytes of the body; -1: at once
	Delay      time.Duration // wait before answering
	PerSecond  int           // send at most so many bytes a second
	SilentFrom int           // send so many bytes and then nothing more
	Corrupt    bool          // turn one bit of the body
	NoRanges   bool          // send the whole file whatever is asked for
}

// Misbehave adds a fault. It gives a function that takes it away.
func (s *Server) Misbehave(f Fault) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fault := &f
	s.faults = append(s.faults, fault)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(x *Fault) bool { return x == fault })
	}
}

// rangeBegin is the first byte that a request asks for.
func rangeBegin(r *http.Request) int64 {
	begin, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
	n, _ := strconv.ParseInt(begin, 10, 64) // no range: from the beginning
	return n
}

func (s *Server) takeFault(r *http.Request) *Fault {
	for i, f := range s.faults {
		if f.Method != "" && f.Method != r.Method || !strings.Contains(r.URL.Path, f.Path) || rangeBegin(r) < f.FromByte {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.NoRanges {
			r.Header.Del("Range")
		}
		if f.Times == 1 {
			s.faults = slices.Delete(s.faults, i, i+1)
		} else if f.Times > 1 {
			f.Times--
		}
		return f
	}
	return nil
}

// begin lets a fault work on an answer; true if that was the answer already.
func (f *Fault) begin(w http.ResponseWriter) (http.ResponseWriter, bool) {
	time.Sleep(f.Delay)
	switch {
	case f.Status != 0:
		maps.Copy(w.Header(), f.Header)
		w.WriteHeader(f.Status)
		w.Write([]byte(f.Body))
		return w, true
	case f.DropAfter < 0:
		panic(http.ErrAbortHandler)
	}
	return &faulty{w, f, 0}, false
}

// faulty is an answer with a fault.
type faulty struct {
	http.ResponseWriter
	fault *Fault
	sent  int
}

func (w *faulty) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 {
		piece := p[:min(len(p), 8<<10)]
		if limit := max(w.fault.DropAfter, w.fault.SilentFrom); limit > 0 {
			piece = piece[:min(len(piece), limit-w.sent)]
		}
		if w.fault.Corrupt && w.sent == 0 && len(piece) > 0 {
			piece = append([]byte{piece[0] ^ 1}, piece[1:]...)
		}
		k, err := w.ResponseWriter.Write(piece)
		w.sent, n = w.sent+k, n+k
		if err != nil {
			return n, err
		}
		p = p[len(piece):]
		if w.fault.PerSecond > 0 {
			w.flush()
			time.Sleep(time.Duration(k) * time.Second / time.Duration(w.fault.PerSecond))
		}
		if w.fault.DropAfter > 0 && w.sent >= w.fault.DropAfter {
			w.flush()
			panic(http.ErrAbortHandler)
		}
		if w.fault.SilentFrom > 0 && w.sent >= w.fault.SilentFrom {
			w.flush()
			time.Sleep(time.Second)
			panic(http.ErrAbortHandler)
		}
	}
	return n, nil
}

func (w *faulty) flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(value)
}

// refuse answers as the hub does: a code and a message in the headers, the message again in the body.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", message)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": message})
}
