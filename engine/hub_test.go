package engine_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/hub/hubtest"
)

// server keeps the demo's model as org/tiny, and is the hub for the time of the test.
func server(t *testing.T) *hubtest.Server {
	t.Helper()
	s := hubtest.New()
	t.Cleanup(s.Close)
	for name, value := range map[string]string{
		"HF_HOME": t.TempDir(), "HF_HUB_OFFLINE": "", "HF_HUB_CACHE": "", "HUGGINGFACE_HUB_CACHE": "", "HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "",
		"HF_TOKEN_PATH": "", "HF_HUB_DISABLE_PROGRESS_BARS": "", "HF_ENDPOINT": s.URL,
	} {
		t.Setenv(name, value)
	}
	files := map[string][]byte{}
	dir := folder(t)
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = text
	}
	s.Add("org/tiny", files)
	return s
}

// TestRepository opens a model of the hub, and tells how its download comes along.
func TestRepository(t *testing.T) {
	server(t)
	var began, ended []string
	var bytes int64
	var warned []string
	o := engine.Options{
		Download: func(repo string) (func(hub.Progress), func()) {
			began = append(began, repo)
			return func(p hub.Progress) { bytes = p.AllDone }, func() { ended = append(ended, repo) }
		},
		Warn: func(text string) { warned = append(warned, text) },
	}
	if tok, err := engine.OpenTokenizer(t.Context(), "org/tiny", o); err != nil || len(encode(t, tok, "protein", false)) == 0 {
		t.Fatalf("tokenizer: %v", err)
	}
	if len(began) != 1 || len(ended) != 1 || bytes == 0 || bytes > 1<<20 {
		t.Errorf("the tokenizer: begun %q, ended %q, %d bytes", began, ended, bytes)
	}
	answer(t, open(t, "org/tiny", o))
	if bytes < 5<<20 || began[len(began)-1] != "org/tiny" {
		t.Errorf("the model: begun %q, %d bytes", began, bytes)
	}
	if len(warned) != 0 {
		t.Errorf("warnings: %q", warned)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	answer(t, open(t, "org/tiny@main", o))
	if _, err := engine.Open(t.Context(), "org/other", o); fault.SettingOf(err) != "model" || !strings.HasPrefix(err.Error(), "model org/other: no folder or file here, and as a repository: ") {
		t.Errorf("not cached, offline: %v", err)
	}
	t.Setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
	t.Setenv("HF_HUB_OFFLINE", "")
	began = nil
	if _, err := engine.Find(t.Context(), "org/tiny", hub.ModelPatterns, o); err != nil || began != nil {
		t.Errorf("quiet: %v, begun %q", err, began)
	}
}

// TestRepositoryFails tells a name that does not exist from a server that is out of order, and uses
// what is there where it can.
func TestRepositoryFails(t *testing.T) {
	s := server(t)
	if _, err := engine.Find(t.Context(), "org/none", hub.ModelPatterns, engine.Options{}); fault.SettingOf(err) != "model" || !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("no such repository: %v", err)
	}
	stop := s.Misbehave(hubtest.Fault{Path: "/api/", Status: http.StatusBadRequest})
	_, err := engine.Find(t.Context(), "org/tiny", hub.ModelPatterns, engine.Options{})
	stop()
	if err == nil || errors.As(err, new(*fault.Mistake)) || !strings.HasPrefix(err.Error(), "org/tiny: no folder or file here") {
		t.Errorf("a server out of order: %v", err)
	}
	path, err := engine.Find(t.Context(), "org/tiny", hub.ModelPatterns, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Misbehave(hubtest.Fault{Path: "/revision/", Status: http.StatusServiceUnavailable}))
	var warned []string
	again, err := engine.Find(t.Context(), "org/tiny", hub.ModelPatterns, engine.Options{Warn: func(text string) { warned = append(warned, text) }})
	if err != nil || again != path || len(warned) != 1 || !strings.Contains(warned[0], "the cached one is used") {
		t.Errorf("%s, %v, warned %q, want %s and a warning", again, err, warned, path)
	}
	t.Setenv("HF_ENDPOINT", "://")
	if _, err := engine.Find(t.Context(), "org/tiny", hub.ModelPatterns, engine.Options{}); !errors.As(err, new(*fault.Mistake)) {
		t.Errorf("no address of a hub: %v", err)
	}
}

// TestAddress: an address is the model, the folder or the file that it names, wherever a name is taken.
func TestAddress(t *testing.T) {
	s := server(t)
	files := map[string][]byte{"README.md": []byte("x")}
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} {
		text, err := os.ReadFile(filepath.Join(folder(t), name))
		if err != nil {
			t.Fatal(err)
		}
		files["8bit/"+name] = text
	}
	s.Add("org/many", files)
	answer(t, open(t, s.URL+"/org/tiny", engine.Options{}))
	answer(t, open(t, strings.TrimPrefix(s.URL, "http://")+"/org/tiny/tree/main/", engine.Options{}))
	answer(t, open(t, "hf://org/tiny@main", engine.Options{}))
	answer(t, open(t, s.URL+"/org/many/tree/main/8bit", engine.Options{}))
	path, err := engine.Find(t.Context(), s.URL+"/org/many/resolve/main/8bit/config.json?download=true", hub.ModelPatterns, engine.Options{})
	if err != nil || filepath.Base(filepath.Dir(path)) != "8bit" || filepath.Base(path) != "config.json" {
		t.Errorf("a file: %s, %v", path, err)
	}
	for name, want := range map[string]string{
		s.URL + "/org/many/blob/main/none.gguf": "none of them fits none.gguf", s.URL + "/datasets/org/tiny": "is a dataset, expected a model",
		"https://example.org/org/tiny": "example.org is not the hub",
	} {
		if _, err := engine.Find(t.Context(), name, hub.ModelPatterns, engine.Options{}); fault.SettingOf(err) != "model" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// TestNoNetwork tells what can be done without one, and nothing of sockets.
func TestNoNetwork(t *testing.T) {
	s := server(t)
	s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	_, err := engine.Find(t.Context(), "org/tiny", hub.ModelPatterns, engine.Options{})
	want := "org/tiny: no folder or file here, and as a repository: no network: " + host + " cannot be reached, and org/tiny is not in the cache\n" +
		"Download it where there is a network: lentil download org/tiny\nOr give --model a model that is on this machine."
	if got := fault.Text(err, func(fault.Setting) string { return "--model" }); got != want || !errors.Is(err, hub.ErrNotCached) {
		t.Errorf("%s\nwant %s", got, want)
	}
}
