package hub

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// A localDir is a folder that holds the files of a repository themselves. What it knows about them is kept in
// .cache/huggingface below it, as huggingface_hub does:
//
//	.cache/huggingface/download/<file>.metadata    three lines: commit, etag, time in seconds
//	.cache/huggingface/download/<file>.lock
//	.cache/huggingface/download/<hash>.<etag>.incomplete
//	.cache/huggingface/trees/<commit>.json
type localDir struct{ root, meta string }

func openLocalDir(path string) (*localDir, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	meta, err := realFolder(root, ".cache/huggingface")
	if err != nil {
		return nil, err
	}
	ignore := filepath.Join(meta, ".gitignore")
	if _, err := os.Lstat(ignore); errors.Is(err, fs.ErrNotExist) {
		if err := atomicfile.Write(ignore, []byte("*")); err != nil {
			return nil, err
		}
	}
	return &localDir{root, meta}, nil
}

// check refuses names under which a file could do harm here: git runs what is in its folder, a file that looks like
// the journal of an unfinished write would be acted on, and records would tell of files what is not so.
func (l *localDir) check(name string) error {
	bad := func(why string) error {
		return fault.Advise(fmt.Errorf("the repository has a file named %q, %s: refused", name, why), "Leave it out with %v.", fault.Setting("exclude"))
	}
	parts := strings.Split(name, "/")
	for _, part := range parts {
		switch {
		case strings.EqualFold(part, ".git"):
			return bad("which would go into a folder of git's")
		case atomicfile.IsTemporary(strings.ToLower(part)):
			return bad("a name that Lentil has for unfinished files")
		case strings.EqualFold(part, atomicfile.RecordName):
			return bad("a name that Lentil has for its record of a folder")
		}
	}
	if strings.EqualFold(parts[0], ".cache") && (len(parts) == 1 || strings.EqualFold(parts[1], "huggingface")) {
		return bad("which would go among the records that are kept of the folder's files")
	}
	return nil
}

// file makes sure that one file is there, in the state of the commit.
func (l *localDir) file(ctx context.Context, d *download, f File) (fetched int64, err error) {
	rel := filepath.FromSlash(f.Path)
	if _, err := realFolder(l.root, filepath.Dir(rel)); err != nil {
		return 0, err
	}
	if _, err := realFolder(l.meta, filepath.Join("download", filepath.Dir(rel))); err != nil {
		return 0, err
	}
	final, side := filepath.Join(l.root, rel), filepath.Join(l.meta, "download", rel)
	unlock, err := lock(ctx, side+".lock", func() { d.tell(Progress{File: f.Path, Size: f.Size, Waiting: true}) })
	if err != nil {
		return 0, err
	}
	defer unlock()
	current := l.current(final, side, f)
	if !current && !d.o.Overwrite && !l.own(final, side) {
		return 0, fault.At("local_dir", "%s is there already, and not as it was downloaded", final).
			Try("Move it away, give another folder, or %v to replace it.", fault.Setting("overwrite"))
	}
	if info, err := os.Lstat(final); err == nil && !info.Mode().IsRegular() {
		// Neither through a symbolic link nor over a folder.
		if err := os.Remove(final); err != nil {
			return 0, err
		}
	}
	if !current {
		sum := sha1.Sum([]byte(filepath.Base(rel) + ".metadata"))
		name := base64.URLEncoding.EncodeToString(sum[:]) + "." + f.etag() + ".incomplete"
		if fetched, err = d.fetch(ctx, f, filepath.Join(filepath.Dir(side), name), final); err != nil {
			return fetched, err
		}
	}
	text := d.snap.Commit + "\n" + f.etag() + "\n" + now() + "\n"
	return fetched, unfinishedIn(l.meta).Write(side+".metadata", []byte(text))
}

// current tells whether the file is what the commit has: by the metadata if the file was not touched since,
// else by its hash.
func (l *localDir) current(final, side string, f File) bool {
	info, err := os.Lstat(final)
	if err != nil || !info.Mode().IsRegular() || info.Size() != f.Size {
		return false
	}
	if etag, ok := downloaded(info, side); ok && etag == f.etag() {
		return true
	}
	in, err := os.Open(final)
	if err != nil {
		return false
	}
	defer in.Close()
	sum := f.newHash()
	_, err = io.Copy(sum, in)
	return err == nil && hex.EncodeToString(sum.Sum(nil)) == f.hash()
}

// own tells whether nothing is lost with what has the name of a file: there is nothing, or what was downloaded, of
// whichever commit, and not touched since.
func (l *localDir) own(final, side string) bool {
	info, err := os.Lstat(final)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	_, ok := downloaded(info, side)
	return ok && info.Mode().IsRegular()
}

// downloaded gives the etag that a file was downloaded with, if it was, and was not touched since.
func downloaded(info fs.FileInfo, side string) (etag string, ok bool) {
	text, err := smallfile.Read(side+".metadata", 1024)
	lines := strings.Split(string(text), "\n")
	if err != nil || len(lines) < 3 {
		return "", false
	}
	at, err := strconv.ParseFloat(strings.TrimSpace(lines[2]), 64)
	return strings.TrimSpace(lines[1]), err == nil && float64(info.ModTime().UnixMicro())/1e6-1 <= at
}
