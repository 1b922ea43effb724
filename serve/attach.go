package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/fault"
)

// A file is what a question comes with: the text of a book, a page, a table.
type file struct {
	Name string `json:"name"`
	Text string `json:"text"`
	Cut  bool   `json:"cut,omitempty"` // Text is its beginning
}

// Limits on what comes with a question.
const (
	mostFiles    = 8
	mostFileText = 256 << 10 // bytes of text that are kept of a file; few models take as much
	mostFileName = 200
	readFileTime = time.Minute
)

// prompt is a message as the model sees it: what it came with, then what was said.
func (m *storedMessage) prompt() string {
	var b strings.Builder
	for _, f := range m.Files {
		b.WriteString("File " + f.Name + ":\n\n" + strings.TrimSpace(f.Text) + "\n\n")
	}
	return b.String() + m.Content
}

// fileName is the last part of a name, without what breaks lines.
func fileName(name string) string {
	name = filepath.Base(strings.ReplaceAll(name, "\\", "/"))
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if len(name) > mostFileName {
		end := filepath.Ext(name)
		name = strings.ToValidUTF8(name[:max(0, mostFileName-len(end))], "") + end
	}
	return name
}

// readFile gives the text of a file that a browser sends.
func (s *Server) readFile(r *http.Request) (any, error) {
	name := fileName(r.URL.Query().Get("name"))
	data, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &apiError{status: http.StatusRequestEntityTooLarge, kind: "invalid_request_error", code: "too_large", message: fmt.Sprintf("%s is too large: a file may have %d bytes", name, large.Limit)}
	case err != nil:
		return nil, badField("", "%s did not come whole: %v", name, err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), readFileTime)
	defer cancel()
	select { // PDF files take memory: one at a time
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		return nil, errBusy
	}
	d, err := openBytes(ctx, name, data)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(d.Text())
	if text == "" {
		return nil, badField("file", "%s has no text: its pages may be pictures", name)
	}
	f := file{Name: name, Text: text}
	if len(text) > mostFileText {
		cut := mostFileText
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		f.Text, f.Cut = text[:cut], true
	}
	return struct {
		file
		Words int `json:"words"`
		Pages int `json:"pages,omitempty"`
	}{f, len(strings.Fields(f.Text)), d.Pages}, nil
}

// openBytes reads a book that is no file yet.
func openBytes(ctx context.Context, name string, data []byte) (*book.Document, error) {
	dir, err := os.MkdirTemp("", "lentil-attach")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "file"+strings.ToLower(filepath.Ext(name)))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return nil, err
	}
	d, err := book.Options{}.Open(ctx, path)
	if ctx.Err() != nil {
		return nil, badField("file", "%s took longer than %v to read", name, readFileTime)
	}
	var mistake *fault.Mistake
	if errors.As(err, &mistake) { // told by the name that the user knows
		return nil, badField("file", "%s", strings.ReplaceAll(fault.Text(err, fieldOf), path, name))
	}
	return d, err
}

// checkFiles refuses what no upload gave.
func checkFiles(files []file) error {
	if len(files) > mostFiles {
		return badField("files", "files: found %d, a question takes %d", len(files), mostFiles)
	}
	for _, f := range files {
		if len(f.Text) > mostFileText || f.Name != fileName(f.Name) {
			return badField("files", "files: expected names, and texts of %d bytes at most", mostFileText)
		}
	}
	return nil
}
