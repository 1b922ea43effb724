package serve

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/chat"
)

//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page do what it does, and nothing else: no code but its own files, and no other server.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pageRoutes are the page and what it asks for. All but the page itself needs a key where there are keys.
func (s *Server) pageRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { s.pageFile(w, "index.html") })
	mux.HandleFunc("GET /page/{name}", func(w http.ResponseWriter, r *http.Request) { s.pageFile(w, r.PathValue("name")) })
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"GET /lentil/chats":                      s.listChats,
		"GET /lentil/chats/{chat}":               s.getChat,
		"PUT /lentil/chats/{chat}":               s.putChat,
		"DELETE /lentil/chats/{chat}":            s.deleteChat,
		"PUT /lentil/chats/{chat}/{message}":     s.putMessage,
		"POST /lentil/chats/{chat}/{message}":    s.judge,
		"DELETE /lentil/answers/{message}":       s.stopAnswer,
		"POST /lentil/chats/{chat}/{parent}/new": s.startAnswer,
		"GET /lentil/about":                      s.about,
		"POST /lentil/files":                     s.readFile,
		"POST /lentil/folders":                   s.moveFolder,
		"GET /lentil/export":                     s.exportChats,
		"GET /lentil/profiles":                   s.listProfiles,
		"PUT /lentil/profiles/{id}":              s.putProfile,
		"DELETE /lentil/profiles/{id}":           s.deleteProfile,
		"POST /lentil/import":                    s.importChats,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := handle(r)
			http.NewResponseController(w).SetReadDeadline(time.Time{})
			switch {
			case missing(err):
				openAIError(w, &apiError{status: http.StatusNotFound, kind: "invalid_request_error", code: "not_found", message: errNoChat.Error()})
			case err != nil:
				openAIError(w, s.toAPI(err))
			default:
				writeJSON(w, http.StatusOK, v)
			}
		})
	}
	mux.HandleFunc("GET /lentil/answers/{message}", s.watchAnswer)
}

// pageTypes are those of the page's files; what systems know of extensions differs.
var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
}

func (s *Server) pageFile(w http.ResponseWriter, name string) {
	data, err := fs.ReadFile(pageFiles, path.Join("page", path.Base(name)))
	if err != nil {
		http.Error(w, "there is no such page", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Content-Type", pageTypes[path.Ext(name)])
	h.Set("Cache-Control", "no-cache")
	w.Write(data)
}

// body reads the JSON of a request.
func body(r *http.Request, into any) error {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return badField("", "the request did not come whole, or is too large: %v", err)
	}
	return decodeRequest(data, into)
}

func (s *Server) listChats(r *http.Request) (any, error) {
	query := r.URL.Query()
	all, folders := s.store.list(query.Get("q"))
	shown := all
	if most, err := strconv.Atoi(query.Get("most")); err == nil {
		shown = all[:min(max(most, 0), len(all))]
	}
	return map[string]any{"chats": shown, "of": len(all), "folders": folders}, nil
}

// about tells what a new chat begins with.
func (s *Server) about(*http.Request) (any, error) {
	return map[string]any{"starters": append([]string{}, s.starters...), "sources": s.shelf != nil}, nil
}

// moveFolder gives a folder another name; its chats are in none where that is empty.
func (s *Server) moveFolder(r *http.Request) (any, error) {
	var names struct{ From, To string }
	if err := body(r, &names); err != nil {
		return nil, err
	}
	if names.From == "" {
		return nil, badField("from", "from: there is no such folder")
	}
	return map[string]any{}, s.store.move(names.From, names.To)
}

func (s *Server) exportChats(r *http.Request) (any, error) {
	all := s.store.export()
	switch as := r.URL.Query().Get("as"); as {
	case "", "lentil":
		return all, nil
	case "open-webui":
		out := []webChat{}
		for _, c := range all {
			out = append(out, c.toWeb())
		}
		return out, nil
	default:
		return nil, badField("as", "as: found %.80q, expected lentil or open-webui", as)
	}
}

func (s *Server) getChat(r *http.Request) (any, error) {
	c, err := s.store.get(r.PathValue("chat"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"chat": c, "running": s.jobs.of(c.ID)}, nil
}

// putChat makes a chat, or changes its title, folder, settings or leaf.
func (s *Server) putChat(r *http.Request) (any, error) {
	var info chatInfo
	if err := body(r, &info); err != nil {
		return nil, err
	}
	info.ID = r.PathValue("chat")
	if !validID(info.ID) {
		return nil, badField("chat", "chat: expected 8 to 64 of a-z, 0-9 and -")
	}
	info.Updated = time.Now().Unix()
	if c, err := s.store.get(info.ID); err == nil {
		info.Created, info.Updated = c.Created, c.Updated
	} else {
		info.Created = info.Updated
	}
	return info, s.store.write(info.ID, line{Chat: &info})
}

func (s *Server) deleteChat(r *http.Request) (any, error) {
	id := r.PathValue("chat")
	s.jobs.stopAll(id)
	return map[string]any{}, s.store.write(id, line{Deleted: true})
}

// putMessage adds a message of the user's.
func (s *Server) putMessage(r *http.Request) (any, error) {
	var m storedMessage
	if err := body(r, &m); err != nil {
		return nil, err
	}
	c, err := s.store.get(r.PathValue("chat"))
	if err != nil {
		return nil, err
	}
	m.ID = r.PathValue("message")
	if err := checkFiles(m.Files); err != nil {
		return nil, err
	}
	switch {
	case !validID(m.ID) || c.message(m.ID) != nil:
		return nil, badField("message", "message: expected a new id of 8 to 64 of a-z, 0-9 and -")
	case m.Role != "user":
		return nil, badField("role", "role: found %q, expected user", m.Role)
	case m.Parent != "" && c.message(m.Parent) == nil:
		return nil, badField("parent", "parent: there is no such message")
	}
	m = storedMessage{ID: m.ID, Parent: m.Parent, Role: m.Role, Content: m.Content, Files: m.Files, Created: time.Now().Unix()}
	return m, s.store.write(c.ID, line{Message: &m})
}

// judge takes a vote, or what an answer should have been.
func (s *Server) judge(r *http.Request) (any, error) {
	var said struct {
		Vote    *int    `json:"vote"`
		Content *string `json:"content"`
	}
	if err := body(r, &said); err != nil {
		return nil, err
	}
	chat, message := r.PathValue("chat"), r.PathValue("message")
	if said.Content != nil {
		return s.store.correct(chat, message, *said.Content)
	}
	if said.Vote == nil {
		return nil, badField("vote", "vote: there is none, nor a content")
	}
	return map[string]any{}, s.store.vote(chat, message, *said.Vote)
}

func (s *Server) importChats(r *http.Request) (any, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, badField("", "the file did not come whole, or is too large: %v", err)
	}
	n, err := s.store.take(data)
	return map[string]any{"chats": n}, err
}

// An answerJob is an answer of the page's under way. It goes on when the page is closed, and is there when it comes back.
type answerJob struct {
	chat   string
	answer *storedMessage
	cancel context.CancelFunc

	mu     sync.Mutex
	events []any // so far
	done   bool
	more   chan struct{} // closed, and made anew, when there are more
}

func (j *answerJob) add(done bool, e any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events, j.done = append(j.events, e), done
	close(j.more)
	j.more = make(chan struct{})
}

// jobs are the answers under way, and those that have ended a moment ago.
type jobs struct {
	mu  sync.Mutex
	all map[string]*answerJob
	wg  sync.WaitGroup
}

// jobRest is how long an answer that has ended can still be watched.
const jobRest = time.Minute

func (j *jobs) get(id string) *answerJob {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all[id]
}

// of lists the answers under way of a chat.
func (j *jobs) of(chat string) []map[string]any {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := []map[string]any{}
	for id, job := range j.all {
		job.mu.Lock()
		if job.chat == chat && !job.done {
			out = append(out, map[string]any{"id": id, "parent": job.answer.Parent, "model": job.answer.Model})
		}
		job.mu.Unlock()
	}
	return out
}

func (j *jobs) stopAll(chat string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, job := range j.all {
		if job.chat == chat {
			job.cancel()
		}
	}
}

func (s *Server) stopAnswer(r *http.Request) (any, error) {
	job := s.jobs.get(r.PathValue("message"))
	if job == nil {
		return nil, errNoChat
	}
	job.cancel()
	return map[string]any{}, nil
}

// startRequest asks for an answer to a message.
type startRequest struct {
	sampling
	ID       string          `json:"id"` // of the answer
	Model    string          `json:"model"`
	System   string          `json:"system"`
	Kwargs   json.RawMessage `json:"chat_template_kwargs"`
	Continue string          `json:"continue"` // an answer that is gone on with, as another branch
	Profile  string          `json:"profile"`  // whom the answer is for
}

// model is the id of the model with the profile.
func (r *startRequest) model() string {
	if r.Profile == "" {
		return r.Model
	}
	return modelOr(r.Model) + "@" + r.Profile
}

// startAnswer begins an answer, which then goes on by itself.
func (s *Server) startAnswer(r *http.Request) (any, error) {
	var start startRequest
	if err := body(r, &start); err != nil {
		return nil, err
	}
	c, err := s.store.get(r.PathValue("chat"))
	if err != nil {
		return nil, err
	}
	parent := c.message(r.PathValue("parent"))
	switch {
	case parent == nil || parent.Role != "user":
		return nil, badField("parent", "parent: expected a message of the user's")
	case !validID(start.ID) || c.message(start.ID) != nil || s.jobs.get(start.ID) != nil:
		return nil, badField("id", "id: expected a new id of 8 to 64 of a-z, 0-9 and -")
	}
	begun := ""
	if m := c.message(start.Continue); m != nil {
		begun = m.Content
	}
	q, left, err := s.fitting(r.Context(), &start, c.thread(parent.ID), begun)
	if err != nil {
		return nil, err
	}
	q.n, q.options.Client = 1, s.clientOf(r)
	if q.profile != nil {
		start.System = q.profile.System(start.System) // what the model was told, for rows of feedback
	}
	answer := &storedMessage{ID: start.ID, Parent: parent.ID, Role: "assistant", Content: begun, System: start.System, Left: left, Model: modelOr(start.Model), Created: time.Now().Unix()}
	ctx, cancel := context.WithCancel(s.ctx)
	job := &answerJob{chat: c.ID, answer: answer, cancel: cancel, more: make(chan struct{})}
	s.jobs.mu.Lock()
	s.jobs.all[answer.ID] = job
	s.jobs.mu.Unlock()
	if begun != "" {
		job.add(false, map[string]any{"text": begun})
	}
	s.jobs.wg.Go(func() {
		defer cancel()
		defer s.models.release(q.variant)
		s.runJob(ctx, job, q, parent.prompt())
	})
	return map[string]any{"id": answer.ID}, nil
}

// leaveOut is how many questions, with their answers, are left out of a long chat at a time: what comes after them stays the
// beginning of the prompt for some messages, and is not read again.
const leaveOut = 8

// fitting makes the query for an answer. Of a chat that is longer than the model takes, with a quarter of that for the answer,
// it leaves out as many of the first messages as it must, and tells their number.
func (s *Server) fitting(ctx context.Context, start *startRequest, thread []*storedMessage, begun string) (q *query, left int, err error) {
	var starts []int // where messages may be left out up to
	for i, m := range thread {
		if m.Role == "user" {
			starts = append(starts, i)
		}
	}
	try := func(from int) (*query, error) {
		messages := turns(start.System, thread[from:])
		if begun != "" {
			messages = append(messages, turn{"assistant", begun})
		}
		raw, err := marshal(messages)
		if err != nil {
			return nil, err
		}
		return s.chatQuery(ctx, &chatRequest{sampling: start.sampling, Model: start.model(), Messages: raw, TemplateKwargs: start.Kwargs, Stream: true})
	}
	fits := func(q *query, err error) bool {
		if err != nil {
			return false
		}
		most := q.variant.Model.Config.MaxPositionEmbeddings
		room := most - len(q.prompt)
		return most <= 0 || s.o.Session.MaxKVSize > 0 || q.options.MaxTokens < room || room >= most/4
	}
	tooLong := func(err error) bool {
		var known *apiError
		return err == nil || errors.As(err, &known) && known.code == "context_length_exceeded"
	}
	q, err = try(0)
	if fits(q, err) || !tooLong(err) || len(starts) < 2 {
		return q, 0, err
	}
	at := func(i int) int { return starts[min((i+1)*leaveOut, len(starts)-1)] }
	var found error
	n := sort.Search((len(starts)-1)/leaveOut, func(i int) bool {
		q, err := try(at(i))
		if err == nil {
			s.models.release(q.variant)
		} else if !tooLong(err) {
			found = err
			return true
		}
		return fits(q, err)
	})
	if found != nil {
		return nil, 0, found
	}
	if err == nil {
		s.models.release(q.variant)
	}
	q, err = try(at(n))
	return q, at(n), err
}

// An answer under way is kept as far as it has come, at first after firstKeep and then whenever it has taken twice as long, so
// that a server that is killed leaves it, and its chat's file grows by twice the answer at most.
const firstKeep = time.Second

// runJob runs an answer to its end and keeps it.
func (s *Server) runJob(ctx context.Context, job *answerJob, q *query, question string) {
	a := job.answer
	var thinking time.Duration
	rewritten := false
	began := time.Now()
	keep := began.Add(s.keepFirst)
	err := s.answer(ctx, q, func(e event) error {
		if now := time.Now(); now.After(keep) && a.Content+a.Reasoning != "" {
			so := *a
			so.Finish = "broken"
			if err := s.store.write(job.chat, line{Message: &so}); err != nil && !missing(err) {
				s.log("a chat could not be written: %v", err)
			}
			keep = now.Add(now.Sub(began))
		}
		switch {
		case e.finish != "":
			rewritten = e.stats.verdict != nil && e.stats.verdict.rewritten
			a.Finish, a.Figures = e.finish, timingsOf(e.stats)
			a.Figures["context"] = e.stats.PromptTokens + e.stats.GenerationTokens
			a.Figures["context_most"] = q.variant.Model.Config.MaxPositionEmbeddings
		case e.part == nil:
			job.add(false, map[string]any{"read": e.done, "of": e.total})
		case e.part.Kind == chat.Reasoning:
			a.Reasoning += e.part.Text
			thinking = time.Since(began)
			job.add(false, map[string]any{"reasoning": e.part.Text})
		default:
			a.Content += e.part.Text
			job.add(false, map[string]any{"text": e.part.Text})
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		a.Finish = "stopped"
	case err != nil:
		a.Finish, a.Error = "error", s.toAPI(err).message
	}
	if q.profile != nil { // all of it, also where it was stopped or begins with another answer
		v := verdict{q.profile, a.Content, rewritten, q.profile.Scan(a.Content)}
		a.Profile = v.object()
	}
	if s.shelf != nil && a.Content != "" {
		a.Sources = s.shelf.look(a.Content)
		a.Unfounded = unfounded(a.Content, question, a.Sources)
	}
	if thinking > 0 && a.Figures != nil {
		a.Figures["reasoning_ms"] = thinking.Milliseconds()
	}
	if err := s.store.write(job.chat, line{Message: a}); err != nil && !missing(err) {
		a.Error = "the answer could not be kept"
		s.log("a chat could not be written: %v", err)
	}
	job.add(true, map[string]any{"message": a})
	time.AfterFunc(jobRest, func() {
		s.jobs.mu.Lock()
		defer s.jobs.mu.Unlock()
		delete(s.jobs.all, a.ID)
	})
}

// watchAnswer streams an answer under way, from its beginning.
func (s *Server) watchAnswer(w http.ResponseWriter, r *http.Request) {
	job := s.jobs.get(r.PathValue("message"))
	if job == nil {
		openAIError(w, &apiError{status: http.StatusNotFound, kind: "invalid_request_error", code: "not_found", message: "no such answer is under way"})
		return
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{})
	out := newStream(w, false)
	out.begin()
	for at := 0; ; {
		job.mu.Lock()
		events, done, more := job.events[at:], job.done, job.more
		job.mu.Unlock()
		for _, e := range events {
			if out.send("", e) != nil {
				return
			}
		}
		at += len(events)
		if done {
			return
		}
		select {
		case <-more:
		case <-time.After(5 * keepAlive):
			if out.alive(0, 0) != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
