package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/fault"
)

// Limits on what a server may say about a repository.
const (
	maxPages = 1000
	maxFiles = 200_000
	maxSize  = 1 << 50 // bytes of one file
)

// A File is one file of a repository at a commit.
type File struct {
	Path   string
	Size   int64
	BlobID string // git's id: the sha1 of "blob SIZE\x00" and the contents (of the pointer, for an LFS file)
	SHA256 string // of the contents of an LFS file, else empty

	XetHash string // the file's name in the hub's other storage; kept for other programs

	bad error // why it is refused if it is wanted
}

// etag is the name of the file's blob in the cache.
func (f File) etag() string {
	if f.SHA256 != "" {
		return f.SHA256
	}
	return f.BlobID
}

// commit asks which commit a revision (a branch, a tag or a commit) of a repository is.
func (c *Client) commit(ctx context.Context, repo Repo, revision string) (string, error) {
	var info struct {
		SHA string `json:"sha"`
	}
	where := c.cfg.Endpoint + repo.api() + "/revision/" + url.PathEscape(revision)
	if _, err := c.call(ctx, request{method: http.MethodGet, url: where}, &info); err != nil {
		return "", fmt.Errorf("look up %s: %w", repo, err)
	}
	if !isCommit(info.SHA) {
		return "", fault.Advise(fmt.Errorf("look up %s: the server gave %.60q for a commit", repo, info.SHA), "Is HF_ENDPOINT right?")
	}
	return info.SHA, nil
}

// files lists all files of a repository at a revision. Those that could do harm are marked.
func (c *Client) files(ctx context.Context, repo Repo, revision string) ([]File, error) {
	base, err := url.Parse(c.cfg.Endpoint + repo.api() + "/tree/" + url.PathEscape(revision) + "?recursive=true&expand=false")
	if err != nil {
		return nil, err
	}
	var files []File
	seen := map[string]bool{}
	for next, pages := base, 0; next != nil; pages++ {
		if seen[next.String()] || pages == maxPages {
			return nil, fmt.Errorf("list %s: the server's list of files does not end", repo)
		}
		seen[next.String()] = true
		var page json.RawMessage
		header, err := c.call(ctx, request{method: http.MethodGet, url: next.String()}, &page)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", repo, err)
		}
		found, err := parseTree(page)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", repo, err)
		}
		if files = append(files, found...); len(files) > maxFiles {
			return nil, fmt.Errorf("list %s: more than %d files: refused", repo, maxFiles)
		}
		if next, err = nextPage(base, header); err != nil {
			return nil, fmt.Errorf("list %s: %w", repo, err)
		}
	}
	return files, checkFiles(files)
}

var nextLink = regexp.MustCompile(`<([^<>]*)>\s*;\s*rel="?next"?`)

// nextPage reads the address of the next page from the header Link, which has to stay on the same server.
func nextPage(base *url.URL, header http.Header) (*url.URL, error) {
	m := nextLink.FindStringSubmatch(strings.Join(header.Values("Link"), ", "))
	if m == nil {
		return nil, nil
	}
	next, err := base.Parse(m[1])
	if err != nil {
		return nil, errors.New("the server gave an address of the next page that is none")
	}
	// Behind a proxy the hub names itself by its own address.
	next.Scheme, next.Host = base.Scheme, base.Host
	return next, nil
}

// A treeEntry is what the API's tree says about one file or folder.
type treeEntry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	OID  string `json:"oid"`
	Xet  string `json:"xetHash"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

var sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// parseTree reads one page of the API's tree. Folders are left out.
func parseTree(text []byte) ([]File, error) {
	var entries []treeEntry
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, fmt.Errorf("the list of files is not what a hub answers: %w", err)
	}
	var files []File
	for _, e := range entries {
		if e.Type != "file" {
			continue
		}
		f := File{Path: e.Path, Size: e.Size, BlobID: e.OID}
		if sha256Pattern.MatchString(e.Xet) {
			f.XetHash = e.Xet
		}
		if e.LFS != nil {
			f.SHA256, f.Size = e.LFS.OID, e.LFS.Size
		}
		f.bad = f.check()
		files = append(files, f)
	}
	return files, nil
}

// check finds what could do harm, or what no hub would say of a file.
func (f File) check() error {
	if err := checkName(f.Path); err != nil {
		return err
	}
	switch {
	case f.Size < 0 || f.Size > maxSize:
		return fmt.Errorf("the server says that %s has %d bytes: refused", f.Path, f.Size)
	case !isCommit(f.BlobID):
		return fmt.Errorf("the server gives %.80q for the hash of %s: refused", f.BlobID, f.Path)
	case f.SHA256 != "" && !sha256Pattern.MatchString(f.SHA256):
		return fmt.Errorf("the server gives %.80q for the SHA-256 of %s: refused", f.SHA256, f.Path)
	}
	return nil
}

// checkFiles refuses lists in which a name stands twice, or as a file and as a folder of other files.
func checkFiles(files []File) error {
	names := map[string]bool{}
	for _, f := range files {
		if names[f.Path] {
			return fmt.Errorf("the server lists %s twice: refused", f.Path)
		}
		names[f.Path] = true
	}
	for _, f := range files {
		for i, r := range f.Path {
			if r == '/' && names[f.Path[:i]] {
				return fmt.Errorf("the server lists %s as a file and as a folder: refused", f.Path[:i])
			}
		}
	}
	return nil
}

// A remote is where the contents of a file are, and what the server says about them.
type remote struct {
	url    string
	etag   string // without quotes
	strong bool   // the etag stands for these very bytes
	size   int64  // -1: not said
	commit string
	stored bool // url is an address of the storage behind the hub, which may run out
}

// locate asks for a file of a repository without fetching it. It follows redirects within the hub (renamed
// repositories), but not the one to the storage: the headers of that answer are what is wanted.
func (c *Client) locate(ctx context.Context, repo Repo, revision, file string) (remote, error) {
	at := c.cfg.Endpoint + repo.resolve(revision, file)
	for range maxRedirects {
		resp, err := c.send(ctx, request{method: http.MethodHead, url: at, stay: true})
		if err != nil {
			return remote{}, err
		}
		resp.Body.Close()
		r, err := parseRemote(resp.Header)
		if resp.StatusCode/100 != 3 {
			r.url = at
			return r, err
		}
		target, terr := resp.Request.URL.Parse(resp.Header.Get("Location"))
		if terr != nil {
			return remote{}, lasting("%s: the server redirects to nowhere", file)
		}
		at = target.String()
		if err == nil && resp.Header.Get("X-Linked-Etag") != "" {
			r.url, r.stored = at, true
			return r, nil
		}
	}
	return remote{}, lasting("%s: more than %d redirects", file, maxRedirects)
}

// parseRemote reads the headers that come with a file.
func parseRemote(h http.Header) (remote, error) {
	r := remote{commit: h.Get("X-Repo-Commit"), size: -1}
	etag := h.Get("X-Linked-Etag")
	if etag == "" {
		etag = h.Get("ETag")
	}
	r.strong = strings.HasPrefix(etag, `"`)
	r.etag = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
	size := h.Get("X-Linked-Size")
	if size == "" && h.Get("Location") == "" {
		size = h.Get("Content-Length")
	}
	if size != "" {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil || n < 0 || n > maxSize {
			return r, lasting("the server says that the file has %.40q bytes: refused", size)
		}
		r.size = n
	}
	if !isCommit(r.commit) {
		return r, lasting("the server does not name a commit (X-Repo-Commit)\nIs HF_ENDPOINT right?")
	}
	if err := checkETag(r.etag); err != nil {
		return r, &lastingError{err}
	}
	return r, nil
}
