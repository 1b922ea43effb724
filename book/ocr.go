package book

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/book/pdf"
	"github.com/lentil-lm/lentil/fault"
)

const (
	ocrDPI   = 300
	ocrTime  = 5 * time.Minute // for one page
	maxOCR   = 4 << 20         // bytes of text of one page
	maxOCRed = 64 << 20        // bytes of text of all pages
)

// splitCommand parts a command line into words as a shell does with quotes, and with nothing else. What cannot be started is a mistake.
func splitCommand(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, open := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r == ' ' || r == '\t':
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if open {
		words = append(words, word.String())
	}
	if quote != 0 || len(words) == 0 {
		return nil, fault.At("ocr", "%q is no command: it is empty, or a quote is not closed", line).Try("Give it like %v 'tesseract {} stdout': {} stands for the picture of a page.", fault.Setting("ocr"))
	}
	if !strings.Contains(line, "{}") {
		words = append(words, "{}")
	}
	if _, err := exec.LookPath(words[0]); err != nil {
		return nil, fault.At("ocr", "%s: %w", words[0], err).Try("Install it, or give its path.")
	}
	return words, nil
}

// recognizeText has the user's command read the pages that are pictures. It gives their texts, and the pages that are
// still unread: a command that fails for a page leaves that page so.
func recognizeText(ctx context.Context, words []string, data []byte, unread []Unread, progress func(done, of int)) (texts map[int]string, left []Unread, err error) {
	if !slices.ContainsFunc(unread, func(u Unread) bool { return u.Why == noText }) {
		return nil, unread, nil
	}
	folder, err := os.MkdirTemp("", "lentil-ocr-") // that nobody else can read
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(folder)
	f, err := pdf.Open(data)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	texts = map[int]string{}
	var lock sync.Mutex
	var all sync.WaitGroup
	total, done := 0, 0
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, u := range unread {
		if u.Why != noText {
			left = append(left, u)
			continue
		}
		free <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		picture, err := f.PNG(u.Page-1, ocrDPI)
		if err != nil {
			lock.Lock()
			left = append(left, Unread{u.Page, err.Error()})
			lock.Unlock()
			<-free
			continue
		}
		all.Go(func() {
			defer func() { <-free }()
			text, err := runOCR(ctx, words, filepath.Join(folder, fmt.Sprintf("page-%05d.png", u.Page)), picture)
			lock.Lock()
			defer lock.Unlock()
			if done++; progress != nil {
				progress(done, len(unread))
			}
			switch total += len(text); {
			case err != nil:
				left = append(left, Unread{u.Page, err.Error()})
			case total > maxOCRed:
				left = append(left, Unread{u.Page, "the pages before it gave too much text"})
			case strings.TrimSpace(text) == "":
				left = append(left, Unread{u.Page, "the command for it found no text"})
			default:
				texts[u.Page-1] = text
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(left, func(a, b Unread) int { return a.Page - b.Page })
	return texts, left, nil
}

// runOCR runs the command for one page and gives what it prints.
func runOCR(ctx context.Context, words []string, path string, picture []byte) (string, error) {
	if err := os.WriteFile(path, picture, 0o600); err != nil {
		return "", err
	}
	defer os.Remove(path)
	ctx, cancel := context.WithTimeout(ctx, ocrTime)
	defer cancel()
	args := slices.Clone(words[1:])
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "{}", path)
	}
	cmd := exec.CommandContext(ctx, words[0], args...)
	if os.Getenv("OMP_THREAD_LIMIT") == "" { // several pages are read at a time: tesseract's own threads are in each other's way then
		cmd.Env = append(os.Environ(), "OMP_THREAD_LIMIT=1")
	}
	cmd.WaitDelay = 5 * time.Second // what it started may hold its output open
	out, said := &limited{most: maxOCR, full: cancel}, &limited{most: 2000, full: func() {}}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	switch {
	case out.over:
		return "", errors.New("the command for it printed more than a page can have")
	case ctx.Err() == context.DeadlineExceeded:
		return "", fmt.Errorf("the command for it took more than %v", ocrTime)
	case err != nil:
		if text := strings.Join(strings.Fields(said.kept.String()), " "); text != "" {
			return "", fmt.Errorf("the command for it failed: %w: %.300s", err, text)
		}
		return "", fmt.Errorf("the command for it failed: %w", err)
	}
	text, _ := decode(out.kept.Bytes(), false)
	return string(text), nil
}

// limited keeps the begin of what is written to it, and calls full when there is more. The buffer is no embedded one, whose
// ReadFrom io.Copy would take instead of Write.
type limited struct {
	kept bytes.Buffer
	most int
	over bool
	full func()
}

func (l *limited) Write(p []byte) (int, error) {
	if room := l.most - l.kept.Len(); len(p) > room {
		l.over = true
		l.full()
		l.kept.Write(p[:room])
		return len(p), nil
	}
	return l.kept.Write(p)
}
