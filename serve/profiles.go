package serve

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/profile"
)

// A Profile is a file of package profile that a server answers by, or a folder of such files, which is watched.
// MODEL@ID is a model that is told the profile, and whose answers are held to it.
type Profile struct {
	ID   string // "" is taken from the file
	Path string
}

// profiles are those that can be asked for. Files are read when they are asked for: they are small, and may change.
type profiles struct {
	sources []Profile
	own     string // folder of those that were made in the page; "" for none
}

// profileExtensions are of files in folders.
var profileExtensions = []string{".yaml", ".yml", ".json"}

// newProfiles reads all files once, so that a mistake in one is told when the server begins.
func newProfiles(sources []Profile, data string) (*profiles, error) {
	p := &profiles{sources: sources}
	if data != "" {
		p.own = filepath.Join(data, "profiles")
	}
	seen := map[string]string{}
	for _, source := range sources {
		if source.ID != "" {
			if err := profile.CheckID(source.ID); err != nil {
				return nil, fault.At("profile", "%w", err).Try("Give it another: NAME=%s", source.Path)
			}
		}
		files, err := source.files()
		if err != nil {
			return nil, fault.At("profile", "%w", err)
		}
		if len(files) == 0 {
			return nil, fault.Given("profile", source.Path, "there is no .yaml or .json file in this folder")
		}
		for _, file := range files {
			read, err := profile.Read(file)
			if err != nil {
				return nil, fault.At("profile", "%w", err)
			}
			id := source.id(read)
			if seen[id] != "" {
				return nil, fault.At("profile", "%s and %s both have the id %s", seen[id], file, id).Try("Give one of them another: NAME=%s", file)
			}
			seen[id] = file
		}
	}
	return p, nil
}

func (s Profile) id(p *profile.Profile) string {
	if s.ID != "" {
		return s.ID
	}
	return p.ID
}

// files are the file, or those in the folder.
func (s Profile) files() (out []string, err error) {
	info, err := os.Stat(s.Path)
	if err != nil || !info.IsDir() {
		return []string{s.Path}, err
	}
	entries, err := os.ReadDir(s.Path)
	for _, e := range entries {
		if slices.Contains(profileExtensions, strings.ToLower(filepath.Ext(e.Name()))) {
			out = append(out, filepath.Join(s.Path, e.Name()))
		}
	}
	return out, err
}

// A namedProfile is a profile under the id that it is asked for by.
type namedProfile struct {
	*profile.Profile
	own bool // it was made in the page, which may change it
}

// all reads all profiles. A file that cannot be read at this moment is left out.
func (p *profiles) all() (out []namedProfile) {
	for i, source := range append(slices.Clone(p.sources), Profile{Path: p.own}) {
		if source.Path == "" {
			continue
		}
		files, _ := source.files()
		for _, file := range files {
			read, err := profile.Read(file)
			if err != nil {
				continue
			}
			read.ID = source.id(read)
			if !slices.ContainsFunc(out, func(o namedProfile) bool { return o.ID == read.ID }) {
				out = append(out, namedProfile{read, i == len(p.sources)})
			}
		}
	}
	return out
}

// of cuts the profile off the id of a model; nil where it names none.
func (p *profiles) of(model string) (string, *profile.Profile) {
	at := strings.LastIndexByte(model, '@')
	if at < 0 {
		return model, nil
	}
	id := strings.TrimSuffix(model[at+1:], ":latest") // Ollama's clients add it
	for _, found := range p.all() {
		if found.ID == id {
			return model[:at], found.Profile
		}
	}
	return model, nil
}

// listProfiles tells the page's editor what there is.
func (s *Server) listProfiles(*http.Request) (any, error) {
	list := []any{}
	for _, p := range s.models.profiles.all() {
		list = append(list, map[string]any{"profile": p.Profile, "own": p.own, "text": p.Render()})
	}
	return map[string]any{"profiles": list, "allergens": profile.Allergens, "diets": profile.Diets, "notice": profile.NoAdvice}, nil
}

// putProfile keeps a profile of the page's editor.
func (s *Server) putProfile(r *http.Request) (any, error) {
	data, err := io.ReadAll(io.LimitReader(r.Body, profile.MaxBytes+1))
	if err != nil {
		return nil, badField("", "the profile did not come whole: %v", err)
	}
	p, err := profile.Parse("profile", data)
	if err != nil {
		return nil, badField("profile", "%s", fault.Text(err, fieldOf))
	}
	id := r.PathValue("id")
	switch old := s.models.profiles.find(id); {
	case p.ID != id:
		return nil, badField("id", "id: found %q, expected %q, as in the address", p.ID, id)
	case old != nil && !old.own:
		return nil, badField("id", "id: %q is a file of the server's, which the page does not change: take another name", id)
	}
	path := s.models.profiles.path(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := (atomicfile.Options{Perm: 0o600}).Write(path, append(text, '\n')); err != nil {
		return nil, err
	}
	return map[string]any{"profile": p, "own": true, "text": p.Render()}, nil
}

func (s *Server) deleteProfile(r *http.Request) (any, error) {
	id := r.PathValue("id")
	if p := s.models.profiles.find(id); p == nil || !p.own {
		return nil, badField("id", "id: the page has no profile %q", id)
	}
	if err := os.Remove(s.models.profiles.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return map[string]any{}, nil
}

func (p *profiles) find(id string) *namedProfile {
	for _, found := range p.all() {
		if found.ID == id {
			return &found
		}
	}
	return nil
}

// path is the file of a profile of the page's. Ids of profiles are names of files.
func (p *profiles) path(id string) string { return filepath.Join(p.own, id+".json") }
