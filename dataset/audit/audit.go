// Package audit looks at a dataset for what spoils a training or its measure, whoever made it: rows that are there
// twice, rows of a test that training has, one question with several answers, empty answers, addresses and numbers of
// persons, and a mix of languages. It needs no model; what a tokenizer tells of rows is in package dataset.
package audit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/dataset/near"
	"github.com/lentil-lm/lentil/dataset/pii"
)

// A Kind says what was found.
type Kind string

// The kinds. Wrong ones spoil a training or its measure; the others may be meant.
const (
	Empty      Kind = "empty answer"
	Leak       Kind = "question of valid or test in train"
	Contrary   Kind = "one question, different figures"
	Same       Kind = "the same row twice"
	Near       Kind = "nearly the same row twice"
	NearLeak   Kind = "row of valid or test nearly in train"
	Several    Kind = "one question, several answers"
	Personal   Kind = "tells of persons"
	OtherWords Kind = "another language than most"
)

// Kinds are all of them, the wrong ones first.
var Kinds = []Kind{Empty, Leak, Contrary, Same, Near, NearLeak, Several, Personal, OtherWords}

// Wrong tells whether a kind is a mistake in any dataset.
func (k Kind) Wrong() bool { return slices.Index(Kinds, k) < 3 }

// A Finding is one row with something to look at.
type Finding struct {
	Kind  Kind   `json:"kind"`
	Where string `json:"where"`           // file and line
	Other string `json:"other,omitempty"` // the row that it goes with
	Text  string `json:"text"`            // the begin of what was found
}

// A Report is what was found.
type Report struct {
	Rows      map[string]int `json:"rows"` // by split
	Counts    map[Kind]int   `json:"counts"`
	Findings  []Finding      `json:"findings"`  // up to a few of each kind
	Languages map[string]int `json:"languages"` // rows by language, or script
	Persons   map[string]int `json:"persons"`   // addresses and numbers, by kind
	Unlooked  int            `json:"unlooked,omitempty"`
}

// Wrong counts the findings that are mistakes in any dataset.
func (r *Report) Wrong() (n int) {
	for k, count := range r.Counts {
		if k.Wrong() {
			n += count
		}
	}
	return n
}

const (
	maxFindings = 5       // of a kind that are told
	maxNear     = 300_000 // rows that are sketched, at about a kilobyte each
	maxText     = 160     // of a finding, in bytes
)

// A look is one pass over the splits. Of rows it keeps hashes and places, no texts.
type look struct {
	report    Report
	splits    []*dataset.Split
	questions map[sum]place // the first row with a question, or a text
	rows      map[sum]place // where a row is, by its text
	index     near.Index
	sketched  []place
	train     int                // of them that are from train
	odds      map[string][]place // the first rows in each language
}

// A sum is the hash of a text.
type sum [16]byte

func sumOf(text string) (s sum) {
	whole := sha256.Sum256([]byte(text))
	copy(s[:], whole[:])
	return s
}

// A place is a row of a split.
type place struct{ split, row int32 }

func (l *look) where(p place) string { return l.splits[p.split].Where(int(p.row)) }

// Look goes over all rows. progress may be nil.
func Look(ctx context.Context, splits *dataset.Splits, progress func(done, total int)) (*Report, error) {
	l := &look{questions: map[sum]place{}, rows: map[sum]place{}, odds: map[string][]place{}, splits: []*dataset.Split{splits.Train, splits.Valid, splits.Test}}
	l.report = Report{Rows: map[string]int{}, Counts: map[Kind]int{}, Languages: map[string]int{}, Persons: map[string]int{}, Findings: []Finding{}}
	total, done := 0, 0
	for _, s := range l.splits {
		total += s.Len()
	}
	for k, s := range l.splits {
		l.report.Rows[s.Name] = s.Len()
		for i := range s.Len() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			row, err := s.Row(i)
			if err != nil {
				return nil, err
			}
			if err := l.row(place{int32(k), int32(i)}, row); err != nil {
				return nil, err
			}
			if done++; progress != nil {
				progress(done, total)
			}
		}
		if s == splits.Train {
			l.train = len(l.sketched)
		}
	}
	return &l.report, l.odd()
}

func (l *look) found(kind Kind, at place, other, text string) {
	l.report.Counts[kind]++
	if l.report.Counts[kind] > maxFindings {
		return
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	l.report.Findings = append(l.report.Findings, Finding{kind, l.where(at), other, text})
}

// parts are what a row asks and what it answers. told is the system message, which many rows have in common.
func parts(row dataset.Row) (told, question, answer, worse string) {
	messages := row.Messages
	if len(messages) > 1 {
		if m, ok := messages[0].(*chat.Dict); ok {
			if role, _ := m.Get("role"); role == "system" {
				told, messages = said(messages[:1]), messages[1:]
			}
		}
	}
	switch {
	case row.Format == dataset.Text:
		return "", "", row.Text, ""
	case row.Format == dataset.Preference && len(row.Messages) == 0:
		return "", row.Text, row.ChosenText, row.RejectedText
	case row.Format == dataset.Preference:
		return told, said(messages), said(row.Chosen), said(row.Rejected)
	}
	n := len(messages) - 1
	return told, said(messages[:n]), said(messages[n:]), ""
}

// said is what messages say, with calls of tools as they are written.
func said(messages []chat.Value) string {
	var b strings.Builder
	for i, v := range messages {
		m, ok := v.(*chat.Dict)
		if !ok {
			continue
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, key := range m.Keys() {
			if key == "role" {
				continue
			}
			if value, _ := m.Get(key); value != nil {
				fmt.Fprint(&b, value)
			}
		}
	}
	return b.String()
}

// plain is a text as it is compared: words in lower case.
func plain(text string) string { return strings.Join(near.Words(text), " ") }

func (l *look) row(at place, row dataset.Row) error {
	told, question, answer, worse := parts(row)
	if strings.TrimSpace(answer) == "" {
		l.found(Empty, at, "", question)
	}
	for _, f := range pii.In(question + "\n" + answer) {
		l.report.Persons[string(f.Kind)]++
		l.found(Personal, at, "", string(f.Kind))
	}
	q, a := plain(told+"\n"+question), plain(answer)
	whole := q + "\x00" + a
	if row.Format == dataset.Preference {
		whole += "\x00" + plain(worse)
	}
	if key := sumOf(whole); !l.seen(key) {
		l.rows[key] = at
		l.near(at, question+" "+answer)
	} else {
		l.found(Same, at, l.where(l.rows[key]), question+" "+answer)
	}
	if err := l.question(at, q, a, question, answer); err != nil {
		return err
	}
	lang := Language(question + " " + answer)
	l.report.Languages[lang]++
	if len(l.odds[lang]) < maxFindings {
		l.odds[lang] = append(l.odds[lang], at)
	}
	return nil
}

func (l *look) seen(key sum) bool {
	_, ok := l.rows[key]
	return ok
}

// question compares the answers to one question; a text without one stands for itself.
func (l *look) question(at place, q, a, text, answer string) error {
	isText := text == ""
	if isText {
		q, text = a, answer
	}
	key := sumOf(q)
	first, ok := l.questions[key]
	if !ok {
		l.questions[key] = at
		return nil
	}
	if first.split == 0 && at.split != 0 {
		l.found(Leak, at, l.where(first), text)
	}
	if isText {
		return nil
	}
	row, err := l.splits[first.split].Row(int(first.row))
	if err != nil {
		return err
	}
	_, _, before, _ := parts(row)
	if before = plain(before); before == a {
		return nil
	}
	if x, y := figuresIn(before), figuresIn(a); len(x) > 0 && len(y) > 0 && !overlap(x, y) {
		l.found(Contrary, at, l.where(first), text)
	} else if near.Of(before).Like(near.Of(a)) < near.Alike {
		l.found(Several, at, l.where(first), text)
	}
	return nil
}

var digitsRE = regexp.MustCompile(`\d+`)

func figuresIn(s string) []string { return digitsRE.FindAllString(s, -1) }

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// near finds rows that are nearly the same as an earlier one.
func (l *look) near(at place, text string) {
	if len(l.sketched) >= maxNear {
		l.report.Unlooked++
		return
	}
	s := near.Of(text)
	if twin, _ := l.index.Find(s); twin >= 0 {
		kind := Near
		if at.split != 0 && twin < l.train {
			kind = NearLeak
		}
		l.found(kind, at, l.where(l.sketched[twin]), text)
	}
	l.index.Add(s)
	l.sketched = append(l.sketched, at)
}

// odd tells the rows in another language than most, if there are some and few.
func (l *look) odd() error {
	most := ""
	languages := slices.Sorted(maps.Keys(l.report.Languages))
	for _, lang := range languages {
		if lang != Unknown && l.report.Languages[lang] > l.report.Languages[most] {
			most = lang
		}
	}
	for _, lang := range languages {
		if lang == most || lang == Unknown {
			continue
		}
		for _, at := range l.odds[lang] {
			row, err := l.splits[at.split].Row(int(at.row))
			if err != nil {
				return err
			}
			_, question, answer, _ := parts(row)
			l.found(OtherWords, at, "", lang+": "+question+" "+answer)
		}
		l.report.Counts[OtherWords] += l.report.Languages[lang] - len(l.odds[lang])
	}
	return nil
}
