package hub

import (
	"encoding/json"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// storagePatience is how long a storage may take to say that it has all bytes.
const storagePatience = time.Minute

// stateName is where in an uploaded folder its state lies.
const stateName = ".cache/huggingface/lentil-upload.json"

// IsUploadState tells whether a file or folder, by its slash-separated name and its type, holds the state of uploads.
func IsUploadState(name string, typ fs.FileMode) bool {
	folder := path.Dir(stateName)
	if typ.IsDir() {
		return name == folder || name == path.Dir(folder)
	}
	unfinished, _ := path.Match(folder+"/."+path.Base(stateName)+".*.tmp", name) // well-formed
	return typ.IsRegular() && (unfinished || name == stateName)
}

// An uploadState lets the same command go on after a crash. It keeps the hashes of large files, which take long, and
// the parts that the storage has. It lies in .cache/huggingface of the folder, which is never uploaded. If the folder
// cannot be written to, nothing is kept.
type uploadState struct {
	path string // empty: not kept
	mu   sync.Mutex
	data stateFile
}

type stateFile struct {
	Endpoint string                `json:"endpoint"`
	Repo     string                `json:"repo"`
	Sums     map[string]sumState   `json:"sums"`  // by path in the folder
	Parts    map[string]partsState `json:"parts"` // by SHA-256
}

// A sumState is the hash of a file as long as its size and time are these.
type sumState struct {
	Size    int64     `json:"size"`
	Changed time.Time `json:"changed"`
	SHA256  string    `json:"sha256"`
}

// A partsState is an upload in parts that has begun. Its addresses are good for some hours.
type partsState struct {
	Action *lfsAction        `json:"action"`
	ETags  map[string]string `json:"etags"` // by number of the part
}

// maxState is how long the file of a state may be.
const maxState = 64 << 20

// openState reads the state of an earlier upload of the folder to the same repository, or begins a new one.
func openState(folder, endpoint string, repo Repo) *uploadState {
	s := &uploadState{data: stateFile{endpoint, repo.String(), map[string]sumState{}, map[string]partsState{}}}
	meta, err := realFolder(folder, path.Dir(stateName))
	if err != nil {
		return s
	}
	s.path = filepath.Join(meta, path.Base(stateName))
	text, err := smallfile.Read(s.path, maxState)
	var old stateFile
	if err != nil || json.Unmarshal(text, &old) != nil {
		return s
	}
	if old.Sums != nil {
		s.data.Sums = old.Sums
	}
	if old.Endpoint == endpoint && old.Repo == repo.String() && old.Parts != nil {
		s.data.Parts = old.Parts
	}
	return s
}

// save writes the state for its owner's eyes only, as the addresses in it are as good as a password. A failure
// costs no more than a slower restart.
func (s *uploadState) save() {
	if s.path == "" {
		return
	}
	if text, err := json.Marshal(s.data); err == nil {
		_ = atomicfile.Options{Perm: 0o600, ReplaceLink: true}.Write(s.path, text)
	}
}

// remove forgets the parts and keeps the hashes.
func (s *uploadState) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.data.Parts) > 0 {
		s.data.Parts = map[string]partsState{}
		s.save()
	}
}

func (s *uploadState) sum(f *localFile) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.data.Sums[f.name]; k.Size == f.size && k.Changed.Equal(f.changed) && sha256Pattern.MatchString(k.SHA256) {
		return k.SHA256
	}
	return ""
}

func (s *uploadState) setSum(f *localFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.Sums[f.name] = sumState{f.size, f.changed, f.ours}
	s.save()
}

func (s *uploadState) parts(sum string) (partsState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.data.Parts[sum]
	return partsState{p.Action, maps.Clone(p.ETags)}, ok && p.Action != nil
}

func (s *uploadState) newParts(sum string, action *lfsAction) partsState {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := partsState{action, map[string]string{}}
	s.data.Parts[sum] = p
	s.save()
	return partsState{action, nil}
}

func (s *uploadState) setPart(sum, number, etag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.data.Parts[sum]; p.ETags != nil {
		p.ETags[number] = etag
	}
	s.save()
}
