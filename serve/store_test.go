package serve

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

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
