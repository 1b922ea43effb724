package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/fault"
)

const (
	filesAtOnce = 4
	connections = 8 // open at a time, over all files
)

// Options choose what Download fetches, and where to.
type Options struct {
	Revision string   // branch, tag or commit; empty: main
	Include  []string // shell patterns, in which '*' matches slashes too; none: all files
	Exclude  []string
	LocalDir string // put the files here instead of into the cache
	// Overwrite replaces files in LocalDir that were not downloaded there, or were changed since.
	Overwrite bool

	// Progress hears how the files come along, if it is not nil. Calls come one at a time.
	Progress func(Progress)
}

// A Snapshot is a set of files of one commit on the disk.
type Snapshot struct {
	Repo    Repo
	Commit  string
	Dir     string
	Path    string // from Resolve: Dir, or the file or folder in it that the name refers to
	Files   []string
	Bytes   int64 // of all files together
	Fetched int64 // that came over the network

	// Unchecked is why the server could not be asked whether this is the newest commit; nil if it could.
	Unchecked error
}

// Warning tells that an older copy may be in use, because the server could not be asked; "" if it could, or was not to be.
func (s Snapshot) Warning() string {
	if s.Unchecked == nil || errors.Is(s.Unchecked, ErrOffline) {
		return ""
	}
	return fmt.Sprintf("The hub cannot be asked for a newer version of %s, so the cached one is used: %v", s.Repo, s.Unchecked)
}

// Download brings files of a repository into the cache, or into a folder, and returns the folder they are in. It
// fetches only what is not there, and goes on where an earlier download stopped. Files get their names only when they
// are complete and their hashes are right. Processes that want the same file share the work. If the server cannot be
// reached, all wanted files in the cache are enough.
func (c *Client) Download(ctx context.Context, repo Repo, o Options) (_ Snapshot, err error) {
	defer func() { err = c.withoutToken(err) }()
	if o.Revision == "" {
		o.Revision = "main"
	}
	if err := checkRevision(o.Revision); err != nil {
		return Snapshot{}, err
	}
	d := c.newDownload(repo, o)
	for tries := d.lookUpTries(); ; tries = lookUpTries {
		err := d.begin(ctx, tries)
		if err == nil {
			break
		}
		if !unreachable(err) || ctx.Err() != nil {
			return Snapshot{}, err
		}
		snap, missing := d.fromCache(err)
		if missing == nil && d.listed || c.cfg.Offline || tries == lookUpTries {
			return snap, missing
		}
		d = c.newDownload(repo, o) // the cache does not do: once more, with patience
	}
	if err := d.files(ctx); err != nil {
		return Snapshot{}, err
	}
	return d.snap, d.finish()
}

// begin finds out which files there are, and which of them are wanted.
func (d *download) begin(ctx context.Context, tries int) error {
	files, err := d.look(ctx, tries)
	if err == nil {
		err = d.choose(files)
	}
	return err
}

// A Listing is the files of one commit.
type Listing struct {
	Commit    string
	Files     []File
	Unchecked error // as in Snapshot
}

// List returns the files of a repository at a branch, tag or commit (empty: main) without fetching any. If the server
// cannot be reached, it lists the commit in the cache, as far as the cache knows its files.
func (c *Client) List(ctx context.Context, repo Repo, revision string) (l Listing, err error) {
	defer func() { err = c.withoutToken(err) }()
	if revision == "" {
		revision = "main"
	}
	if err := checkRevision(revision); err != nil {
		return Listing{}, err
	}
	d := c.newDownload(repo, Options{Revision: revision})
	files, err := d.look(ctx, d.lookUpTries())
	if err == nil || !unreachable(err) || ctx.Err() != nil {
		return Listing{Commit: d.snap.Commit, Files: files}, err
	}
	if err := d.cachedCommit(err); err != nil {
		return Listing{}, err
	}
	l = Listing{Commit: d.snap.Commit, Unchecked: d.snap.Unchecked}
	var ok bool
	if l.Files, ok = readTree(d.store.dir(), l.Commit); ok {
		return l, nil
	}
	if err := d.listSnapshot(); err != nil {
		return Listing{}, err
	}
	for _, name := range d.snap.Files {
		l.Files = append(l.Files, File{Path: name})
	}
	return l, nil
}

// A download is one call of Download.
type download struct {
	c     *Client
	repo  Repo
	o     Options
	store store
	local *localDir // nil: into the cache
	slots chan struct{}
	tally *tally

	listed bool // it is known which files there are
	wanted []File
	absent []string // names asked for that the commit does not have

	mu   sync.Mutex
	snap Snapshot
}

func (c *Client) newDownload(repo Repo, o Options) *download {
	tally := newTally(o.Progress)
	d := &download{c: c.telling(tally.notices()), repo: repo, o: o, store: store{c.cfg.Cache, repo}, slots: make(chan struct{}, connections), tally: tally}
	d.snap.Repo = repo
	return d
}

// lookUpTries is how often to ask for the newest commit. With the commit in the cache it is once: a long wait for a
// network that is not there helps nobody.
func (d *download) lookUpTries() int {
	if known := d.store.ref(d.o.Revision); known != "" && known != d.o.Revision && d.o.LocalDir == "" {
		if _, err := os.Stat(d.store.snapshot(known)); err == nil {
			return 1
		}
	}
	return lookUpTries
}

// look finds out which files there are.
func (d *download) look(ctx context.Context, tries int) (files []File, err error) {
	if d.c.cfg.Offline {
		return nil, ErrOffline
	}
	d.snap.Commit = d.o.Revision
	if !isCommit(d.o.Revision) {
		if d.snap.Commit, err = d.c.trying(tries).commit(ctx, d.repo, d.o.Revision); err != nil {
			return nil, err
		}
	}
	d.snap.Dir = d.store.snapshot(d.snap.Commit)
	trees := d.store.dir()
	if d.o.LocalDir != "" {
		if d.local, err = openLocalDir(d.o.LocalDir); err != nil {
			return nil, err
		}
		d.snap.Dir, trees = d.local.root, d.local.meta
	}
	files, ok := readTree(trees, d.snap.Commit)
	if !ok {
		if files, err = d.c.files(ctx, d.repo, d.snap.Commit); err != nil {
			return nil, err
		}
		if err := writeTree(trees, d.snap.Commit, files); err != nil && !isReadOnly(err) {
			return nil, err
		}
	}
	return files, nil
}

// choose finds the wanted files. A bad one among them is an error.
func (d *download) choose(files []File) error {
	d.listed = true
	f := newFilter(d.o.Include, d.o.Exclude)
	names := map[string]bool{}
	for _, file := range files {
		names[file.Path] = true
		if f.match(file.Path) {
			err := file.bad
			if err == nil && d.local != nil {
				err = d.local.check(file.Path)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", d.repo, err)
			}
			d.wanted = append(d.wanted, file)
			d.tally.size += file.Size
		}
	}
	for _, name := range d.o.Include {
		if !names[name] && !strings.ContainsAny(name, `*?[\`) && checkName(name) == nil {
			d.absent = append(d.absent, name)
		}
	}
	if len(d.wanted) > 0 || len(files) == 0 && len(d.o.Include) == 0 {
		return nil
	}
	return d.noneFits(files)
}

// noneFits says that no file of the repository is wanted, and names some that are there.
func (d *download) noneFits(files []File) error {
	var some []string
	for _, file := range files {
		if file.bad == nil && len(some) < 5 {
			some = append(some, file.Path)
		}
	}
	return fmt.Errorf("%s has %d files (%s, ...), and none of them fits %s: %w", d.repo, len(files), strings.Join(some, ", "), strings.Join(d.o.Include, " "), ErrNotFound)
}

// files fetches the wanted files, several at a time. The first failure stops the others.
func (d *download) files(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	work := make(chan File)
	var workers sync.WaitGroup
	for range filesAtOnce {
		workers.Go(func() {
			for f := range work {
				if err := d.file(ctx, f); err != nil {
					cancel(fmt.Errorf("download %s: %w", d.repo, err))
				}
			}
		})
	}
	for _, f := range d.wanted {
		select {
		case work <- f:
		case <-ctx.Done():
		}
	}
	close(work)
	workers.Wait()
	if parent.Err() != nil {
		return parent.Err()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// file makes sure that one file is there.
func (d *download) file(ctx context.Context, f File) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var n int64
	var err error
	if d.local != nil {
		n, err = d.local.file(ctx, d, f)
	} else {
		n, err = d.cached(ctx, f)
	}
	d.mu.Lock()
	d.snap.Fetched += n
	if err == nil {
		d.snap.Files = append(d.snap.Files, f.Path)
		d.snap.Bytes += f.Size
	}
	d.mu.Unlock()
	if err == nil {
		d.tell(Progress{File: f.Path, Done: f.Size, Size: f.Size, Finished: true})
	}
	return err
}

func (d *download) tell(p Progress) { d.tally.tell(p) }

// cached makes sure that one file is in the cache.
func (d *download) cached(ctx context.Context, f File) (fetched int64, err error) {
	etag := f.etag()
	if regular(d.store.pointer(d.snap.Commit, f.Path), f.Size) {
		d.sweep(ctx, etag)
		return 0, nil
	}
	if _, err := realFolder(d.store.dir(), "blobs"); err != nil {
		return 0, err
	}
	unlock, err := lock(ctx, d.store.lock(etag), func() { d.tell(Progress{File: f.Path, Size: f.Size, Waiting: true}) })
	if err != nil {
		return 0, err
	}
	defer unlock()
	blob := d.store.blob(etag)
	fresh := !regular(blob, f.Size)
	if fresh {
		if err := os.Remove(blob); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		if fetched, err = d.fetch(ctx, f, blob+".incomplete", blob); err != nil {
			return fetched, err
		}
	}
	return fetched, d.store.link(d.snap.Commit, f.Path, etag, fresh, d.c.cfg.NoSymlinks)
}

// sweep removes the beginning of a file that another program has fetched as a whole since. If that fails, the
// next download tries again.
func (d *download) sweep(ctx context.Context, etag string) {
	incomplete := d.store.blob(etag) + ".incomplete"
	if _, err := os.Lstat(incomplete); err != nil {
		return
	}
	unlock, err := lock(ctx, d.store.lock(etag), nil)
	if err != nil {
		return
	}
	defer unlock()
	if regular(d.store.blob(etag), -1) {
		os.Remove(incomplete)
	}
}

func (d *download) fetch(ctx context.Context, f File, incomplete, final string) (int64, error) {
	t := &transfer{c: d.c, repo: d.repo, commit: d.snap.Commit, file: f, slots: d.slots, report: func(done int64) {
		d.tell(Progress{File: f.Path, Done: done, Size: f.Size})
	}}
	return t.fetch(ctx, incomplete, final)
}

// finish puts the files in order and writes down what was learned. A cache that takes no writes has all files by now.
func (d *download) finish() error {
	inOrder := make([]string, 0, len(d.wanted))
	for _, f := range d.wanted {
		inOrder = append(inOrder, f.Path)
	}
	d.snap.Files = inOrder
	if d.local != nil {
		return nil
	}
	if err := d.note(); !isReadOnly(err) {
		return err
	}
	return nil
}

// note writes down which commit the revision is, now that it is there, and which files it does not have.
func (d *download) note() error {
	if _, err := realFolder(d.store.dir(), "snapshots/"+d.snap.Commit); err != nil {
		return err
	}
	for _, name := range d.absent {
		if err := d.store.setMissing(d.snap.Commit, name); err != nil {
			return err
		}
	}
	return d.store.setRef(d.o.Revision, d.snap.Commit)
}

// fromCache gives the snapshot that is in the cache already, if it has all wanted files. why is what keeps us
// from asking the server.
func (d *download) fromCache(why error) (Snapshot, error) {
	if err := d.cachedCommit(why); err != nil {
		return Snapshot{}, err
	}
	files, ok := readTree(d.store.dir(), d.snap.Commit)
	if !ok { // put there by an older program: what should be there is not known
		return d.snap, d.listSnapshot()
	}
	if err := d.choose(files); err != nil {
		return Snapshot{}, err
	}
	for _, f := range d.wanted {
		if !regular(d.store.pointer(d.snap.Commit, f.Path), f.Size) {
			return Snapshot{}, d.missing(" as a whole ("+f.Path+" is not there)", why)
		}
		d.snap.Files = append(d.snap.Files, f.Path)
		d.snap.Bytes += f.Size
	}
	return d.snap, nil
}

// cachedCommit finds the commit that the cache has for the revision.
func (d *download) cachedCommit(why error) error {
	commit := d.store.ref(d.o.Revision)
	if commit == "" || d.o.LocalDir != "" {
		return d.missing("", why)
	}
	d.snap.Commit, d.snap.Dir = commit, d.store.snapshot(commit)
	if info, err := os.Stat(d.snap.Dir); err != nil || !info.IsDir() {
		return d.missing("", why)
	}
	d.snap.Unchecked = d.c.withoutToken(why)
	return nil
}

// missing says that something is not in the cache, and why it was looked for there.
func (d *download) missing(what string, why error) error {
	err := fmt.Errorf("%s is %w%s: %w", d.repo, ErrNotCached, what, why)
	var network *networkError
	switch {
	case errors.As(why, &network) && network.down:
		text := fmt.Sprintf("%s, and %s is %s%s", network.text, d.repo, ErrNotCached, what)
		return fault.Advise(&reworded{text, err}, "Download it where there is a network: lentil download %s", d.repo)
	case errors.Is(why, ErrOffline):
		err = fault.Advise(err, "Unset HF_HUB_OFFLINE and download it first: lentil download %s", d.repo)
	}
	return err
}

// listSnapshot lists the wanted files by what is in the snapshot's folder.
func (d *download) listSnapshot() error {
	f := newFilter(d.o.Include, d.o.Exclude)
	return filepath.WalkDir(d.snap.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(d.snap.Dir, path)
		if name := filepath.ToSlash(rel); err == nil && f.match(name) {
			if info, err := os.Stat(path); err == nil {
				d.snap.Files = append(d.snap.Files, name)
				d.snap.Bytes += info.Size()
			}
		}
		return err
	})
}

// writeTree keeps the list of a commit's files in folder/trees.
func writeTree(folder, commit string, files []File) error {
	text, err := treeText(files)
	if err != nil {
		return err
	}
	trees, err := realFolder(folder, "trees")
	if err != nil {
		return err
	}
	return unfinishedIn(folder).Write(filepath.Join(trees, commit+".json"), text)
}

// Resolve downloads the model of a name that ParseRef reads, if need be. Without patterns in o.Include, the files that a
// model needs are meant.
func (c *Client) Resolve(ctx context.Context, name string, o Options) (Snapshot, error) {
	ref, err := ParseRef(name, Model)
	if err != nil {
		return Snapshot{}, err
	}
	if ref.Repo.Type != Model {
		return Snapshot{}, fault.Of("%s is a %s, expected a model", name, ref.Repo.Type).Try("Give the name of a model, such as ORG/NAME.")
	}
	o.Revision = cmp.Or(o.Revision, ref.Revision)
	if len(o.Include) == 0 {
		o.Include = ModelPatterns
	}
	o.Include = ref.within(o.Include)
	snap, err := c.Download(ctx, ref.Repo, o)
	snap.Path = filepath.Join(snap.Dir, filepath.FromSlash(ref.Path))
	return snap, err
}

// now is the time as Python's time.time() writes it: seconds with a fraction.
func now() string { return fmt.Sprintf("%.6f", float64(time.Now().UnixMicro())/1e6) }
