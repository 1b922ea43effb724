package hub

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// checkFile fails if a file that passed the checks could do harm.
func checkFile(t *testing.T, f File) {
	if f.bad != nil {
		return
	}
	root := filepath.FromSlash("/cache/snapshots")
	at := filepath.Join(root, filepath.FromSlash(f.Path))
	if !strings.HasPrefix(at, root+string(filepath.Separator)) || strings.ContainsAny(f.Path, "\\:\x00") || !filepath.IsLocal(filepath.FromSlash(f.Path)) {
		t.Errorf("%q leads out of its folder", f.Path)
	}
	if f.Size < 0 || f.Size > maxSize || strings.ContainsAny(f.etag(), `/\.`) || f.etag() == "" {
		t.Errorf("%+v", f)
	}
}

func FuzzTree(f *testing.F) {
	f.Add([]byte(`[{"type":"file","path":"a/b.json","size":3,"oid":"0123456789012345678901234567890123456789"},{"type":"directory","path":"a"}]`))
	f.Add([]byte(`[{"type":"file","path":"../b","size":3,"oid":"0123456789012345678901234567890123456789","lfs":{"oid":"x","size":1}}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		files, err := parseTree(text)
		if err != nil {
			return
		}
		for _, file := range files {
			checkFile(t, file)
		}
		if checkFiles(files) != nil {
			return
		}
		// What is kept of a list is read back the same.
		kept, err := treeText(files)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseTreeFile(kept)
		if err != nil || len(again) != len(files) {
			t.Errorf("%d files were kept, %d read back: %v", len(files), len(again), err)
		}
	})
}

func FuzzTreeFile(f *testing.F) {
	f.Add([]byte(`{"format_version":1,"files":{"a.json":{"size":3,"blob_id":"0123456789012345678901234567890123456789"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		files, err := parseTreeFile(text)
		if err != nil {
			return
		}
		for _, file := range files {
			checkFile(t, file)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("bytes 0-9/10", `"abc"`, "10", `<https://huggingface.co/api/x?cursor=1>; rel="next"`, "Wed, 21 Oct 2026 07:28:00 GMT")
	f.Add("bytes 5-4/*", `W/"../x"`, "-1", `<//evil/x>; rel=next`, "99999999999999999999")
	base, err := url.Parse("https://hub.test/api/models/a/tree/main")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, contentRange, etag, size, link, after string) {
		if lo, hi, total, err := parseContentRange(contentRange); err == nil && (lo < 0 || hi < lo || total >= 0 && hi >= total) {
			t.Errorf("Content-Range %q: %d-%d/%d", contentRange, lo, hi, total)
		}
		h := http.Header{}
		h.Set("X-Repo-Commit", strings.Repeat("a", 40))
		h.Set("X-Linked-Etag", etag)
		h.Set("X-Linked-Size", size)
		if r, err := parseRemote(h); err == nil && (r.size < -1 || r.size > maxSize || strings.ContainsAny(r.etag, "/\\\x00") || strings.HasPrefix(r.etag, ".")) {
			t.Errorf("%+v", r)
		}
		if next, err := nextPage(base, http.Header{"Link": {link}}); err == nil && next != nil && (next.Host != base.Host || next.Scheme != base.Scheme) {
			t.Errorf("the next page is at %s", next)
		}
		if d := retryAfter(http.Header{"Retry-After": {after}, "Ratelimit": {after}}, time.Unix(0, 0)); d < 0 {
			t.Errorf("wait for %v", d)
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("org/model", "*.json", "a/b.json")
	f.Add("datasets/a/b", "[!a-c]?", "model[1].safetensors")
	f.Fuzz(func(t *testing.T, id, pattern, name string) {
		if repo, err := parseRepo(id, Model); err == nil {
			if back, ok := repoOfFolder(repo.folder()); !ok || back != repo || filepath.Base(repo.folder()) != repo.folder() {
				t.Errorf("%q is %+v after going through the folder %q", id, back, repo.folder())
			}
		}
		newFilter([]string{pattern}, nil).match(name) // must not panic
		if checkName(name) == nil {
			checkFile(t, File{Path: name, BlobID: strings.Repeat("a", 40)})
			if !newFilter([]string{"*"}, nil).match(name) {
				t.Errorf("* does not match %q", name)
			}
		}
	})
}

// FuzzRefs reads a ref that anything may have written.
func FuzzRefs(f *testing.F) {
	f.Add([]byte(strings.Repeat("a", 40) + "\n"))
	f.Add([]byte("../../../etc"))
	s := store{f.TempDir(), Repo{Model, "org/model"}}
	if err := os.MkdirAll(filepath.Join(s.dir(), "refs"), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(s.dir(), "refs", "main"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if commit := s.ref("main"); commit != "" && !isCommit(commit) {
			t.Errorf("%q is taken for a commit", commit)
		}
	})
}

func FuzzCard(f *testing.F) {
	f.Add("---\nlicense: mit\n---\n# Text\n")
	f.Add("---\nbase_model: [a/b]\n---")
	f.Add(string(Card{Repo: "fused", Tool: "lentil 1", Data: "books", Settings: []CardRow{{"iters", "4"}}, Results: []CardFigure{{"loss", "2", "1"}}}.Update(nil)))
	f.Fuzz(func(t *testing.T, text string) {
		for _, card := range []Card{{Repo: "org/new", BaseModel: "org/base"}, {Repo: "org/new", BaseModel: "org/base", Override: true}} {
			once := card.Update([]byte(text))
			if twice := card.Update(once); string(twice) != string(once) {
				t.Errorf("%q becomes\n%q, then\n%q", text, once, twice)
			}
		}
	})
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*.json", "a/b.json", true}, {"*.json", "a.jsonl", false}, {"a/*", "a/b/c", true}, {"a/", "a/b", true},
		{"model*.safetensors", "model-00001.safetensors", true}, {"model*.safetensors", "sub/model.safetensors", false},
		{"?.txt", "a.txt", true}, {"?.txt", "ab.txt", false}, {"[ab].txt", "b.txt", true}, {"[!ab].txt", "b.txt", false},
		{"[a-c]1", "b1", true}, {"[", "[", true}, {"[]]", "]", true}, {"a+b", "a+b", true}, {"*.JSON", "a.json", false}, {`sub\*`, "sub/x", true},
	}
	for _, tt := range tests {
		if got := newFilter([]string{tt.pattern}, nil).match(tt.name); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.name, got)
		}
	}
	for text, ok := range map[string]bool{"org/model": true, "gpt2": true, "a/b/c": false, "a--b": false, "../x": false, "a/.b": false, "x.git": false, "": false, "org/mo del": false, "a/b.": false} {
		if _, err := parseRepo(text, Model); (err == nil) != ok {
			t.Errorf("repository %q: %v", text, err)
		}
	}
}
