package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/hub/hubtest"
)

// hubHome is one user's view of the test hub: an environment with a cache.
type hubHome struct {
	server *hubtest.Server
	dir    string
	env    []string
}

// newHub starts a hub; each home on it has a cache and a token of its own.
func newHub(t *testing.T) *hubtest.Server {
	t.Helper()
	s := hubtest.New()
	t.Cleanup(s.Close)
	return s
}

func newHome(t *testing.T, s *hubtest.Server) hubHome {
	t.Helper()
	h := hubHome{s, t.TempDir(), nil}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "HF_") && !strings.HasPrefix(v, "HUGGING") {
			h.env = append(h.env, v)
		}
	}
	h.env = append(h.env, "HF_ENDPOINT="+s.URL, "HF_HOME="+h.dir, "HF_HUB_DISABLE_XET=1",
		"HF_HUB_DISABLE_TELEMETRY=1", "HF_HUB_DISABLE_PROGRESS_BARS=1", "HF_HUB_DISABLE_UPDATE_CHECK=1", "NO_PROXY=*")
	return h
}

func (h hubHome) cache() string { return filepath.Join(h.dir, "hub") }

// lentil makes a command of ours in this home.
func (h hubHome) lentil(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = h.env
	return cmd
}

// python makes a command of peer/hubpeer.py in this home.
func (h hubHome) python(args ...string) *exec.Cmd {
	cmd := exec.Command("../.interop/venv/bin/python", append([]string{"peer/hubpeer.py"}, args...)...)
	cmd.Env = h.env
	return cmd
}

// ask runs the Python peer and reads its answer.
func (h hubHome) ask(t *testing.T, answer any, args ...string) {
	t.Helper()
	out := command(t, h.python(args...))
	if err := json.Unmarshal([]byte(out), answer); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// fetched is what a download of ours tells.
type fetched struct {
	Path    string `json:"path"`
	Commit  string `json:"commit"`
	Bytes   int64  `json:"bytes"`
	Fetched int64  `json:"fetched_bytes"`
}

func (h hubHome) download(t *testing.T, args ...string) (f fetched) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "figures.json")
	command(t, h.lentil(t, append([]string{"download", "--json", path}, args...)...))
	readJSON(t, path, &f)
	return f
}

func hubNoise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// hubModel is a model with large and small files, and one below a folder.
func hubModel() map[string][]byte {
	return map[string][]byte{
		"config.json": []byte(`{"model_type": "llama"}`), "tokenizer.json": hubNoise(1, 50_000), "empty.txt": {},
		"model-00001-of-00002.safetensors": hubNoise(2, 20_000_000), "model-00002-of-00002.safetensors": hubNoise(3, 300_000),
		"deep/er/notes.txt": []byte("notes"), "README.md": []byte("---\nlicense: mit\n---\n# Model\n"),
	}
}

func sameFiles(t *testing.T, dir string, want map[string][]byte) {
	t.Helper()
	for name, data := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s in %s is not what the hub has: %v", name, dir, err)
		}
	}
}

// cacheLayout lists a cache: each path with the target of a link, or the size of a file, or its text where
// that is the point. Lock files and the tag for backup programs are left out.
func cacheLayout(t *testing.T, cache string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(cache, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "CACHEDIR.TAG" || strings.HasSuffix(path, ".lock") {
			return err
		}
		rel, _ := filepath.Rel(cache, path)
		if e.Type()&fs.ModeSymlink != 0 {
			out[rel], err = os.Readlink(path)
			return err
		}
		data, err := os.ReadFile(path)
		if out[rel] = fmt.Sprintf("%d bytes", len(data)); strings.Contains(rel, "/refs/") {
			out[rel] = string(data)
		}
		if strings.Contains(rel, "/trees/") {
			var v any
			err = json.Unmarshal(data, &v)
			out[rel] = fmt.Sprint(v)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// contentRequests counts the requests for contents of files.
func contentRequests(s *hubtest.Server) int {
	return s.Count("GET", "/object/") + s.Count("GET", "/resolve/")
}

// TestHubCache lets each program find complete what the other has downloaded.
func TestHubCache(t *testing.T) {
	need(t, "mlx-lm")
	s, files := newHub(t), hubModel()
	s.Add("org/mlx-model", files)
	s.Add("datasets/org/data", map[string][]byte{"train.jsonl": hubNoise(4, 100_000)})
	ours, theirs := newHome(t, s), newHome(t, s)

	f := ours.download(t, "--all", "org/mlx-model")
	if f.Fetched != f.Bytes {
		t.Errorf("fetched %d of %d bytes", f.Fetched, f.Bytes)
	}
	sameFiles(t, f.Path, files)
	ours.download(t, "datasets/org/data")
	var path string
	theirs.ask(t, &path, "download", "org/mlx-model")
	sameFiles(t, path, files)
	theirs.ask(t, &path, "download", "org/data", "dataset")
	if a, b := cacheLayout(t, ours.cache()), cacheLayout(t, theirs.cache()); !reflect.DeepEqual(a, b) {
		t.Errorf("ours:\n%v\ntheirs:\n%v", a, b)
	}

	// Each on the other's cache: nothing is fetched again.
	before := contentRequests(s)
	ours.ask(t, &path, "download", "org/mlx-model")
	if path != f.Path {
		t.Errorf("Python finds %s, ours is %s", path, f.Path)
	}
	ours.ask(t, &path, "offline", "org/mlx-model")
	if f := theirs.download(t, "--all", "org/mlx-model"); f.Fetched != 0 {
		t.Errorf("fetched %d bytes that Python had", f.Fetched)
	}
	offline := theirs
	offline.env = append(slices.Clone(theirs.env), "HF_HUB_OFFLINE=1")
	if f := offline.download(t, "--all", "org/mlx-model"); f.Fetched != 0 || !strings.HasPrefix(f.Path, theirs.dir) {
		t.Errorf("offline: %+v", f)
	}
	if n := contentRequests(s) - before; n != 0 {
		t.Errorf("%d files were fetched again", n)
	}

	// A part of the files is not taken for all of them, by either.
	part := newHome(t, s)
	part.download(t, "org/mlx-model", "--include", "*.json")
	if out, err := part.python("offline", "org/mlx-model").CombinedOutput(); err == nil || !bytes.Contains(out, []byte("IncompleteSnapshotError")) {
		t.Errorf("Python takes a part for the whole: %v\n%s", err, out)
	}
	part.ask(t, &path, "offline", "org/mlx-model", "*.json")
}

// TestHubScan compares what both programs see in a cache, and what is left after deleting.
func TestHubScan(t *testing.T) {
	need(t, "mlx-lm")
	s, files := newHub(t), hubModel()
	first := s.Add("org/mlx-model", files)
	home := newHome(t, s)
	home.download(t, "org/mlx-model")
	files["config.json"] = []byte("{}")
	second := s.Add("org/mlx-model", files)
	s.AddRef("org/mlx-model", "v2", second)
	home.download(t, "org/mlx-model")
	home.download(t, "org/mlx-model", "--revision", "v2")
	s.Add("datasets/org/mlx-data", map[string][]byte{"a.json": []byte("{}")})
	home.ask(t, new(string), "download", "org/mlx-data", "dataset")

	type scan struct {
		Bytes      int64
		Repos      any
		Warnings   []string
		Incomplete []string
	}
	compare := func(repos int) {
		t.Helper()
		var a, b scan
		path := filepath.Join(t.TempDir(), "scan.json")
		command(t, home.lentil(t, "scan-cache", "--json", path))
		readJSON(t, path, &a)
		home.ask(t, &b, "scan")
		if !reflect.DeepEqual(a.Repos, b.Repos) || a.Bytes != b.Bytes || len(b.Warnings)+len(b.Incomplete)+len(a.Incomplete) > 0 {
			t.Errorf("ours:\n%+v\ntheirs:\n%+v", a, b)
		}
		if list, _ := a.Repos.([]any); len(list) != repos {
			t.Errorf("%d repositories, want %d", len(list), repos)
		}
	}
	compare(2)

	// mlx-lm's manage and ours print the same.
	manage := exec.Command("../.interop/venv/bin/python", "-m", "mlx_lm", "manage", "--scan")
	manage.Env = home.env
	if a, b := command(t, home.lentil(t, "manage", "--scan")), command(t, manage); a != b {
		t.Errorf("ours:\n%s\nmlx-lm's:\n%s", a, b)
	}

	command(t, home.lentil(t, "cache", "delete", "--yes", first))
	compare(2)
	command(t, home.python("delete", second))
	compare(1)
	command(t, home.lentil(t, "cache", "delete", "--yes", "datasets/org/mlx-data"))
	compare(0)
}

// TestHubShared starts both programs on one cache at the same time: the second waits for the first.
func TestHubShared(t *testing.T) {
	need(t, "mlx-lm")
	for _, oursFirst := range []bool{true, false} {
		s := newHub(t)
		data := hubNoise(5, 4_000_000)
		s.Add("org/model", map[string][]byte{"model.safetensors": data})
		stop := s.Misbehave(hubtest.Fault{Path: "/object/", PerSecond: 1_500_000})
		home := newHome(t, s)
		first, second := home.lentil(t, "download", "org/model"), home.python("download", "org/model")
		if !oursFirst {
			first, second = second, first
		}
		start(t, first)
		waitFor(t, "the download to begin", func() bool { return s.Count("GET", "/object/") == 1 })
		out := command(t, second)
		stop()
		if err := first.Wait(); err != nil {
			t.Errorf("ours first %v: %v", oursFirst, err)
		}
		if n := s.Count("GET", "/object/"); n != 1 {
			t.Errorf("ours first %v: the file was fetched %d times", oursFirst, n)
		}
		dir := regexp.MustCompile(`/[^"\s]+`).FindString(out)
		sameFiles(t, dir, map[string][]byte{"model.safetensors": data})
	}
}

func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestHubKilledDownload kills each program in the middle of a download; the same command and the other program
// go on with the cache as it is.
func TestHubKilledDownload(t *testing.T) {
	need(t, "mlx-lm")
	s, files := newHub(t), hubModel()
	s.Add("org/model", files)
	big := int64(len(files["model-00001-of-00002.safetensors"]))
	kill := func(home hubHome, cmd *exec.Cmd) (kept int64) {
		t.Helper()
		stop := s.Misbehave(hubtest.Fault{Path: "/object/", PerSecond: 2_000_000})
		defer stop()
		start(t, cmd)
		var path string
		waitFor(t, "a part of the file", func() bool {
			found, _ := filepath.Glob(filepath.Join(home.cache(), "models--org--model/blobs/*.incomplete"))
			for _, path = range found {
				if info, err := os.Stat(path); err == nil && info.Size() > 1_000_000 {
					return true
				}
			}
			return false
		})
		cmd.Process.Kill()
		cmd.Wait() // it was killed
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if found, _ := filepath.Glob(filepath.Join(home.cache(), "models--org--model/snapshots/*/model-00001*")); len(found) > 0 {
			t.Errorf("half a file has its name: %s", found[0])
		}
		return info.Size()
	}

	home := newHome(t, s)
	kept := kill(home, home.lentil(t, "download", "--all", "org/model"))
	f := home.download(t, "--all", "org/model")
	if f.Fetched > f.Bytes-kept {
		t.Errorf("fetched %d of %d bytes although %d were kept", f.Fetched, f.Bytes, kept)
	}
	sameFiles(t, f.Path, files)

	home = newHome(t, s)
	kill(home, home.lentil(t, "download", "--all", "org/model"))
	var path string
	home.ask(t, &path, "download", "org/model")
	sameFiles(t, path, files)
	if f := home.download(t, "--all", "org/model"); f.Fetched != 0 {
		t.Errorf("fetched %d bytes after Python had finished", f.Fetched)
	}
	if found, _ := filepath.Glob(filepath.Join(home.cache(), "models--org--model/blobs/*.incomplete")); len(found) > 0 {
		t.Errorf("left behind: %s", found)
	}

	home = newHome(t, s)
	kill(home, home.python("download", "org/model"))
	if f = home.download(t, "--all", "org/model"); f.Fetched < big {
		t.Errorf("fetched %d bytes: less than the big file", f.Fetched)
	}
	sameFiles(t, f.Path, files)
	home.ask(t, &path, "offline", "org/model")
}

// uploaded is what an upload of ours tells.
type uploaded struct {
	Commit    string   `json:"commit"`
	Files     []string `json:"files"`
	Unchanged []string `json:"unchanged"`
	Sent      int64    `json:"sent_bytes"`
}

func (h hubHome) upload(t *testing.T, args ...string) (u uploaded) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "figures.json")
	command(t, h.lentil(t, append([]string{"upload", "--no-card", "--json", path}, args...)...))
	readJSON(t, path, &u)
	return u
}

func hubFolder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestHubUpload lets each program find complete what the other has uploaded, in one piece and in parts.
func TestHubUpload(t *testing.T) {
	need(t, "mlx-lm")
	for _, partSize := range []int{0, 5_000_000} {
		s, files := newHub(t), hubModel()
		s.PartSize = partSize
		home := newHome(t, s)
		home.env = append(home.env, "HF_TOKEN="+hubtest.Token)
		dir := hubFolder(t, files)

		u := home.upload(t, "--path", dir, "--upload-repo", "org/ours")
		if len(u.Files) != len(files) || u.Sent != 20_300_000 {
			t.Errorf("uploaded %d files, sent %d bytes", len(u.Files), u.Sent)
		}
		commits := s.Commits("org/ours")
		command(t, home.python("upload", dir, "org/ours"))
		if n := s.Commits("org/ours"); n != commits {
			t.Errorf("Python made %d more commits of what was there", n-commits)
		}
		var path string
		home.ask(t, &path, "download", "org/ours")
		sameFiles(t, path, files)

		command(t, home.python("upload", dir, "org/theirs"))
		if u := home.upload(t, "--path", dir, "--upload-repo", "org/theirs"); u.Commit != "" || u.Sent != 0 || len(u.Unchanged) != len(files) {
			t.Errorf("after Python's upload: %+v", u)
		}
		sameFiles(t, home.download(t, "--all", "org/theirs").Path, files)
	}
}

// TestHubKilledUpload kills an upload in the middle; the same command finishes it.
func TestHubKilledUpload(t *testing.T) {
	need(t, "mlx-lm")
	s, files := newHub(t), hubModel()
	s.PartSize = 1_000_000
	home := newHome(t, s)
	home.env = append(home.env, "HF_TOKEN="+hubtest.Token)
	dir := hubFolder(t, files)
	stop := s.Misbehave(hubtest.Fault{Method: "PUT", Delay: 200 * time.Millisecond})
	cmd := home.lentil(t, "upload", "--no-card", "--path", dir, "--upload-repo", "org/new")
	start(t, cmd)
	waitFor(t, "some parts", func() bool { return s.Count("PUT", "/part/") >= 10 })
	cmd.Process.Kill()
	cmd.Wait() // it was killed
	stop()
	if n := len(s.Files("org/new")); n != 1 {
		t.Fatalf("%d files are there after the kill", n)
	}
	if u := home.upload(t, "--path", dir, "--upload-repo", "org/new"); u.Sent > 14_300_000 || len(u.Files) != len(files) {
		t.Errorf("sent %d bytes again of 20300000, %d files", u.Sent, len(u.Files))
	}
	var path string
	home.ask(t, &path, "download", "org/new")
	sameFiles(t, path, files)
}

// TestHubLogin keeps the token where the other program finds it.
func TestHubLogin(t *testing.T) {
	need(t, "mlx-lm")
	s := newHub(t)
	home := newHome(t, s)
	cmd := home.lentil(t, "login")
	cmd.Stdin = strings.NewReader(hubtest.Token + "\n")
	command(t, cmd)
	var name string
	if home.ask(t, &name, "whoami"); name != hubtest.User {
		t.Errorf("Python is %q", name)
	}
	home = newHome(t, s)
	if home.ask(t, &name, "sign_in", hubtest.Token); name != hubtest.Token {
		t.Errorf("Python's token is %q", name)
	}
	dir := hubFolder(t, map[string][]byte{"a.json": []byte("{}")})
	if u := home.upload(t, "--path", dir, "--upload-repo", "mine"); len(u.Files) != 1 {
		t.Errorf("uploaded %+v", u)
	}
}

// TestHubLocalDir goes on with the other program's folder.
func TestHubLocalDir(t *testing.T) {
	need(t, "mlx-lm")
	s, files := newHub(t), hubModel()
	s.Add("org/model", files)
	home := newHome(t, s)
	for _, oursFirst := range []bool{true, false} {
		dir := filepath.Join(t.TempDir(), "here")
		var path string
		if !oursFirst {
			home.ask(t, &path, "download", "org/model", "model", "", dir)
		} else {
			home.download(t, "--all", "org/model", "--local-dir", dir)
		}
		sameFiles(t, dir, files)
		before := contentRequests(s)
		if oursFirst {
			home.ask(t, &path, "download", "org/model", "model", "", dir)
		} else if f := home.download(t, "--all", "org/model", "--local-dir", dir); f.Fetched != 0 {
			t.Errorf("fetched %d bytes that Python had", f.Fetched)
		}
		if n := contentRequests(s) - before; n != 0 {
			t.Errorf("ours first %v: %d files were fetched again", oursFirst, n)
		}
	}
}
