package dataset

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/chat"
)

// TestFormatRow: what is written in a format is read back as the same conversation.
func TestFormatRow(t *testing.T) {
	say := func(turns ...string) (out []chat.Value) {
		for i := 0; i < len(turns); i += 2 {
			out = append(out, chat.NewMessage(turns[i], turns[i+1]))
		}
		return out
	}
	one := Row{Format: Chat, Messages: say("user", "Why \"lentils\"?", "assistant", "9 g\nof protein – ½ cup")}
	system := Row{Format: Chat, Messages: say("system", "Be kind.", "user", "Why?", "assistant", "So.")}
	long := Row{Format: Chat, Messages: say("user", "a", "assistant", "b", "user", "c", "assistant", "d")}
	pair := Row{Format: Preference, Messages: say("user", "Why?"), Chosen: say("assistant", "9 g"), Rejected: say("assistant", "8 g")}
	tests := []struct {
		name string
		row  Row
		as   Format
		bad  string
	}{
		{"messages", one, Chat, ""},
		{"messages with system", system, Chat, ""},
		{"completions", one, Completions, ""},
		{"completions with system", system, Completions, "system"},
		{"completions of two questions", long, Completions, "one question"},
		{"alpaca", one, Alpaca, ""},
		{"alpaca with system", system, Alpaca, ""},
		{"sharegpt", long, ShareGPT, ""},
		{"sharegpt with system", system, ShareGPT, ""},
		{"text", Row{Format: Text, Text: "A page."}, Text, ""},
		{"text of a conversation", one, Text, "no place"},
		{"pair", pair, Preference, ""},
		{"pair of a conversation", one, Preference, "no worse answer"},
	}
	for _, tt := range tests {
		line, err := FormatRow(tt.row, tt.as)
		if tt.bad != "" {
			if err == nil || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%s: %q, %v", tt.name, line, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "train.jsonl"), []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		splits, err := Load(dir, Options{Preference: tt.as == Preference})
		if err != nil {
			t.Errorf("%s: %s: %v", tt.name, line, err)
			continue
		}
		back, err := splits.Train.Row(0)
		if err != nil {
			t.Fatal(err)
		}
		got := [][]chat.Value{back.Messages, back.Chosen, back.Rejected}
		for i, want := range [][]chat.Value{tt.row.Messages, tt.row.Chosen, tt.row.Rejected} {
			a, b := Row{Messages: got[i]}, Row{Messages: want}
			roles, texts, _ := a.Roles()
			wantRoles, wantTexts, _ := b.Roles()
			if strings.Join(append(roles, texts...), "|") != strings.Join(append(wantRoles, wantTexts...), "|") || back.Text != tt.row.Text {
				t.Errorf("%s: %s came back as %q %q", tt.name, line, roles, texts)
			}
		}
	}
}
