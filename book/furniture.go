package book

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/book/pdf"
)

// A margin is a line at the top or bottom of a page that may be a running head or a page number.
type margin struct {
	page   int
	spans  []int   // of the page
	key    string  // its words without digits, in lower case
	number string  // at its begin or end, where it has one
	height float64 // of its base line
	foot   bool
	text   string
	depth  int     // lines between it and the edge of the page
	white  float64 // between it and the next line towards the middle of the page
}

const (
	marginLines = 3 // lines at the top and as many at the bottom of a page that are looked at
	headStreak  = 3 // pages near each other with a line make it a running head
	headWindow  = 6 // pages
)

var (
	edgeNumber = regexp.MustCompile(`^(?:[-–—\[(|·•]\s*)?(\d{1,4}|[ivxlcdmIVXLCDM]{1,8})(?:\s*[-–—\])|·•])?$`)
	pageWord   = regexp.MustCompile(`(?i)^(?:page|seite|p\.?)\s+(\d{1,4})(?:\s+(?:of|von|/)\s+\d{1,4})?$`)
)

// findMargins gives the lines at the edges of each page.
func findMargins(pages [][]span) []margin {
	var out []margin
	for p, list := range pages {
		order := make([]int, len(list))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return compareFloat(list[b].base, list[a].base) })
		var lines []margin
		for _, i := range order {
			s := &list[i]
			if n := len(lines); n > 0 && lines[n-1].height-s.base < 0.4*s.size {
				lines[n-1].spans = append(lines[n-1].spans, i)
				continue
			}
			lines = append(lines, margin{page: p, spans: []int{i}, height: s.base})
		}
		for i := range lines {
			if i >= marginLines && i < len(lines)-marginLines {
				continue
			}
			m := lines[i]
			m.foot = i >= len(lines)-marginLines && i >= marginLines || i >= len(lines)/2
			m.depth = min(i, len(lines)-1-i)
			m.white = math.Inf(1)
			if inner := i + 1; !m.foot && inner < len(lines) {
				m.white = m.height - lines[inner].height - list[lines[inner].spans[0]].size
			} else if inner := i - 1; m.foot && inner >= 0 {
				m.white = lines[inner].height - m.height - list[m.spans[0]].size
			}
			slices.SortFunc(m.spans, func(a, b int) int { return compareFloat(list[a].left, list[b].left) })
			m.describe(list)
			out = append(out, m)
		}
	}
	return out
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// describe takes the number from the line's ends and makes a key of the rest.
func (m *margin) describe(list []span) {
	var words []string
	raised := false // a note's number, at the begin
	for _, i := range m.spans {
		for _, w := range list[i].words {
			raised = raised || len(words) == 0 && w.Size < 0.85*list[i].size
			words = append(words, w.Text)
		}
	}
	m.text = strings.Join(words, " ")
	if f := pageWord.FindStringSubmatch(m.text); f != nil {
		m.number = f[1]
		return
	}
	if n := len(words); n > 0 {
		if f := edgeNumber.FindStringSubmatch(strings.Join(words, " ")); f != nil {
			m.number, words = f[1], nil
		} else if f := edgeNumber.FindStringSubmatch(words[n-1]); f != nil && isNumber(f[1]) {
			m.number, words = f[1], words[:n-1]
		} else if f := edgeNumber.FindStringSubmatch(words[0]); f != nil && isNumber(f[1]) && !raised {
			m.number, words = f[1], words[1:]
		}
	}
	if raised {
		return
	}
	m.key = strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) || unicode.IsSpace(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, strings.Join(words, ""))
}

// isNumber tells whether a text is a number of digits, or a small Roman one.
func isNumber(s string) bool {
	return s[0] >= '0' && s[0] <= '9' || len(s) > 0 && s == strings.ToLower(s)
}

// value is the number as an integer; Roman ones count, too. 0 is none.
func value(s string) int {
	n := 0
	if s != "" && s[0] >= '0' && s[0] <= '9' {
		for _, c := range s {
			n = 10*n + int(c-'0')
		}
		return n
	}
	digits := map[rune]int{'i': 1, 'v': 5, 'x': 10, 'l': 50, 'c': 100, 'd': 500, 'm': 1000}
	last := 0
	for _, c := range strings.ToLower(s) {
		d := digits[c]
		if d > last {
			n -= 2 * last
		}
		n += d
		last = d
	}
	return n
}

// A furnished line is one that was found to be no part of the text.
type furnished struct {
	margin
	reason Reason
}

// furniture finds running heads (much the same line at the same height of several pages near each other) and page
// numbers (numbers that count on with the pages).
func furniture(pages [][]span, from []*pdf.Page, size float64) []furnished {
	all := findMargins(pages)
	var out []furnished
	begin, numbered := 0, make([]bool, len(all))
	near := min(2, max(1, len(pages)-1))
	for i, m := range all {
		for all[begin].page < m.page-headWindow {
			begin++
		}
		counts, same := 0, 0
		for _, o := range all[begin:] {
			d := o.page - m.page
			if d > headWindow {
				break
			}
			if d == 0 || math.Abs(o.height-m.height) > 0.9*size {
				continue
			}
			if v := value(m.number); v > 0 && value(o.number)-v == d && (m.key == "") == (o.key == "") {
				counts++
			}
			// A number beside it is that of the page, or always the same: those of notes are neither.
			if m.key != "" && same < headWindow && (m.number == o.number || value(o.number)-value(m.number) == d) && alike(m.key, o.key) {
				same++
			}
		}
		labelled := m.number != "" && from[m.page].Label == m.number // the file says so itself
		large := pages[m.page][m.spans[0]].size > 1.2*size           // a chapter's heading
		switch numbered[i] = counts >= near || labelled && m.key == ""; {
		case m.key == "" && numbered[i]:
			out = append(out, furnished{m, PageMark})
		case m.key != "" && (same >= need(m.depth, len(pages)) && m.white > 0.5*size || !large && (counts >= headStreak-1 || labelled && counts > 0)) && short(pages[m.page], m):
			out = append(out, furnished{m, RunningHead})
		}
	}
	out = append(out, titled(all, out, pages, size)...)
	// A number alone at another place, as the first pages of chapters have it, counts on with those around it.
	for i, m := range all {
		if m.key != "" || m.number == "" || numbered[i] {
			continue
		}
		for j := max(0, i-6*marginLines); j < min(len(all), i+6*marginLines); j++ {
			if o := &all[j]; numbered[j] && o.page != m.page && value(m.number) > 0 && value(o.number)-value(m.number) == o.page-m.page {
				out = append(out, furnished{m, PageMark})
				break
			}
		}
	}
	return outermost(out, all)
}

// A title is a line that looks like a heading: larger than the text, or bold.
type title struct {
	key  string // its letters
	page int
	size float64
	bold bool
}

// letters are those of a text, in lower case.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

const (
	titleReach = 80 // pages that a section may go on for
	titleWords = 14
	longTitle  = 8 // letters of a title that a longer line may have in it by design
)

// titled finds the running heads that name the chapter or section, and so change with it: outermost lines at one height of pages near each other that have a
// title in them which stands larger or bolder on the page or one before it.
func titled(all []margin, found []furnished, pages [][]span, size float64) []furnished {
	known := map[pageTitle]bool{}
	for _, f := range found {
		known[pageTitle{f.page, f.text}] = true
	}
	var titles []title
	for p, list := range pages {
		for i := range list {
			if s := &list[i]; (s.size > 1.1*size || s.bold) && len(s.words) <= titleWords {
				if key := letters(s.text()); len(key) > 2 && len(titles) < maxTitles {
					titles = append(titles, title{key, p, s.size, s.bold})
				}
			}
		}
	}
	has := make([]bool, len(all))
	first := 0 // of the titles that are near enough
	for i, m := range all {
		for first < len(titles) && titles[first].page < m.page-titleReach {
			first++
		}
		s := &pages[m.page][m.spans[0]]
		if m.depth > 0 || m.white < 0.5*size || s.size > 1.2*size || !short(pages[m.page], m) {
			continue
		}
		if known[pageTitle{m.page, m.text}] {
			has[i] = true
			continue
		}
		key := letters(m.text)
		for _, t := range titles[first:] {
			if t.page > m.page {
				break
			}
			if (t.size > 1.1*s.size || t.bold && !s.bold) && (key == t.key || len(t.key) >= longTitle && strings.Contains(key, t.key)) {
				has[i] = true
				break
			}
		}
	}
	var out []furnished
	begin := 0
	for i, m := range all {
		for all[begin].page < m.page-headWindow {
			begin++
		}
		if !has[i] || known[pageTitle{m.page, m.text}] {
			continue
		}
		same := 0
		for k := begin; k < len(all) && all[k].page <= m.page+headWindow; k++ {
			if o := &all[k]; has[k] && o.page != m.page && o.foot == m.foot && math.Abs(o.height-m.height) < 0.3*size {
				same++
			}
		}
		if same >= headStreak-1 {
			out = append(out, furnished{m, RunningHead})
		}
	}
	return out
}

// maxTitles of a book are compared with its running heads.
const maxTitles = 20_000

// need is how many other pages near by have to have a line: more for one below others, which may be the head of a table.
func need(depth, pages int) int {
	if depth == 0 {
		return headStreak - 1
	}
	return max(headStreak-1, min(headWindow-1, pages/2))
}

// short tells whether a line can be a running head: one line of few words.
func short(list []span, m margin) bool {
	n := 0
	for _, i := range m.spans {
		n += len(list[i].words)
	}
	return n <= 20
}

// outermost keeps only lines that have nothing but such lines beyond them: a line within the text repeats by chance.
func outermost(found []furnished, all []margin) []furnished {
	is := map[int]map[float64]bool{}
	for _, f := range found {
		if is[f.page] == nil {
			is[f.page] = map[float64]bool{}
		}
		is[f.page][f.height] = true
	}
	beyond := map[int][]margin{}
	for _, m := range all {
		beyond[m.page] = append(beyond[m.page], m)
	}
	return slices.DeleteFunc(found, func(f furnished) bool {
		for _, m := range beyond[f.page] {
			if !is[f.page][m.height] && (f.foot && m.height < f.height-1 || !f.foot && m.height > f.height+1) {
				return true
			}
		}
		return false
	})
}

// alike tells whether two keys differ in at most a tenth of their letters, as scanned heads do.
func alike(a, b string) bool {
	if a == b {
		return true
	}
	n, m := utf8.RuneCountInString(a), utf8.RuneCountInString(b)
	most := max(n, m) / 10
	if most == 0 || n-m > most || m-n > most || max(n, m) > 100 {
		return false
	}
	return distance([]rune(a), []rune(b)) <= most
}

// distance counts the letters that are to be put in, taken out or changed.
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
