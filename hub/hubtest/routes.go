package hubtest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// signature is what makes an address of the storage good. It must never show up in an error.
const signature = "sig=0123456789secret"

func (s *Server) hubRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/whoami-v2", s.whoami)
	mux.HandleFunc("POST /api/repos/create", s.create)
	mux.HandleFunc("POST /api/validate-yaml", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"errors": []string{}, "warnings": []string{}})
	})
	mux.HandleFunc("POST /complete/{sha}", s.complete)
	mux.HandleFunc("POST /verify", s.verify)
	mux.HandleFunc("/", s.byPath)
	return mux
}

// byPath finds the repository in a path, which may have one or two names and a type in front, and goes on with
// what follows.
func (s *Server) byPath(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	api := strings.HasPrefix(path, "api/")
	parts := strings.Split(strings.TrimPrefix(path, "api/"), "/")
	for i, p := range parts {
		parts[i], _ = url.PathUnescape(p)
	}
	kind := "models"
	if slices.Contains([]string{"models", "datasets", "spaces"}, parts[0]) && len(parts) > 1 {
		kind, parts = parts[0], parts[1:]
	}
	for n := 2; n >= 1; n-- {
		if len(parts) < n {
			continue
		}
		name, rest := strings.TrimSuffix(strings.Join(parts[:n], "/"), ".git"), parts[n:]
		s.mu.Lock()
		repo := s.repos[kind+"/"+name]
		s.mu.Unlock()
		if repo == nil {
			continue
		}
		if repo.private && !authorized(r) {
			break
		}
		s.inRepo(w, r, repo, name, api, rest)
		return
	}
	refuse(w, http.StatusUnauthorized, "RepoNotFound", "Repository not found")
}

func (s *Server) inRepo(w http.ResponseWriter, r *http.Request, repo *repository, name string, api bool, rest []string) {
	verb, revision, path := "info", "main", ""
	if len(rest) > 0 {
		verb = rest[0]
	}
	if len(rest) > 1 {
		revision, path = rest[1], strings.Join(rest[2:], "/")
	}
	if !api && verb == "info" {
		s.batch(w, r, repo)
		return
	}
	commit, ok := s.resolveRevision(repo, revision)
	if !ok {
		refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	switch {
	case api && (verb == "info" || verb == "revision"):
		answer(w, map[string]any{"id": name, "modelId": name, "sha": commit, "private": repo.private, "siblings": []any{}, "tags": []string{}, "downloads": 0, "likes": 0})
	case api && verb == "tree":
		s.tree(w, r, repo, commit, path)
	case !api && verb == "resolve":
		s.resolve(w, r, repo, commit, path)
	case api && !authorized(r):
		refuse(w, http.StatusUnauthorized, "", "Invalid username or password.")
	case api && verb == "preupload":
		s.preupload(w, r, repo, commit)
	case api && verb == "commit":
		s.newCommit(w, r, repo, name)
	default:
		refuse(w, http.StatusNotFound, "", "No such page")
	}
}

func authorized(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+Token }

func (s *Server) resolveRevision(repo *repository, revision string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if commit, ok := repo.refs[revision]; ok {
		return commit, true
	}
	_, ok := repo.commits[revision]
	return revision, ok
}

func (s *Server) whoami(w http.ResponseWriter, r *http.Request) {
	if !authorized(r) {
		refuse(w, http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
		return
	}
	answer(w, map[string]any{
		"type": "user", "name": User, "fullname": "Test User", "orgs": []any{},
		"auth": map[string]any{"type": "access_token", "accessToken": map[string]any{"displayName": "laptop", "role": "write"}},
	})
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	if !authorized(r) {
		refuse(w, http.StatusUnauthorized, "", "Invalid username or password.")
		return
	}
	var in struct{ Name, Organization, Type string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "", err.Error())
		return
	}
	owner := in.Organization
	if owner == "" {
		owner = User
	}
	name, kind := owner+"/"+in.Name, "models"
	if in.Type != "" && in.Type != "model" {
		kind = in.Type + "s"
	}
	s.mu.Lock()
	_, exists := s.repos[kind+"/"+name]
	s.repository(kind + "/" + name)
	s.mu.Unlock()
	out := map[string]string{"url": s.URL + "/" + strings.TrimPrefix(kind+"/", "models/") + name, "name": name}
	if exists {
		out["error"] = "You already created this model repo"
		w.WriteHeader(http.StatusConflict)
	}
	answer(w, out)
}

// tree lists what is in a folder, page by page; with recursive, also what is in the folders below it.
func (s *Server) tree(w http.ResponseWriter, r *http.Request, repo *repository, commit, folder string) {
	s.mu.Lock()
	files := maps.Clone(repo.commits[commit])
	s.mu.Unlock()
	recursive, _ := strconv.ParseBool(r.URL.Query().Get("recursive"))
	if folder != "" {
		folder += "/"
	}
	entries := []map[string]any{}
	seen := map[string]bool{} // folders
	for _, path := range slices.Sorted(maps.Keys(files)) {
		rest, inside := strings.CutPrefix(path, folder)
		if !inside {
			continue
		}
		levels := strings.Split(rest, "/")
		for n := 1; n < len(levels) && (n == 1 || recursive); n++ {
			if below := folder + strings.Join(levels[:n], "/"); !seen[below] {
				seen[below] = true
				entries = append(entries, map[string]any{"type": "directory", "path": below, "size": 0, "oid": strings.Repeat("0", 40)})
			}
		}
		if len(levels) > 1 && !recursive {
			continue
		}
		e := files[path]
		entry := map[string]any{"type": "file", "path": path, "size": len(e.Data), "oid": e.BlobID}
		if e.Large {
			entry["lfs"] = map[string]any{"oid": e.SHA256, "size": len(e.Data), "pointerSize": 134}
		}
		entries = append(entries, entry)
	}
	if len(entries) == 0 && folder != "" {
		refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	from = min(from, len(entries))
	to := min(from+s.PageSize, len(entries))
	if to < len(entries) {
		next := *r.URL
		q := next.Query()
		q.Set("cursor", strconv.Itoa(to))
		next.RawQuery = q.Encode()
		w.Header().Set("Link", fmt.Sprintf(`<%s%s>; rel="next"`, s.URL, next.RequestURI()))
	}
	answer(w, entries[from:to])
}

func (s *Server) resolve(w http.ResponseWriter, r *http.Request, repo *repository, commit, path string) {
	s.mu.Lock()
	e, ok := repo.commits[commit][path]
	s.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	if !e.Large {
		w.Header().Set("ETag", `"`+e.ETag()+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(e.Data))
		return
	}
	w.Header().Set("X-Linked-Etag", `"`+e.ETag()+`"`)
	w.Header().Set("X-Linked-Size", strconv.Itoa(len(e.Data)))
	w.Header().Set("Location", s.Storage+"/object/"+e.SHA256+"?"+signature)
	w.WriteHeader(http.StatusFound)
}

func (s *Server) preupload(w http.ResponseWriter, r *http.Request, repo *repository, commit string) {
	var in struct {
		Files []struct {
			Path   string
			Size   int
			Sample string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "", err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []map[string]any{}
	for _, f := range in.Files {
		mode := "regular"
		if f.Size >= s.LFSFrom {
			mode = "lfs"
		}
		info := map[string]any{"path": f.Path, "uploadMode": mode, "shouldIgnore": false}
		if e, ok := repo.commits[commit][f.Path]; ok {
			info["oid"] = e.ETag()
		}
		out = append(out, info)
	}
	answer(w, map[string]any{"files": out})
}

func (s *Server) newCommit(w http.ResponseWriter, r *http.Request, repo *repository, name string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tree := maps.Clone(repo.commits[repo.head])
	for line := range bytes.Lines(body) {
		if err := s.operation(tree, repo, line); err != nil {
			refuse(w, http.StatusBadRequest, "", err.Error())
			return
		}
	}
	commit := s.commit(repo, tree)
	answer(w, map[string]any{"success": true, "commitOid": commit, "commitUrl": s.URL + "/" + name + "/commit/" + commit, "hookOutput": ""})
}

// operation applies one line of a commit to the files.
func (s *Server) operation(tree map[string]Entry, repo *repository, line []byte) error {
	var op struct {
		Key   string
		Value struct{ Path, Content, OID, ParentCommit string }
	}
	if err := json.Unmarshal(line, &op); err != nil {
		return err
	}
	switch v := op.Value; op.Key {
	case "header":
		if v.ParentCommit != "" && v.ParentCommit != repo.head {
			return errors.New("the parent commit is not the head")
		}
	case "file":
		data, err := base64.StdEncoding.DecodeString(v.Content)
		if err != nil {
			return err
		}
		tree[v.Path] = newEntry(data, false)
	case "lfsFile":
		data, ok := s.objects[v.OID]
		if !ok {
			return errors.New("a large file was not uploaded: " + v.Path)
		}
		tree[v.Path] = newEntry(data, true)
	case "deletedFile":
		delete(tree, v.Path)
	default:
		return errors.New("unknown operation " + op.Key)
	}
	return nil
}

func (s *Server) batch(w http.ResponseWriter, r *http.Request, _ *repository) {
	var in struct {
		Objects []struct {
			OID  string
			Size int
		}
		Transfers []string
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !authorized(r) {
		refuse(w, http.StatusForbidden, "", "not allowed")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []map[string]any{}
	for _, o := range in.Objects {
		object := map[string]any{"oid": o.OID, "size": o.Size}
		if _, there := s.objects[o.OID]; !there {
			upload := map[string]any{"href": s.Storage + "/upload/" + o.OID + "?" + signature}
			if s.PartSize > 0 && o.Size > s.PartSize && slices.Contains(in.Transfers, "multipart") {
				header := map[string]string{"chunk_size": strconv.Itoa(s.PartSize)}
				for n := 1; (n-1)*s.PartSize < o.Size; n++ {
					header[strconv.Itoa(n)] = fmt.Sprintf("%s/part/%s/%d?%s", s.Storage, o.OID, n, signature)
				}
				upload = map[string]any{"href": s.URL + "/complete/" + o.OID + "?" + signature, "header": header}
			}
			object["actions"] = map[string]any{"upload": upload, "verify": map[string]any{"href": s.URL + "/verify"}}
		}
		out = append(out, object)
	}
	answer(w, map[string]any{"transfer": "basic", "objects": out})
}

func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	var in struct {
		OID  string
		Size int
	}
	err := json.NewDecoder(r.Body).Decode(&in)
	s.mu.Lock()
	defer s.mu.Unlock()
	if data, ok := s.objects[in.OID]; err != nil || !authorized(r) || !ok || len(data) != in.Size {
		refuse(w, http.StatusNotFound, "", "the object is not there")
		return
	}
	answer(w, map[string]any{})
}

func (s *Server) complete(w http.ResponseWriter, r *http.Request) {
	var in struct {
		OID   string
		Parts []struct {
			PartNumber int
			ETag       string
		}
	}
	err := json.NewDecoder(r.Body).Decode(&in)
	s.mu.Lock()
	defer s.mu.Unlock()
	var data []byte
	for i, p := range in.Parts {
		part := s.parts[in.OID][p.PartNumber]
		if p.PartNumber != i+1 || p.ETag != partETag(part) {
			err = errors.New("wrong part")
		}
		data = append(data, part...)
	}
	if err == nil {
		err = s.keep(in.OID, data)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "", err.Error())
		return
	}
	answer(w, map[string]any{})
}

// keep stores an object if it is what its name says.
func (s *Server) keep(oid string, data []byte) error {
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != oid {
		return errors.New("the contents do not match the hash")
	}
	s.objects[oid] = data
	return nil
}

func partETag(data []byte) string {
	sum := md5.Sum(data)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (s *Server) storageRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /object/{sha}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		data, ok := s.objects[r.PathValue("sha")]
		s.mu.Unlock()
		if !ok || r.URL.RawQuery != signature {
			http.Error(w, "<Error><Code>AccessDenied</Code></Error>", http.StatusForbidden)
			return
		}
		w.Header().Set("ETag", `"storage-`+r.PathValue("sha")[:16]+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
	put := func(store func(r *http.Request, data []byte) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			data, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if err := store(r, data); err != nil || r.URL.RawQuery != signature {
				http.Error(w, "refused", http.StatusBadRequest)
				return
			}
			w.Header().Set("ETag", partETag(data))
		}
	}
	mux.HandleFunc("PUT /upload/{sha}", put(func(r *http.Request, data []byte) error { return s.keep(r.PathValue("sha"), data) }))
	mux.HandleFunc("PUT /part/{sha}/{n}", put(func(r *http.Request, data []byte) error {
		n, err := strconv.Atoi(r.PathValue("n"))
		if s.parts[r.PathValue("sha")] == nil {
			s.parts[r.PathValue("sha")] = map[int][]byte{}
		}
		s.parts[r.PathValue("sha")][n] = data
		return err
	}))
	return mux
}
