package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"strings"

	"github.com/lentil-lm/lentil/internal/atomicfile"
)

// How the picture of a demo is laid out, in pixels, and how long its lines take, in seconds.
const (
	lineHeight   = 17.
	charWidth    = 7.6
	pictureLines = 34
	pictureWidth = 104 // characters
	firstLine    = 46.
	eachLine     = 0.22
	mostLines    = 400
)

// writePicture draws what a demo prints as a terminal that fills and scrolls, and stays at its end. Where nothing moves, it
// shows the end.
func writePicture(args []string, in io.Reader) error {
	flags := flag.NewFlagSet("gen picture", flag.ContinueOnError)
	out := flags.String("out", "", "file to write the picture to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" {
		return errors.New("picture: --out is missing: name the file to write to, and give the demo's output to standard input")
	}
	var lines []string
	scan := bufio.NewScanner(in)
	for scan.Scan() {
		lines = append(lines, wrapped(strings.TrimRight(scan.Text(), " "))...)
	}
	if err := scan.Err(); err != nil {
		return err
	}
	if len(lines) == 0 || len(lines) > mostLines {
		return fmt.Errorf("picture: %d lines, expected 1 to %d: lentil demo | go run ./demo/gen picture --out docs/demo.svg", len(lines), mostLines)
	}
	return atomicfile.Write(*out, []byte(picture(lines)))
}

// wrapped breaks a line where the picture ends.
func wrapped(line string) (out []string) {
	r := []rune(line)
	for len(r) > pictureWidth {
		at := pictureWidth
		for i := at; i > pictureWidth/2; i-- {
			if r[i] == ' ' {
				at = i
				break
			}
		}
		out = append(out, string(r[:at]))
		r = []rune(strings.TrimLeft(string(r[at:]), " "))
	}
	return append(out, string(r))
}

func picture(lines []string) string {
	const width, height = 2*16 + pictureWidth*charWidth, firstLine + (pictureLines-1)*lineHeight + 20
	total := eachLine * float64(len(lines))
	hidden := max(0, len(lines)-pictureLines)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="ui-monospace,SFMono-Regular,Menlo,DejaVu Sans Mono,monospace" font-size="12.6">`+"\n", width, height)
	fmt.Fprintf(&b, "<style>\n.all { transform: translateY(%.0fpx) }\n@media (prefers-reduced-motion: no-preference) {\n", -lineHeight*float64(hidden))
	b.WriteString("@keyframes show { from { opacity: 0 } to { opacity: 1 } }\n.all text { opacity: 0; animation: show .01s linear forwards }\n@keyframes scroll {\n0% { transform: none }\n")
	for i := range hidden + 1 {
		// Line pictureLines+i comes when i lines have gone; steps hold until the next.
		fmt.Fprintf(&b, "%.2f%% { transform: translateY(%.0fpx) }\n", 100*eachLine*float64(pictureLines+i)/total, -lineHeight*float64(i))
	}
	fmt.Fprintf(&b, "}\n.all { animation: scroll %.2fs step-end forwards }\n}\n</style>\n", total)
	b.WriteString(`<rect width="100%" height="100%" rx="8" fill="#0d1117"/>` + "\n")
	b.WriteString(`<circle cx="18" cy="16" r="5" fill="#ff5f56"/><circle cx="34" cy="16" r="5" fill="#ffbd2e"/><circle cx="50" cy="16" r="5" fill="#27c93f"/>` + "\n")
	fmt.Fprintf(&b, `<text x="%.0f" y="20" fill="#8b949e" text-anchor="middle">lentil demo</text>`+"\n", width/2)
	fmt.Fprintf(&b, `<svg y="%.0f" width="%.0f" height="%.0f"><g class="all">`+"\n", firstLine-lineHeight, width, float64(pictureLines)*lineHeight+6)
	for i, line := range lines {
		if line == "" {
			continue
		}
		n := float64(len([]rune(line))) * charWidth
		fmt.Fprintf(&b, `<text x="16" y="%.0f" xml:space="preserve" textLength="%.1f" fill="%s" style="animation-delay:%.2fs">%s</text>`+"\n", lineHeight*float64(i)+13, n, colorOf(line), eachLine*float64(i), html.EscapeString(line))
	}
	b.WriteString("</g></svg>\n</svg>\n")
	return b.String()
}

// colorOf is the color of a line: headings stand out, and right and wrong answers.
func colorOf(line string) string {
	switch {
	case strings.HasPrefix(line, "=="):
		return "#79c0ff"
	case strings.Contains(line, "✓"), strings.Contains(line, ": helped"):
		return "#7ee787"
	case strings.Contains(line, "✗"):
		return "#ffa198"
	}
	return "#e6edf3"
}

// pictureFrom is writePicture of standard input.
func pictureFrom(args []string) error { return writePicture(args, os.Stdin) }
