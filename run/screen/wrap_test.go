package screen

import (
	"strings"
	"testing"
)

// TestWrap: lines break between words, keep their indent and colours, and leave what is to be copied in one piece.
func TestWrap(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text  string
		width int
		want  string
	}{
		{"short", 10, "short"},
		{"one two three", 9, "one two\nthree"},
		{"one two three", 7, "one two\nthree"},
		{"one two three", 0, "one two three"},
		{"  one two three", 9, "  one two\n  three"},
		{"first\n\none two three\n", 8, "first\n\none two\nthree\n"},
		{"a-word-that-is-longer than", 5, "a-word-that-is-longer\nthan"},
		{"fünf süße Äpfel", 10, "fünf süße\nÄpfel"},
		{"\x1b[33mone\x1b[0m two three", 7, "\x1b[33mone\x1b[0m two\nthree"},
		{"To go on: lentil lora --iters 5 --model x", 12, "To go on:\nlentil lora --iters 5 --model x"},
		{"give the same with: --iters 5 --model x", 12, "give the\nsame with:\n--iters 5 --model x"},
		{"lentil: --iters 5 is too few", 16, "lentil: --iters\n5 is too few"},
		{"columns   stay  as they are", 40, "columns   stay  as they are"},
	} {
		if got := Wrap(tt.text, tt.width); got != tt.want {
			t.Errorf("%q at %d: %q, want %q", tt.text, tt.width, got, tt.want)
		}
	}
	text := strings.Repeat("a message of the live view ", 9)
	for width := 12; width < 100; width++ {
		var out strings.Builder
		s := &terminal{w: &out, size: func() (int, int) { return width, 24 }}
		s.draw(text, nil)
		for _, line := range strings.Split(strings.TrimPrefix(out.String(), "\r\x1b[J"), "\n") {
			if cells(line) > width {
				t.Fatalf("%d columns: %q", width, line)
			}
		}
	}
}
