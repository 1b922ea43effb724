package hub

import (
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
)

const (
	rangesPerFile = 4         // ranges of one file on their way at a time
	blockSize     = 256 << 10 // bytes handed from the network to the disk at a time
	enough        = 64 << 10  // bytes that make a broken try count as progress
)

// A transfer brings one file of a repository to the disk.
type transfer struct {
	c      *Client
	repo   Repo
	commit string
	file   File
	slots  chan struct{}    // one for each connection that may be open
	report func(done int64) // bytes of the file that are there

	mu        sync.Mutex
	from      *remote
	validator string // strong etag that the storage answers with, for If-Range
}

// errNoRanges says that the server sends whole files only; errStart that the file has to be fetched from its start
// again.
var (
	errNoRanges = errors.New("the server does not send ranges")
	errStart    = errors.New("the file on the server has changed")
)

// fetch downloads the file into incomplete, going on from what is there already, checks it and gives it its
// final name. It says how many bytes came over the network.
func (t *transfer) fetch(ctx context.Context, incomplete, final string) (fetched int64, err error) {
	for {
		resumed := false
		if info, err := os.Lstat(incomplete); err == nil {
			if !info.Mode().IsRegular() || info.Size() > t.file.Size {
				if err := os.Remove(incomplete); err != nil {
					return fetched, err
				}
			} else {
				resumed = info.Size() > 0
			}
		}
		n, err := t.fill(ctx, incomplete)
		fetched += n
		if errors.Is(err, errStart) {
			// What is there is worthless. Removed, not cut off: on file systems without working locks another
			// process may have renamed the file meanwhile.
			if rerr := os.Remove(incomplete); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
				return fetched, rerr
			}
			if resumed && ctx.Err() == nil {
				continue
			}
		}
		if atomicfile.Full(err) {
			err = fault.Advise(err, "What has come so far is kept.")
		}
		if err != nil {
			return fetched, err
		}
		err = atomicfile.Rename(incomplete, final)
		if errors.Is(err, fs.ErrNotExist) && regular(final, t.file.Size) {
			err = nil // another process was faster, where locks do not work
		}
		return fetched, err
	}
}

// fill opens the incomplete file, hashes what is in it, fetches the rest and checks the whole.
func (t *transfer) fill(ctx context.Context, path string) (fetched int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := t.file.newHash()
	have, err := io.Copy(sum, &untilDone{ctx, f})
	if err != nil {
		return 0, err
	}
	if free, ok := freeSpace(filepath.Dir(path)); ok && free < t.file.Size-have {
		return 0, fmt.Errorf("%s needs %d more bytes, and %s has room for %d: %w", t.file.Path, t.file.Size-have, filepath.Dir(path), free, syscall.ENOSPC)
	}
	t.report(have)
	if have < t.file.Size {
		w := &sink{f: f, sum: sum, at: have, report: t.report}
		err := t.rest(ctx, w)
		fetched = w.at - have
		if err != nil {
			return fetched, err
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != t.file.hash() {
		return fetched, fmt.Errorf("%s: %w: its hash is %s, the repository says %s", t.file.Path, errStart, got, t.file.hash())
	}
	return fetched, f.Sync()
}

// untilDone is a reader that ends with its context.
type untilDone struct {
	ctx context.Context
	io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(p)
}

// newHash is the hash that the repository knows of the file's contents.
func (f File) newHash() hash.Hash {
	if f.SHA256 != "" {
		return sha256.New()
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", f.Size) // git's id of a blob
	return h
}

func (f File) hash() string {
	if f.SHA256 != "" {
		return f.SHA256
	}
	return f.BlobID
}

// A sink takes the bytes of a file in order.
type sink struct {
	f      *os.File
	sum    hash.Hash
	at     int64
	report func(int64)
}

func (w *sink) write(block []byte) error {
	n, err := w.f.WriteAt(block, w.at)
	w.sum.Write(block[:n]) // never fails
	w.at += int64(n)
	w.report(w.at)
	return err
}

// A span is a part of a file, [lo, hi), and the way its bytes take to the sink.
type span struct {
	lo, hi int64
	blocks chan []byte
}

// rest fetches what the sink does not have yet: in parallel ranges if the server sends ranges, else in one go.
func (t *transfer) rest(ctx context.Context, w *sink) error {
	if t.file.Size-w.at > 2*t.c.chunk {
		err := t.ranges(ctx, w)
		if !errors.Is(err, errNoRanges) {
			return err
		}
	}
	s := span{w.at, t.file.Size, make(chan []byte, 16)}
	return t.gather(ctx, w, []span{s}, 1)
}

func (t *transfer) ranges(ctx context.Context, w *sink) error {
	var spans []span
	for lo := w.at; lo < t.file.Size; lo += t.c.chunk {
		hi := min(lo+t.c.chunk, t.file.Size)
		spans = append(spans, span{lo, hi, nil})
	}
	return t.gather(ctx, w, spans, rangesPerFile)
}

// A line is the spans of a file on their way from the network to the disk.
type line struct {
	window chan struct{} // a place for each span that may wait in memory
	ready  chan span     // in order, for the writer
	work   chan span     // in order, for the fetchers
}

// feed begins the spans one after the other, until more is over.
func (l *line) feed(more context.Context, spans []span) {
	defer close(l.ready)
	defer close(l.work)
	for _, s := range spans {
		select {
		case l.window <- struct{}{}:
		case <-more.Done():
			return
		}
		if s.blocks == nil {
			s.blocks = make(chan []byte, (s.hi-s.lo)/blockSize+2)
		}
		l.ready <- s
		select {
		case l.work <- s:
		case <-more.Done():
			close(s.blocks)
			return
		}
	}
}

// drain writes the spans in order, up to one that is given up. fail hears what the disk refuses.
func (l *line) drain(w *sink, fail func(error)) {
	for s := range l.ready {
		for block := range s.blocks {
			if err := w.write(block); err != nil {
				fail(err)
				break
			}
		}
		if w.at < s.hi {
			return
		}
		<-l.window
	}
}

// gather fetches the spans, several at a time, and writes them in order. At most 2*parallel spans that come early
// wait in memory. When a span is given up, no new ones begin, but those before it may still come in: the next
// download goes on behind them.
func (t *transfer) gather(parent context.Context, w *sink, spans []span, parallel int) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	more, noMore := context.WithCancelCause(ctx)
	defer noMore(nil)
	l := &line{window: make(chan struct{}, 2*parallel), ready: make(chan span, len(spans)), work: make(chan span)}
	whole := len(spans) == 1 && parallel == 1 // may come without ranges
	var fetchers sync.WaitGroup
	for range min(parallel, len(spans)) {
		fetchers.Go(func() {
			for s := range l.work {
				if err := t.fetchSpan(ctx, s, whole); err != nil {
					noMore(err)
				}
				close(s.blocks)
			}
		})
	}
	fetchers.Go(func() { l.feed(more, spans) })
	l.drain(w, cancel)
	why := cmp.Or(context.Cause(ctx), context.Cause(more)) // the disk's error first
	cancel(nil)
	fetchers.Wait()
	if parent.Err() != nil {
		return parent.Err()
	}
	if w.at == t.file.Size {
		return nil
	}
	return fmt.Errorf("%s: %w", t.file.Path, why)
}

// An arrival is how far a span has come from the network. It hands on full blocks, even if connections break in
// between, so a span never needs more blocks than s.blocks has room for. Otherwise spans that hold a connection could
// wait for one that is still waiting for a connection.
type arrival struct {
	span
	at    int64  // where the next byte belongs
	block []byte // begun and not handed on
}

// fetchSpan hands the bytes of a span on in blocks, trying again from where a try broke off.
func (t *transfer) fetchSpan(ctx context.Context, s span, whole bool) error {
	a := &arrival{span: s, at: s.lo}
	err := t.c.retry(ctx, func() (bool, error) {
		select {
		case t.slots <- struct{}{}:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		defer func() { <-t.slots }()
		before := a.at
		err := t.readSpan(ctx, a, whole)
		return a.at-before >= enough, err
	})
	return cmp.Or(err, a.pass(ctx)) // what came last is kept even if the span was given up
}

// readSpan makes one request for what is left of a span.
func (t *transfer) readSpan(ctx context.Context, a *arrival, whole bool) error {
	from, validator, err := t.source(ctx)
	if err != nil {
		return err
	}
	r := request{method: http.MethodGet, url: from.url, header: map[string]string{}}
	if a.at > 0 || a.hi < t.file.Size {
		r.header["Range"] = fmt.Sprintf("bytes=%d-%d", a.at, a.hi-1)
		if validator != "" {
			r.header["If-Range"] = validator
		}
	}
	resp, err := t.c.send(ctx, r)
	if err != nil {
		return t.refused(from, err)
	}
	defer resp.Body.Close()
	begin, err := t.begins(resp, a.at, a.hi)
	if err != nil {
		return err
	}
	if begin < a.at || resp.StatusCode == http.StatusOK && !whole {
		if !whole {
			return &lastingError{errNoRanges}
		}
		// The server sends the file from its start: what is there already is read over.
		if _, err := io.CopyN(io.Discard, resp.Body, a.at-begin); err != nil {
			return err
		}
	}
	err = a.read(ctx, resp.Body)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the connection broke after %d of %d bytes", a.at, t.file.Size)
	}
	return err
}

// read reads up to the end of the span and hands full blocks on.
func (a *arrival) read(ctx context.Context, body io.Reader) error {
	for a.at < a.hi {
		if a.block == nil {
			a.block = make([]byte, 0, min(blockSize, a.hi-a.at))
		}
		n, err := body.Read(a.block[len(a.block):cap(a.block)])
		a.block, a.at = a.block[:len(a.block)+n], a.at+int64(n)
		if len(a.block) == cap(a.block) {
			err = cmp.Or(a.pass(ctx), err)
		}
		if err != nil && a.at < a.hi {
			return err
		}
	}
	return nil
}

// pass hands the block on as far as it has come.
func (a *arrival) pass(ctx context.Context) error {
	if len(a.block) == 0 {
		return nil
	}
	select {
	case a.blocks <- a.block:
		a.block = nil
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begins checks that an answer is the wanted part of the wanted file, and gives the offset of its first byte.
func (t *transfer) begins(resp *http.Response, lo, hi int64) (int64, error) {
	changed := func(what string) error {
		return lasting("%w: it %s, the repository says %d bytes", errStart, what, t.file.Size)
	}
	if resp.StatusCode == http.StatusOK {
		if n := resp.ContentLength; n >= 0 && n != t.file.Size {
			return 0, changed(fmt.Sprintf("has %d bytes now", n))
		}
		if resp.Request.Header.Get("If-Range") != "" {
			t.forget(false) // the next try finds out whether it is the file or the server that is different
		}
		return 0, nil
	}
	first, last, size, err := parseContentRange(resp.Header.Get("Content-Range"))
	if err != nil || resp.StatusCode != http.StatusPartialContent {
		return 0, lasting("the server answered the request for a range with %d %s and Content-Range %.60q", resp.StatusCode, http.StatusText(resp.StatusCode), resp.Header.Get("Content-Range"))
	}
	if size >= 0 && size != t.file.Size {
		return 0, changed(fmt.Sprintf("has %d bytes now", size))
	}
	if first != lo || last >= hi {
		return 0, lasting("the server was asked for the bytes %d to %d and sent %d to %d", lo, hi-1, first, last)
	}
	if etag := resp.Header.Get("ETag"); strings.HasPrefix(etag, `"`) {
		t.mu.Lock()
		t.validator = etag
		t.mu.Unlock()
	}
	return first, nil
}

// parseContentRange reads "bytes FIRST-LAST/SIZE"; an unknown SIZE is -1.
func parseContentRange(text string) (first, last, size int64, err error) {
	bad := fmt.Errorf("Content-Range %.60q is not understood", text)
	rest, ok := strings.CutPrefix(text, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	lo, hi, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, bad
	}
	first, err1 := strconv.ParseInt(lo, 10, 64)
	last, err2 := strconv.ParseInt(hi, 10, 64)
	size = -1
	var err3 error
	if total != "*" {
		size, err3 = strconv.ParseInt(total, 10, 64)
	}
	if err := errors.Join(err1, err2, err3); err != nil || first < 0 || last < first || size == 0 || size > 0 && last >= size {
		return 0, 0, 0, bad
	}
	return first, last, size, nil
}

// source is where to read from. It is looked up once, and again when the storage does not accept it any more.
func (t *transfer) source(ctx context.Context) (remote, string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.from == nil {
		r, err := t.c.locate(ctx, t.repo, t.commit, t.file.Path)
		if err != nil {
			return remote{}, "", err
		}
		if r.size >= 0 && r.size != t.file.Size {
			return remote{}, "", lasting("%w: it has %d bytes now, the repository says %d", errStart, r.size, t.file.Size)
		}
		t.from = &r
		if r.strong && !r.stored {
			t.validator = `"` + r.etag + `"`
		}
	}
	return *t.from, t.validator, nil
}

// forget makes the next try look the source up anew, or just drop its validator.
func (t *transfer) forget(source bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.validator = ""
	if source {
		t.from = nil
	}
}

// refused explains two refusals: an expired signed address (the storage denies it), and a range that does not exist
// (the file has changed).
func (t *transfer) refused(from remote, err error) error {
	var status *StatusError
	if !errors.As(err, &status) {
		return err
	}
	switch status.Status {
	case http.StatusRequestedRangeNotSatisfiable:
		return lasting("%w: it is shorter than what is there already", errStart)
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		if from.stored {
			t.forget(true)
			return fmt.Errorf("the storage does not accept the hub's address any more: %d %s", status.Status, http.StatusText(status.Status))
		}
	}
	return err
}
