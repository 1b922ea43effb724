package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	lfsBatch    = 256 // objects asked about at a time
	partsAtOnce = 3   // parts of one file
	largeAtOnce = 2   // files
	lfsType     = "application/vnd.git-lfs+json"
	maxParts    = 10_000
)

// An object is what the LFS batch API says about one file to upload; see
// https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md.
type lfsObject struct {
	OID   string `json:"oid"`
	Size  int64  `json:"size"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Actions struct {
		Upload *lfsAction `json:"upload"`
		Verify *lfsAction `json:"verify"`
	} `json:"actions"`
}

// An action is a request to be made. In the hub's "multipart" transfer, the header of an upload holds the size
// of a part (chunk_size) and the address of each part under its number.
type lfsAction struct {
	Href   string            `json:"href"`
	Header map[string]string `json:"header,omitempty"`
}

// sendLarge brings all large files into the storage of the repository.
func (u *upload) sendLarge(parent context.Context) error {
	var large []*localFile
	for _, f := range u.files {
		same := func(g *localFile) bool { return g.ours == f.ours }
		if f.large && !slices.ContainsFunc(large, same) {
			large = append(large, f)
		}
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	for batch := range slices.Chunk(large, lfsBatch) {
		objects, err := u.batch(ctx, batch)
		if err != nil {
			return err
		}
		turn := make(chan struct{}, largeAtOnce)
		var all sync.WaitGroup
		for i, f := range batch {
			turn <- struct{}{}
			all.Go(func() {
				defer func() { <-turn }()
				if ctx.Err() != nil {
					return
				}
				if err := u.sendObject(ctx, f, objects[i]); err != nil {
					cancel(fmt.Errorf("%s: %w", f.name, err))
				}
			})
		}
		all.Wait()
		if parent.Err() != nil {
			return parent.Err()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// batch asks how to upload files, and puts the answers in the order of the files.
func (u *upload) batch(ctx context.Context, files []*localFile) ([]lfsObject, error) {
	type pair struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	}
	var pairs []pair
	for _, f := range files {
		pairs = append(pairs, pair{f.ours, f.size})
	}
	r, err := post(u.c.cfg.Endpoint+u.out.Repo.site()+".git/info/lfs/objects/batch", map[string]any{
		"operation": "upload", "transfers": []string{"basic", "multipart"}, "objects": pairs,
		"hash_algo": "sha256", "ref": map[string]string{"name": "main"},
	})
	if err != nil {
		return nil, err
	}
	r.header = map[string]string{"Content-Type": lfsType, "Accept": lfsType}
	var answer struct {
		Objects []lfsObject `json:"objects"`
	}
	if _, err := u.c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	var out []lfsObject
	for _, f := range files {
		i := slices.IndexFunc(answer.Objects, func(o lfsObject) bool { return o.OID == f.ours })
		if i < 0 {
			return nil, fmt.Errorf("the hub did not answer about %s", f.name)
		}
		o := answer.Objects[i]
		if o.Error != nil {
			return nil, fmt.Errorf("the hub refuses %s: %d %s", f.name, o.Error.Code, u.c.oneLine(o.Error.Message))
		}
		out = append(out, o)
	}
	return out, nil
}

// sendObject uploads one file as the hub says. No upload action means that the storage has it.
func (u *upload) sendObject(ctx context.Context, f *localFile, o lfsObject) error {
	if o.Actions.Upload == nil {
		u.finished(f)
		return nil
	}
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer in.Close()
	if chunk := o.Actions.Upload.Header["chunk_size"]; chunk == "" {
		err = u.sendWhole(ctx, in, f, o.Actions.Upload)
	} else {
		err = u.sendParts(ctx, in, f, o.Actions.Upload)
	}
	if err != nil {
		return err
	}
	if o.Actions.Verify != nil {
		r, err := post(u.c.onEndpoint(o.Actions.Verify.Href), map[string]any{"oid": f.ours, "size": f.size})
		if err != nil {
			return err
		}
		if _, err := u.c.call(ctx, r, nil); err != nil {
			return fmt.Errorf("the storage does not have it after the upload: %w", err)
		}
	}
	u.finished(f)
	return nil
}

func (u *upload) finished(f *localFile) {
	u.tell(Progress{File: f.name, Done: f.size, Size: f.size, Finished: true})
}

// onEndpoint replaces the hub's own address by the endpoint in use, which can be a proxy the hub does not know.
func (c *Client) onEndpoint(address string) string {
	if rest, ok := strings.CutPrefix(address, defaultEndpoint+"/"); ok {
		return c.cfg.Endpoint + "/" + rest
	}
	return address
}

func (u *upload) sendWhole(ctx context.Context, in *os.File, f *localFile, action *lfsAction) error {
	_, err := u.put(ctx, in, f, action.Href, action.Header, 0, f.size, func(n int64) { u.sent(f, n) })
	return err
}

// sent tells how far a file has come.
func (u *upload) sent(f *localFile, n int64) {
	u.tell(Progress{File: f.name, Done: min(n, f.size), Size: f.size})
}

// put sends the bytes [lo, hi) of a file and gives the etag of the answer. report hears how many are on their way.
func (u *upload) put(ctx context.Context, in *os.File, f *localFile, to string, header map[string]string, lo, hi int64, report func(int64)) (string, error) {
	r := request{
		method: http.MethodPut, url: to, header: header, size: hi - lo,
		body: func() (io.ReadCloser, error) {
			return io.NopCloser(&counter{Reader: io.NewSectionReader(in, lo, hi-lo), report: report}), nil
		},
		patience: max(u.c.cfg.Timeout, storagePatience),
	}
	h, err := u.c.call(ctx, r, nil)
	if err != nil {
		return "", err
	}
	u.mu.Lock()
	u.out.Sent += hi - lo
	u.mu.Unlock()
	return h.Get("ETag"), nil
}

// counter reports how much was read.
type counter struct {
	io.Reader
	n      int64
	report func(int64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	c.report(c.n)
	return n, err
}

// sendParts uploads a file in parts. Which parts are there already is kept in the state, so that an upload that
// was broken off goes on where it was.
func (u *upload) sendParts(ctx context.Context, in *os.File, f *localFile, fresh *lfsAction) error {
	kept, ok := u.state.parts(f.ours)
	if ok {
		err := u.tryParts(ctx, in, f, kept)
		var status *StatusError
		if err == nil || !errors.As(err, &status) || passing(err) || ctx.Err() != nil {
			return err
		}
		// The addresses of the earlier upload have run out.
	}
	return u.tryParts(ctx, in, f, u.state.newParts(f.ours, fresh))
}

func (u *upload) tryParts(parent context.Context, in *os.File, f *localFile, p partsState) error {
	size, err := strconv.ParseInt(p.Action.Header["chunk_size"], 10, 64)
	if err != nil || size <= 0 || (f.size-1)/size >= maxParts {
		return fmt.Errorf("the hub wants parts of %.20q bytes of a file of %d: refused", p.Action.Header["chunk_size"], f.size)
	}
	count := int((f.size + size - 1) / size)
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	turn := make(chan struct{}, partsAtOnce)
	var mu sync.Mutex
	var done int64
	var all sync.WaitGroup
	for n := 1; n <= count; n++ {
		lo, hi := int64(n-1)*size, min(int64(n)*size, f.size)
		key := strconv.Itoa(n)
		if p.ETags[key] != "" {
			mu.Lock()
			done += hi - lo
			mu.Unlock()
			continue
		}
		if p.Action.Header[key] == "" {
			cancel(fmt.Errorf("the hub gave no address for part %d", n))
			break
		}
		turn <- struct{}{}
		all.Go(func() {
			defer func() { <-turn }()
			if ctx.Err() != nil {
				return
			}
			etag, err := u.put(ctx, in, f, p.Action.Header[key], nil, lo, hi, func(int64) {})
			if err == nil && etag == "" {
				err = fmt.Errorf("the storage gave no etag for part %d", n)
			}
			if err != nil {
				cancel(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			done += hi - lo
			u.state.setPart(f.ours, key, etag)
			u.sent(f, done)
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return u.completeParts(ctx, f, p.Action.Href, count)
}

// completeParts makes one file of all parts.
func (u *upload) completeParts(ctx context.Context, f *localFile, href string, count int) error {
	type part struct {
		Number int    `json:"partNumber"`
		ETag   string `json:"etag"`
	}
	kept, _ := u.state.parts(f.ours)
	var parts []part
	for n := 1; n <= count; n++ {
		parts = append(parts, part{n, kept.ETags[strconv.Itoa(n)]})
	}
	r, err := post(u.c.onEndpoint(href), map[string]any{"oid": f.ours, "parts": parts})
	if err != nil {
		return err
	}
	r.header = map[string]string{"Content-Type": lfsType, "Accept": lfsType}
	r.patience = commitPatience
	_, err = u.c.call(ctx, r, nil)
	return err
}
