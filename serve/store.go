package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/lentil-lm/lentil/book/search"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/filelock"
)

// A store keeps the chats of the page. Each is a file of lines that only grows, synced line by line: what was answered is
// there after a kill, and a line that was cut is passed over. The last line of each message counts.
//
//	chats/ID.jsonl    lines of a chat: {"chat": {...}} and {"message": {...}}
//	feedback.jsonl    pairs of answers, as preference training reads them
type store struct {
	dir  string
	lock *os.File

	mu    sync.Mutex
	chats map[string]*storedChat
}

// A storedChat is a chat: a tree of messages, and what the page keeps of it.
type storedChat struct {
	chatInfo
	Messages []*storedMessage `json:"messages"`
	deleted  bool
	folded   map[*storedMessage]string // contents in small letters, once they were searched
}

// clone is a copy whose list of messages stays as it is.
func (c *storedChat) clone() *storedChat {
	return &storedChat{chatInfo: c.chatInfo, Messages: slices.Clone(c.Messages)}
}

// chatInfo is what is told of a chat in a list, and what its settings are.
type chatInfo struct {
	ID       string          `json:"id"`
	Title    string          `json:"title"`
	Folder   string          `json:"folder,omitempty"`
	Leaf     string          `json:"leaf,omitempty"` // the message that the page shows the way to
	Settings json.RawMessage `json:"settings,omitempty"`
	Created  int64           `json:"created"` // Unix seconds
	Updated  int64           `json:"updated"`
}

// A storedMessage hangs below the message that it answers; those with one parent are branches.
type storedMessage struct {
	ID        string           `json:"id"`
	Parent    string           `json:"parent"` // "" for the first
	Role      string           `json:"role"`
	Content   string           `json:"content"`
	Files     []file           `json:"files,omitempty"`  // that a question came with
	System    string           `json:"system,omitempty"` // what an answer was asked with
	Left      int              `json:"left,omitempty"`   // messages at the beginning that were left out, as the model takes no more
	Reasoning string           `json:"reasoning,omitempty"`
	Model     string           `json:"model,omitempty"`
	Finish    string           `json:"finish,omitempty"` // "stopped" where somebody stopped it, "broken" where the server ended
	Error     string           `json:"error,omitempty"`
	Vote      int              `json:"vote,omitempty"` // 1 good, -1 bad
	Figures   map[string]any   `json:"figures,omitempty"`
	Sources   []search.Passage `json:"sources,omitempty"`
	Unfounded []string         `json:"unfounded,omitempty"` // figures that are in no source
	Profile   map[string]any   `json:"profile,omitempty"`   // what a profile's scanner found
	Created   int64            `json:"created"`
}

// line is a line of a chat's file.
type line struct {
	Chat    *chatInfo      `json:"chat,omitempty"`
	Message *storedMessage `json:"message,omitempty"`
	Deleted bool           `json:"deleted,omitempty"`
}

// Limits on what is kept.
const (
	mostChats    = 100_000
	mostMessages = 20_000
	mostChatFile = 256 << 20
)

// openStore reads the chats of a folder, which it makes if there is none.
func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(filepath.Join(dir, "chats"), 0o700); err != nil {
		return nil, fault.At("data", "%w", err)
	}
	s := &store{dir: dir, chats: map[string]*storedChat{}}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fault.At("data", "%w", err)
	}
	if err := filelock.Try(s.lock, 0); err != nil {
		s.lock.Close()
		return nil, fault.Given("data", dir, "another server keeps its chats there").Try("End it, or give another folder.")
	}
	files, err := filepath.Glob(filepath.Join(dir, "chats", "*.jsonl"))
	if err == nil && len(files) > mostChats {
		err = fault.At("data", "%s has %d chats, %d are the most", dir, len(files), mostChats)
	}
	for _, f := range files {
		if err == nil {
			err = s.read(f)
		}
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *store) close() { s.lock.Close() } // with it, the lock goes

func (s *store) path(id string) string { return filepath.Join(s.dir, "chats", id+".jsonl") }

// read reads the file of one chat.
func (s *store) read(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Size() > mostChatFile {
		err = fault.At("data", "%s has %d bytes, %d are the most", path, info.Size(), mostChatFile)
	}
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	id := strings.TrimSuffix(filepath.Base(path), ".jsonl")
	c := &storedChat{chatInfo: chatInfo{ID: id}}
	for _, text := range bytes.Split(data, []byte("\n")) {
		var l line
		if json.Unmarshal(text, &l) == nil { // else it was cut
			c.apply(l)
		}
	}
	if !c.deleted && c.ID == id {
		s.chats[id] = c
	}
	return nil
}

// apply adds a line to a chat.
func (c *storedChat) apply(l line) {
	c.deleted = c.deleted || l.Deleted
	if l.Chat != nil && l.Chat.ID == c.ID {
		c.chatInfo = *l.Chat
	}
	m := l.Message
	if m == nil {
		return
	}
	if m.Created > c.Updated {
		c.Updated = m.Created
	}
	if i := slices.IndexFunc(c.Messages, func(o *storedMessage) bool { return o.ID == m.ID }); i >= 0 {
		delete(c.folded, c.Messages[i])
		c.Messages[i] = m
	} else if len(c.Messages) < mostMessages {
		c.Messages = append(c.Messages, m)
	}
}

// message finds a message; nil if there is none.
func (c *storedChat) message(id string) *storedMessage {
	for _, m := range c.Messages {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// thread is the messages from the first to one.
func (c *storedChat) thread(id string) (out []*storedMessage) {
	for m := c.message(id); m != nil && len(out) <= len(c.Messages); m = c.message(m.Parent) {
		out = append(out, m)
	}
	slices.Reverse(out)
	return out
}

var errNoChat = errors.New("there is no such chat")

// write adds lines to a chat; a chat that is not there yet is made where the first line names it.
func (s *store) write(id string, lines ...line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chats[id]
	if c == nil {
		if len(lines) == 0 || lines[0].Chat == nil || lines[0].Chat.ID != id {
			return errNoChat
		}
		if len(s.chats) >= mostChats {
			return fault.Of("there are %d chats, which is the most", mostChats)
		}
		c = &storedChat{chatInfo: *lines[0].Chat}
	}
	var b bytes.Buffer
	for _, l := range lines {
		if l.Message != nil && c.message(l.Message.ID) == nil && len(c.Messages) >= mostMessages {
			return fault.Of("the chat has %d messages, which is the most", mostMessages)
		}
		data, err := marshal(l)
		if err != nil {
			return err
		}
		b.Write(append(data, '\n'))
	}
	if err := appendTo(s.path(id), b.Bytes()); err != nil {
		return err
	}
	for _, l := range lines {
		c.apply(l)
	}
	if c.deleted {
		delete(s.chats, id)
		return os.Remove(s.path(id))
	}
	s.chats[id] = c
	return nil
}

// appendTo adds lines to a file and waits until the disk has them. A line that was cut before them is ended.
func appendTo(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil && size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], size-1); err == nil && last[0] != '\n' {
			data = append([]byte{'\n'}, data...)
		}
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// get is a copy of a chat.
func (s *store) get(id string) (*storedChat, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chats[id]
	if c == nil {
		return nil, errNoChat
	}
	return c.clone(), nil
}

// found is a chat that a search finds, with the place.
type found struct {
	chatInfo
	Snippet string `json:"snippet,omitempty"`
}

// list gives all chats, the newest first, that have all words of a search in their title or in one message, and the folders
// of all chats.
func (s *store) list(search string) (out []found, folders []string) {
	words := strings.Fields(strings.ToLower(search))
	s.mu.Lock()
	defer s.mu.Unlock()
	out = []found{}
	seen := map[string]bool{}
	for _, c := range s.chats {
		if c.Folder != "" {
			seen[c.Folder] = true
		}
		if at, ok := c.find(words); ok {
			out = append(out, found{c.chatInfo, at})
		}
	}
	slices.SortFunc(out, func(a, b found) int {
		if a.Updated != b.Updated {
			return int(b.Updated - a.Updated)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, append([]string{}, slices.Sorted(maps.Keys(seen))...)
}

// move puts all chats of a folder into another one; "" is none.
func (s *store) move(from, to string) error {
	all, _ := s.list("")
	for _, c := range all {
		if c.Folder != from {
			continue
		}
		c.Folder = to
		if err := s.write(c.ID, line{Chat: &c.chatInfo}); err != nil && !missing(err) {
			return err
		}
	}
	return nil
}

// find looks for words, and gives the text around the first.
func (c *storedChat) find(words []string) (snippet string, ok bool) {
	has := func(text string) bool {
		for _, w := range words {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	}
	if has(strings.ToLower(c.Title)) {
		return "", true
	}
	const around = 40 // characters
	for _, m := range c.Messages {
		low, ok := c.folded[m]
		if !ok {
			if c.folded == nil {
				c.folded = map[*storedMessage]string{}
			}
			low = strings.ToLower(m.Content)
			c.folded[m] = low
		}
		if !has(low) {
			continue
		}
		before, _, _ := strings.Cut(low, words[0])
		text := []rune(m.Content)
		at := min(len([]rune(before)), len(text))
		return string(text[max(0, at-around):min(len(text), at+around)]), true
	}
	return "", false
}

// validID tells ids that the page makes: they are names of files.
func validID(id string) bool {
	if len(id) < 8 || len(id) > 64 {
		return false
	}
	for _, c := range id {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// missing tells errors that say that something is not there.
func missing(err error) bool { return errors.Is(err, errNoChat) || errors.Is(err, fs.ErrNotExist) }
