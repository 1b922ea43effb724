package book

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/book/pdf"
)

// sidenotes takes small texts out that stand in the margin beside the lines.
func (b *paper) sidenotes(list []span) (text []span, notes []part) {
	is := make([]bool, len(list))
	margin := func(s *span) bool { return s.size < 0.92*b.size && s.right-s.left < 12*b.size && len(s.words) <= 6 }
	for i := range list {
		s := &list[i]
		if text := s.text(); !margin(s) || s.table != nil || isLeader(text) || mark.MatchString(text) || !strings.ContainsFunc(text, isWordRune) {
			continue
		}
		for j := max(0, i-15); j < min(len(list), i+16); j++ {
			o := &list[j]
			beside := o.right < s.left-0.5*b.size || o.left > s.right+0.5*b.size
			if beside && math.Abs(o.size-b.size) < 0.05*b.size && overlap(s, o) > 0.4 && o.right-o.left > 12*b.size {
				is[i] = true
				break
			}
		}
	}
	for again := true; again; { // lines below and above one that is beside the text
		again = false
		for i := range list {
			for j := max(0, i-15); j < min(len(list), i+16) && !is[i]; j++ {
				s, o := &list[i], &list[j]
				if is[j] && margin(s) && near(s.left, o.left) && near(s.size, o.size) && math.Abs(s.base-o.base) < 1.6*s.size {
					is[i], again = true, true
				}
			}
		}
	}
	var last *part
	for i, s := range list {
		if !is[i] {
			text = append(text, s)
			continue
		}
		if last != nil {
			if end := &last.lines[len(last.lines)-1]; near(end.left, s.left) && end.base-s.base < 1.6*s.size {
				last.lines = append(last.lines, s)
				continue
			}
		}
		notes = append(notes, part{kind: Note, page: s.page, lines: []span{s}, left: s.left, right: s.right, aside: true})
		last = &notes[len(notes)-1]
	}
	return text, notes
}

// putBeside puts each note of the margin before the part that stands beside it.
func putBeside(parts, notes []part) []part {
	for _, n := range notes {
		top := n.lines[0].base
		at := slices.IndexFunc(parts, func(p part) bool {
			return !p.aside && p.bottom() <= top
		})
		if at < 0 {
			at = len(parts)
		}
		parts = slices.Insert(parts, at, n)
	}
	return parts
}

// A style is what headings of one level have in common.
type style struct {
	size               float64
	bold, italic, caps bool
}

func (p *part) style() style {
	s := &p.lines[0]
	text := p.text()
	return style{math.Round(s.size*2) / 2, p.all(func(s *span) bool { return s.bold }), p.all(func(s *span) bool { return s.italic }), isUpper(text) && utf8.RuneCountInString(text) > 3}
}

// isUpper tells whether all letters are capitals, and that there are some.
func isUpper(text string) bool {
	return text == strings.ToUpper(text) && strings.ContainsFunc(text, unicode.IsUpper)
}

func (p *part) all(is func(s *span) bool) bool {
	for i := range p.lines {
		if !is(&p.lines[i]) {
			return false
		}
	}
	return true
}

// footMark is how a note at the foot of a page begins.
var footMark = regexp.MustCompile(`^(?:\[?(\d{1,3})[\].)]?|([*†‡§¶]{1,3}))\s*\S`)

// classify tells headings, notes, captions, quotes and preformatted text from paragraphs.
func (b *paper) classify() {
	titles := map[string]int{} // of the outline, with their levels
	for _, m := range b.outline {
		titles[titleKey(m.Title)] = m.Level
	}
	for i := range b.parts {
		p := &b.parts[i]
		if p.kind != Paragraph {
			continue
		}
		size, text := p.lines[0].size, p.text()
		_, listed := titles[titleKey(text)]
		switch {
		case !b.typed && p.all(isTyped) && !p.lines[0].bold && size < 1.1*b.size:
			p.kind = Code
		case b.isHeading(i, listed):
			p.kind = Heading
		case captionStart.MatchString(text) && (len(p.lines) <= 6 && (size < 0.97*b.size || p.lines[0].italic || p.lines[0].words[0].Bold) || regexp.MustCompile(`^\S+\s+\S+[.:]\s`).MatchString(text) && len(p.lines) <= 4):
			p.kind = Caption
		case len(p.lines) > 1 && !isItem(text) && b.isQuote(p):
			p.kind = Quote
		}
	}
	b.demote(titles)
	b.footnotes()
	b.levels(titles)
}

// demote makes text of the headings in the size of the text that the outline does not know, where it knows the others: terms, and the titles of remarks.
func (b *paper) demote(titles map[string]int) {
	found, listed, all := map[string]bool{}, map[style]int{}, map[style]int{}
	times := map[string]int{}
	for i := range b.parts {
		if p := &b.parts[i]; p.kind == Heading {
			key, s := titleKey(p.text()), p.style()
			all[s]++
			times[key]++
			if titles[key] > 0 {
				found[key] = true
				listed[s]++
			}
		}
	}
	if len(titles) < 10 || len(found)*10 < len(titles)*6 {
		return // it is of no use
	}
	deep := len(titles)*2 > len(b.pages)
	for i := range b.parts {
		p := &b.parts[i]
		if p.kind != Heading || p.lines[0].size > 1.05*b.size {
			continue
		}
		key, s := titleKey(p.text()), p.style()
		if titles[key] == 0 && listed[s]*5 < all[s] && (deep || times[key] > 3) {
			p.kind = Paragraph
		}
	}
}

// titleNumber is the number that headings have, and outlines often do not.
var titleNumber = regexp.MustCompile(`^\s*(?:(?i:` + chapterWord + `)\s+(?:\d{1,3}(?:\.\d{1,3})*|[A-Z]|[IVXLC]+)[.):]*\s+|(?:\d{1,3}(?:\.\d{1,3})*|[A-Z](?:\.\d{1,3})+|[IVXLC]+\.)[.):]?\s+)`)

// chapterWord is what a chapter's number stands after.
const chapterWord = `chapter|part|appendix|kapitel|teil|anhang|chapitre|partie|annexe|capítulo|capitolo|apéndice`

// chapterLabel is a heading that is a chapter's number alone.
var chapterLabel = regexp.MustCompile(`^(?i:(?:` + chapterWord + `)\s+(?:\d{1,3}|[a-z]|[ivxlc]+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve))[.:]?$`)

// titleKey is a heading without what its printed form may add to the outline's.
func titleKey(s string) string { return plainTitle(titleNumber.ReplaceAllString(s, "")) }

// plainTitle is the letters and digits of a heading.
func plainTitle(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// isHeading tells whether a part is a heading: larger than the text, or bold or in capitals on lines of its own, or
// named by the outline.
func (b *paper) isHeading(i int, listed bool) bool {
	p := &b.parts[i]
	text := p.text()
	words := strings.Fields(text)
	last, _ := utf8.DecodeLastRuneInString(text)
	large := p.all(func(s *span) bool { return s.size > 1.1*b.size })
	if len(words) > 30 || len(p.lines) > 4 || !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
		return false
	}
	if listed && len(p.lines) <= 3 && (large || p.lines[0].bold || !strings.ContainsRune(".,;", last)) {
		return true
	}
	if !hasLetter(text) {
		return large && len(words) == 1 && p.lines[0].size > 1.3*b.size
	}
	if strings.ContainsRune(",;", last) {
		return false
	}
	bold := p.all(func(s *span) bool { return s.bold }) && p.lines[0].size > 0.93*b.size
	switch {
	case large:
		return last != '.' || len(words) <= 8
	case bold:
		return len(p.lines) <= 2 && len(words) <= 20 && (last != '.' || len(words) <= 8 && (p.above == 0 || p.above > 0.5*b.size))
	case isUpper(text) && len(p.lines) <= 2 && len(words) <= 12 && utf8.RuneCountInString(text) > 3 && p.lines[0].size > 0.93*b.size:
		alone := p.above == 0 || p.above > 0.5*b.size
		return alone && last != '.' && !isItem(text)
	case p.all(func(s *span) bool { return s.italic }) && len(p.lines) == 1 && len(words) <= 10 && p.lines[0].size > 0.93*b.size:
		s := &p.lines[0]
		return !ends(text) && p.kind == Paragraph && !isItem(text) && !p.aside && (p.above == 0 || p.above > 0.5*b.size || math.Abs(s.left-p.left-(p.right-s.right)) < s.size && s.left > p.left+s.size)
	case chapters.MatchString(text) && len(p.lines) == 1 && len(words) <= 8:
		return !strings.ContainsRune(".", last) && (p.above == 0 || p.above > 0.5*b.size)
	}
	return false
}

// isTyped tells whether a line is set like a program or a typescript.
func isTyped(s *span) bool {
	for _, w := range s.words {
		name := strings.ToLower(w.Font)
		if !strings.Contains(name, "mono") && !strings.Contains(name, "courier") && !strings.Contains(name, "consol") && !strings.Contains(name, "cmtt") && !strings.Contains(name, "typewriter") {
			return false
		}
	}
	return true
}

// typed is a line with the spaces that stand before and between its words.
func (s *span) typed(left float64) string {
	var b strings.Builder
	for _, w := range s.words {
		if n := utf8.RuneCountInString(w.Text); n > 0 && w.Right > w.Left {
			at := int(math.Round((w.Left - left) / ((w.Right - w.Left) / float64(n))))
			b.WriteString(strings.Repeat(" ", min(max(0, at-utf8.RuneCountInString(b.String())), 200)))
		}
		if b.Len() > 0 && !w.Glued && !strings.HasSuffix(b.String(), " ") {
			b.WriteByte(' ')
		}
		b.WriteString(w.Text)
	}
	return b.String()
}

// isQuote tells whether all lines are drawn in on both sides.
func (b *paper) isQuote(p *part) bool {
	left, right := math.Inf(1), math.Inf(-1)
	for _, s := range p.lines {
		left, right = min(left, s.left), max(right, s.right)
	}
	return left > p.left+1.2*b.size && right < p.right-0.8*b.size && left-p.left < 6*b.size && len(p.lines) > 1 && right-left > 0.5*(p.right-p.left)
}

// footnotes finds the small paragraphs at the end of a page of which the first begins with a mark, and the marks in
// the text that lead to them.
func (b *paper) footnotes() {
	for i := 0; i < len(b.parts); {
		end := i
		for end < len(b.parts) && b.parts[end].page == b.parts[i].page {
			end++
		}
		// Each column ends with its own notes.
		for last := end; last > i; {
			first := last
			for first > i && b.parts[first-1].region == b.parts[last-1].region {
				first--
			}
			begin := last
			for begin > first && b.parts[begin-1].kind == Paragraph && b.parts[begin-1].lines[0].size < 0.94*b.size {
				begin--
			}
			for begin < last && !footMark.MatchString(b.parts[begin].text()) {
				begin++
			}
			if begin > first || last == end {
				for k := begin; k < last; k++ {
					b.parts[k].kind = Note
				}
			}
			last = first
		}
		i = end
	}
	for i := range b.parts {
		if p := &b.parts[i]; p.kind == Note && !p.aside {
			for j := range p.lines { // several notes may be one part
				if m := footMark.FindStringSubmatch(p.lines[j].text()); m != nil {
					b.marks[cmp.Or(m[1], m[2])] = true
				}
			}
		}
	}
}

// levels gives headings their levels: the outline's where it names some of their style, else by size, weight and capitals.
func (b *paper) levels(titles map[string]int) {
	votes := map[style]map[int]int{}
	for i := range b.parts {
		if p := &b.parts[i]; p.kind == Heading {
			s := p.style()
			if votes[s] == nil {
				votes[s] = map[int]int{}
			}
			if level := titles[titleKey(p.text())]; level > 0 {
				votes[s][level]++
			}
		}
	}
	styles := make([]style, 0, len(votes))
	for s := range votes {
		styles = append(styles, s)
	}
	truth := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	slices.SortFunc(styles, func(a, b style) int {
		return cmp.Or(cmp.Compare(b.size, a.size), truth(b.bold)-truth(a.bold), truth(b.caps)-truth(a.caps), truth(a.italic)-truth(b.italic))
	})
	level := map[style]int{}
	last := 0
	for i, s := range styles {
		next := last + 1
		if i > 0 && styles[i-1].size-s.size < 0.6 && styles[i-1].bold == s.bold && styles[i-1].caps == s.caps && styles[i-1].italic == s.italic {
			next = max(last, 1)
		}
		most := 0
		for l, n := range votes[s] {
			if n > most || n == most && l < next {
				next, most = l, n
			}
		}
		level[s] = min(next, 6)
		last = max(last, next)
	}
	for i := range b.parts {
		if p := &b.parts[i]; p.kind == Heading {
			p.level = level[p.style()]
			if l := titles[titleKey(p.text())]; l > 0 {
				p.level = min(l, 6)
			}
		}
	}
}

// join puts the halves of paragraphs together that a column or page ends between, and lines of one heading.
func (b *paper) join() {
	var out []part
	for i := 0; i < len(b.parts); i++ {
		p := b.parts[i]
		if p.kind == Heading && len(out) > 0 {
			if last := &out[len(out)-1]; last.kind == Heading && last.page == p.page && last.region == p.region && last.style() == p.style() && p.above < 0.8*p.lines[0].size && len(last.lines)+len(p.lines) <= 4 &&
				!chapters.MatchString(last.text()) && !item.MatchString(p.text()) {
				last.lines = append(last.lines, p.lines...)
				continue
			} else if last.kind == Heading && last.page == p.page && last.region == p.region && chapterLabel.MatchString(last.text()) && p.above < 4*p.lines[0].size && !chapterLabel.MatchString(p.text()) {
				last.lines, last.level = append(last.lines, p.lines...), p.level // "Chapter 2" above its title
				continue
			}
		}
		if p.kind == Code && len(out) > 0 {
			if last := &out[len(out)-1]; last.kind == Code && last.region == p.region && p.above < 2*b.size {
				last.lines = append(last.lines, p.lines...)
				continue
			}
		}
		if p.kind == Paragraph && len(out) > 0 && b.firstOfRegion(i) {
			if at := lastParagraph(out, p.region); at >= 0 && !b.textBetween(out[at].lines, p.page) && b.goesOn(&out[at], &p) {
				out[at].lines = append(out[at].lines, p.lines...)
				out[at].region = p.region
				out[at].right = p.right
				continue
			}
		}
		out = append(out, p)
	}
	b.parts = out
}

// textBetween tells whether a command has read a page between lines and another page.
func (b *paper) textBetween(lines []span, page int) bool {
	for i := lines[len(lines)-1].page + 1; i < page; i++ {
		if b.texts[i] != "" {
			return true
		}
	}
	return false
}

// firstOfRegion tells whether nothing but notes, captions and tables stands before a part in its column.
func (b *paper) firstOfRegion(i int) bool {
	for j := i - 1; j >= 0 && b.parts[j].region == b.parts[i].region; j-- {
		if k := b.parts[j].kind; k != Note && k != Caption && k != Table {
			return false
		}
	}
	return true
}

// lastParagraph is the one before a column, with nothing but notes, captions and tables after it; -1 where there is none.
func lastParagraph(list []part, region int) int {
	for i := len(list) - 1; i >= max(0, len(list)-8); i-- {
		switch list[i].kind {
		case Note, Caption, Table:
		case Paragraph:
			if list[i].region < region {
				return i
			}
			return -1
		default:
			return -1
		}
	}
	return -1
}

// goesOn tells whether a paragraph is the second half of another one.
func (b *paper) goesOn(p, next *part) bool {
	a, n := &p.lines[len(p.lines)-1], &next.lines[0]
	if !sameSize(a, n) || a.bold != n.bold || isItem(next.text()) {
		return false
	}
	text := a.text()
	last, _ := utf8.DecodeLastRuneInString(strings.TrimRight(text, `"'”’)]0123456789*`))
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(n.text(), `"'“‘([`))
	full := a.right > p.right-2*a.size
	indented := n.left > next.left+0.7*n.size
	switch {
	case isBroken(a.words[len(a.words)-1].Text):
		return true
	case strings.ContainsRune(".!?:", last), entryEnd.MatchString(text):
		return false
	case unicode.IsLower(first):
		return !indented || full
	}
	return full && !indented && len(p.lines) > 1
}

// A pageTitle is a title in its plain form on a page.
type pageTitle struct {
	page  int
	title string
}

// write puts the parts into the document.
func (b *paper) write() {
	b.marked, b.heads = map[int][]pdf.Bookmark{}, map[pageTitle]bool{}
	for _, m := range b.outline {
		b.marked[m.Page] = append(b.marked[m.Page], m)
	}
	for i := range b.parts {
		if p := &b.parts[i]; p.kind == Heading {
			b.heads[pageTitle{p.page, titleKey(p.text())}] = true
		}
	}
	for i := 0; i < len(b.parts); i++ {
		p := &b.parts[i]
		n := b.listEnd(i)
		if n > 0 {
			b.list(b.parts[i : i+n])
			i += n - 1
			continue
		}
		b.recognized(p.page)
		b.turnTo(p.page)
		b.begin(p.kind)
		b.level = p.level
		if p.kind == Heading {
			b.setChapter(p)
		}
		switch p.kind {
		case Table:
			b.tableCells(p)
		case Code:
			for j := range p.lines {
				b.turnTo(p.lines[j].page)
				if j > 0 {
					b.cut('\n')
					if a := &p.lines[j-1]; a.page == p.lines[j].page && a.bottom-p.lines[j].top > 0.8*b.size {
						b.cut('\n')
					}
				}
				b.writer.text(p.lines[j].typed(p.left))
			}
		default:
			b.lines(p, 0)
		}
		b.flush()
	}
	b.recognized(len(b.pages))
	b.turnTo(len(b.pages) - 1)
	b.flush()
}

// recognized writes the pages before one that a command has read, as plain text.
func (b *paper) recognized(before int) {
	for page := b.told; page < before; page++ {
		text := b.texts[page]
		if text == "" {
			continue
		}
		b.turnTo(page)
		b.flush()
		b.plain(lineEnds.Replace(text), 0)
	}
}

// turnTo begins a page: what was taken off it and the pages before it is dropped here.
func (b *paper) turnTo(page int) {
	for ; b.told <= page; b.told++ {
		b.page = b.labels[b.told]
		if len(b.buf) == 0 {
			for _, m := range b.marked[b.told] {
				if m.Title != "" && !b.heads[pageTitle{m.Page, titleKey(m.Title)}] {
					b.chapter = shorten(m.Title)
				}
			}
		}
		for _, f := range b.found {
			if f.page == b.told {
				b.drop(f.text, f.reason)
			}
		}
		if text := b.turned[b.told]; text != "" {
			b.drop(text, Turned)
		}
	}
}

// setChapter takes the outline's name of a heading.
func (b *paper) setChapter(p *part) {
	title := titleKey(p.text())
	for _, m := range b.marked[p.page] {
		if titleKey(m.Title) == title {
			b.chapter = shorten(m.Title)
		}
	}
}

// lines writes the lines of a part as one text, without the first so many letters.
func (b *paper) lines(p *part, skip int) {
	var before string // the last word, if a line ends with it
	for j := range p.lines {
		line := &p.lines[j]
		b.turnTo(line.page)
		for k, w := range line.words {
			text := w.Text
			if j == 0 && k == 0 && skip > 0 {
				b.drop(text[:min(skip, len(text))], ListMark)
				text = text[min(skip, len(text)):]
			}
			switch {
			case k == 0 && before != "":
				if one, hyphen := b.words.joins(before, text); one && !hyphen {
					b.dropHyphen()
				} else if !one {
					b.space = true
				}
			case k > 0 && !w.Glued:
				b.space = true
			case k == 0:
				b.space = true
			}
			b.word(line, k, text, p.kind)
		}
		before = ""
		if w := line.words[len(line.words)-1].Text; j+1 < len(p.lines) && isBroken(w) {
			before = w
		}
	}
}

// dropHyphen takes the hyphen at the end of the text so far out of it.
func (b *paper) dropHyphen() {
	end := len(b.buf)
	text := strings.TrimRight(string(b.buf[max(0, end-8):]), hyphens)
	keep := max(0, end-8) + len(text)
	gone := string(b.buf[keep:])
	if gone == "" { // a soft one, which is dropped already
		return
	}
	b.buf = b.buf[:keep]
	for i := range b.removed { // those of the end of the page came before
		b.removed[i].Offset = min(b.removed[i].Offset, keep)
	}
	at := len(b.removed)
	for at > 0 && b.removed[at-1].Offset == keep && b.removed[at-1].Reason != SoftHyphen {
		at--
	}
	b.drop(gone, LineHyphen)
	if n := len(b.removed) - 1; n > at { // the hyphen stood before what was taken off the page's end
		mine := b.removed[n]
		copy(b.removed[at+1:], b.removed[at:n])
		b.removed[at] = mine
	}
}

// noteSign are the marks that lead to notes.
var noteSign = regexp.MustCompile(`^[\[(]?(?:\d{1,3}|[*†‡§¶]{1,3})(?:,(?:\d{1,3}))*[\])]?$`)

// word writes one word of a line, or drops it if it leads to a note.
func (b *paper) word(line *span, k int, text string, kind Kind) {
	w := &line.words[k]
	switch {
	case isLeader(text):
		b.drop(text, Leader)
		b.space = true
		return
	case kind != Note && k > 0 && w.Size < 0.85*line.size && w.Base > line.base+0.1*line.size && noteSign.MatchString(text) && b.marks[strings.Trim(text, "[]()")]:
		b.space = b.space && !w.Glued
		b.drop(text, NoteMark)
		return
	}
	if signs := text[len(strings.TrimRight(text, "*†‡§¶")):]; kind != Note && signs != "" && len(signs) < len(text) && b.marks[signs] {
		b.writer.text(ligatures.Replace(text[:len(text)-len(signs)]))
		b.drop(signs, NoteMark)
		return
	}
	b.writer.text(ligatures.Replace(text))
}

var ligatures = strings.NewReplacer("ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "st", "ﬆ", "st")

// listEnd is how many parts from i are items of one list; 0 where none is.
func (b *paper) listEnd(i int) int {
	n := 0
	for i+n < len(b.parts) && b.parts[i+n].kind == Paragraph && isItem(b.parts[i+n].text()) {
		n++
	}
	if n == 1 && !bulletSign.MatchString(b.parts[i].text()) {
		return 0
	}
	return n
}

// list writes parts as the items of a list, deeper ones further from the left.
func (b *paper) list(items []part) {
	b.turnTo(items[0].page)
	b.begin(List)
	var lefts []float64
	for i := range items {
		p := &items[i]
		left := p.lines[0].left
		for len(lefts) > 0 && left < lefts[len(lefts)-1]-0.7*b.size {
			lefts = lefts[:len(lefts)-1]
		}
		if len(lefts) == 0 || left > lefts[len(lefts)-1]+0.7*b.size {
			lefts = append(lefts, left)
		}
		sign := bulletSign.FindString(p.text())
		b.turnTo(p.page)
		b.item(len(lefts)-1, sign == "")
		b.lines(p, len(strings.TrimRight(sign, " ")))
	}
	b.flush()
}

// tableCells writes the rows of a table, its cells as the lines that they are.
func (b *paper) tableCells(p *part) {
	for i, r := range p.cells {
		if i > 0 {
			b.cut('\n')
		}
		for c, lines := range r {
			if c > 0 {
				b.cut('\t')
			}
			if len(lines) > 0 {
				b.lines(&part{kind: Table, lines: lines}, 0)
			}
		}
	}
}
