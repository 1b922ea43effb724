package serve

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/book/search"
)

// storeOfChild names the folder that a process of the tests is to write chats to.
const storeOfChild = "LENTIL_TEST_STORE"

// TestStoreWriter is the process that TestStoreKilled kills.
func TestStoreWriter(t *testing.T) {
	dir := os.Getenv(storeOfChild)
	if dir == "" {
		t.Skip("runs in a process of TestStoreKilled's")
	}
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		id := fmt.Sprintf("chat-%08d", i%3)
		m := &storedMessage{ID: fmt.Sprintf("msg-%08d", i), Role: "user", Content: strings.Repeat("lentils ", i%300)}
		lines := []line{{Message: m}}
		if _, err := s.get(id); err != nil { // it is new
			lines = []line{{Chat: &chatInfo{ID: id, Title: "A chat"}}, {Message: m}}
		}
		if err := s.write(id, lines...); err != nil {
			t.Fatal(err)
		}
		fmt.Println("kept", id, m.ID)
	}
}

// TestStoreKilled: what a server that is killed had told to be kept is there, and two servers never write to one folder.
func TestStoreKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kept := map[string]string{}
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestStoreWriter$", "-test.v")
		cmd.Env = append(os.Environ(), storeOfChild+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, told := bufio.NewScanner(out), 0
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			if len(f) != 3 || f[0] != "kept" {
				continue
			}
			kept[f[2]] = f[1]
			told++
			if told == 1 {
				if _, err := openStore(dir); err == nil || !strings.Contains(err.Error(), "another server") {
					t.Errorf("a second server: %v", err)
				}
			}
			if told == 40+7*round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		s, err := openStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		for message, id := range kept {
			if c, err := s.get(id); err != nil || c.message(message) == nil {
				t.Errorf("round %d: %s of %s is lost: %v", round, message, id, err)
			}
		}
		s.close()
	}
	if len(kept) < 40 {
		t.Errorf("%d messages were told to be kept", len(kept))
	}
}

// TestExchange: chats come back from an export as they were, of Open WebUI's form but for what that has no place for.
func TestExchange(t *testing.T) {
	t.Parallel()
	s, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	info := chatInfo{ID: chatID, Title: "Beans", Folder: "food", Leaf: "a2", Settings: json.RawMessage(`{"model":"base+cook","system":"Be brief."}`), Created: 100, Updated: 200}
	messages := []*storedMessage{
		{ID: "q1", Role: "user", Content: "Why?", Files: []file{{Name: "a.md", Text: "Beans are good."}}, Created: 100},
		{ID: "a1", Parent: "q1", Role: "assistant", Content: "So.", Model: "base+cook", Vote: 1, Sources: []search.Passage{{Book: "Food", Page: "7", Text: "So it is."}}, Created: 110},
		{ID: "a2", Parent: "q1", Role: "assistant", Content: "Because.", Reasoning: "Hm.\nYes.", Model: "base", Vote: -1, Figures: map[string]any{"reasoning_ms": 2000.0}, Created: 120},
	}
	lines := []line{{Chat: &info}}
	for _, m := range messages {
		lines = append(lines, line{Message: m})
	}
	if err := s.write(chatID, lines...); err != nil {
		t.Fatal(err)
	}
	again := func(export any) *storedChat {
		t.Helper()
		data, err := marshal(export)
		if err != nil {
			t.Fatal(err)
		}
		had := listed(s, "")
		if n, err := s.take(data); n != len(had) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		for _, f := range listed(s, "") {
			if !slices.ContainsFunc(had, func(h found) bool { return h.ID == f.ID }) {
				c, err := s.get(f.ID)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.write(f.ID, line{Deleted: true}); err != nil {
					t.Fatal(err)
				}
				c.ID = chatID
				return c
			}
		}
		t.Fatal("no chat came")
		return nil
	}
	if c := again(s.export()); !reflect.DeepEqual(c.chatInfo, info) || !reflect.DeepEqual(c.Messages, messages) {
		t.Errorf("%+v", c)
	}
	web := s.export()[0].toWeb()
	if m := web.Chat.History.Messages["q1"]; !slices.Equal(m.ChildrenIDs, []string{"a1", "a2"}) || m.ParentID != nil || len(web.Chat.Messages) != 2 || web.Chat.Messages[1].ID != "a2" {
		t.Errorf("Open WebUI's export: %+v", web.Chat)
	}
	c := again([]webChat{web})
	messages[0] = &storedMessage{ID: "q1", Role: "user", Content: "File a.md:\n\nBeans are good.\n\nWhy?", Created: 100}
	messages[1].Sources[0] = search.Passage{Book: "Food, p. 7", Text: "So it is."}
	messages[2].Figures["reasoning_ms"] = 2000
	for i, m := range c.Messages {
		if f := m.Figures["reasoning_ms"]; f != nil { // a number of JSON, once it was read from the file
			m.Figures["reasoning_ms"] = m.thoughtFor()
		}
		if !reflect.DeepEqual(m, messages[i]) {
			t.Errorf("%+v, want %+v", m, messages[i])
		}
	}
	if c.Title != "Beans" || c.Folder != "food" || c.Leaf != "a2" || c.Created != 100 || !strings.Contains(string(c.Settings), `"base+cook"`) {
		t.Errorf("%+v", c.chatInfo)
	}
	odd := `[{"chat": {"history": {"messages": {"a": {"id": "a", "role": "assistant", "content": "x", "sources": [{"source": 3}], "annotation": {"rating": "good"}}}}}}]`
	if n, err := s.take([]byte(odd)); n != 1 || err != nil {
		t.Errorf("sources of another form: %d, %v", n, err)
	}
	for what, text := range map[string]string{
		"no list":                     `{}`,
		"no messages":                 `[{"title": "x", "messages": []}]`,
		"an unknown role":             `[{"messages": [{"id": "a", "role": "tool"}]}]`,
		"an id twice":                 `[{"messages": [{"id": "a", "role": "user"}, {"id": "a", "role": "user"}]}]`,
		"a ring":                      `[{"messages": [{"id": "a", "parent": "b", "role": "user"}, {"id": "b", "parent": "a", "role": "user"}]}]`,
		"a parent that is no message": `[{"messages": [{"id": "a", "parent": "b", "role": "user"}]}]`,
		"a good one first":            `[{"messages": [{"id": "a", "role": "user"}]}, {"messages": [null]}]`,
	} {
		if _, err := s.take([]byte(text)); err == nil || len(listed(s, "")) != 2 {
			t.Errorf("%s: %v, %d chats", what, err, len(listed(s, "")))
		}
	}
	if err := s.move("food", "Food/Pulses"); err != nil {
		t.Fatal(err)
	}
	if _, folders := s.list(""); !slices.Equal(folders, []string{"Food/Pulses"}) {
		t.Errorf("folders %q", folders)
	}
}

// manyChats is a folder of n chats of twenty messages, each of a hundred words.
func manyChats(tb testing.TB, n int) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "chats"), 0o700); err != nil {
		tb.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		id := fmt.Sprintf("chat-%08d", i)
		lines := []line{{Chat: &chatInfo{ID: id, Title: fmt.Sprint("Chat ", i), Created: int64(i), Updated: int64(i)}}}
		parent := ""
		for j := range 20 {
			var b bytes.Buffer
			for range 100 {
				fmt.Fprintf(&b, "%s%s ", []string{"Ba", "ce", "di", "fo", "gu"}[r.IntN(5)], []string{"lentil", "bean", "rice", "egg", "oat", "pea"}[r.IntN(6)])
			}
			if i == n/2 && j == 13 {
				b.WriteString("Xanthophyll is in Eggs")
			}
			m := &storedMessage{ID: fmt.Sprintf("msg-%08d", j), Parent: parent, Role: []string{"user", "assistant"}[j%2], Content: b.String()}
			lines, parent = append(lines, line{Message: m}), m.ID
		}
		var b bytes.Buffer
		for _, l := range lines {
			data, err := marshal(l)
			if err != nil {
				tb.Fatal(err)
			}
			b.Write(append(data, '\n'))
		}
		if err := os.WriteFile(filepath.Join(dir, "chats", id+".jsonl"), b.Bytes(), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// BenchmarkStore opens 2,000 chats and looks for words in them.
func BenchmarkStore(b *testing.B) {
	dir := manyChats(b, 2000)
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			s, err := openStore(dir)
			if err != nil {
				b.Fatal(err)
			}
			s.close()
		}
	})
	s, err := openStore(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	for name, search := range map[string]string{"none": "zucchini", "one": "eggs xanthophyll", "all": "balentil"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.list(search)
			}
		})
	}
}
