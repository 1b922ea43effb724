package serve

import (
	"path/filepath"
	"strings"
	"time"
)

// What people say of answers goes to feedback.jsonl, a line for each vote and for each pair of a better and a worse answer.
// Package dataset reads it.

// A vote is one on an answer, in TRL's form of preferences that are not paired.
type vote struct {
	Prompt     []turn `json:"prompt"`
	Completion []turn `json:"completion"`
	Label      *bool  `json:"label"` // nil takes back what was said
	Model      string `json:"model,omitempty"`
	Time       int64  `json:"time"`
}

// A pair is a better and a worse answer, in TRL's form of preferences.
type pair struct {
	Prompt   []turn `json:"prompt"`
	Chosen   []turn `json:"chosen"`
	Rejected []turn `json:"rejected"`
	By       string `json:"by"` // "votes" on both, or a "correction"
	Time     int64  `json:"time"`
}

// A turn is a message as models see it.
type turn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func answered(text string) []turn { return []turn{{"assistant", text}} }

// turns are the messages of a conversation as the model sees them, under a system prompt.
func turns(system string, thread []*storedMessage) (out []turn) {
	if system != "" {
		out = append(out, turn{"system", system})
	}
	for _, m := range thread {
		out = append(out, turn{m.Role, m.prompt()})
	}
	return out
}

// note adds lines to the feedback.
func (s *store) note(lines ...any) error {
	var text []byte
	for _, l := range lines {
		data, err := marshal(l)
		if err != nil {
			return err
		}
		text = append(append(text, data...), '\n')
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return appendTo(filepath.Join(s.dir, "feedback.jsonl"), text)
}

// vote notes that an answer is good (1), bad (-1) or neither (0). With answers to the same question that have the other
// vote it makes pairs.
func (s *store) vote(chat, message string, said int) error {
	c, err := s.get(chat)
	if err != nil {
		return err
	}
	m := c.message(message)
	if m == nil || m.Role != "assistant" || said < -1 || said > 1 {
		return badField("vote", "vote: expected -1, 0 or 1, for an answer of the chat")
	}
	if said == m.Vote {
		return nil
	}
	voted := *m
	voted.Vote = said
	if err := s.write(chat, line{Message: &voted}); err != nil {
		return err
	}
	prompt, now := turns(m.System, c.thread(m.Parent)), time.Now().Unix()
	v := vote{Prompt: prompt, Completion: answered(m.Content), Model: m.Model, Time: now}
	if said != 0 {
		good := said > 0
		v.Label = &good
	}
	lines := []any{v}
	for _, other := range c.Messages {
		if other.Parent != m.Parent || other.ID == m.ID || said == 0 || other.Vote != -said || other.Content == m.Content {
			continue
		}
		p := pair{Prompt: prompt, Chosen: answered(m.Content), Rejected: answered(other.Content), By: "votes", Time: now}
		if said < 0 {
			p.Chosen, p.Rejected = p.Rejected, p.Chosen
		}
		lines = append(lines, p)
	}
	return s.note(lines...)
}

// correct keeps what an answer should have been: as a branch beside it, and as a pair.
func (s *store) correct(chat, message, better string) (*storedMessage, error) {
	c, err := s.get(chat)
	if err != nil {
		return nil, err
	}
	m := c.message(message)
	if m == nil || m.Role != "assistant" || strings.TrimSpace(better) == "" || better == m.Content {
		return nil, badField("content", "content: expected another text for an answer of the chat")
	}
	now := time.Now().Unix()
	p := pair{Prompt: turns(m.System, c.thread(m.Parent)), Chosen: answered(better), Rejected: answered(m.Content), By: "correction", Time: now}
	if err := s.note(p); err != nil {
		return nil, err
	}
	out := &storedMessage{ID: newID("m-"), Parent: m.Parent, Role: "assistant", Content: better, System: m.System, Model: "you", Vote: 1, Created: now}
	return out, s.write(chat, line{Message: out})
}
