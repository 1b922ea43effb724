package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// A store is one repository's place in the cache.
type store struct {
	cache string
	repo  Repo
}

func (s store) dir() string { return filepath.Join(s.cache, s.repo.folder()) }

func (s store) blob(etag string) string { return filepath.Join(s.dir(), "blobs", etag) }

func (s store) lock(etag string) string {
	return filepath.Join(s.cache, ".locks", s.repo.folder(), etag+".lock")
}

func (s store) snapshot(commit string) string { return filepath.Join(s.dir(), "snapshots", commit) }

func (s store) pointer(commit, file string) string {
	return filepath.Join(s.snapshot(commit), filepath.FromSlash(file))
}

// ref gives the commit that a revision stood for when it was last looked up; "" if that is not known.
func (s store) ref(revision string) string {
	if isCommit(revision) {
		return revision
	}
	text, err := smallfile.Read(filepath.Join(s.dir(), "refs", filepath.FromSlash(revision)), 64)
	if commit := strings.TrimSpace(string(text)); err == nil && isCommit(commit) {
		return commit
	}
	return ""
}

// setRef writes down which commit a branch or tag stands for.
func (s store) setRef(revision, commit string) error {
	if isCommit(revision) || s.ref(revision) == commit {
		return nil
	}
	return s.write("refs/"+revision, []byte(commit))
}

// setMissing writes down that a commit has no such file, which saves others from asking.
func (s store) setMissing(commit, file string) error {
	if _, err := os.Lstat(filepath.Join(s.dir(), ".no_exist", commit, filepath.FromSlash(file))); err == nil {
		return nil
	}
	return s.write(".no_exist/"+commit+"/"+file, nil)
}

// write puts a small file into the repository's folder, whole or not at all.
func (s store) write(rel string, data []byte) error {
	rel = filepath.FromSlash(rel)
	folder, err := realFolder(s.dir(), filepath.Dir(rel))
	if err != nil {
		return err
	}
	return unfinishedIn(s.dir()).Write(filepath.Join(folder, filepath.Base(rel)), data)
}

// The tree file of huggingface_hub 1.x and later: the files of a commit.
type treeFile struct {
	Version int                  `json:"format_version"`
	Files   map[string]treeValue `json:"files"`
}

type treeValue struct {
	Size    int64  `json:"size"`
	BlobID  string `json:"blob_id"`
	SHA256  string `json:"lfs_sha256,omitempty"`
	LFSSize int64  `json:"lfs_size,omitempty"`
	XetHash string `json:"xet_hash,omitempty"`
}

const treeVersion = 1

// maxTree is how long a tree file may be.
const maxTree = 256 << 20

// readTree reads the list of a commit's files, in order of their names; false if it is not there or not usable.
func readTree(folder, commit string) ([]File, bool) {
	text, err := smallfile.Read(filepath.Join(folder, "trees", commit+".json"), maxTree)
	if err != nil {
		return nil, false
	}
	files, err := parseTreeFile(text)
	return files, err == nil
}

func parseTreeFile(text []byte) ([]File, error) {
	var t treeFile
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, err
	}
	if t.Version != treeVersion {
		return nil, fmt.Errorf("tree file of version %d", t.Version)
	}
	var files []File
	for _, path := range sortedKeys(t.Files) {
		v := t.Files[path]
		f := File{Path: path, Size: v.Size, BlobID: v.BlobID, SHA256: v.SHA256, XetHash: v.XetHash}
		if v.SHA256 != "" {
			f.Size = v.LFSSize
		}
		f.bad = f.check()
		files = append(files, f)
	}
	return files, checkFiles(files)
}

func treeText(files []File) ([]byte, error) {
	t := treeFile{treeVersion, map[string]treeValue{}}
	for _, f := range files {
		v := treeValue{Size: f.Size, BlobID: f.BlobID, SHA256: f.SHA256, XetHash: f.XetHash}
		if f.SHA256 != "" {
			v.LFSSize = f.Size
		}
		t.Files[f.Path] = v
	}
	return json.MarshalIndent(t, "", " ")
}

// link makes the snapshot's file a relative symbolic link to the blob. Where there are no symbolic links, the
// file is a copy, or the blob itself if it is new.
func (s store) link(commit, file, etag string, fresh, noSymlinks bool) error {
	rel := filepath.Join("snapshots", commit, filepath.FromSlash(file))
	folder, err := realFolder(s.dir(), filepath.Dir(rel))
	if err != nil {
		return err
	}
	pointer, blob := filepath.Join(s.dir(), rel), s.blob(etag)
	if !noSymlinks {
		target, err := filepath.Rel(folder, blob)
		if err != nil {
			return err
		}
		err = unfinishedIn(s.dir()).Symlink(target, pointer)
		if err == nil || errors.Is(err, fs.ErrPermission) && !canWrite(folder) {
			return err
		}
	}
	if fresh {
		return atomicfile.Rename(blob, pointer)
	}
	return copyFile(blob, pointer, unfinishedIn(s.dir()))
}
