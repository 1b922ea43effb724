package screen

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/run"
)

// count writes a number for people: "950", "3.3k", "1.2M".
func count(n int64) string {
	switch v := float64(n); {
	case v < 1000:
		return fmt.Sprintf("%d", n)
	case v < 999_950:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v < 999_950_000:
		return fmt.Sprintf("%.1fM", v/1e6)
	default:
		return fmt.Sprintf("%.1fG", v/1e9)
	}
}

// planText lays a plan out as a small table with its verdict.
func planText(p run.Plan) string {
	var b strings.Builder
	b.WriteString("Plan\n")
	width := len("on disk, at most")
	for _, part := range p.Parts {
		width = max(width, len(part.Name))
	}
	row := func(name, value string) { fmt.Fprintf(&b, "  %-*s  %10s\n", width, name, value) }
	for _, part := range p.Parts {
		row(part.Name, run.Bytes(part.Bytes))
	}
	row("memory, total", run.Bytes(p.TotalBytes))
	if p.AvailableBytes > 0 {
		row("available", run.Bytes(p.AvailableBytes))
	}
	if p.DiskBytes > 0 {
		row("on disk, at most", run.Bytes(p.DiskBytes))
	}
	if p.FLOPsPerStep > 0 {
		row("FLOPs per step", flops(p.FLOPsPerStep))
	}
	if p.SecondsPerStep > 0 {
		row("time, estimated", run.Duration(time.Duration(p.SecondsPerStep*float64(p.Iterations)*1e9)))
	}
	if !p.Fits {
		b.WriteString("  This does not fit into memory.\n")
		for _, r := range p.Remedies {
			fmt.Fprintf(&b, "  Try: %s\n", r)
		}
	} else if p.Watch != "" {
		fmt.Fprintf(&b, "  The GPU's load and power, in another terminal: %s\n", p.Watch)
	}
	return b.String()
}

func flops(n float64) string {
	for _, unit := range []string{"", "K", "M", "G", "T", "P"} {
		if n < 999.5 {
			return fmt.Sprintf("%.3g %sFLOP", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.3g EFLOP", n)
}

// Width is how many columns the terminal f has; 0 where f is none.
func Width(f *os.File) int {
	if !IsTerminal(f) {
		return 0
	}
	width, _ := newTerminal(f).size()
	return width
}

// Wrap breaks lines that are longer than width between words, where a terminal would break them anywhere. What follows a
// line's beginning stays indented as that is. Options that follow a colon, which are there to be copied, stay together,
// as do words that are longer than a line. A width of 0 or less leaves text as it is.
func Wrap(text string, width int) string {
	if width <= 0 {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if cells(line) > width {
			lines[i] = wrapLine(line, width)
		}
	}
	return strings.Join(lines, "\n")
}

func wrapLine(line string, width int) string {
	body := strings.TrimLeft(line, " ")
	indent := line[:len(line)-len(body)]
	words := strings.Split(body, " ")
	for i, word := range words {
		rest := strings.Join(words[i+1:], " ")
		if i > 0 && strings.HasSuffix(word, ":") && (strings.HasPrefix(rest, "--") || strings.Contains(rest, " --")) {
			words = append(words[:i+1:i+1], rest)
			break
		}
	}
	var b strings.Builder
	b.WriteString(indent + words[0])
	column := cells(indent + words[0])
	for _, word := range words[1:] {
		if n := cells(word); column+1+n <= width {
			b.WriteString(" " + word)
			column += 1 + n
		} else {
			b.WriteString("\n" + indent + word)
			column = cells(indent) + n
		}
	}
	return b.String()
}
