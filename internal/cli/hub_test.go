package cli

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/hub/hubtest"
	"github.com/lentil-lm/lentil/run"
)

// testHub starts a hub and points the environment at it, with an empty cache and no token.
func testHub(t *testing.T) *hubtest.Server {
	t.Helper()
	s := hubtest.New()
	t.Cleanup(s.Close)
	t.Setenv("HF_ENDPOINT", s.URL)
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_HUB_OFFLINE", "")
	return s
}

// filesOf reads a folder as a repository's files.
func filesOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil {
			files[filepath.ToSlash(rel)], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestModelFromHub(t *testing.T) {
	s := testHub(t)
	model, _ := tinyModel(t)
	s.Add("org/tiny", filesOf(t, model))
	if out := mustRun(t, "", "tokenize", "--model", "org/tiny", "protein"); out == "" {
		t.Error("no tokens")
	}
	weights := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--org--tiny", "snapshots", "*", "*.safetensors")
	if found, err := filepath.Glob(weights); err != nil || len(found) != 0 {
		t.Errorf("tokenize fetched %q, %v", found, err)
	}
	if out := mustRun(t, "", "doctor", "--quick"); !strings.Contains(out, "(models with weights: 0)\n") {
		t.Errorf("doctor: %s", out)
	}
	local := mustRun(t, "", "generate", "--model", model, "--prompt", "Fibre", "--max-tokens", "4", "--temp", "0")
	fetched := mustRun(t, "", "generate", "--model", "org/tiny", "--prompt", "Fibre", "--max-tokens", "4", "--temp", "0")
	out := mustRun(t, "", "doctor", "--quick")
	for _, want := range []string{"(models with weights: 1)\n", "--device names the device that a command works on", "room         for the weights of a 4-bit model of ", "to begin     lentil demo\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor lacks %q:\n%s", want, out)
		}
	}
	answer := func(text string) string { return strings.Split(text, "==========")[1] }
	if answer(local) != answer(fetched) {
		t.Errorf("from the folder:\n%s\nfrom the hub:\n%s", local, fetched)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	mustRun(t, "", "generate", "--model", "org/tiny@main", "--prompt", "Fibre", "--max-tokens", "1")
	code, _, errOut := lentil(t, "", "generate", "--model", "org/other", "--prompt", "Fibre")
	if code != ExitUsage || !strings.Contains(errOut, "lentil download org/other") {
		t.Errorf("not cached, offline: %d %q", code, errOut)
	}
}

// TestTrainAndShare trains on a model of the hub, fuses and uploads, and asks what was uploaded.
func TestTrainAndShare(t *testing.T) {
	s := testHub(t)
	model, data := tinyModel(t)
	s.Add("org/tiny", filesOf(t, model))
	adapter, fused := filepath.Join(t.TempDir(), "adapter"), filepath.Join(t.TempDir(), "fused")
	mustRun(t, "", "train", "--model", "org/tiny", "--data", data, "--adapter-path", adapter, "--iters", "4", "--num-layers", "1", "--threads", "1")
	if config, err := os.ReadFile(filepath.Join(adapter, "adapter_config.json")); err != nil || !strings.Contains(string(config), `"model": "org/tiny"`) {
		t.Errorf("adapter_config.json: %s, %v", config, err)
	}
	fuse := []string{"fuse", "--model", "org/tiny", "--adapter-path", adapter, "--save-path", fused, "--upload-repo", "org/fused"}
	if code, _, errOut := lentil(t, "", fuse...); code != ExitUsage || !strings.Contains(errOut, "lentil login") {
		t.Errorf("no token: %d %q", code, errOut)
	}
	if _, err := os.Stat(fused); err == nil {
		t.Error("fused although the upload cannot work")
	}
	t.Setenv("HF_TOKEN", hubtest.Token)
	// An upload that fails is gone on with, by the command that it names or by the same one.
	converted := filepath.Join(t.TempDir(), "converted")
	for _, args := range [][]string{fuse, {"convert", "--model", "org/tiny", "--mlx-path", converted, "--upload-repo", "org/converted"}} {
		stop := s.Misbehave(hubtest.Fault{Path: "/commit/", Status: http.StatusBadRequest})
		_, _, errOut := lentil(t, "", args...)
		stop()
		m := regexp.MustCompile(`To go on with its upload: lentil (.*)`).FindStringSubmatch(errOut)
		if m == nil {
			t.Fatalf("%s does not say how to go on: %s", args[0], errOut)
		}
		mustRun(t, "", strings.Fields(m[1])...)
	}
	if s.Files("org/converted")["model.safetensors"].Data == nil {
		t.Error("the converted model was not uploaded")
	}
	mustRun(t, "", fuse...)
	mustRun(t, "", append(fuse[:5:5], "--save-path", fused+"2")...)
	mustRun(t, "", "upload", "--path", fused+"2", "--upload-repo", "org/fused2") // tells of the training by the card that fuse wrote
	for _, name := range []string{"org/fused", "org/fused2"} {
		card := string(s.Files(name)["README.md"].Data)
		for _, want := range []string{"base_model: org/tiny\n", `\| iters \| 4 \|`, `trained on train\.jsonl`, `(?m)^\| perplexity on the validation set \| \d+\.\d{3} \| \d+\.\d{3} \|$`, "# " + name + "\n", "chat --model " + name + "\n"} {
			if !regexp.MustCompile(want).MatchString(card) {
				t.Errorf("%q is not in the card:\n%s", want, card)
			}
		}
	}
	ask := []string{"generate", "--prompt", "Fibre", "--max-tokens", "4", "--verbose", "False", "--threads", "1", "--model"}
	if a, b := mustRun(t, "", append(ask, fused)...), mustRun(t, "", append(ask, "org/fused")...); a != b {
		t.Errorf("the folder says %q, the hub's model %q", a, b)
	}
}

func TestDownloadCommand(t *testing.T) {
	s := testHub(t)
	commit := s.Add("org/mlx-model", map[string][]byte{"config.json": []byte("{}"), "model.gguf": []byte("GGUF"), "README.md": []byte("#")})
	s.Add("datasets/org/data", map[string][]byte{"train.jsonl": []byte("{}\n")})
	dir := strings.TrimSpace(mustRun(t, "", "download", "org/mlx-model"))
	if want := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--org--mlx-model", "snapshots", commit); dir != want {
		t.Errorf("%q, want %q", dir, want)
	}
	if files := filesOf(t, dir); len(files) != 1 || string(files["config.json"]) != "{}" {
		t.Errorf("fetched %q", files)
	}
	figures := filepath.Join(t.TempDir(), "figures.json")
	mustRun(t, "", "download", "org/mlx-model", "--include", "*.gguf", "--include", "*.md", "--exclude", "READ*", "--revision", commit, "--json", figures)
	if files := filesOf(t, dir); len(files) != 2 || files["model.gguf"] == nil {
		t.Errorf("fetched %q", files)
	}
	if text, _ := os.ReadFile(figures); !strings.Contains(string(text), `"model.gguf"`) || !strings.Contains(string(text), `"fetched_bytes": 4`) {
		t.Errorf("figures %s", text)
	}
	cache := t.TempDir()
	code, out, errOut := lentil(t, "", "download", "org/mlx-model", "README.md", "*.gguf", "--cache-dir", cache, "--quiet")
	if files := filesOf(t, strings.TrimSpace(out)); code != 0 || errOut != "" || len(files) != 2 || files["README.md"] == nil || !strings.HasPrefix(out, cache) {
		t.Errorf("by name: %d %q %q, %q", code, out, errOut, files)
	}
	code, out, errOut = lentil(t, "", "download", "org/mlx-model", "--all", "--exclude", "*.md", "*.gguf", "--cache-dir", t.TempDir(), "--quiet")
	if files := filesOf(t, strings.TrimSpace(out)); code != 0 || len(files) != 1 || files["config.json"] == nil {
		t.Errorf("several patterns: %d %q, %q", code, errOut, files)
	}
	here := filepath.Join(t.TempDir(), "here")
	mustRun(t, "", "download", "org/data", "--repo-type", "dataset", "--local-dir", here)
	if files := filesOf(t, here); string(files["train.jsonl"]) != "{}\n" {
		t.Errorf("fetched %q", files)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"download"}, "expected one repository"},
		{[]string{"download", "a/b/c"}, "ORG/NAME"},
		{[]string{"download", "org/mlx-model", "no.json"}, "none of them fits no.json"},
		{[]string{"download", "org/none"}, "not found"},
		{[]string{"download", "org/mlx-model", "--revision", "v9"}, "Invalid rev id"},
		{[]string{"download", "org/mlx-model", "--repo-type", "thing"}, "model, dataset or space"},
		{[]string{"download", "org/mlx-model", "--include", "*.pt"}, "none of them fits *.pt"},
	} {
		if code, _, errOut := lentil(t, "", tt.args...); code != ExitUsage || !strings.Contains(strings.ToLower(errOut), strings.ToLower(tt.want)) {
			t.Errorf("%v: %d %q, want %q", tt.args, code, errOut, tt.want)
		}
	}
}

// TestFileProgress: each file that was fetched has its line where there is no terminal, and the one under way its
// share where there is one.
func TestFileProgress(t *testing.T) {
	s := testHub(t)
	s.Add("org/model", map[string][]byte{"config.json": make([]byte, 1000), "model.safetensors": make([]byte, 99_000)})
	_, _, errOut := lentil(t, "", "download", "org/model")
	for _, want := range []string{`(?m)^Downloading org/model: config.json, 1.00 kB \(\d+% of all\)$`, `(?m)^Downloading org/model: model.safetensors, 99.0 kB \(\d+% of all\)$`, `\(100% of all\)`} {
		if !regexp.MustCompile(want).MatchString(errOut) {
			t.Errorf("%q is not in %q", want, errOut)
		}
	}
	if _, _, errOut := lentil(t, "", "download", "org/model"); strings.Contains(errOut, "config.json") {
		t.Errorf("told of files that were there: %q", errOut)
	}
	var moving transfers
	for _, p := range []hub.Progress{{File: "sub/model-00001-of-00002.safetensors", Size: 200}, {File: "b", Done: 1, Size: 4}, {File: "c", Waiting: true}, {File: "sub/model-00001-of-00002.safetensors", Done: 90, Size: 200}} {
		moving.take(p)
	}
	if got := moving.String(); got != "model-00001 45% +1" {
		t.Errorf("under way: %q", got)
	}
	if moving.take(hub.Progress{File: "c", Finished: true}) || !moving.take(hub.Progress{File: "sub/model-00001-of-00002.safetensors", Finished: true}) || moving.String() != "b 25%" {
		t.Errorf("under way: %v", moving)
	}
}

func TestCacheCommands(t *testing.T) {
	s := testHub(t)
	if out := mustRun(t, "", "scan-cache"); !strings.Contains(out, "0 repositories") {
		t.Errorf("no cache yet: %s", out)
	}
	first := s.Add("org/mlx-model", map[string][]byte{"config.json": []byte("{}"), "vocab.json": make([]byte, 2345)})
	mustRun(t, "", "download", "org/mlx-model")
	second := s.Add("org/mlx-model", map[string][]byte{"config.json": []byte("[]"), "vocab.json": make([]byte, 2345)})
	path := filepath.Dir(filepath.Dir(strings.TrimSpace(mustRun(t, "", "download", "org/mlx-model"))))
	s.Add("datasets/org/data", map[string][]byte{"a.json": []byte("{}")})
	mustRun(t, "", "download", "datasets/org/data")

	out := mustRun(t, "", "scan-cache")
	for _, want := range []string{"REPO ID", `(?m)^org/data +dataset +2\.0 +1 a few .* main +/`, `(?m)^org/mlx-model model +2\.3K        3 a few seconds ago a few seconds ago main +/`, "2 repositories, 2.4K"} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if out := mustRun(t, "", "scan-cache", "--revisions"); !strings.Contains(out, first) || !strings.Contains(out, second) {
		t.Errorf("revisions:\n%s", out)
	}

	want := `Scanning Hugging Face cache for models with pattern "mlx".
REPO ID       REPO TYPE SIZE ON DISK NB FILES LAST_ACCESSED     LAST_MODIFIED     LOCAL PATH` + strings.Repeat(" ", len(path)-10) + ` 
------------- --------- ------------ -------- ----------------- ----------------- ` + strings.Repeat("-", len(path)) + ` 
org/mlx-model model             2.3K        3 a few seconds ago a few seconds ago ` + path + " \n"
	if out := mustRun(t, "", "manage", "--scan"); out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	if out := mustRun(t, "what\nno\n", "manage", "--delete"); !strings.Contains(out, "Invalid input") || !strings.HasSuffix(out, "Deletion cancelled - no changes made.\n") {
		t.Errorf("delete, no:\n%s", out)
	}
	if out := mustRun(t, "", "manage", "--delete", "--pattern", "zzz"); !strings.HasSuffix(out, "No models found matching pattern \"zzz\"\n") {
		t.Errorf("delete nothing:\n%s", out)
	}

	if out := mustRun(t, "", "cache", "delete", first, "--dry-run"); !strings.Contains(out, "frees 2.0.") {
		t.Errorf("dry run:\n%s", out)
	}
	mustRun(t, "", "cache", "delete", first) // no answer is a no
	if _, err := os.Stat(filepath.Join(path, "snapshots", first)); err != nil {
		t.Error(err)
	}
	mustRun(t, "", "cache", "delete", first, "org/mlx-model@"+first, "--yes")
	if _, err := os.Stat(filepath.Join(path, "snapshots", first)); err == nil {
		t.Error("the first revision is still there")
	}
	if _, err := os.Stat(filepath.Join(path, "snapshots", second, "vocab.json")); err != nil {
		t.Error(err)
	}
	mustRun(t, "y\n", "manage", "--delete")
	mustRun(t, "yes\n", "cache", "delete", "datasets/org/data")
	if out := mustRun(t, "", "scan-cache"); !strings.Contains(out, "0 repositories") {
		t.Errorf("all deleted:\n%s", out)
	}
	if code, _, errOut := lentil(t, "", "cache", "delete", "org/none"); code != ExitUsage || !strings.Contains(errOut, "no org/none") {
		t.Errorf("delete what is not there: %d %q", code, errOut)
	}
	if code, _, _ := lentil(t, "", "manage"); code != ExitUsage {
		t.Errorf("manage without a wish: %d", code)
	}
}

func TestUploadAndLogin(t *testing.T) {
	s := testHub(t)
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o600)
	os.WriteFile(filepath.Join(dir, "model.safetensors"), make([]byte, 100_000), 0o600)
	args := []string{"upload", "--path", dir, "--upload-repo", "mine"}
	code, _, errOut := lentil(t, "", args...)
	if code != ExitUsage || !strings.Contains(errOut, "lentil login") {
		t.Errorf("no token: %d %q", code, errOut)
	}
	if code, _, errOut := lentil(t, "hf_wrong\n", "login"); code != ExitUsage || !strings.Contains(errOut, "does not know this token") {
		t.Errorf("wrong token: %d %q", code, errOut)
	}
	if out := mustRun(t, hubtest.Token+"\n", "login"); !strings.HasPrefix(out, "Logged in as "+hubtest.User+".") || strings.Contains(out, hubtest.Token) {
		t.Errorf("login: %s", out)
	}

	adapters := trainingRun(t)
	out := mustRun(t, "", append(args, "--adapter-path", adapters)...)
	name := hubtest.User + "/mine"
	if !strings.Contains(out, "3 files uploaded (100 kB of large files sent)") || !strings.Contains(out, "Upload successful, go to "+s.URL+"/"+name+" for details.\n") {
		t.Errorf("upload: %s", out)
	}
	card := string(s.Files(name)["README.md"].Data)
	for _, want := range []string{"base_model: org/base\n", "# " + name + "\n", "trained on train.jsonl", "| learning rate | 0.0001 |", "|  | base model | this model |\n|---|---|---|\n| perplexity on the validation set | 20.086 | 7.389 |\n| perplexity on the test set |  | 4.482 |\n"} {
		if !strings.Contains(card, want) {
			t.Errorf("%q is not in the card:\n%s", want, card)
		}
	}
	if strings.Contains(card, adapters) || strings.Contains(card, "/home/") {
		t.Errorf("the card tells paths:\n%s", card)
	}
	if out := mustRun(t, "", append(args, "--adapter-path", adapters)...); !strings.HasPrefix(out, "0 files uploaded (0 B of large files sent), 3 were there already.") {
		t.Errorf("again: %s", out)
	}
	mustRun(t, "", "upload", "--path", adapters, "--upload-repo", "org/adapters", "--no-card")
	if files := s.Files("org/adapters"); len(files) != 2 || files["adapters.safetensors"].Data == nil {
		t.Errorf("uploaded of a run: %v", files)
	}
}

// TestLocalBase: a folder that looks like ORG/NAME is no base model for a card; --base-model names it, later too.
func TestLocalBase(t *testing.T) {
	s := testHub(t)
	t.Setenv("HF_TOKEN", hubtest.Token)
	model, data := tinyModel(t)
	t.Chdir(filepath.Dir(filepath.Dir(model)))
	base := filepath.Base(filepath.Dir(model)) + "/" + filepath.Base(model)
	adapter := filepath.Join(t.TempDir(), "adapter")
	mustRun(t, "", "train", "--model", base, "--data", data, "--adapter-path", adapter, "--iters", "1", "--num-layers", "1", "--threads", "1")
	mustRun(t, "", "convert", "--model", base, "--mlx-path", filepath.Join(t.TempDir(), "out"), "--upload-repo", "me/converted")
	mustRun(t, "", "fuse", "--model", base, "--adapter-path", adapter, "--save-path", filepath.Join(t.TempDir(), "out"), "--upload-repo", "me/fused")
	for _, name := range []string{"me/converted", "me/fused"} {
		if card := string(s.Files(name)["README.md"].Data); strings.Contains(card, "base_model") || strings.Contains(card, base) {
			t.Errorf("%s: the folder is in the card:\n%s", name, card)
		}
	}
	folder := t.TempDir()
	write(t, filepath.Join(folder, "README.md"), "---\nbase_model: "+base+"\n---\n# Mine\n")
	mustRun(t, "", "upload", "--path", folder, "--upload-repo", "me/mine", "--base-model", "org/base")
	if card := string(s.Files("me/mine")["README.md"].Data); card != "---\nbase_model: org/base\n---\n# Mine\n" {
		t.Errorf("card:\n%s", card)
	}
}

// TestDamagedToken: a token file that is not understood stops only what needs a token, and login replaces it.
func TestDamagedToken(t *testing.T) {
	s := testHub(t)
	s.Add("org/public", map[string][]byte{"config.json": []byte("{}")})
	s.Add("org/private", map[string][]byte{"config.json": []byte("{}")})
	s.SetPrivate("org/private")
	write(t, filepath.Join(os.Getenv("HF_HOME"), "token"), "hf_abc def")
	mustRun(t, "", "download", "org/public")
	mustRun(t, "", "scan-cache")
	private := []string{"download", "org/private"}
	for _, args := range [][]string{private, {"upload", "--path", t.TempDir(), "--upload-repo", "org/new"}} {
		if code, _, errOut := lentil(t, "", args...); code != ExitUsage || !strings.Contains(errOut, "characters that a token cannot have") || strings.Contains(errOut, "abc") {
			t.Errorf("%s: %d %q", args[0], code, errOut)
		}
	}
	mustRun(t, "", append(private, "--token", hubtest.Token, "--cache-dir", t.TempDir())...)
	mustRun(t, hubtest.Token, "login")
	mustRun(t, "", private...)
}

// trainingRun makes the folder of a small run.
func trainingRun(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	folder, err := run.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = folder.WriteManifest(run.Manifest{
		Model: "org/base", Data: []run.DataFile{{Path: "/home/someone/books/train.jsonl"}}, Settings: map[string]any{"learning_rate": 1e-4, "iters": 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []run.Event{run.Validation{Iteration: 1, Loss: 3}, run.Validation{Iteration: 20, Loss: 2}, run.TestReport{Loss: 1.5, Perplexity: 4.482}} {
		folder.Report(e)
	}
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "adapters.safetensors"), []byte("weights"), 0o600)
	os.Mkdir(filepath.Join(dir, "state"), 0o700)
	os.WriteFile(filepath.Join(dir, "state", "optimizer"), []byte("state"), 0o600)
	return dir
}

func TestHubErrorsAreMistakes(t *testing.T) {
	t.Parallel()
	for _, err := range []error{hub.ErrNotFound, hub.ErrDenied, hub.ErrNoToken, hub.ErrOffline} {
		if code := exitCode(hub.Mark(err)); code != ExitUsage {
			t.Errorf("%v: exit %d", err, code)
		}
	}
}

// TestTokenStaysSecret looks for the token in all that commands print and write, when servers repeat it and all
// switches for more talk are on.
func TestTokenStaysSecret(t *testing.T) {
	s := testHub(t)
	model, data := tinyModel(t)
	s.Add("org/tiny", filesOf(t, model))
	s.Add("datasets/org/lines", filesOf(t, data))
	s.SetPrivate("org/tiny")
	s.SetPrivate("datasets/org/lines")
	for _, name := range []string{"HF_DEBUG", "HF_HUB_VERBOSITY", "LENTIL_DEBUG", "DEBUG"} {
		t.Setenv(name, "debug")
	}
	adapter := filepath.Join(t.TempDir(), "adapter")
	echo := hubtest.Fault{Status: 400, Header: http.Header{"X-Error-Message": {"bad token " + hubtest.Token}}, Body: `{"error": "` + hubtest.Token + `"}`}
	for _, path := range []string{"", "/revision/", "/tree/", "/resolve/", "/whoami"} {
		fault := echo
		if fault.Path = path; path == "" {
			fault.Path = "no such path"
		}
		stop := s.Misbehave(fault)
		for _, args := range [][]string{
			{"download", "org/tiny", "--token", hubtest.Token, "--local-dir", filepath.Join(t.TempDir(), "here")},
			{"train", "--model", "org/tiny", "--data", "org/lines", "--adapter-path", adapter, "--iters", "1", "--num-layers", "1", "--threads", "1"},
			{"upload", "--path", adapter, "--upload-repo", "org/adapters"},
			{"login", "--token", hubtest.Token},
		} {
			t.Setenv("HF_TOKEN", hubtest.Token)
			if args[0] == "login" || args[0] == "download" {
				t.Setenv("HF_TOKEN", "")
			}
			code, out, errOut := lentil(t, "", args...)
			if path == "" && code != 0 {
				t.Errorf("%v: exit %d %s", args[0], code, errOut)
			}
			if strings.Contains(out+errOut, hubtest.Token) {
				t.Errorf("%v, %s: the token is in\n%s%s", args[0], path, out, errOut)
			}
		}
		stop()
	}
	for name, text := range filesOf(t, adapter) {
		if strings.Contains(string(text), hubtest.Token) {
			t.Errorf("the token is in %s", name)
		}
	}
	for name, text := range filesOf(t, filepath.Join(os.Getenv("HF_HOME"), "hub")) {
		if strings.Contains(string(text), hubtest.Token) {
			t.Errorf("the token is in %s", name)
		}
	}
}
