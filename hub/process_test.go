//go:build unix

package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lentil-lm/lentil/hub/hubtest"
)

// These tests start this test's own program again, to have processes of their own: some to share the work, some to
// be killed in the middle of it, some with little room.

// A task is what a child process does.
type task struct {
	Config   Config
	Download *Repo // into the cache
	Folder   string
	Upload   *Repo // of Folder
	MaxFile  uint64
	UID      int // 0: that of the test
}

// result is what a child tells on its standard output.
type result struct {
	Snapshot Snapshot
	Sent     int64
	Error    string
}

const taskEnv = "LENTIL_HUB_TEST_TASK"

func TestMain(m *testing.M) {
	text := os.Getenv(taskEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	var t task
	err := json.Unmarshal([]byte(text), &t)
	var r result
	if err == nil {
		r, err = t.run()
	}
	if err != nil {
		r.Error = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(r)
}

func (t task) run() (r result, err error) {
	if t.MaxFile > 0 {
		signal.Ignore(syscall.SIGXFSZ) // a write beyond the limit fails, as on a full disk
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: t.MaxFile, Max: t.MaxFile}); err != nil {
			return r, err
		}
	}
	if t.UID > 0 {
		if err := syscall.Setuid(t.UID); err != nil {
			return r, err
		}
	}
	c, err := New(t.Config)
	if err != nil {
		return r, err
	}
	c.firstWait, c.chunk = time.Millisecond, testChunk
	if t.Download != nil {
		r.Snapshot, err = c.Download(context.Background(), *t.Download, Options{LocalDir: t.Folder})
		return r, err
	}
	sent, err := c.Upload(context.Background(), UploadOptions{Folder: t.Folder, Repo: *t.Upload})
	r.Sent = sent.Sent
	return r, err
}

type child struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func start(t *testing.T, work task) *child {
	t.Helper()
	text, err := json.Marshal(work)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), taskEnv+"="+string(text), "NO_PROXY=*")
	c.cmd.Stdout, c.cmd.Stderr = &c.out, os.Stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.cmd.Process.Kill() })
	return c
}

// wait gives what the child told at its end.
func (c *child) wait(t *testing.T) (r result) {
	t.Helper()
	if err := c.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(c.out.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, c.out.Bytes())
	}
	return r
}

func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait() // it was killed
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// finals lists the files of a cache that have a final name, but are not what the server has.
func finals(t *testing.T, cache string, s *hubtest.Server) (wrong []string) {
	t.Helper()
	want := map[string]int{}
	for _, e := range s.Files("org/model") {
		want[e.ETag()] = len(e.Data)
	}
	for _, folder := range []string{"blobs", "snapshots"} {
		filepath.WalkDir(filepath.Join(cache, "models--org--model", folder), func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, ".incomplete") {
				return nil
			}
			target, err := filepath.EvalSymlinks(path)
			if err == nil {
				var info os.FileInfo
				info, err = os.Stat(target)
				if size, ok := want[filepath.Base(target)]; err == nil && ok && info.Size() == int64(size) {
					return nil
				}
			}
			wrong = append(wrong, path)
			return nil
		})
	}
	return wrong
}

// TestProcessesShare has three processes download the same repository into the same cache: the bytes come once.
func TestProcessesShare(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	s.Misbehave(hubtest.Fault{Path: "/object/", PerSecond: 2 << 20})
	work := task{Config: Config{Endpoint: s.URL, Cache: t.TempDir(), Timeout: 5 * time.Second}, Download: &model}
	var children []*child
	for range 3 {
		children = append(children, start(t, work))
	}
	fetched, size := int64(0), int64(0)
	for _, c := range children {
		r := c.wait(t)
		if r.Error != "" {
			t.Fatal(r.Error)
		}
		fetched, size = fetched+r.Snapshot.Fetched, r.Snapshot.Bytes
		wantFiles(t, r.Snapshot, maps2(files, ".gitattributes", nil), slices.DeleteFunc(slices.Clone(r.Snapshot.Files), func(n string) bool { return n == ".gitattributes" })...)
	}
	if fetched != size || size < 1_000_000 {
		t.Errorf("fetched %d bytes together, the repository has %d", fetched, size)
	}
	wantTidy(t, work.Config.Cache)
}

// TestProcessKilled kills downloads at all stages, until one gets through; no file ever has its final name before
// it is whole, and what has come is not fetched again.
func TestProcessKilled(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	stop := s.Misbehave(hubtest.Fault{Path: "/object/", PerSecond: 1 << 20})
	work := task{Config: Config{Endpoint: s.URL, Cache: t.TempDir(), Timeout: 5 * time.Second}, Download: &model}
	blob := filepath.Join(work.Config.Cache, "models--org--model", "blobs", s.Files("org/model")["model.safetensors"].ETag())
	size := func() int64 {
		info, err := os.Stat(blob + ".incomplete")
		if err != nil {
			return 0
		}
		return info.Size()
	}
	kept := int64(0)
	for round, until := range []int64{1, 100_000, 300_000, 500_000} {
		c := start(t, work)
		waitFor(t, fmt.Sprintf("%d bytes", until), func() bool { return size() >= until })
		c.kill()
		if wrong := finals(t, work.Config.Cache, s); len(wrong) > 0 {
			t.Errorf("round %d: half a file has its name: %q", round, wrong)
		}
		if got := size(); got < kept {
			t.Errorf("round %d: %d bytes are left of %d", round, got, kept)
		} else {
			kept = got
		}
	}
	stop()
	r := start(t, work).wait(t)
	if r.Error != "" || r.Snapshot.Fetched > r.Snapshot.Bytes-kept {
		t.Errorf("fetched %d bytes of %d although %d were kept: %s", r.Snapshot.Fetched, r.Snapshot.Bytes, kept, r.Error)
	}
	if wrong := finals(t, work.Config.Cache, s); len(wrong) > 0 {
		t.Errorf("wrong: %q", wrong)
	}
	if got, err := os.ReadFile(blob); err != nil || !bytes.Equal(got, files["model.safetensors"]) {
		t.Errorf("the file is not what the server has: %v", err)
	}
	wantTidy(t, work.Config.Cache, ".unfinished.*.tmp") // what a kill may leave, and nobody takes for anything
}

// TestProcessKilledUpload kills an upload in the middle; the same command finishes it.
func TestProcessKilledUpload(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.PartSize = 50_000
	files := map[string][]byte{"model.safetensors": noise(8, 1_000_000), "config.json": []byte("{}")}
	work := task{
		Config: Config{Endpoint: s.URL, Token: hubtest.Token, Timeout: 5 * time.Second}, Folder: folderOf(t, files), Upload: &Repo{Model, "org/new"},
	}
	stop := s.Misbehave(hubtest.Fault{Method: "PUT", Delay: 30 * time.Millisecond})
	for _, parts := range []int{8, 16} { // begun, counted over all rounds
		c := start(t, work)
		waitFor(t, "some parts", func() bool { return s.Count("PUT", "/part/") >= parts })
		c.kill()
		if n := len(s.Files("org/new")); n > 1 {
			t.Fatalf("%d files are there after the kill", n)
		}
	}
	stop()
	var state stateFile
	text, err := os.ReadFile(filepath.Join(work.Folder, ".cache/huggingface/lentil-upload.json"))
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, p := range state.Parts {
		kept += len(p.ETags)
	}
	r := start(t, work).wait(t)
	if want := int64(1_000_000 - 50_000*kept); r.Error != "" || r.Sent != want || kept == 0 {
		t.Errorf("sent %d bytes after %d parts had been kept, want %d: %s", r.Sent, kept, want, r.Error)
	}
	for name, data := range files {
		if !bytes.Equal(s.Files("org/new")[name].Data, data) {
			t.Errorf("%s is not what was sent", name)
		}
	}
}

// TestProcessDiskFull downloads where files cannot grow: what has come is kept under its unfinished name, and the
// next download goes on with it.
func TestProcessDiskFull(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	for _, folder := range []string{"", filepath.Join(t.TempDir(), "model")} {
		work := task{Config: Config{Endpoint: s.URL, Cache: t.TempDir(), Timeout: 5 * time.Second}, Download: &model, Folder: folder, MaxFile: 300_000}
		r := start(t, work).wait(t)
		if !strings.Contains(r.Error, "model.safetensors") || !strings.Contains(r.Error, syscall.EFBIG.Error()) {
			t.Errorf("error %q", r.Error)
		}
		if wrong := finals(t, work.Config.Cache, s); len(wrong) > 0 {
			t.Errorf("half a file has its name: %q", wrong)
		}
		if _, err := os.Lstat(filepath.Join(folder, "model.safetensors")); folder != "" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("half a file is in the folder: %v", err)
		}
		work.MaxFile = 0
		r = start(t, work).wait(t)
		if r.Error != "" || r.Snapshot.Fetched > r.Snapshot.Bytes-200_000 {
			t.Errorf("fetched %d of %d bytes: %s", r.Snapshot.Fetched, r.Snapshot.Bytes, r.Error)
		}
		if got, err := os.ReadFile(filepath.Join(r.Snapshot.Dir, "model.safetensors")); err != nil || !bytes.Equal(got, files["model.safetensors"]) {
			t.Errorf("the file is not what the server has: %v", err)
		}
	}
}

// TestProcessReadOnly uses a cache that another program filled and that is not the process's to write to.
func TestProcessReadOnly(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	c := newClient(t, s)
	if _, err := c.Download(t.Context(), model, Options{}); err != nil {
		t.Fatal(err)
	}
	repo := filepath.Join(c.cfg.Cache, "models--org--model")
	for _, left := range []string{"trees", "refs"} {
		if err := os.RemoveAll(filepath.Join(repo, left)); err != nil {
			t.Fatal(err)
		}
	}
	work := task{Config: c.cfg, Download: &model}
	if os.Geteuid() == 0 { // may write anywhere
		work.UID = 65534 // nobody
		if err := os.Chmod(filepath.Dir(c.cfg.Cache), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mode := func(mode os.FileMode) {
		filepath.WalkDir(c.cfg.Cache, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				err = os.Chmod(path, mode)
			}
			return err
		})
	}
	mode(0o555)
	defer mode(0o755)
	r := start(t, work).wait(t)
	if r.Error != "" || r.Snapshot.Fetched != 0 {
		t.Errorf("fetched %d bytes: %s", r.Snapshot.Fetched, r.Error)
	}
	wantFiles(t, r.Snapshot, files, slices.Collect(maps.Keys(files))...)
}
