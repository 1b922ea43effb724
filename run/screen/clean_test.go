package screen

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a\tb\nc\r\n":                     "a\tb\nc\n",
		"\x1b[31mred\x1b]0;title\x07":     "[31mred]0;title",
		"\u009b31m \u0085\x7f\x00\x08":    "31m ",
		"\x9b31m":                         "\ufffd31m", // C1 as a byte
		"שלום \u200fعربي":                 "שלום \u200fعربي",
		"user\u202egpj.exe\u202c \u2066x": "usergpj.exe x",
		"👩\u200d👩\u200d👧 日本語 e\u0301":     "👩\u200d👩\u200d👧 日本語 e\u0301",
	} {
		if got := Clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestCleaner: text that comes in pieces is cleaned as in one, and a sequence of control characters cannot be put together.
func TestCleaner(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	parts := []string{"a", "é", "日", "👩", "\x1b", "[", "\x9b", "\u009b", "\u202e", "\n", "\xe6", "\xf0\x9f", "\x80", "\x00"}
	for range 2000 {
		var text strings.Builder
		for range random.IntN(12) {
			text.WriteString(parts[random.IntN(len(parts))])
		}
		whole := text.String() + "."
		var c Cleaner
		got := ""
		for rest := whole; rest != ""; {
			n := 1 + random.IntN(len(rest))
			got += c.take([]byte(rest[:n]))
			rest = rest[n:]
		}
		if want := Clean(whole); got != want {
			t.Fatalf("%q in pieces: %q, want %q", whole, got, want)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
			t.Fatalf("%q: %q", whole, got)
		}
	}
}
