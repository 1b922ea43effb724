package serve

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
)

// Options are the settings of a server.
type Options struct {
	Models   []Model  // one at least
	Adapters []string // folders of adapters, and folders of such folders, which are watched
	Open     engine.Options
	Session  engine.SessionOptions // Batch is not read
	Memory   int64                 // bytes that weights of models may take; 0 is no limit

	Batch         generate.BatchOptions // Waiting 0 is 256; a queue of that length answers 429
	CacheSessions int                   // conversations that are remembered at a time; 0 is 10
	CacheBytes    int64                 // memory for those; 0 is 1 GiB

	Keys    []Key    // who may ask; none: everybody who reaches the server
	Hosts   []string // names that the server is reached by, beside localhost and addresses of loopback; "*" is any
	Origins []string // other web pages that may ask; "*" is any
	MaxBody int64    // bytes of a request; 0 is 32 MiB

	// What requests that do not say otherwise get.
	MaxTokens    int           // -1 is no limit
	Deadline     time.Duration // for an answer, from the request to its last token; 0 is no limit
	Sampling     generate.Sampling
	TemplateArgs string // JSON object of variables for the chat template

	Profiles []Profile // of people, that answers are held to

	Books []string // books, and folders of them, whose passages are shown beside answers

	// Dataset is the folder of a dataset: questions of its rows are what chats may begin with, and where there are no Books, the
	// places that its rows are from stand beside answers. "" is that of the first model's adapter, if it is there.
	Dataset string

	Data string // folder of chats and feedback; "" keeps none, and serves no page
	// Log hears of requests, one line each, without what was asked or answered. May be nil.
	Log func(text string)
}

const (
	cacheSessions = 10
	cacheBytes    = 1 << 30
	maxBody       = 32 << 20
	headerBytes   = 64 << 10
	headerTime    = 10 * time.Second
	bodyTime      = time.Minute
	idleTime      = 2 * time.Minute
	writeTime     = time.Minute // for a client to take what is written
)

// Errors that a request ends with.
var (
	errBusy    = errors.New("the server is busy")
	errClosing = errors.New("the server is shutting down")
	errLate    = errors.New("the time for the answer was over before it began")
)

// A Server answers requests.
type Server struct {
	o       Options
	models  *models
	batch   *generate.Batch
	metrics metrics
	kwargs  templateArgs
	handler http.Handler
	started time.Time

	embedding chan struct{} // held by the text that is embedded
	encoding  chan struct{} // held by the long text that is cut into tokens
	held      atomic.Int64  // bytes of the bodies of requests under way
	writeTime time.Duration // for a client to take what is written
	store     *store        // of chats; nil for none
	jobs      jobs          // answers of the page
	shelf     *shelf        // of books; nil for none
	starters  []string      // questions that chats may begin with
	reading   chan struct{} // held by the file that is read
	keepFirst time.Duration // firstKeep, but in tests

	mu       sync.Mutex
	draining bool
	stop     context.CancelFunc // ends the answers under way
	ctx      context.Context
}

// New makes a server and loads its first model. Close frees it.
func New(ctx context.Context, o Options) (*Server, error) {
	o.CacheSessions, o.CacheBytes, o.MaxBody = cmp.Or(o.CacheSessions, cacheSessions), cmp.Or(o.CacheBytes, cacheBytes), cmp.Or(o.MaxBody, maxBody)
	o.Batch.MaxKVSize, o.Batch.KV, o.Batch.Exact = o.Session.MaxKVSize, o.Session.KV, o.Session.Exact
	if err := o.Sampling.Check(); err != nil {
		return nil, fault.Mark(err)
	}
	s := &Server{o: o, started: time.Now(), embedding: make(chan struct{}, 1), encoding: make(chan struct{}, 1), reading: make(chan struct{}, 1), writeTime: writeTime, keepFirst: firstKeep,
		jobs: jobs{all: map[string]*answerJob{}}}
	if err := s.kwargs.read(o.TemplateArgs); err != nil {
		return nil, err
	}
	var err error
	if s.models, err = newModels(o); err != nil {
		return nil, err
	}
	if o.Data != "" {
		if s.store, err = openStore(o.Data); err != nil {
			return nil, err
		}
	}
	if err := s.openBooks(); err != nil {
		s.closeStore()
		return nil, err
	}
	v, err := s.models.acquire(ctx, defaultModel)
	if err != nil {
		s.models.close()
		s.closeStore()
		return nil, err
	}
	s.models.release(v)
	s.batch = generate.NewBatch(o.Batch)
	s.o.Session.Batch = s.batch
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.handler = s.guard(s.routes())
	return s, nil
}

// Handler answers requests, with all checks of who asks.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers until ctx ends, then lets the answers under way come to their end, for as long as drain, and takes no
// new ones.
func (s *Server) Serve(ctx context.Context, l net.Listener, drain time.Duration) error {
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytes,
		ErrorLog: nil,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	wait, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	ended := make(chan struct{})
	go func() { // answers of the page go on without a request
		s.jobs.wg.Wait()
		close(ended)
	}()
	err := server.Shutdown(wait)
	select {
	case <-ended:
	case <-wait.Done():
	}
	if err != nil { // some go on: they are told
		s.stop()
		wait, cancel := context.WithTimeout(context.Background(), headerTime)
		defer cancel()
		if server.Shutdown(wait) != nil {
			server.Close()
		}
	}
	return nil
}

// Close ends all answers and frees all models.
func (s *Server) Close() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.stop()
	s.jobs.wg.Wait()
	s.batch.Close()
	s.models.close()
	s.closeStore()
}

func (s *Server) closeStore() {
	if s.store != nil {
		s.store.close()
	}
}

// isDraining reports whether new requests are refused.
func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// routes are all paths that are answered.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /metrics", s.writeMetrics)
	mux.HandleFunc("GET /lentil/passages/{id}/{name...}", s.passageText)
	for _, v := range []string{"/v1", ""} {
		mux.HandleFunc("GET "+v+"/models", s.listModels)
		mux.HandleFunc("GET "+v+"/models/{id...}", s.oneModel)
		mux.HandleFunc("POST "+v+"/chat/completions", s.chatCompletions)
		mux.HandleFunc("POST "+v+"/completions", s.completions)
	}
	for pattern, handle := range map[string]http.HandlerFunc{
		"POST /v1/embeddings": s.embeddings, "POST /v1/responses": s.responses, "POST /tokenize": s.tokenize, "POST /detokenize": s.detokenize,
		"POST /v1/messages": s.anthropicMessages, "POST /v1/messages/count_tokens": s.countTokens,
		"GET /api/version": s.ollamaVersion, "GET /api/tags": s.ollamaTags, "GET /api/ps": s.ollamaRunning, "POST /api/show": s.ollamaShow,
		"POST /api/chat": s.ollamaChat, "POST /api/generate": s.ollamaGenerate, "POST /api/embed": s.ollamaEmbed, "POST /api/embeddings": s.ollamaEmbed,
	} {
		mux.HandleFunc(pattern, handle)
	}
	if s.store != nil {
		s.pageRoutes(mux)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		errorOf(r)(w, &apiError{status: http.StatusNotFound, kind: "invalid_request_error", code: "not_found", message: "there is no " + r.Method + " " + r.URL.Path})
	})
	return mux
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	status, code := "ok", http.StatusOK
	if s.isDraining() {
		status, code = "shutting down", http.StatusServiceUnavailable
	}
	load := s.batch.Load()
	writeJSON(w, code, map[string]any{"status": status, "running": load.Running, "waiting": load.Waiting})
}
