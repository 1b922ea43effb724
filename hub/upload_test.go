package hub

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/hub/hubtest"
)

// folderOf writes files into a new folder.
func folderOf(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func writer(t *testing.T, s *hubtest.Server) *Client {
	t.Helper()
	c := newClient(t, s)
	c.cfg.Token = hubtest.Token
	return c
}

func TestUpload(t *testing.T) {
	t.Parallel()
	for _, partSize := range []int{0, 100_000} {
		s, files := newServer(t), modelFiles()
		s.PartSize = partSize
		c := writer(t, s)
		extra := maps2(files, ".cache/huggingface/x", []byte("no"))
		extra[".git/config"], extra[".set.0123abcd.lentil.tmp/config.json"], extra[".set.lentil.tmp"] = []byte("no"), []byte("no"), []byte("no")
		dir := folderOf(t, extra)
		finished := map[string]bool{}
		o := UploadOptions{Folder: dir, Repo: Repo{Model, hubtest.User + "/new"}, Progress: func(p Progress) {
			finished[p.File] = finished[p.File] || p.Finished
		}}
		got, err := c.Upload(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		there := s.Files(hubtest.User + "/new")
		for name, data := range files {
			if e := there[name]; !bytes.Equal(e.Data, data) || !finished[name] {
				t.Errorf("%s is not there, or its progress not told", name)
			}
		}
		if len(there) != len(files)+1 { // and .gitattributes, which every new repository has
			t.Errorf("%d files are there, want %d", len(there), len(files)+1)
		}
		if got.Commit != s.Head(hubtest.User+"/new") || len(got.Files) != len(files) || got.URL != s.URL+"/"+hubtest.User+"/new" {
			t.Errorf("%+v", got)
		}
		for _, r := range s.Requests() {
			if r.Storage && r.Authorization != "" {
				t.Errorf("the storage was told the token: %+v", r)
			}
		}

		// Once more: nothing to do. With one file changed: only that.
		commits := s.Commits(hubtest.User + "/new")
		if got, err = c.Upload(t.Context(), o); err != nil || got.Commit != "" || got.Sent != 0 || len(got.Unchanged) != len(files) {
			t.Errorf("again: %+v, %v", got, err)
		}
		os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o600)
		if got, err = c.Upload(t.Context(), o); err != nil || !slices.Equal(got.Files, []string{"config.json"}) || got.Sent != 0 {
			t.Errorf("one changed: %+v, %v", got, err)
		}
		if n := s.Commits(hubtest.User + "/new"); n != commits+1 {
			t.Errorf("%d commits, want %d", n, commits+1)
		}
	}
}

// TestUploadLink uploads a folder by a symbolic link to it.
func TestUploadLink(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(folderOf(t, map[string][]byte{"sub/a.txt": []byte("a")}), link); err != nil {
		t.Fatal(err)
	}
	if _, err := writer(t, s).Upload(t.Context(), UploadOptions{Folder: link, Repo: Repo{Model, "org/new"}}); err != nil || string(s.Files("org/new")["sub/a.txt"].Data) != "a" {
		t.Errorf("uploaded %v, %v", s.Files("org/new"), err)
	}
}

// TestUploadLinks: links that lead out of the folder are named, and nothing is sent; those within it, and from a snapshot
// of the cache to its blobs, are files like others.
func TestUploadLinks(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), modelFiles()
	s.Add("org/model", files)
	c := writer(t, s)
	secret := folderOf(t, map[string][]byte{"id_rsa": []byte("secret")})
	dir := folderOf(t, map[string][]byte{"a.txt": []byte("a"), "sub/b.txt": []byte("b")})
	for name, to := range map[string]string{"key": filepath.Join(secret, "id_rsa"), "sub/folder": secret, "same": "a.txt", "sub/up": "../a.txt"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	o := UploadOptions{Folder: dir, Repo: Repo{Model, "org/new"}}
	_, err := c.Upload(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "key -> ") || !strings.Contains(err.Error(), "sub/folder -> ") || strings.Contains(err.Error(), "same") {
		t.Errorf("links out of the folder: %v", err)
	}
	if n := len(s.Files("org/new")); n != 0 {
		t.Errorf("%d files were sent all the same", n)
	}
	o.Exclude = []string{"key", "sub/folder"}
	got, err := c.Upload(t.Context(), o)
	if err != nil || !slices.Equal(got.Files, []string{"a.txt", "same", "sub/b.txt", "sub/up"}) {
		t.Errorf("links within the folder: %v, %v", got.Files, err)
	}

	snap, err := c.Download(t.Context(), model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Upload(t.Context(), UploadOptions{Folder: snap.Dir, Repo: Repo{Model, "org/copy"}}); err != nil {
		t.Errorf("snapshot of the cache: %v", err)
	}
	if got := s.Files("org/copy")["sub/notes.txt"].Data; !bytes.Equal(got, files["sub/notes.txt"]) {
		t.Errorf("sub/notes.txt of the cache is %q", got)
	}
	// What lies beside the folder is not in it, whatever its name begins with.
	beside := dir + "-more"
	if err := os.WriteFile(beside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Symlink(beside, filepath.Join(dir, "beside"))
	if _, err := c.Upload(t.Context(), o); err == nil || !strings.Contains(err.Error(), "beside -> ") {
		t.Errorf("a link to what is beside the folder: %v", err)
	}
}

func TestUploadToOthers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir := folderOf(t, map[string][]byte{"train.jsonl": []byte("{}\n"), "skip.txt": []byte("x")})
	o := UploadOptions{Folder: dir, Repo: Repo{Dataset, "data"}, Exclude: []string{"*.txt"}}
	got, err := writer(t, s).Upload(t.Context(), o)
	if err != nil || got.Repo.ID != hubtest.User+"/data" || len(s.Files("datasets/"+hubtest.User+"/data")) != 2 {
		t.Errorf("own data set: %+v, %v", got, err)
	}
	if _, err := newClient(t, s).Upload(t.Context(), o); !errors.Is(err, ErrNoToken) {
		t.Errorf("no token: %v", err)
	}
	bad := writer(t, s)
	bad.cfg.Token = "hf_wrong"
	o.Repo.ID = "other/data"
	if _, err := bad.Upload(t.Context(), o); !errors.Is(err, ErrDenied) || strings.Contains(err.Error(), "hf_wrong") {
		t.Errorf("wrong token: %v", err)
	}
	o.Folder = t.TempDir()
	if _, err := writer(t, s).Upload(t.Context(), o); err == nil {
		t.Error("no error for an empty folder")
	}
}

// TestUploadResume breaks an upload in parts off and goes on with it.
func TestUploadResume(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), map[string][]byte{"model.safetensors": noise(4, 1_000_000)}
	s.PartSize = 100_000
	c := writer(t, s)
	o := UploadOptions{Folder: folderOf(t, files), Repo: Repo{Model, "org/new"}}
	ctx, cancel := context.WithCancel(t.Context())
	stop := s.Misbehave(hubtest.Fault{Method: "PUT", Path: "/part/", Skip: 5, Status: 503})
	o.Progress = func(p Progress) {
		if p.Done >= 500_000 {
			cancel()
		}
	}
	if _, err := c.Upload(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	stop()
	state := filepath.Join(o.Folder, ".cache/huggingface/lentil-upload.json")
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state: %v, %v; want mode 0600", info, err)
	}
	o.Progress = nil
	got, err := c.Upload(t.Context(), o)
	if err != nil || got.Sent != 500_000 {
		t.Errorf("sent %d more bytes, want 500000: %v", got.Sent, err)
	}
	if !bytes.Equal(s.Files("org/new")["model.safetensors"].Data, files["model.safetensors"]) {
		t.Error("what arrived is not what was sent")
	}
	if text, _ := os.ReadFile(state); strings.Contains(string(text), "secret") {
		t.Error("addresses of the storage are still in the state")
	}
}

// TestUploadRunOut goes on with an upload whose addresses have run out.
func TestUploadRunOut(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), map[string][]byte{"model.safetensors": noise(5, 300_000)}
	s.PartSize = 100_000
	c := writer(t, s)
	o := UploadOptions{Folder: folderOf(t, files), Repo: Repo{Model, "org/new"}}
	stop := s.Misbehave(hubtest.Fault{Path: "/complete/", Status: 403})
	if _, err := c.Upload(t.Context(), o); !errors.Is(err, ErrDenied) {
		t.Fatalf("got %v", err)
	}
	stop()
	s.Misbehave(hubtest.Fault{Path: "/complete/", Status: 403, Times: 1})
	got, err := c.Upload(t.Context(), o)
	if err != nil || got.Sent != 300_000 {
		t.Errorf("sent %d bytes, want all again: %v", got.Sent, err)
	}
}

func TestUploadBadNetworks(t *testing.T) {
	t.Parallel()
	for _, partSize := range []int{0, 100_000} {
		s, files := newServer(t), modelFiles()
		s.PartSize = partSize
		for _, f := range []hubtest.Fault{
			{Method: "PUT", Times: 2, Status: 500}, {Method: "PUT", Times: 2, DropAfter: -1},
			{Path: "/batch", Times: 1, Status: 502}, {Path: "/preupload/", Times: 1, DropAfter: -1},
			{Path: "/commit/", Times: 1, Status: 503}, {Path: "/verify", Times: 1, Status: 429},
		} {
			s.Misbehave(f)
		}
		c := writer(t, s)
		if _, err := c.Upload(t.Context(), UploadOptions{Folder: folderOf(t, files), Repo: Repo{Model, "org/new"}}); err != nil {
			t.Fatal(err)
		}
		for name, data := range files {
			if !bytes.Equal(s.Files("org/new")[name].Data, data) {
				t.Errorf("%s is not there", name)
			}
		}
	}
}

// TestUploadVerifies does not commit what the storage does not have.
func TestUploadVerifies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Misbehave(hubtest.Fault{Method: "PUT", Status: 200})
	_, err := writer(t, s).Upload(t.Context(), UploadOptions{Folder: folderOf(t, modelFiles()), Repo: Repo{Model, "org/new"}})
	if err == nil || !strings.Contains(err.Error(), "does not have it") {
		t.Errorf("got %v", err)
	}
	if n := s.Count("POST", "/commit/"); n != 0 {
		t.Errorf("%d commits", n)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := newClient(t, s)
	for _, bad := range []string{"hf_wrong", "two words", "", "naïve"} {
		if _, err := c.Login(t.Context(), bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := os.Stat(c.cfg.TokenPath); err == nil {
		t.Error("a bad token was kept")
	}
	account, err := c.Login(t.Context(), "  "+hubtest.Token+"\n")
	if err != nil || account != (Account{hubtest.User, "laptop", true}) {
		t.Fatalf("%+v, %v", account, err)
	}
	for name, want := range map[string]string{"token": hubtest.Token, "stored_tokens": "[laptop]\nhf_token = " + hubtest.Token + "\n\n"} {
		path := filepath.Join(filepath.Dir(c.cfg.TokenPath), name)
		text, err := os.ReadFile(path)
		info, _ := os.Stat(path)
		if string(text) != want || err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %q, %v, %v", name, text, info.Mode(), err)
		}
	}
	path := filepath.Join(t.TempDir(), "stored_tokens")
	os.WriteFile(path, []byte("[a]\nhf_token = 1\n\n[laptop]\nhf_token = old\nexpires_at = 3\n\n[b]\nhf_token = 2\n"), 0o600)
	if err := storeToken(path, "laptop", "new"); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "[a]\nhf_token = 1\n\n[b]\nhf_token = 2\n\n[laptop]\nhf_token = new\n\n" {
		t.Errorf("%q", text)
	}
}

func TestFromEnv(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DOWNLOAD_TIMEOUT"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", home)
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	get := func() Config {
		t.Helper()
		c, err := FromEnv()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := get()
	want("endpoint", c.Endpoint, defaultEndpoint)
	want("cache", c.Cache, home+"/.cache/huggingface/hub")
	want("token", c.Token, "")
	t.Setenv("XDG_CACHE_HOME", home+"/xdg")
	want("cache", get().Cache, home+"/xdg/huggingface/hub")
	t.Setenv("HF_HOME", "~/hf")
	os.MkdirAll(home+"/hf", 0o700)
	os.WriteFile(home+"/hf/token", []byte("hf_file\n"), 0o600)
	want("cache", get().Cache, home+"/hf/hub")
	want("token", get().Token, "hf_file")
	os.WriteFile(home+"/hf/token", []byte("hf_abc def\n"), 0o600)
	want("token", get().Token, "")
	if err := get().TokenError; !errors.Is(err, ErrNoToken) || !strings.Contains(err.Error(), home+"/hf/token") || strings.Contains(err.Error(), "hf_abc") {
		t.Errorf("damaged token file: %v", err)
	}
	t.Setenv("HF_TOKEN", "hf_env")
	want("token", get().Token, "hf_env")
	t.Setenv("HF_HUB_CACHE", "$HOME/hub")
	t.Setenv("HF_ENDPOINT", "http://localhost:1234/")
	t.Setenv("HF_HUB_OFFLINE", "1")
	want("cache", get().Cache, home+"/hub")
	want("endpoint", get().Endpoint, "http://localhost:1234")
	if !get().Offline {
		t.Error("not offline")
	}
	t.Setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
	want("token", get().Token, "")
	for name, bad := range map[string]string{"HF_ENDPOINT": "localhost", "HF_HUB_DOWNLOAD_TIMEOUT": "soon"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, bad)
			if _, err := FromEnv(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCard(t *testing.T) {
	t.Parallel()
	card := Card{Repo: "org/new", BaseModel: "org/base", Tool: "lentil 1", Data: "a book", Results: []CardFigure{{"perplexity | test", "", "3.2"}}}
	mlx := "---\nlanguage: en\nbase_model:\n- other/base\n---\n# org/new\n\n## Use with mlx\n\n```bash\npip install mlx-lm\n```"
	tests := []struct {
		name, old string
		has       []string
		hasNot    []string
	}{
		{"nothing", "", []string{"---\nlibrary_name: mlx\n", "base_model: org/base\n---\n\n" + cardMark, "# org/new", "from [org/base]", "trained on a book", "\n|  | this model |\n|---|---|\n", `| perplexity \| test | 3.2 |`, "--model org/new"}, nil},
		{"metadata only", "---\nlicense: mit\n---\n", []string{"---\nlicense: mit\nbase_model: org/base\n---\n", "# org/new"}, []string{"library_name"}},
		{"mlx-lm's text", mlx, []string{"language: en\nbase_model:\n- other/base\n", "from [other/base]", cardMark}, []string{"Use with mlx", "org/base)."}},
		{"a person's text", "---\nbase_model: a/b\n---\n# Mine\n\nAll about it.\n", []string{"---\nbase_model: a/b\n---\n# Mine\n\nAll about it.\n"}, []string{cardMark, "org/base"}},
		{"a person's text without metadata", "# Mine\n", []string{"base_model: org/base\n---\n# Mine\n"}, []string{cardMark}},
	}
	for _, tt := range tests {
		got := string(card.Update([]byte(tt.old)))
		for _, part := range tt.has {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %q is not in\n%s", tt.name, part, got)
			}
		}
		for _, part := range tt.hasNot {
			if strings.Contains(got, part) {
				t.Errorf("%s: %q is in\n%s", tt.name, part, got)
			}
		}
		if again := string(card.Update([]byte(got))); again != got {
			t.Errorf("%s: changes again to\n%s", tt.name, again)
		}
	}
}

// TestCardKeeps: a card that knows nothing of a training keeps what the older one says of it, under the new name.
func TestCardKeeps(t *testing.T) {
	t.Parallel()
	full := Card{Repo: "fused", BaseModel: "org/base", Tool: "lentil 1", Data: "train.jsonl, valid.jsonl", Settings: []CardRow{{"iters", "4"}}, Results: []CardFigure{{"perplexity", "2", "1"}}}
	want := full
	want.Repo = "me/new"
	if got, want := string(Card{Repo: "me/new", Tool: "lentil 1"}.Update(full.Update(nil))), string(want.Update(nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	other := Card{Repo: "me/new", Settings: []CardRow{{"iters", "9"}}}
	if got := string(other.Update(full.Update(nil))); strings.Contains(got, "perplexity") || strings.Contains(got, "train.jsonl") || !strings.Contains(got, "| iters | 9 |") {
		t.Errorf("another training's card:\n%s", got)
	}
}

// TestCardOverride: a base model that was named goes before what the metadata says.
func TestCardOverride(t *testing.T) {
	t.Parallel()
	card := Card{Repo: "me/new", BaseModel: "org/base", Override: true}
	for _, meta := range []string{"base_model: models/x\nlicense: mit\n", "base_model:\n- a/b\n- c/d\nlicense: mit\n", "base_model: [a/b,\n  c/d]\nlicense: mit\n", "license: mit\n", "license: mit\nbase_model: org/base\n"} {
		got := string(card.Update([]byte("---\n" + meta + "---\n# Mine\n")))
		if want := "---\nlicense: mit\nbase_model: org/base\n---\n# Mine\n"; got != want {
			t.Errorf("%q becomes\n%s", meta, got)
		}
	}
}

// TestCardMeasured: columns are there for what was measured alone, and an adapter is used with its base.
func TestCardMeasured(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		card   Card
		has    []string
		hasNot []string
	}{
		{Card{Results: []CardFigure{{"a", "1", "2"}, {"b", "", "3"}}}, []string{"|  | base model | this model |\n|---|---|---|\n| a | 1 | 2 |\n| b |  | 3 |\n"}, nil},
		{Card{Results: []CardFigure{{"a", "1", ""}}}, []string{"|  | base model |\n|---|---|\n| a | 1 |\n"}, []string{"this model"}},
		{Card{}, nil, []string{"Measured", "Training", "|"}},
		{Card{Repo: "me/a", BaseModel: "org/b", Adapter: true}, []string{"lentil download me/a --local-dir adapter\nlentil chat --model org/b --adapter-path adapter\n", "\nmlx_lm.chat --model org/b --adapter-path adapter\n"}, nil},
		{Card{Repo: "me/a", Adapter: true}, []string{"--model BASE_MODEL --adapter-path adapter"}, nil},
	} {
		got := tt.card.text()
		for _, part := range tt.has {
			if !strings.Contains(got, part) {
				t.Errorf("%q is not in\n%s", part, got)
			}
		}
		for _, part := range tt.hasNot {
			if strings.Contains(strings.TrimPrefix(got, cardMark), part) {
				t.Errorf("%q is in\n%s", part, got)
			}
		}
	}
}
