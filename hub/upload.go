package hub

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
)

const (
	preuploadBatch = 256       // files asked about at a time
	sampleSize     = 512       // bytes of a file that the hub looks at to tell text from data
	maxRegular     = 100 << 20 // bytes of small files in one commit
	commitPatience = 10 * time.Minute
)

// UploadOptions choose what Upload sends.
type UploadOptions struct {
	Folder  string
	Repo    Repo // an ID without ORG/ is the user's own
	Private bool // if the repository has to be made
	Message string
	Include []string // shell patterns; none: all files
	Exclude []string

	// Progress hears how the files come along, if it is not nil. Calls come one at a time.
	Progress func(Progress)
}

// Uploaded is what Upload did.
type Uploaded struct {
	Repo      Repo
	URL       string // page of the repository
	Commit    string // empty if nothing had to change
	Files     []string
	Unchanged []string // were there already
	Ignored   []string // the repository's .gitignore leaves them out
	Sent      int64    // bytes of large files that went over the network
}

// Upload puts all files of the folder into the repository, in one commit. It makes the repository if need be. It does
// not send again what is there with the same contents, nor large files, or parts of them, that were sent before a
// crash. Files of the repository that the folder does not have stay.
func (c *Client) Upload(ctx context.Context, o UploadOptions) (_ Uploaded, err error) {
	defer func() { err = c.withoutToken(err) }()
	if c.cfg.Offline {
		return Uploaded{}, ErrOffline
	}
	if err := c.needToken(); err != nil {
		return Uploaded{}, err
	}
	tally := newTally(o.Progress)
	u := &upload{c: c.telling(tally.notices()), o: o, tally: tally}
	if err := u.list(); err != nil {
		return Uploaded{}, err
	}
	if err := u.create(ctx); err != nil {
		return Uploaded{}, err
	}
	u.state = openState(o.Folder, c.cfg.Endpoint, u.out.Repo)
	for batch := range slices.Chunk(u.files, preuploadBatch) {
		if err := u.ask(ctx, batch); err != nil {
			return Uploaded{}, fmt.Errorf("upload to %s: %w", u.out.Repo, err)
		}
	}
	if err := u.compare(ctx); err != nil {
		return Uploaded{}, err
	}
	if err := u.sendLarge(ctx); err != nil {
		return Uploaded{}, fmt.Errorf("upload to %s: %w", u.out.Repo, err)
	}
	if err := u.commit(ctx); err != nil {
		return Uploaded{}, fmt.Errorf("commit to %s: %w", u.out.Repo, err)
	}
	u.state.remove()
	return u.out, nil
}

// An upload is one call of Upload.
type upload struct {
	c     *Client
	o     UploadOptions
	files []*localFile
	state *uploadState
	tally *tally

	mu  sync.Mutex
	out Uploaded
}

// A localFile is a file of the folder.
type localFile struct {
	name    string // in the repository
	path    string
	size    int64
	changed time.Time

	large  bool
	ignore bool
	theirs string // hash of what the repository has under this name, as the hub writes it
	ours   string // SHA-256 of a large file, git's id of a small one
}

// skipped are folders that never go to a repository, and files that systems leave behind. Unfinished files do not go either.
var skipped = append([]string{".git", ".cache", atomicfile.RecordName}, ignored...)

// list finds the files of the folder.
func (u *upload) list() error {
	f := newFilter(u.o.Include, u.o.Exclude)
	root, err := filepath.EvalSymlinks(u.o.Folder) // a walk does not follow its root
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return err
	}
	var outside []string
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != root && (slices.Contains(skipped, e.Name()) || atomicfile.IsTemporary(e.Name())) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if e.IsDir() || !f.match(name) {
			return nil
		}
		info, err := os.Stat(path) // of what a link leads to: cached snapshots are links
		if err != nil {
			return err
		}
		if to, err := u.leaves(root, path, e); err != nil {
			return err
		} else if to != "" {
			outside = append(outside, name+" -> "+to)
			return nil
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		if err := checkName(name); err != nil {
			return err
		}
		u.files = append(u.files, &localFile{name: name, path: path, size: info.Size(), changed: info.ModTime()})
		u.tally.size += info.Size()
		return nil
	})
	if err == nil && len(outside) > 0 {
		return leavesError(u.o.Folder, outside)
	}
	if err == nil && len(u.files) == 0 {
		err = fmt.Errorf("%s has no files to upload: %w", u.o.Folder, fs.ErrNotExist)
	}
	return err
}

// leaves tells where a link leads to that leaves the folder; "" for what stays in it. The snapshots of the cache are
// made of links to its blobs, which are as good as files.
func (u *upload) leaves(root, path string, e fs.DirEntry) (string, error) {
	if e.Type().IsRegular() {
		return "", nil
	}
	to, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	homes := []string{root}
	if rel, err := filepath.Rel(realPath(u.c.cfg.Cache), root); err == nil && filepath.IsLocal(rel) {
		repo, inside, _ := strings.Cut(filepath.ToSlash(rel), "/")
		if strings.HasPrefix(inside, "snapshots/") {
			cache := realPath(u.c.cfg.Cache)
			homes = append(homes, filepath.Join(cache, repo, "blobs"), filepath.Join(cache, "blobs"))
		}
	}
	for _, home := range homes {
		if rel, err := filepath.Rel(home, to); err == nil && filepath.IsLocal(rel) {
			return "", nil
		}
	}
	return to, nil
}

// realPath is a path without links, as far as there is one.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// leavesError names the links that lead out of a folder, some of them.
func leavesError(folder string, links []string) error {
	const most = 10
	more := ""
	if n := len(links) - most; n > 0 {
		links, more = links[:most], fmt.Sprintf("\n  and %d more", n)
	}
	return fault.Of("%s has links that lead out of it, to files that nobody asked to upload:\n  %s%s", folder, strings.Join(links, "\n  "), more).
		Try("Copy what they lead to into the folder, or leave them out with %v.", fault.Setting("exclude"))
}

// create makes the repository, if there is none yet.
func (u *upload) create(ctx context.Context) error {
	repo, err := u.c.Owned(ctx, u.o.Repo)
	if err != nil {
		return err
	}
	u.out.Repo, u.out.URL = repo, u.c.cfg.Endpoint+repo.site()
	owner, name, _ := strings.Cut(repo.ID, "/")
	body := map[string]any{"name": name, "organization": owner}
	if u.o.Private {
		body["visibility"] = "private"
	}
	if u.o.Repo.Type != Model {
		body["type"] = u.o.Repo.Type
	}
	r, err := post(u.c.cfg.Endpoint+"/api/repos/create", body)
	if err != nil {
		return err
	}
	_, err = u.c.call(ctx, r, nil)
	var status *StatusError
	if !errors.As(err, &status) {
		return err
	}
	switch status.Status {
	case http.StatusConflict:
		return nil
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden:
		// A token that may write to this repository need not be one that may make repositories.
		if _, there := u.c.commit(ctx, u.out.Repo, "main"); there == nil {
			return nil
		}
	}
	return fmt.Errorf("make the repository %s: %w", u.out.Repo, err)
}

// ask asks the hub which files it wants as large ones, which it ignores and which it has.
func (u *upload) ask(ctx context.Context, files []*localFile) error {
	type question struct {
		Path   string `json:"path"`
		Sample string `json:"sample"`
		Size   int64  `json:"size"`
	}
	var questions []question
	byName := map[string]*localFile{}
	for _, f := range files {
		sample, err := f.sample()
		if err != nil {
			return err
		}
		questions = append(questions, question{f.name, base64.StdEncoding.EncodeToString(sample), f.size})
		byName[f.name] = f
	}
	r, err := post(u.c.cfg.Endpoint+u.out.Repo.api()+"/preupload/main", map[string]any{"files": questions})
	if err != nil {
		return err
	}
	var answers struct {
		Files []struct {
			Path   string `json:"path"`
			Mode   string `json:"uploadMode"`
			Ignore bool   `json:"shouldIgnore"`
			OID    string `json:"oid"`
		} `json:"files"`
	}
	if _, err := u.c.call(ctx, r, &answers); err != nil {
		return err
	}
	for _, a := range answers.Files {
		f := byName[a.Path]
		if f == nil || a.Mode != "lfs" && a.Mode != "regular" {
			return fmt.Errorf("the hub's answer about %.100q in mode %.20q is not understood", a.Path, a.Mode)
		}
		// A storage takes no empty files.
		f.large, f.ignore, f.theirs = a.Mode == "lfs" && f.size > 0, a.Ignore, a.OID
		delete(byName, a.Path)
	}
	for name := range byName {
		return fmt.Errorf("the hub did not answer about %s", name)
	}
	return nil
}

func (f *localFile) sample() ([]byte, error) {
	in, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(io.LimitReader(in, sampleSize))
}

// compare hashes the files and leaves out those that are ignored or there already.
func (u *upload) compare(ctx context.Context) error {
	var left []*localFile
	for _, f := range u.files {
		if f.ignore {
			u.out.Ignored = append(u.out.Ignored, f.name)
			u.tally.size -= f.size
			continue
		}
		if err := u.hash(ctx, f); err != nil {
			return err
		}
		if f.ours == f.theirs {
			u.out.Unchanged = append(u.out.Unchanged, f.name)
			u.finished(f)
			continue
		}
		left = append(left, f)
		u.out.Files = append(u.out.Files, f.name)
	}
	u.files = left
	return nil
}

func (u *upload) hash(ctx context.Context, f *localFile) error {
	if f.large {
		if f.ours = u.state.sum(f); f.ours != "" {
			return nil
		}
	}
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer in.Close()
	as := File{Size: f.size}
	if f.large {
		as.SHA256 = "wanted"
	}
	sum := as.newHash()
	n, err := io.Copy(sum, &untilDone{ctx, in})
	if err != nil {
		return err
	}
	if n != f.size {
		return f.changedError()
	}
	f.ours = hex.EncodeToString(sum.Sum(nil))
	if f.large {
		u.state.setSum(f)
	}
	return nil
}

func (f *localFile) changedError() error {
	return fault.Advise(fmt.Errorf("%s has changed during the upload", f.path), "Run the command again when nothing writes to it.")
}

// commit makes one commit of all files.
func (u *upload) commit(ctx context.Context) error {
	if len(u.files) == 0 {
		return nil
	}
	message := u.o.Message
	if message == "" {
		message = "Upload with lentil"
	}
	var body bytes.Buffer
	out := json.NewEncoder(&body)
	out.SetEscapeHTML(false)
	line := func(key string, value any) {
		out.Encode(map[string]any{"key": key, "value": value}) // into memory: cannot fail
	}
	line("header", map[string]string{"summary": message, "description": ""})
	for _, f := range u.files {
		if info, err := os.Stat(f.path); err != nil || info.Size() != f.size || !info.ModTime().Equal(f.changed) {
			return f.changedError()
		}
		if f.large {
			line("lfsFile", map[string]any{"path": f.name, "algo": "sha256", "oid": f.ours, "size": f.size})
			continue
		}
		data, err := os.ReadFile(f.path)
		if err != nil {
			return err
		}
		line("file", map[string]string{"path": f.name, "encoding": "base64", "content": base64.StdEncoding.EncodeToString(data)})
		if body.Len() > 2*maxRegular {
			return fault.Of("the small files are more than %d MB together, too much for one commit", maxRegular>>20).
				Try("Upload them in groups with %v.", fault.Setting("include"))
		}
	}
	r := bytesRequest(http.MethodPost, u.c.cfg.Endpoint+u.out.Repo.api()+"/commit/"+url.PathEscape("main"), body.Bytes(), "application/x-ndjson")
	r.patience = commitPatience
	var answer struct {
		Commit string `json:"commitOid"`
	}
	if _, err := u.c.call(ctx, r, &answer); err != nil {
		return err
	}
	if !isCommit(answer.Commit) {
		return fmt.Errorf("the hub's answer names no commit")
	}
	u.out.Commit = answer.Commit
	for _, f := range u.files {
		if !f.large {
			u.finished(f)
		}
	}
	return nil
}

func (u *upload) tell(p Progress) { u.tally.tell(p) }
