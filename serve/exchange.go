package serve

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/book/search"
)

// Chats come from exports and go into them: this page's, and Open WebUI's.

// export is all chats, whole.
func (s *store) export() []*storedChat {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []*storedChat{}
	for _, c := range s.chats {
		out = append(out, c.clone())
	}
	slices.SortFunc(out, func(a, b *storedChat) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// webChat is a chat as Open WebUI's exports have it.
type webChat struct {
	ID        string      `json:"id"`
	Title     string      `json:"title"`
	Chat      *webContent `json:"chat"`
	CreatedAt int64       `json:"created_at"`
	UpdatedAt int64       `json:"updated_at"`
	Archived  bool        `json:"archived"`
	Pinned    bool        `json:"pinned"`
	Meta      webMeta     `json:"meta"`
}

// webMeta has the tags of a chat. There are no names of folders in an export, so that a folder becomes a tag.
type webMeta struct {
	Tags []string `json:"tags,omitempty"`
}

type webContent struct {
	Title     string       `json:"title"`
	Models    []string     `json:"models"`
	System    string       `json:"system,omitempty"`
	History   webHistory   `json:"history"`
	Messages  []webMessage `json:"messages"`  // the way to the current one
	Timestamp int64        `json:"timestamp"` // milliseconds
}

type webHistory struct {
	Messages  map[string]webMessage `json:"messages"`
	CurrentID string                `json:"currentId"`
}

type webMessage struct {
	ID          string         `json:"id"`
	ParentID    *string        `json:"parentId"`
	ChildrenIDs []string       `json:"childrenIds"`
	Role        string         `json:"role"`
	Content     string         `json:"content"`
	Reasoning   string         `json:"reasoning_content,omitempty"`
	Model       string         `json:"model,omitempty"`
	Models      []string       `json:"models,omitempty"`
	Timestamp   float64        `json:"timestamp"` // seconds
	Done        bool           `json:"done"`
	Annotation  *webAnnotation `json:"annotation,omitempty"`
	Sources     webSources     `json:"sources,omitempty"`
}

// webSources are those of an answer. Some are of other tools, in other forms, and are left out.
type webSources []webSource

func (s *webSources) UnmarshalJSON(data []byte) error {
	var list []webSource
	if json.Unmarshal(data, &list) == nil {
		*s = list
	}
	return nil
}

func (a *webAnnotation) UnmarshalJSON(data []byte) error {
	var v struct{ Rating int }
	if json.Unmarshal(data, &v) == nil {
		a.Rating = v.Rating
	}
	return nil
}

// webSource is a source of an answer: a name, and texts of it.
type webSource struct {
	Source   webName   `json:"source"`
	Document []string  `json:"document"`
	Metadata []webMark `json:"metadata"`
}

type webName struct {
	Name string `json:"name"`
}

type webMark struct {
	Source string `json:"source"`
}

type webAnnotation struct {
	Rating int `json:"rating"`
}

// toWeb writes a chat as Open WebUI does.
func (c *storedChat) toWeb() webChat {
	out := webChat{ID: c.ID, Title: c.Title, CreatedAt: c.Created, UpdatedAt: c.Updated}
	if c.Folder != "" {
		out.Meta.Tags = []string{strings.ToLower(c.Folder)}
	}
	var kept struct{ Model, System string }
	json.Unmarshal(c.Settings, &kept) // there may be none
	models := []string{}
	if kept.Model != "" {
		models = append(models, kept.Model)
	}
	content := &webContent{Title: c.Title, Models: models, System: kept.System, History: webHistory{Messages: map[string]webMessage{}, CurrentID: c.Leaf}, Messages: []webMessage{}, Timestamp: c.Created * 1000}
	for _, m := range c.Messages {
		w := webMessage{ID: m.ID, ChildrenIDs: []string{}, Role: m.Role, Content: m.prompt(), Model: m.Model, Timestamp: float64(m.Created), Done: true}
		if m.Parent != "" {
			w.ParentID = &m.Parent
		}
		if m.Reasoning != "" {
			w.Content = fmt.Sprintf("<details type=\"reasoning\" done=\"true\" duration=\"%d\">\n<summary>Thought</summary>\n%s\n</details>\n%s", m.thoughtFor()/1000, quoted(m.Reasoning), w.Content)
		}
		if m.Role == "user" {
			w.Models = models
		}
		if m.Vote != 0 {
			w.Annotation = &webAnnotation{m.Vote}
		}
		for _, p := range m.Sources {
			w.Sources = append(w.Sources, webSource{webName{p.Name()}, []string{p.Text}, []webMark{{p.Name()}}})
		}
		for _, k := range c.Messages {
			if k.Parent == m.ID {
				w.ChildrenIDs = append(w.ChildrenIDs, k.ID)
			}
		}
		content.History.Messages[m.ID] = w
	}
	for _, m := range c.thread(c.Leaf) {
		content.Messages = append(content.Messages, content.History.Messages[m.ID])
	}
	out.Chat = content
	return out
}

// thoughtFor is how long an answer was reasoned about, in milliseconds: a number of another type once it was read back.
func (m *storedMessage) thoughtFor() int {
	ms, _ := strconv.ParseFloat(fmt.Sprint(m.Figures["reasoning_ms"]), 64)
	return int(ms)
}

func quoted(text string) string { return "> " + strings.ReplaceAll(text, "\n", "\n> ") }

// webReasoning is what Open WebUI puts before the text of an answer.
var webReasoning = regexp.MustCompile(`(?s)\A\s*<details type="reasoning"([^>]*)>\s*(?:<summary>.*?</summary>)?\s*(.*?)\s*</details>\s*`)

var webDuration = regexp.MustCompile(`duration="(\d+)"`)

// fromWeb reads a chat of Open WebUI.
func fromWeb(w *webChat) *storedChat {
	c := &storedChat{chatInfo: chatInfo{Title: w.Chat.Title, Leaf: w.Chat.History.CurrentID, Created: w.CreatedAt, Updated: w.UpdatedAt}}
	if c.Title == "" {
		c.Title = w.Title
	}
	if len(w.Meta.Tags) > 0 {
		c.Folder = w.Meta.Tags[0]
	}
	if len(w.Chat.Models) > 0 || w.Chat.System != "" {
		kept := map[string]string{"system": w.Chat.System}
		if len(w.Chat.Models) > 0 {
			kept["model"] = w.Chat.Models[0]
		}
		c.Settings, _ = marshal(kept) // strings alone
	}
	for id, m := range w.Chat.History.Messages {
		out := &storedMessage{ID: id, Role: m.Role, Content: m.Content, Reasoning: m.Reasoning, Model: m.Model, Created: int64(m.Timestamp)}
		if m.ParentID != nil {
			out.Parent = *m.ParentID
		}
		if found := webReasoning.FindStringSubmatchIndex(m.Content); found != nil && m.Role == "assistant" {
			out.Content = m.Content[found[1]:]
			thought := strings.ReplaceAll(m.Content[found[4]:found[5]], "\n> ", "\n")
			out.Reasoning = strings.TrimPrefix(thought, "> ")
			if d := webDuration.FindStringSubmatch(m.Content[found[2]:found[3]]); d != nil {
				seconds, _ := strconv.Atoi(d[1])
				out.Figures = map[string]any{"reasoning_ms": seconds * 1000}
			}
		}
		if m.Annotation != nil && (m.Annotation.Rating == 1 || m.Annotation.Rating == -1) {
			out.Vote = m.Annotation.Rating
		}
		for _, source := range m.Sources {
			for _, text := range source.Document {
				out.Sources = append(out.Sources, search.Passage{ID: len(out.Sources), Book: source.Source.Name, Text: text})
			}
		}
		c.Messages = append(c.Messages, out)
	}
	slices.SortFunc(c.Messages, func(a, b *storedMessage) int {
		if a.Created != b.Created {
			return int(a.Created - b.Created)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return c
}

// take adds chats from an export, of this page or of Open WebUI; it gives their number. Ids are new. A chat that cannot be
// read lets none in.
func (s *store) take(data []byte) (int, error) {
	var raws []json.RawMessage
	if err := json.Unmarshal(data, &raws); err != nil {
		return 0, badField("", "expected a list of chats, as an export has it")
	}
	var chats []*storedChat
	for i, raw := range raws {
		c, err := readExported(raw)
		if err != nil {
			if _, text := wrongKind(err); text != "" {
				err = errors.New(text)
			}
			return 0, badField("", "chat %d: %v", i+1, err)
		}
		chats = append(chats, c)
	}
	for i, c := range chats {
		c.ID = newID("c-")
		if c.Updated == 0 {
			c.Updated = time.Now().Unix()
		}
		c.Created = cmp.Or(c.Created, c.Updated)
		lines := []line{{Chat: &c.chatInfo}}
		for _, m := range c.Messages {
			lines = append(lines, line{Message: m})
		}
		if err := s.write(c.ID, lines...); err != nil {
			return i, err
		}
	}
	return len(chats), nil
}

// readExported reads a chat of an export.
func readExported(raw json.RawMessage) (*storedChat, error) {
	c := &storedChat{}
	var web webChat
	var kind struct{ Chat json.RawMessage }
	if err := json.Unmarshal(raw, &kind); err != nil {
		return nil, err
	}
	if kind.Chat == nil {
		if err := json.Unmarshal(raw, c); err != nil {
			return nil, err
		}
	} else {
		if err := json.Unmarshal(raw, &web); err != nil {
			return nil, err
		}
		if web.Chat == nil {
			return nil, fmt.Errorf("it has no messages")
		}
		c = fromWeb(&web)
	}
	if len(c.Messages) == 0 || len(c.Messages) > mostMessages {
		return nil, fmt.Errorf("it has %d messages, expected 1 to %d", len(c.Messages), mostMessages)
	}
	return c, c.checkTree()
}

// checkTree refuses messages that are no tree: pages walk it.
func (c *storedChat) checkTree() error {
	known := map[string]*storedMessage{}
	for _, m := range c.Messages {
		switch {
		case m == nil || m.ID == "" || m.Role != "user" && m.Role != "assistant" && m.Role != "system":
			return fmt.Errorf("a message without an id, or of no known role")
		case known[m.ID] != nil:
			return fmt.Errorf("two messages have the id %.80q", m.ID)
		}
		known[m.ID] = m
	}
	rooted := map[string]bool{"": true}
	for _, m := range c.Messages {
		var path []string
		for at := m; !rooted[at.ID]; at = known[at.Parent] {
			path = append(path, at.ID)
			if len(path) > len(c.Messages) {
				return fmt.Errorf("message %.80q hangs below itself", m.ID)
			}
			if at.Parent == "" {
				break
			}
			if known[at.Parent] == nil {
				return fmt.Errorf("message %.80q answers one that is not there", at.ID)
			}
		}
		for _, id := range path {
			rooted[id] = true
		}
	}
	return nil
}
