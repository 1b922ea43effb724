package hub

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
)

// A Ref is what a name of the hub refers to: a repository, maybe one revision of it, and maybe a file or folder in that.
type Ref struct {
	Repo     Repo
	Revision string // branch, tag or commit; "" for the main branch
	Path     string // of a file or folder, with slashes; "" for the whole
	Folder   bool   // Path is that of a folder
}

// hosts are those of the hub, beside that of HF_ENDPOINT.
var hosts = []string{"huggingface.co", "www.huggingface.co", "hf.co"}

// ParseRef reads a name like ORG/NAME or ORG/NAME@REVISION, or an address as it is copied from a browser or another tool:
// https://huggingface.co/datasets/ORG/NAME, .../tree/REVISION/FOLDER, .../resolve/REVISION/FILE, hf.co/ORG/NAME,
// hf://ORG/NAME@REVISION/FILE. The type is typ where the name does not say it.
func ParseRef(text string, typ RepoType) (Ref, error) {
	rest, short := strings.CutPrefix(text, "hf://")
	if !short && !isAddress(text) {
		id, revision, _ := strings.Cut(text, "@")
		repo, err := parseRepo(id, typ)
		return Ref{Repo: repo, Revision: revision}, err
	}
	ref, err := parsePath(rest, short, typ)
	if err != nil {
		return Ref{}, fault.Of("%.300q: %w", text, err).Try("Give ORG/NAME, or an address like %s/ORG/NAME.", defaultEndpoint)
	}
	return ref, nil
}

// isAddress tells addresses of the web, and names that begin with a host of the hub, from other names.
func isAddress(name string) bool {
	if strings.Contains(name, "://") {
		return true
	}
	host, _, slash := strings.Cut(name, "/")
	return slash && isHost(host)
}

func isHost(host string) bool {
	host = strings.ToLower(host)
	if slices.Contains(hosts, host) {
		return true
	}
	endpoint, err := url.Parse(os.Getenv("HF_ENDPOINT"))
	return err == nil && host != "" && host == strings.ToLower(endpoint.Host)
}

// parsePath reads an address. A short one, from behind hf://, has its revision behind the repository's name.
func parsePath(address string, short bool, typ RepoType) (Ref, error) {
	path := address
	if !short {
		u, err := webAddress(address)
		if err != nil {
			return Ref{}, err
		}
		path = u.EscapedPath()
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, part := range parts {
		plain, err := url.PathUnescape(part)
		if err != nil {
			return Ref{}, fmt.Errorf("%q cannot be a part of an address", part)
		}
		parts[i] = plain
	}
	for _, t := range []RepoType{Model, Dataset, Space} {
		if len(parts) > 1 && parts[0] == string(t)+"s" {
			typ, parts = t, parts[1:]
			break
		}
	}
	id, rest := parts[0], parts[1:]
	if len(rest) > 0 && !slices.Contains(views, rest[0]) && !strings.Contains(id, "@") { // a few old ones are NAME alone
		id, rest = id+"/"+rest[0], rest[1:]
	}
	var ref Ref
	if short {
		id, ref.Revision, _ = strings.Cut(id, "@")
	} else {
		rest = ref.takeView(rest)
	}
	var err error
	if ref.Repo, err = parseRepo(id, typ); err != nil {
		return Ref{}, err
	}
	if ref.Path = strings.Join(rest, "/"); ref.Path != "" {
		err = checkName(ref.Path)
	}
	return ref, err
}

// webAddress reads an address of the hub on the web. https:// may be missing.
func webAddress(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("this is no address of the web")
	}
	if !isHost(u.Host) {
		return nil, fmt.Errorf("%s is not the hub: models and datasets come from %s, or the server that HF_ENDPOINT names", u.Host, defaultEndpoint)
	}
	return u, nil
}

// views are the words behind a repository's name on the site, which show what follows them: a revision, and a path in it.
var views = []string{"tree", "blob", "resolve", "raw", "edit", "blame", "commit", "commits", "discussions", "settings", "viewer"}

// takeView takes the revision from the parts of an address behind the repository's name and returns those of the path.
func (r *Ref) takeView(parts []string) (path []string) {
	if len(parts) < 2 {
		return nil
	}
	view, parts := parts[0], parts[1:]
	switch view {
	case "tree", "blob", "resolve", "raw", "edit", "blame", "commit":
	default:
		return nil // a page about the repository
	}
	n := 1
	if parts[0] == "refs" && len(parts) > 2 { // refs/pr/1
		n = 3
	}
	r.Revision, r.Folder = strings.Join(parts[:n], "/"), view == "tree" && len(parts) > n
	return parts[n:]
}

// within narrows patterns of files to those in the folder that r refers to, or to the file.
func (r Ref) within(patterns []string) []string {
	switch {
	case r.Path == "":
		return patterns
	case r.Folder:
		return []string{Exactly(r.Path) + "/"}
	}
	return []string{Exactly(r.Path)}
}
