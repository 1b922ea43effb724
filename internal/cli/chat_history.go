package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

const (
	// mostHistory is how many messages are remembered.
	mostHistory = 1000
	// maxHistory is the largest file that is read for them, in bytes.
	maxHistory = 16 << 20
)

// history is what was typed in earlier chats and this one, the oldest first. Each line of its file is one message, as a JSON string.
type history struct {
	path     string // empty: nothing is kept
	messages []string
	warn     io.Writer
}

// historyPath is the file of the history: LENTIL_HISTORY, which switches it off if it is empty, or one in the user's folder for such.
func historyPath() string {
	if path, ok := os.LookupEnv("LENTIL_HISTORY"); ok {
		return path
	}
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // the standard has relative ones ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
		if local := os.Getenv("LocalAppData"); runtime.GOOS == "windows" && local != "" {
			dir = local
		}
	}
	return filepath.Join(dir, "lentil", "history")
}

// openHistory reads the history. One that cannot be read is no reason not to talk.
func openHistory(path string, warn io.Writer) *history {
	h := &history{path: path, warn: warn}
	if path == "" {
		return h
	}
	text, err := smallfile.Read(path, maxHistory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.fail(err)
		return h
	}
	for line := range bytes.Lines(text) {
		var message string
		if json.Unmarshal(line, &message) == nil && message != "" {
			h.messages = append(h.messages, message)
		}
	}
	if len(h.messages) > 2*mostHistory {
		h.messages = h.messages[len(h.messages)-mostHistory:]
		if err := h.shorten(); err != nil {
			h.fail(err)
		}
	}
	return h
}

// fail ends the keeping of a history.
func (h *history) fail(err error) {
	fmt.Fprintf(h.warn, "No history is kept: %v\nName another file in LENTIL_HISTORY, or leave that empty for none.\n", err)
	h.path = ""
}

// shorten writes the file anew, with what is remembered.
func (h *history) shorten() error {
	var text strings.Builder
	for _, m := range h.messages {
		line, err := json.Marshal(m)
		if err != nil {
			return err
		}
		text.Write(append(line, '\n'))
	}
	return atomicfile.Options{Perm: 0o600}.Write(h.path, []byte(text.String()))
}

// Write adds a message. Other chats may add theirs to the file at the same time.
func (h *history) Write(message string) (int, error) {
	message = strings.TrimSpace(message)
	if n := len(h.messages); message == "" || n > 0 && h.messages[n-1] == message {
		return n, nil
	}
	h.messages = append(h.messages, message)
	if h.path != "" {
		if err := h.keep(message); err != nil {
			h.fail(err)
		}
	}
	return len(h.messages), nil
}

// keep writes a message to the end of the file.
func (h *history) keep(message string) error {
	line, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(h.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// GetLine is message i, the oldest first.
func (h *history) GetLine(i int) (string, error) {
	if i < 0 || i >= len(h.messages) {
		return "", fmt.Errorf("the history has %d messages, and no number %d", len(h.messages), i)
	}
	return h.messages[i], nil
}

// Len counts the messages.
func (h *history) Len() int { return len(h.messages) }

// Dump gives all messages.
func (h *history) Dump() any { return h.messages }
