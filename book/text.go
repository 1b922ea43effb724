package book

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// readText reads plain text: paragraphs are separated by empty lines, and their line ends are spaces. Lines of columns
// stay as they are. A form feed ends a paragraph.
func readText(name string, data []byte) (*Document, error) {
	w := newWriter(name)
	text, encoding := decode(data, false)
	w.doc.Encoding = encoding
	words, broken := vocabulary{}, false
	all := lineEnds.Replace(string(text))
	for line := range strings.SplitSeq(all, "\n") {
		broken = words.add(line, broken)
	}
	w.words = words
	w.plain(all, 2) // the begin of a file is as good as two empty lines
	return w.done()
}

// lineEnds makes one kind of line ends of all. A new page begins a paragraph, and maybe a chapter.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\f", "\n\n\n")

// plain writes paragraphs between empty lines; empty is how many such were before.
func (w *writer) plain(text string, empty int) {
	var lines []string
	finish := func() {
		if len(lines) > 0 {
			w.paragraph(lines, empty)
			lines, empty = lines[:0], 0
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimRightFunc(line, unicode.IsSpace)
		if line == "" {
			finish()
			empty++
			continue
		}
		lines = append(lines, line)
	}
	finish()
}

var (
	bullet = regexp.MustCompile(`^\s*(?:[-*•+]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+\S`)
	// columns are three spaces within a line, or two and a number, as in tables and contents.
	columns    = regexp.MustCompile(`\S(?: {3,}|\t)\S|\S {2,}\d+$`)
	number     = regexp.MustCompile(`^(?:\d{1,3}|[IVXLC]{1,7})\.?$`)
	emphasized = regexp.MustCompile(`^_[^_]+_$`)
	// aside are the marks that transcribers put around what is no heading.
	aside = regexp.MustCompile(`^\[|^\*\*\*`)
	// chapters are the words that headings begin with.
	chapters = regexp.MustCompile(`^(?i:chapter|part|book|section|appendix|lesson)\s+(?:\d+|[IVXLC]+|one|two|three|four|five|six|seven|eight|nine|ten)\b`)
)

// longestHeading is in characters: one line of most books, or two short ones.
const longestHeading = 80

// paragraph adds lines without an empty one between them; empty is how many such were before.
func (w *writer) paragraph(lines []string, empty int) {
	level := headingLevel(lines, empty)
	switch {
	case level > 0:
		w.begin(Heading)
		w.level = level
		w.text(strings.Join(lines, " "))
	case isColumns(lines):
		w.begin(Code)
		w.text(strings.Join(lines, "\n"))
	case bullet.MatchString(lines[0]) && (len(lines) == 1 || bullet.MatchString(lines[1]) || indent(lines[1]) > indent(lines[0])):
		w.begin(List)
		left := indent(lines[0]) // of the outermost items, which the first need not be
		for _, line := range lines {
			if bullet.MatchString(line) {
				left = min(left, indent(line))
			}
		}
		for _, line := range lines {
			if bullet.MatchString(line) {
				first, _ := utf8.DecodeRuneInString(strings.TrimLeft(line, " \t("))
				w.item((indent(line)-left+1)/2, unicode.IsDigit(first) || unicode.IsLetter(first))
			}
			w.text(line + " ")
		}
	default:
		w.begin(Paragraph)
		switch {
		case noteStart.MatchString(lines[0]):
			w.kind = Note
		case pictureStart.MatchString(lines[0]):
			w.kind = Caption
		}
		w.joined(lines)
	}
	w.flush()
}

// How transcribers begin notes and the captions of pictures.
var (
	noteStart    = regexp.MustCompile(`^\s*\[(?:(?:Footnote|Sidenote|Note)\b|(?:\d{1,3}|[A-Z*†])\])`)
	pictureStart = regexp.MustCompile(`^\s*\[(?:Illustration|Picture|Figure|Image)\b`)
)

// joined writes lines as one text. A word that a line ends with the first half of is put together; the book's other
// words tell whether its hyphen stays.
func (w *writer) joined(lines []string) {
	for i, line := range lines {
		if i == len(lines)-1 {
			w.text(line)
			break
		}
		last := line[strings.LastIndexFunc(line, unicode.IsSpace)+1:]
		first, _, _ := strings.Cut(strings.TrimLeftFunc(lines[i+1], unicode.IsSpace), " ")
		one, hyphen := w.words.joins(last, first)
		switch {
		case one && !hyphen:
			at := strings.TrimRight(line, hyphens)
			w.text(at)
			w.drop(line[len(at):], LineHyphen)
			lines[i+1] = strings.TrimLeftFunc(lines[i+1], unicode.IsSpace)
		case one:
			w.text(line)
			lines[i+1] = strings.TrimLeftFunc(lines[i+1], unicode.IsSpace)
		default:
			w.text(line + "\n")
		}
	}
}

// headingLevel is 1 or 2 for a heading, by the empty lines before it or its words; 0 for none.
func headingLevel(lines []string, empty int) int {
	text := strings.Join(lines, " ")
	last, _ := utf8.DecodeLastRuneInString(strings.TrimRight(text, `_*"'”’)`))
	switch {
	case len(lines) > 2 || utf8.RuneCountInString(text) > longestHeading || isColumns(lines):
		return 0
	case empty >= 3 && len(lines) == 1 && number.MatchString(text): // of a chapter
		return 1
	case chapters.MatchString(text) && last != ',' && last != ';':
		return 1
	case indent(lines[0]) > 0 || strings.ContainsRune(".,;:", last) || !strings.ContainsFunc(text, unicode.IsLetter) || aside.MatchString(text) || bullet.MatchString(lines[0]):
		return 0
	case empty >= 3 || len(lines) == 1 && empty >= 1 && text == strings.ToUpper(text) && utf8.RuneCountInString(text) > 3:
		return 1
	case empty >= 2 || empty >= 1 && len(lines) == 1 && emphasized.MatchString(text):
		return 2
	}
	return 0
}

// isColumns tells whether spaces hold the columns of lines apart.
func isColumns(lines []string) bool {
	n := 0
	for _, line := range lines {
		if columns.MatchString(strings.TrimLeft(line, " \t")) {
			n++
		}
	}
	return n*2 > len(lines)
}

// indent is how far a line stands from the left.
func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }
