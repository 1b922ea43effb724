package hub

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/hub/hubtest"
)

// TestRangeAnswers goes on with a download when the storage answers oddly to a request for the rest.
func TestRangeAnswers(t *testing.T) {
	t.Parallel()
	files := modelFiles()
	size := len(files["pytorch_model.bin"])
	beginning := files["pytorch_model.bin"][:1000]
	part := func(text string) hubtest.Fault {
		return hubtest.Fault{Path: "/object/", Times: 1, Status: http.StatusPartialContent, Header: http.Header{"Content-Range": {text}}, Body: "abc"}
	}
	for _, tt := range []struct {
		name  string
		fault hubtest.Fault
		want  string // part of the error; empty: all is well in the end
	}{
		{"416", hubtest.Fault{Path: "/object/", Times: 1, Status: http.StatusRequestedRangeNotSatisfiable}, ""},
		{"always 416", hubtest.Fault{Path: "/object/", Status: http.StatusRequestedRangeNotSatisfiable}, "changed"},
		{"200 instead of 206", hubtest.Fault{Path: "/object/", NoRanges: true}, ""},
		{"another part", part(fmt.Sprintf("bytes 0-2/%d", size)), "asked for the bytes 1000"},
		{"part of a longer file", part("bytes 1000-1002/9999999"), ""},
		{"no Content-Range", part(""), "Content-Range"},
		{"nonsense", part("bytes 5-1/x"), "Content-Range"},
		{"a short part of something else", part(fmt.Sprintf("bytes 1000-1002/%d", size)), ""}, // told by the hash, and begun anew
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.Add("org/model", files)
			s.Misbehave(tt.fault)
			c := newClient(t, s)
			blobs := filepath.Join(c.cfg.Cache, "models--org--model", "blobs")
			os.MkdirAll(blobs, 0o700)
			blob := filepath.Join(blobs, s.Files("org/model")["pytorch_model.bin"].ETag())
			if err := os.WriteFile(blob+".incomplete", beginning, 0o600); err != nil {
				t.Fatal(err)
			}
			snap, err := c.Download(t.Context(), model, Options{Include: []string{"*.bin"}})
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				wantFiles(t, snap, files, "pytorch_model.bin")
				wantTidy(t, c.cfg.Cache)
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if _, err := os.Stat(blob); err == nil {
				t.Error("a file that is not whole has its final name")
			}
		})
	}
}

// TestOversized refuses answers that would fill the memory.
func TestOversized(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<10)
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   string
	}{
		"JSON": {func(w http.ResponseWriter) {
			w.Write([]byte(`{"sha": "`))
			block := bytes.Repeat([]byte("0"), 1<<20)
			for n := 0; n < 2*maxJSON; n += len(block) {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, "longer than"},
		"header": {func(w http.ResponseWriter) {
			for i := range 2 << 10 {
				w.Header().Set(fmt.Sprint("X-", i), long)
			}
		}, "header"},
		"refusal": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusTeapot)
			for range 1 << 10 {
				w.Write([]byte(long))
			}
		}, "418"},
		"nested": {func(w http.ResponseWriter) { w.Write(bytes.Repeat([]byte("["), 1<<20)) }, "hub answers"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { tt.answer(w) }))
		c := clientWith(t, Config{Endpoint: server.URL, Cache: t.TempDir(), Timeout: 5 * time.Second})
		_, err := c.Download(t.Context(), model, Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 2000 {
			t.Errorf("%s: %.300v, want %q", name, err, tt.want)
		}
		server.Close()
	}
}

// TestPatience: a server that is overloaded is asked again if the cache does not have all that is wanted, and only
// then.
func TestPatience(t *testing.T) {
	t.Parallel()
	for _, trees := range []bool{true, false} { // older programs leave no lists of files in the cache
		s, files := newServer(t), modelFiles()
		s.Add("org/model", files)
		c := newClient(t, s)
		if _, err := c.Download(t.Context(), model, Options{Include: []string{"config.json"}}); err != nil {
			t.Fatal(err)
		}
		if !trees {
			if err := os.RemoveAll(filepath.Join(c.cfg.Cache, "models--org--model", "trees")); err != nil {
				t.Fatal(err)
			}
		}
		s.Misbehave(hubtest.Fault{Path: "/revision/", Times: 2, Status: 503})
		snap, err := c.Download(t.Context(), model, Options{Include: []string{"*.json"}})
		if err != nil {
			t.Fatal(err)
		}
		wantFiles(t, snap, files, "config.json", "tokenizer.json")
		s.Misbehave(hubtest.Fault{Path: "/revision/", Status: 503})
		before := s.Count("", "/revision/")
		snap, err = c.Download(t.Context(), model, Options{Include: []string{"*.json"}})
		if err != nil || snap.Unchecked == nil || s.Count("", "/revision/")-before != 1 {
			t.Errorf("all is there: %v after %d questions, unchecked: %v", err, s.Count("", "/revision/")-before, snap.Unchecked)
		}
		if _, err = c.Download(t.Context(), model, Options{Include: []string{"*.bin"}}); !errors.Is(err, ErrNotCached) {
			t.Errorf("not there: %v", err)
		}
	}
}

// TestBadNames: a file that cannot be fetched does not keep the others from being fetched, now and when the list
// comes out of the cache.
func TestBadNames(t *testing.T) {
	t.Parallel()
	s, files := newServer(t), map[string][]byte{"a.json": []byte("{}"), "x\x1b:1.json": []byte("[]"), "b.txt": []byte("b")}
	s.Add("org/model", files)
	c := newClient(t, s)
	for range 2 {
		if _, err := c.Download(t.Context(), model, Options{Include: []string{"*.json"}}); err == nil || !strings.Contains(err.Error(), "leave it out with exclude") {
			t.Errorf("wanted: %v", err)
		}
		for _, o := range []Options{{Include: []string{"*.json"}, Exclude: []string{"x*"}}, {Include: []string{"a.json"}}} {
			snap, err := c.Download(t.Context(), model, o)
			if err != nil {
				t.Fatal(err)
			}
			wantFiles(t, snap, files, "a.json")
		}
		if _, err := c.Download(t.Context(), model, Options{Include: []string{"*.bin"}}); err == nil || !strings.Contains(err.Error(), "a.json") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("nothing fits: %q", err)
		}
	}
	if n := s.Count("", "/tree/"); n != 1 {
		t.Errorf("%d lists were fetched, want 1", n)
	}
}
