package screen

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// maxRedraws is how often a view is drawn again at most, per second.
const maxRedraws = 10

// A terminal is one that lines can be redrawn on, or a stand-in for one in a test.
type terminal struct {
	w       io.Writer
	size    func() (width, height int)
	color   bool
	unicode bool
	drawn   []string // the lines of the live area, as they stand above the cursor
}

// IsTerminal tells whether f is a terminal that can redraw lines: not a file, a pipe or a "dumb" one.
func IsTerminal(f *os.File) bool {
	name := os.Getenv("TERM")
	return name != "dumb" && name != "" && term.IsTerminal(int(f.Fd()))
}

func newTerminal(f *os.File) *terminal {
	return &terminal{
		w:       f,
		color:   os.Getenv("NO_COLOR") == "",
		unicode: utf8Locale(),
		size: func() (int, int) {
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil || width < 1 || height < 1 {
				return 80, 24
			}
			return width, height
		},
	}
}

// utf8Locale tells whether the locale leaves room for more than ASCII. An unset locale, common in
// containers, says nothing about the terminal, so it counts as yes.
func utf8Locale() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(os.Getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}

// draw puts above, if any, into the scrollback and the lines of the live area below it, in one write.
func (s *terminal) draw(above string, lines []string) {
	width, height := s.size()
	var b strings.Builder
	if up := physicalLines(s.drawn, width); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", min(up, height-1))
	}
	b.WriteString("\r\x1b[J")
	if above != "" {
		b.WriteString(Wrap(strings.TrimSuffix(above, "\n"), width))
		b.WriteString("\n")
	}
	s.drawn = s.drawn[:0]
	for i, line := range lines {
		if i == height-1 {
			break // one line is left for the cursor
		}
		line = clip(line, width-1)
		s.drawn = append(s.drawn, line)
		b.WriteString(line)
		b.WriteString("\n")
	}
	io.WriteString(s.w, b.String())
}

// physicalLines counts the rows that lines take on a terminal which has wrapped them to width since.
func physicalLines(lines []string, width int) int {
	n := 0
	for _, line := range lines {
		n += max(1, (cells(line)+width-1)/width)
	}
	return n
}

// Colours, by what they are used for.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	accent = "36" // cyan
	good   = "32" // green
	alarm  = "33" // yellow
)

func (s *terminal) paint(style, text string) string {
	if !s.color || style == plain || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// pick gives fancy on terminals with more than ASCII, else the plain form.
func (s *terminal) pick(fancy, ascii string) string {
	if s.unicode {
		return fancy
	}
	return ascii
}

// bar draws a progress bar of the given width; share is 0 to 1.
func (s *terminal) bar(share float64, width int) string {
	share = min(max(share, 0), 1)
	full := int(share*float64(width) + 0.5)
	done := strings.Repeat(s.pick("━", "#"), full)
	rest := strings.Repeat(s.pick("─", "-"), width-full)
	return s.paint(accent, done) + s.paint(dim, rest)
}

// cells counts the columns that a line takes; colour sequences take none.
func cells(line string) int {
	n := 0
	for len(line) > 0 {
		if seq := colorSequence(line); seq > 0 {
			line = line[seq:]
			continue
		}
		_, size := utf8.DecodeRuneInString(line)
		line = line[size:]
		n++
	}
	return n
}

// clip cuts a line to width columns. Colour sequences are all kept, so that every colour ends.
func clip(line string, width int) string {
	if cells(line) <= width {
		return line
	}
	var b strings.Builder
	for len(line) > 0 {
		size := colorSequence(line)
		if size > 0 {
			b.WriteString(line[:size])
		} else {
			_, size = utf8.DecodeRuneInString(line)
			if width > 0 {
				b.WriteString(line[:size])
			}
			width--
		}
		line = line[size:]
	}
	return b.String()
}

// colorSequence gives the length of the colour sequence that s starts with, or 0.
func colorSequence(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	return strings.IndexByte(s, 'm') + 1
}

// seconds turns a number of seconds into a time span.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
