package hub

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
)

// A RepoType is a kind of repository.
type RepoType string

const (
	Model   RepoType = "model"
	Dataset RepoType = "dataset"
	Space   RepoType = "space"
)

// A Repo names a repository.
type Repo struct {
	Type RepoType
	ID   string // "ORG/NAME", or just "NAME" for a few old ones
}

func (r Repo) String() string {
	if r.Type == Model {
		return r.ID
	}
	return string(r.Type) + "s/" + r.ID
}

// namePattern is what one half of a repository's id may look like.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?$`)

// parseRepo reads "ORG/NAME", "datasets/ORG/NAME" or "spaces/ORG/NAME"; without such a beginning the type is typ.
func parseRepo(text string, typ RepoType) (Repo, error) {
	id := text
	for _, t := range []RepoType{Model, Dataset, Space} {
		// "datasets/NAME" is the model NAME of an organisation "datasets", as far as its form goes.
		if rest, ok := strings.CutPrefix(text, string(t)+"s/"); ok && strings.Contains(rest, "/") {
			typ, id = t, rest
		}
	}
	halves := strings.Split(id, "/")
	ok := len(halves) <= 2 && !strings.Contains(id, "--") && !strings.Contains(id, "..") && !strings.HasSuffix(id, ".git")
	for _, half := range halves {
		ok = ok && namePattern.MatchString(half)
	}
	if !ok {
		return Repo{}, fmt.Errorf("%q is not the name of a repository: it has to look like ORG/NAME, of letters, digits, '-', '_' and '.', at most 96 each", text)
	}
	return Repo{typ, id}, nil
}

// LooksLikeRepo tells a name like ORG/NAME, or an address, from a path, where nothing is there under this name.
func LooksLikeRepo(name string) bool {
	return isAddress(name) || strings.Count(name, "/") == 1 && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "/") &&
		!strings.HasSuffix(name, "/") && path.Ext(name) != ".gguf" && path.Ext(name) != ".safetensors"
}

// RepoOf returns the repository that a model's name, such as ORG/NAME@REVISION, belongs to. It returns "" for a model
// on this machine, whose path means nothing to others.
func RepoOf(name string) string {
	_, here := os.Stat(name)
	ref, wrong := ParseRef(name, Model)
	if here == nil || wrong != nil || ref.Repo.Type != Model || !LooksLikeRepo(name) {
		return ""
	}
	return ref.Repo.ID
}

// folder is the repository's name in the cache.
func (r Repo) folder() string {
	return string(r.Type) + "s--" + strings.ReplaceAll(r.ID, "/", "--")
}

// repoOfFolder is the reverse of folder.
func repoOfFolder(name string) (Repo, bool) {
	prefix, rest, found := strings.Cut(name, "--")
	id := strings.ReplaceAll(rest, "--", "/")
	switch prefix {
	case "models", "datasets", "spaces", "kernels":
		return Repo{RepoType(strings.TrimSuffix(prefix, "s")), id}, found && id != ""
	}
	return Repo{}, false
}

// api is the path of the repository in the API, such as "/api/models/ORG/NAME".
func (r Repo) api() string { return "/api/" + string(r.Type) + "s/" + r.ID }

// site is the path of the repository on the site: "/ORG/NAME", "/datasets/ORG/NAME".
func (r Repo) site() string {
	if r.Type == Model {
		return "/" + r.ID
	}
	return "/" + string(r.Type) + "s/" + r.ID
}

// resolve is the path of a file's contents.
func (r Repo) resolve(revision, file string) string {
	parts := strings.Split(file, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return r.site() + "/resolve/" + url.PathEscape(revision) + "/" + strings.Join(parts, "/")
}

var commitPattern = regexp.MustCompile(`^[0-9a-f]{40}$`)

// isCommit tells the full hash of a commit from the name of a branch or tag.
func isCommit(revision string) bool { return commitPattern.MatchString(revision) }
