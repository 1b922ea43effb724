package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub/hubtest"
)

// testChunk is small, so that small files come in several ranges.
const testChunk = 64 << 10

func newServer(t *testing.T) *hubtest.Server {
	t.Helper()
	s := hubtest.New()
	t.Cleanup(s.Close)
	return s
}

// newClient makes a client with a cache of its own.
func newClient(t *testing.T, s *hubtest.Server) *Client {
	t.Helper()
	return clientWith(t, Config{Endpoint: s.URL, Cache: t.TempDir(), TokenPath: filepath.Join(t.TempDir(), "hf", "token"), Timeout: 10 * time.Second})
}

// silence is how long clients wait for a server that a test lets fall silent. The others wait so long that a busy
// machine does not look like a bad network.
const silence = 300 * time.Millisecond

func clientWith(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.firstWait, c.chunk = time.Millisecond, testChunk
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	r.Read(b)
	return b
}

// modelFiles is a small model: a big file in ranges, a large one in one piece, small ones.
func modelFiles() map[string][]byte {
	return map[string][]byte{
		"config.json":       []byte(`{"model_type": "llama"}`),
		"tokenizer.json":    noise(1, 20_000),
		"model.safetensors": noise(2, 16*testChunk+17),
		"README.md":         []byte("# A model\n"),
		"sub/notes.txt":     []byte("in a folder"),
		"empty.txt":         {},
		"pytorch_model.bin": noise(3, testChunk+5),
	}
}

var model = Repo{Model, "org/model"}

// wantFiles fails unless the snapshot holds these files of the server and nothing else.
func wantFiles(t *testing.T, snap Snapshot, files map[string][]byte, names ...string) {
	t.Helper()
	slices.Sort(names)
	if !slices.Equal(snap.Files, names) {
		t.Errorf("files %q, want %q", snap.Files, names)
	}
	for _, name := range names {
		got, err := os.ReadFile(filepath.Join(snap.Dir, name))
		if err != nil || !bytes.Equal(got, files[name]) {
			t.Errorf("%s is not what the server has: %v", name, err)
		}
	}
}

// wantTidy fails if something unfinished lies about.
func wantTidy(t *testing.T, cache string, but ...string) {
	t.Helper()
	filepath.WalkDir(cache, func(path string, _ os.DirEntry, err error) error {
		allowed := slices.ContainsFunc(but, func(pattern string) bool {
			match, _ := filepath.Match(pattern, filepath.Base(path))
			return match
		})
		if err != nil || !allowed && (strings.HasSuffix(path, ".tmp") || strings.HasSuffix(path, ".incomplete")) {
			t.Errorf("left behind: %s (%v)", path, err)
		}
		return nil
	})
}

func TestDownload(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	commit := s.Add("org/model", files)
	c := newClient(t, s)
	var seen sync.Map
	snap, err := c.Download(t.Context(), model, Options{Include: ModelPatterns, Progress: func(p Progress) {
		if p.Done > p.Size {
			t.Errorf("progress %+v", p)
		}
		if p.Finished {
			seen.Store(p.File, true)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"config.json", "empty.txt", "model.safetensors", "sub/notes.txt", "tokenizer.json"}
	wantFiles(t, snap, files, want...)
	wantTidy(t, c.cfg.Cache)
	for _, name := range want {
		if _, ok := seen.Load(name); !ok {
			t.Errorf("no progress of %s", name)
		}
	}
	if snap.Commit != commit || snap.Fetched != snap.Bytes {
		t.Errorf("commit %s, fetched %d of %d bytes; want %s, all", snap.Commit, snap.Fetched, snap.Bytes, commit)
	}
	if s.Count("GET", "/object/") < 16 {
		t.Errorf("the big file came in %d ranges, want 17", s.Count("GET", "/object/"))
	}
	wantLayout(t, c.cfg.Cache, commit, s.Files("org/model"))

	// Once more: one question, no files.
	before := len(s.Requests())
	if snap, err = c.Download(t.Context(), model, Options{Include: ModelPatterns}); err != nil || snap.Fetched != 0 {
		t.Errorf("again: fetched %d, %v", snap.Fetched, err)
	}
	if n := len(s.Requests()) - before; n != 1 {
		t.Errorf("again: %d requests, want 1", n)
	}

	// A new commit shares the blobs that did not change.
	files["config.json"] = []byte(`{"model_type": "qwen2"}`)
	s.Add("org/model", files)
	if snap, err = c.Download(t.Context(), model, Options{Include: ModelPatterns}); err != nil || snap.Fetched != int64(len(files["config.json"])) {
		t.Errorf("new commit: fetched %d, %v", snap.Fetched, err)
	}
	wantFiles(t, snap, files, want...)
}

// wantLayout checks refs, links and locks of org/model in a cache.
func wantLayout(t *testing.T, cache, commit string, files map[string]hubtest.Entry) {
	t.Helper()
	repo := filepath.Join(cache, "models--org--model")
	ref, err := os.ReadFile(filepath.Join(repo, "refs", "main"))
	if string(ref) != commit || err != nil {
		t.Errorf("refs/main is %q, %v", ref, err)
	}
	for name, link := range map[string]string{"config.json": "../../blobs/", "sub/notes.txt": "../../../blobs/"} {
		target, err := os.Readlink(filepath.Join(repo, "snapshots", commit, name))
		if e := files[name]; target != link+e.ETag() || err != nil {
			t.Errorf("%s links to %q, %v", name, target, err)
		}
	}
	if _, err := os.Stat(filepath.Join(cache, ".locks", "models--org--model", files["model.safetensors"].ETag()+".lock")); err != nil {
		t.Error(err)
	}
}

func TestDownloadChoices(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.PageSize = 2
	old := s.Add("datasets/org/data", files)
	s.AddRef("datasets/org/data", "v1", old)
	s.Add("datasets/org/data", map[string][]byte{"train.jsonl": []byte("{}\n")})
	c := newClient(t, s)
	data := Repo{Dataset, "org/data"}
	tests := []struct {
		name string
		o    Options
		want []string
	}{
		{"main", Options{}, []string{"train.jsonl"}},
		{"tag, paged list", Options{Revision: "v1", Include: []string{"*.json", "sub/"}}, []string{"config.json", "sub/notes.txt", "tokenizer.json"}},
		{"commit, exclude", Options{Revision: old, Exclude: []string{"*.bin", "model*", "*.json", "e?pty.[tu]xt"}}, []string{"README.md", "sub/notes.txt"}},
	}
	for _, tt := range tests {
		snap, err := c.Download(t.Context(), data, tt.o)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		all := maps2(files, "train.jsonl", []byte("{}\n"))
		wantFiles(t, snap, all, tt.want...)
	}
	if _, err := c.Download(t.Context(), data, Options{Include: []string{"*.gguf"}}); !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing matches: %v", err)
	}
	if _, err := c.Download(t.Context(), data, Options{Revision: "v9"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such revision: %v", err)
	}
	if _, err := c.Download(t.Context(), Repo{Model, "org/none"}, Options{}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "lentil login") {
		t.Errorf("no such repository: %v", err)
	}
	if _, err := c.Download(t.Context(), data, Options{Include: []string{"train.jsonl", "test.jsonl"}}); err != nil {
		t.Error(err)
	}
	missing := filepath.Join(c.cfg.Cache, "datasets--org--data", ".no_exist", s.Head("datasets/org/data"), "test.jsonl")
	if _, err := os.Stat(missing); err != nil {
		t.Errorf("the missing file is not noted: %v", err)
	}
}

func maps2(m map[string][]byte, name string, data []byte) map[string][]byte {
	out := map[string][]byte{name: data}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// TestBadNetworks downloads the model past all kinds of trouble.
func TestBadNetworks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults []hubtest.Fault
	}{
		{"ranges break off", []hubtest.Fault{{Path: "/object/", Times: 5, DropAfter: 20_000}}},
		{"connections are refused now and then", []hubtest.Fault{{Times: 2, DropAfter: -1}, {Path: "/object/", Times: 3, DropAfter: -1}}},
		{"the storage goes silent", []hubtest.Fault{{Path: "/object/", Times: 2, SilentFrom: 30_000}}},
		{"the hub is slow to answer", []hubtest.Fault{{Path: "/tree/", Times: 1, Delay: 500 * time.Millisecond}}},
		{"errors of the server", []hubtest.Fault{{Path: "/revision/", Times: 2, Status: 500}, {Path: "/resolve/", Times: 3, Status: 503}, {Path: "/object/", Times: 2, Status: 502}}},
		{"no ranges", []hubtest.Fault{{Path: "/object/", NoRanges: true}}},
		{"no ranges, breaking off", []hubtest.Fault{{Path: "/object/", NoRanges: true, Times: 6, DropAfter: 300_000}, {Path: "/object/", NoRanges: true}}},
		{"addresses run out", []hubtest.Fault{{Path: "/object/", Times: 2, Skip: 3, Status: 403}}},
		{"too many requests", []hubtest.Fault{{Path: "/tree/", Times: 1, Status: 429, Header: http.Header{"Ratelimit": {`"api";r=0;t=1`}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, files := newServer(t), modelFiles()
			s.Add("org/model", files)
			for _, f := range tt.faults {
				s.Misbehave(f)
			}
			c := newClient(t, s)
			if slices.ContainsFunc(tt.faults, func(f hubtest.Fault) bool { return f.SilentFrom > 0 || f.Delay > 0 }) {
				c.cfg.Timeout = silence
			}
			snap, err := c.Download(t.Context(), model, Options{Include: []string{"*.safetensors", "*.json"}})
			if err != nil {
				t.Fatal(err)
			}
			wantFiles(t, snap, files, "config.json", "model.safetensors", "tokenizer.json")
			wantTidy(t, c.cfg.Cache)
		})
	}
}

// TestBreakingConnections downloads several large files over a network that breaks every connection, so often that
// each range comes in many pieces: ranges that are there must not keep others from getting a connection.
func TestBreakingConnections(t *testing.T) {
	t.Parallel()
	s, files, names := newServer(t), map[string][]byte{}, []string{}
	for i := range filesAtOnce {
		names = append(names, fmt.Sprintf("model-%d.safetensors", i))
		files[names[i]] = noise(uint64(i), 6*blockSize)
	}
	s.Add("org/model", files)
	s.Misbehave(hubtest.Fault{Path: "/object/", DropAfter: enough + 1})
	c := newClient(t, s)
	c.chunk = 2 * blockSize
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	snap, err := c.Download(ctx, model, Options{Include: []string{"*.safetensors"}})
	if err != nil {
		t.Fatal(err)
	}
	wantFiles(t, snap, files, names...)
	wantTidy(t, c.cfg.Cache)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Add("org/model", modelFiles())
	s.Misbehave(hubtest.Fault{Path: "/object/", Times: 1, Status: 429, Header: http.Header{"Retry-After": {"1"}}})
	start := time.Now()
	if _, err := newClient(t, s).Download(t.Context(), model, Options{Include: []string{"*.bin"}}); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < time.Second {
		t.Errorf("waited %v, asked for 1s", d)
	}
	s.Misbehave(hubtest.Fault{Path: "/revision/", Times: 1, Status: 429, Header: http.Header{"Retry-After": {"7200"}}})
	start = time.Now()
	_, err := newClient(t, s).Download(t.Context(), model, Options{})
	if err == nil || !strings.Contains(err.Error(), "2h0m0s") || time.Since(start) > 10*time.Second {
		t.Errorf("asked to wait for two hours: %v", err)
	}
	now := time.Now()
	for text, want := range map[string]time.Duration{"12": 12 * time.Second, now.Add(time.Minute).UTC().Format(http.TimeFormat): time.Minute, "": 0, "soon": 0, "-3": 0} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got < want-time.Second || got > want {
			t.Errorf("Retry-After %q: %v, want %v", text, got, want)
		}
	}
}

// TestResume breaks a download off in the middle of the big file and goes on with it.
func TestResume(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	c := newClient(t, s)
	stop := s.Misbehave(hubtest.Fault{Path: "/object/", FromByte: 7 * testChunk, Status: 500})
	o := Options{Include: []string{"*.safetensors"}}
	_, err := c.Download(t.Context(), model, o)
	if err == nil || !strings.Contains(err.Error(), "model.safetensors") || !strings.Contains(err.Error(), "try again") {
		t.Fatalf("got %v", err)
	}
	blob := filepath.Join(c.cfg.Cache, "models--org--model", "blobs", s.Files("org/model")["model.safetensors"].ETag())
	info, err := os.Stat(blob + ".incomplete")
	if err != nil || info.Size() != 7*testChunk {
		t.Fatalf("kept %v, %v; want the ranges before the first one that failed", info, err)
	}
	if got, _ := os.ReadFile(blob + ".incomplete"); !bytes.HasPrefix(files["model.safetensors"], got) {
		t.Error("what is kept is not the beginning of the file")
	}
	if _, err := os.Stat(blob); err == nil {
		t.Error("half a file has its final name")
	}
	stop()
	snap, err := c.Download(t.Context(), model, o)
	if err != nil {
		t.Fatal(err)
	}
	if want := snap.Bytes - info.Size(); snap.Fetched != want {
		t.Errorf("fetched %d bytes, want the missing %d", snap.Fetched, want)
	}
	wantFiles(t, snap, files, "model.safetensors")
}

// TestBadBeginnings goes on from beginnings that are of no use.
func TestBadBeginnings(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	etag := s.Files("org/model")["model.safetensors"].ETag()
	outside := filepath.Join(t.TempDir(), "precious")
	os.WriteFile(outside, []byte("precious"), 0o600)
	big := files["model.safetensors"]
	tests := map[string]func(incomplete string) error{
		"other contents":  func(p string) error { return os.WriteFile(p, noise(9, 100_000), 0o600) },
		"too long":        func(p string) error { return os.WriteFile(p, append(slices.Clone(big), 1), 0o600) },
		"complete":        func(p string) error { return os.WriteFile(p, big, 0o600) },
		"complete, wrong": func(p string) error { return os.WriteFile(p, noise(9, len(big)), 0o600) },
		"a symbolic link": func(p string) error { return os.Symlink(outside, p) },
		"a folder":        func(p string) error { return os.Mkdir(p, 0o700) },
		"short blob":      func(p string) error { return os.WriteFile(strings.TrimSuffix(p, ".incomplete"), big[:100], 0o600) },
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, s)
			blobs := filepath.Join(c.cfg.Cache, "models--org--model", "blobs")
			os.MkdirAll(blobs, 0o700)
			if err := prepare(filepath.Join(blobs, etag+".incomplete")); err != nil {
				t.Fatal(err)
			}
			snap, err := c.Download(t.Context(), model, Options{Include: []string{"*.safetensors"}})
			if err != nil {
				t.Fatal(err)
			}
			wantFiles(t, snap, files, "model.safetensors")
			wantTidy(t, c.cfg.Cache)
		})
	}
	t.Cleanup(func() {
		if got, _ := os.ReadFile(outside); string(got) != "precious" {
			t.Error("wrote through a symbolic link")
		}
	})
}

func TestCorruptContents(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"model.safetensors", "tokenizer.json"} {
		s := newServer(t)
		s.Add("org/model", modelFiles())
		s.Misbehave(hubtest.Fault{Path: "/object/", Corrupt: true})
		s.Misbehave(hubtest.Fault{Method: "GET", Path: "/resolve/", Corrupt: true})
		c := newClient(t, s)
		_, err := c.Download(t.Context(), model, Options{Include: []string{file}})
		if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "hash") {
			t.Errorf("%s: %v", file, err)
		}
		if _, err := os.Stat(filepath.Join(c.cfg.Cache, "models--org--model", "snapshots")); err == nil {
			t.Errorf("%s: there is a snapshot of a corrupt file", file)
		}
	}
}

// TestSecrets sees to it that the token goes to the hub only, and that errors hold no secrets.
func TestSecrets(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Add("org/model", modelFiles())
	s.SetPrivate("org/model")
	c := newClient(t, s)
	if _, err := c.Download(t.Context(), model, Options{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("without the token: %v", err)
	}
	c.cfg.Token = hubtest.Token
	if _, err := c.Download(t.Context(), model, Options{}); err != nil {
		t.Fatal(err)
	}
	stored := 0
	for _, r := range s.Requests() {
		if r.Storage {
			stored++
			if r.Authorization != "" {
				t.Errorf("the storage was told the token: %+v", r)
			}
		}
	}
	if stored == 0 {
		t.Error("nothing came from the storage")
	}
	for _, f := range []hubtest.Fault{
		{Path: "/object/", Status: 400, Header: http.Header{"X-Error-Message": {"bad token " + hubtest.Token}}},
		{Path: "/object/", DropAfter: -1},
		{Path: "/object/", SilentFrom: 10},
		{Path: "/revision/", Status: 400, Body: `{"error": ["` + hubtest.Token + `"]}`},
		{Path: "/revision/", Status: 302, Header: http.Header{"Location": {"ftp://x/?" + hubtest.Token}}},
		{Path: "/revision/", Status: 302, Header: http.Header{"Location": {"http://127.0.0.1:1/" + hubtest.Token}}},
		{Path: "/revision/", Status: 302, Header: http.Header{"Location": {"http://" + hubtest.Token + ".invalid/"}}},
		{Path: "/revision/", Status: 200, Body: `{"sha": "` + hubtest.Token + `"}`},
		{Path: "/tree/", Status: 200, Body: `[{"type": "file", "path": "x.bin", "oid": "` + hubtest.Token + `"}]`},
		{Method: "HEAD", Path: "/resolve/", Status: 200, Header: http.Header{"X-Repo-Commit": {s.Head("org/model")}, "Etag": {`"` + hubtest.Token + `/"`}}},
		{Path: "/object/", Status: 206, Header: http.Header{"Content-Range": {hubtest.Token}}},
	} {
		stop := s.Misbehave(f)
		c := newClient(t, s)
		c.cfg.Token, c.cfg.Timeout = hubtest.Token, silence
		_, err := c.Download(t.Context(), model, Options{Include: []string{"*.bin"}})
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), hubtest.Token) {
			t.Errorf("%+v: %v", f, err)
		}
		stop()
	}
	if got := c.plainURL(&url.URL{Scheme: "http", Host: "a\u0085\x1b[31m"}); got != "http://a [31m" {
		t.Errorf("control characters in an address: %q", got)
	}
	// The reason why a cached snapshot was not checked.
	s.Misbehave(hubtest.Fault{Path: "/revision/", Status: 503, Body: `{"error": "` + hubtest.Token + `"}`})
	if snap, err := c.Download(t.Context(), model, Options{}); err != nil || snap.Unchecked == nil || strings.Contains(snap.Unchecked.Error(), hubtest.Token) {
		t.Errorf("unchecked: %v, %v", snap.Unchecked, err)
	}
}

// TestSharing lets two clients download the same repository into the same cache at the same time.
func TestSharing(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	s.Misbehave(hubtest.Fault{Path: "/object/", PerSecond: 1 << 20})
	one := newClient(t, s)
	two := clientWith(t, one.cfg)
	download := func(c *Client, progress func(Progress)) int64 {
		snap, err := c.Download(t.Context(), model, Options{Include: []string{"*.safetensors"}, Progress: progress})
		if err != nil {
			t.Error(err)
		}
		wantFiles(t, snap, files, "model.safetensors")
		return snap.Fetched
	}
	hasWaited, waiting := false, make(chan struct{})
	var second sync.WaitGroup
	var secondFetched int64
	var begin sync.Once
	fetched := download(one, func(Progress) {
		begin.Do(func() {
			second.Go(func() {
				secondFetched = download(two, func(p Progress) {
					if p.Waiting {
						hasWaited = true
						close(waiting)
					}
				})
			})
			select { // this call holds the first client up while it has the lock
			case <-waiting:
			case <-time.After(20 * time.Second):
			}
		})
	})
	second.Wait()
	if sum := fetched + secondFetched; sum != int64(len(files["model.safetensors"])) {
		t.Errorf("fetched %d bytes together, the file has %d", sum, len(files["model.safetensors"]))
	}
	if !hasWaited {
		t.Error("nobody was told about the waiting")
	}
}

func TestOffline(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	c := newClient(t, s)
	off := c.cfg
	off.Offline = true
	offline := clientWith(t, off)
	if _, err := offline.Resolve(t.Context(), "org/model", Options{}); !errors.Is(err, ErrNotCached) || !errors.Is(err, ErrOffline) {
		t.Errorf("empty cache: %v", err)
	}
	if _, err := c.Download(t.Context(), model, Options{Include: []string{"config.json"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := offline.Resolve(t.Context(), "org/model", Options{}); !errors.Is(err, ErrNotCached) || !strings.Contains(err.Error(), "whole") {
		t.Errorf("part of the files: %v", err)
	}
	if _, err := c.Resolve(t.Context(), "org/model@main", Options{}); err != nil {
		t.Fatal(err)
	}
	before := len(s.Requests())
	snap, err := offline.Resolve(t.Context(), "org/model", Options{})
	if err != nil || !errors.Is(snap.Unchecked, ErrOffline) {
		t.Errorf("all files: %v, %v", err, snap.Unchecked)
	}
	if text := snap.Warning(); text != "" {
		t.Errorf("switched off on purpose, and warned: %s", text)
	}
	wantFiles(t, snap, files, "config.json", "empty.txt", "model.safetensors", "sub/notes.txt", "tokenizer.json")
	if len(s.Requests()) != before {
		t.Error("asked the server while offline")
	}
	// The same when the server does not answer.
	s.Close()
	if snap, err = c.Resolve(t.Context(), "org/model", Options{}); err != nil || snap.Unchecked == nil {
		t.Errorf("no server: %v, %v", err, snap.Unchecked)
	}
	if text := snap.Warning(); !strings.Contains(text, "org/model") || !strings.Contains(text, snap.Unchecked.Error()) {
		t.Errorf("no server: warned %q", text)
	}
	if _, err = c.Resolve(t.Context(), "org/other", Options{}); !errors.Is(err, ErrNotCached) {
		t.Errorf("no server, not cached: %v", err)
	}
}

func TestLocalDir(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	commit := s.Add("org/model", files)
	c := newClient(t, s)
	o := Options{LocalDir: filepath.Join(t.TempDir(), "here"), Exclude: []string{"*.bin", ".gitattributes"}}
	snap, err := c.Download(t.Context(), model, o)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"README.md", "config.json", "empty.txt", "model.safetensors", "sub/notes.txt", "tokenizer.json"}
	wantFiles(t, snap, files, names...)
	if info, err := os.Lstat(filepath.Join(o.LocalDir, "config.json")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("config.json is no file: %v", err)
	}
	meta, err := os.ReadFile(filepath.Join(o.LocalDir, ".cache/huggingface/download/sub/notes.txt.metadata"))
	if lines := strings.Split(string(meta), "\n"); err != nil || len(lines) != 4 || lines[0] != commit {
		t.Errorf("metadata %q, %v", meta, err)
	}
	if snap, err = c.Download(t.Context(), model, o); err != nil || snap.Fetched != 0 {
		t.Errorf("again: fetched %d, %v", snap.Fetched, err)
	}
	// Files of another commit take the place of what was downloaded, but not of what was changed.
	// With Overwrite a file that was changed is fetched again; a symbolic link is replaced, not followed.
	outside := filepath.Join(t.TempDir(), "precious")
	os.WriteFile(outside, []byte("precious"), 0o600)
	changed := filepath.Join(o.LocalDir, "tokenizer.json")
	os.WriteFile(changed, noise(7, 20_000), 0o600)
	later := time.Now().Add(time.Minute)
	os.Chtimes(changed, later, later)
	if _, err := c.Download(t.Context(), model, o); fault.SettingOf(err) != "local_dir" || !strings.Contains(err.Error(), changed+" is there already") {
		t.Errorf("over a file that was changed: %v", err)
	}
	if got, _ := os.ReadFile(changed); !bytes.Equal(got, noise(7, 20_000)) {
		t.Error("a file that was changed was replaced")
	}
	os.Remove(filepath.Join(o.LocalDir, "config.json"))
	os.Symlink(outside, filepath.Join(o.LocalDir, "config.json"))
	o.Overwrite = true
	if snap, err = c.Download(t.Context(), model, o); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, snap, files, names...)
	if got, _ := os.ReadFile(outside); string(got) != "precious" {
		t.Error("wrote through a symbolic link")
	}
	o.Overwrite = false
	files["tokenizer.json"] = noise(8, 20_001)
	s.Add("org/model", files)
	if snap, err = c.Download(t.Context(), model, o); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, snap, files, names...)
}

// TestLocalNames: a repository cannot put files into the .git of the folder that it is downloaded to, nor a journal that
// the next write there would act on, nor a record of what is there.
func TestLocalNames(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]string{
		".git/config": "git's", "sub/.GIT/hooks/post-checkout": "git's", ".git": "git's",
		".set.lentil.tmp": "unfinished", "sub/.SET.lentil.TMP": "unfinished", ".set.0123abcd.lentil.tmp/a.json": "unfinished",
		".cache/huggingface/download/a.json.metadata": "records", ".Cache/HuggingFace/lentil-upload.json": "records",
		".cache/huggingface": "records", ".cache": "records", ".lentil.json": "record of", "sub/.Lentil.json": "record of",
	} {
		s := newServer(t)
		s.Add("org/model", map[string][]byte{"a.json": []byte("{}"), name: []byte("x")})
		c, folder := newClient(t, s), t.TempDir()
		if _, err := c.Download(t.Context(), model, Options{LocalDir: folder}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Lstat(filepath.Join(folder, name)); err == nil && info.Mode().IsRegular() {
			t.Errorf("%s is there", name)
		}
		if _, err := c.Download(t.Context(), model, Options{LocalDir: folder, Exclude: []string{name}}); err != nil {
			t.Errorf("without %s: %v", name, err)
		}
		if _, err := c.Download(t.Context(), model, Options{}); err != nil {
			t.Errorf("%s in the cache: %v", name, err)
		}
	}
}

func TestNoSymlinks(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	cfg := newClient(t, s).cfg
	cfg.NoSymlinks = true
	c := clientWith(t, cfg)
	snap, err := c.Download(t.Context(), model, Options{Include: []string{"*.json"}})
	if err != nil {
		t.Fatal(err)
	}
	wantFiles(t, snap, files, "config.json", "tokenizer.json")
	if info, err := os.Lstat(filepath.Join(snap.Dir, "config.json")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("config.json is no file: %v", err)
	}
	if snap, err = c.Download(t.Context(), model, Options{Include: []string{"*.json"}}); err != nil || snap.Fetched != 0 {
		t.Errorf("again: fetched %d, %v", snap.Fetched, err)
	}
}

// TestLinkTricks puts symbolic links where folders of the cache should be.
func TestLinkTricks(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	commit := s.Add("org/model", modelFiles())
	for _, folder := range []string{"blobs", "snapshots", "snapshots/" + commit, "snapshots/" + commit + "/sub", "trees"} {
		c := newClient(t, s)
		outside := t.TempDir()
		path := filepath.Join(c.cfg.Cache, "models--org--model", folder)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.Symlink(outside, path); err != nil {
			t.Fatal(err)
		}
		_, err := c.Download(t.Context(), model, Options{Include: []string{"sub/*"}})
		if err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: %v", folder, err)
		}
		if found, _ := os.ReadDir(outside); len(found) > 0 {
			t.Errorf("%s: wrote %s outside", folder, found[0].Name())
		}
	}
}

// TestHostileLists serves lists of files that would do harm.
func TestHostileLists(t *testing.T) {
	t.Parallel()
	const id = "0123456789012345678901234567890123456789"
	file := func(path string) string {
		return fmt.Sprintf(`{"type":"file","path":%q,"size":3,"oid":%q}`, path, id)
	}
	tests := []struct{ list, want string }{
		{file("../up.json"), "climbs"},
		{file("a/../../up.json"), "climbs"},
		{file("/etc/passwd"), "absolute"},
		{file(`C:\up.json`), "backslash"},
		{file("C:up.json"), "colon"},
		{file(`..\up.json`), "backslash"},
		{file("a//b.json"), "empty part"},
		{file("./b.json"), "empty part"},
		{file("CON.json"), "reserved"},
		{file("a/nul"), "reserved"},
		{file("a."), "dot or a space"},
		{file(strings.Repeat("a", 300)), "too long"},
		{`{"type":"file","path":"a\u0000b","size":3,"oid":"` + id + `"}`, "control character"},
		{`{"type":"file","path":"","size":3,"oid":"` + id + `"}`, "is empty"},
		{file("a.json") + "," + file("a.json"), "twice"},
		{file("a") + "," + file("a/b.json"), "as a file and as a folder"},
		{`{"type":"file","path":"a.json","size":-1,"oid":"` + id + `"}`, "bytes"},
		{`{"type":"file","path":"a.json","size":3,"oid":"../../x"}`, "hash"},
		{`{"type":"file","path":"a.json","size":3,"oid":"` + id + `","lfs":{"oid":"../x","size":3}}`, "SHA-256"},
		{`{"type":"file","path":"a.json","size":9e99,"oid":"` + id + `"}`, "hub answers"},
		{`"nonsense"`, "hub answers"},
	}
	for _, tt := range tests {
		s := newServer(t)
		s.Add("org/model", modelFiles())
		s.Misbehave(hubtest.Fault{Path: "/tree/", Status: 200, Body: "[" + tt.list + "]"})
		c := newClient(t, s)
		_, err := c.Download(t.Context(), model, Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60s: got %v, want %q", tt.list, err, tt.want)
		}
	}
}

// TestLyingSizes serves files of other sizes than the list says.
func TestLyingSizes(t *testing.T) {
	t.Parallel()
	const list = `[{"type":"file","path":"model.safetensors","size":%d,"oid":"0123456789012345678901234567890123456789","lfs":{"oid":%q,"size":%[1]d}}]`
	for _, size := range []int{100, 16*testChunk + 18, 1 << 40} {
		s := newServer(t)
		s.Add("org/model", modelFiles())
		s.Misbehave(hubtest.Fault{Path: "/tree/", Status: 200, Body: fmt.Sprintf(list, size, s.Files("org/model")["model.safetensors"].ETag())})
		c := newClient(t, s)
		_, err := c.Download(t.Context(), model, Options{})
		if err == nil || !strings.Contains(err.Error(), "bytes") {
			t.Errorf("size %d: %v", size, err)
		}
		if _, err := os.Stat(filepath.Join(c.cfg.Cache, "models--org--model", "snapshots")); err == nil {
			t.Errorf("size %d: there is a snapshot", size)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Add("org/model", modelFiles())
	s.Misbehave(hubtest.Fault{Path: "/object/", PerSecond: 200_000})
	ctx, cancel := context.WithCancel(t.Context())
	c := newClient(t, s)
	_, err := c.Download(ctx, model, Options{Include: []string{"*.safetensors"}, Progress: func(p Progress) {
		if p.Done > 50_000 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	files["odd [1]*.txt"] = []byte("odd")
	commit := s.Add("datasets/org/data", files)
	c := newClient(t, s)
	data := Repo{Dataset, "org/data"}
	off := c.cfg
	off.Offline = true
	if _, err := clientWith(t, off).List(t.Context(), data, ""); !errors.Is(err, ErrNotCached) {
		t.Errorf("offline, empty cache: %v", err)
	}
	l, err := c.List(t.Context(), data, "")
	if err != nil || l.Commit != commit || len(l.Files) != len(files) || l.Unchecked != nil {
		t.Fatalf("%+v, %v", l, err)
	}
	if n := contentRequests(s); n != 0 {
		t.Errorf("%d files were fetched", n)
	}
	snap, err := c.Download(t.Context(), data, Options{Include: []string{Exactly("odd [1]*.txt")}})
	if err != nil {
		t.Fatal(err)
	}
	wantFiles(t, snap, files, "odd [1]*.txt")
	again, err := clientWith(t, off).List(t.Context(), data, "")
	if err != nil || !slices.Equal(again.Files, l.Files) || !errors.Is(again.Unchecked, ErrOffline) {
		t.Errorf("offline: %+v, %v", again, err)
	}
	// A cache that an older program filled has no list of files.
	if err := os.RemoveAll(filepath.Join(c.cfg.Cache, "datasets--org--data", "trees")); err != nil {
		t.Fatal(err)
	}
	if again, err = clientWith(t, off).List(t.Context(), data, ""); err != nil || len(again.Files) != 1 || again.Files[0].Path != "odd [1]*.txt" {
		t.Errorf("offline, without a list: %+v, %v", again, err)
	}
}

// contentRequests counts the requests for contents of files.
func contentRequests(s *hubtest.Server) int {
	return s.Count("GET", "/object/") + s.Count("GET", "/resolve/")
}
