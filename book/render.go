package book

import (
	"regexp"
	"strings"
)

// special are the characters that Markdown would take for marks.
var special = regexp.MustCompile("[\\\\`*_\\[\\]<>]")

// Markdown writes the document as Markdown, which readers of Markdown show as the book.
func (d *Document) Markdown() string {
	var b strings.Builder
	for i := range d.Blocks {
		if i > 0 {
			b.WriteString("\n")
		}
		d.Blocks[i].markdown(&b)
	}
	return b.String()
}

func (b *Block) markdown(out *strings.Builder) {
	lines := strings.Split(b.Text, "\n")
	switch b.Kind {
	case Heading:
		out.WriteString(strings.Repeat("#", b.Level) + " " + escape(strings.Join(lines, " ")) + "\n")
	case Code:
		fence := "```"
		for strings.Contains(b.Text, fence) {
			fence += "`"
		}
		out.WriteString(fence + "\n" + b.Text + "\n" + fence + "\n")
	case List, Recipe:
		for i, line := range lines {
			mark := "- "
			switch {
			case b.Items[i].Role == Label:
				mark = ""
			case b.Items[i].Ordered:
				mark = "1. "
			}
			if i > 0 && b.Items[i].Role != b.Items[i-1].Role {
				out.WriteString("\n")
			}
			if bullet.MatchString(line) { // plain text brings its own
				mark = ""
			}
			out.WriteString(strings.Repeat("   ", b.Items[i].Depth) + mark + escape(line) + "\n")
		}
	case Table:
		b.markdownTable(out)
	case Quote, Note:
		for _, line := range lines {
			out.WriteString("> " + escapeLine(line) + "\n")
		}
	case Caption:
		out.WriteString("*" + escape(strings.Join(lines, " ")) + "*\n")
	default:
		for _, line := range lines {
			out.WriteString(escapeLine(line) + "\n")
		}
	}
}

// markdownTable writes a table with its first row as the head.
func (b *Block) markdownTable(out *strings.Builder) {
	rows, width := b.Rows(), 0
	for _, row := range rows {
		width = max(width, len(row))
	}
	for i, row := range rows {
		for _, cell := range row {
			out.WriteString("| " + strings.ReplaceAll(escape(cell), "|", `\|`) + " ")
		}
		if i > 0 { // Markdown fills short rows itself
			out.WriteString("|\n")
			continue
		}
		out.WriteString(strings.Repeat("| ", width-len(row)) + "|\n")
		out.WriteString(strings.Repeat("|---", width) + "|\n")
	}
}

func escape(s string) string { return special.ReplaceAllString(s, `\$0`) }

// startMark is what would make a line a heading, an item or a rule.
var startMark = regexp.MustCompile(`^(?:[#+=|~-]|\d+[.)])`)

// escapeLine is escape for a line that begins a block.
func escapeLine(s string) string {
	s = escape(s)
	if m := startMark.FindString(s); m != "" {
		return s[:len(m)-1] + `\` + s[len(m)-1:]
	}
	return s
}
