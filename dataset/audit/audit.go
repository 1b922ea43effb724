// Package audit looks at a dataset for what spoils a training or its measure, whoever made it: rows that are there
// twice, rows of a test that training has, one question with several answers, empty answers, addresses and numbers of
// persons, and a mix of languages. It needs no model; what a tokenizer tells of rows is in package dataset.
package audit

import (
	"context"
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
	maxNear     = 300_000 // rows that are sketched, at half a kilobyte and more each
	maxText     = 160     // of a finding, in bytes
)

// A look is one pass over the splits.
type look struct {
	report    Report
	questions map[string]seen
	rows      map[string]string // where a row is, by its text
	index     near.Index
	sketched  []string // where each sketched row is
	train     int      // of them that are from train
	languages []rowLanguage
}

type seen struct {
	where, split, answer string
}

type rowLanguage struct{ where, text, language string }

// Look goes over all rows. progress may be nil.
func Look(ctx context.Context, splits *dataset.Splits, progress func(done, total int)) (*Report, error) {
	l := &look{questions: map[string]seen{}, rows: map[string]string{}}
	l.report = Report{Rows: map[string]int{}, Counts: map[Kind]int{}, Languages: map[string]int{}, Persons: map[string]int{}, Findings: []Finding{}}
	all := []*dataset.Split{splits.Train, splits.Valid, splits.Test}
	total, done := 0, 0
	for _, s := range all {
		total += s.Len()
	}
	for _, s := range all {
		l.report.Rows[s.Name] = s.Len()
		for i := range s.Len() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			row, err := s.Row(i)
			if err != nil {
				return nil, err
			}
			l.row(s.Name, s.Where(i), row)
			if done++; progress != nil {
				progress(done, total)
			}
		}
		if s == splits.Train {
			l.train = len(l.sketched)
		}
	}
	l.odd()
	return &l.report, nil
}

func (l *look) found(kind Kind, where, other, text string) {
	l.report.Counts[kind]++
	if l.report.Counts[kind] > maxFindings {
		return
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	l.report.Findings = append(l.report.Findings, Finding{kind, where, other, text})
}

// parts are what a row asks and what it answers.
func parts(row dataset.Row) (question, answer, worse string) {
	switch {
	case row.Format == dataset.Text:
		return "", row.Text, ""
	case row.Format == dataset.Preference && len(row.Messages) == 0:
		return row.Text, row.ChosenText, row.RejectedText
	case row.Format == dataset.Preference:
		return said(row.Messages), said(row.Chosen), said(row.Rejected)
	}
	n := len(row.Messages) - 1
	return said(row.Messages[:n]), said(row.Messages[n:]), ""
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

func (l *look) row(split, where string, row dataset.Row) {
	question, answer, worse := parts(row)
	if strings.TrimSpace(answer) == "" {
		l.found(Empty, where, "", question)
	}
	for _, f := range pii.In(question + "\n" + answer) {
		l.report.Persons[string(f.Kind)]++
		l.found(Personal, where, "", string(f.Kind))
	}
	q, a := strings.Join(near.Words(question), " "), strings.Join(near.Words(answer), " ")
	whole := q + "\x00" + a
	if row.Format == dataset.Preference {
		whole += "\x00" + strings.Join(near.Words(worse), " ")
	}
	if first, ok := l.rows[whole]; ok {
		l.found(Same, where, first, question+" "+answer)
	} else {
		l.rows[whole] = where
		l.near(split, where, question+" "+answer)
	}
	if q != "" {
		l.question(split, where, q, a, question)
	} else if first, ok := l.questions[a]; ok && first.split == "train" && split != "train" {
		l.found(Leak, where, first.where, answer)
	} else if !ok {
		l.questions[a] = seen{where: where, split: split}
	}
	lang := Language(question + " " + answer)
	l.report.Languages[lang]++
	if len(l.languages) < maxNear {
		l.languages = append(l.languages, rowLanguage{where, question + " " + answer, lang})
	}
}

// question compares the answers to one question.
func (l *look) question(split, where, q, a, text string) {
	first, ok := l.questions[q]
	if !ok {
		l.questions[q] = seen{where: where, split: split, answer: a}
		return
	}
	if first.split == "train" && split != "train" {
		l.found(Leak, where, first.where, text)
	}
	if first.answer == a {
		return
	}
	if x, y := figuresIn(first.answer), figuresIn(a); len(x) > 0 && len(y) > 0 && !overlap(x, y) {
		l.found(Contrary, where, first.where, text)
	} else if near.Of(first.answer).Like(near.Of(a)) < near.Alike {
		l.found(Several, where, first.where, text)
	}
}

var digitsRE = regexp.MustCompile(`\d+`)

func figuresIn(s string) []string { return digitsRE.FindAllString(s, -1) }

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// near finds rows that are nearly the same as an earlier one.
func (l *look) near(split, where, text string) {
	if len(l.sketched) >= maxNear {
		l.report.Unlooked++
		return
	}
	s := near.Of(text)
	if at, _ := l.index.Find(s); at >= 0 {
		kind := Near
		if split != "train" && at < l.train {
			kind = NearLeak
		}
		l.found(kind, where, l.sketched[at], text)
	}
	l.index.Add(s)
	l.sketched = append(l.sketched, where)
}

// odd tells the rows in another language than most, if there are some and few.
func (l *look) odd() {
	most := ""
	for _, lang := range slices.Sorted(maps.Keys(l.report.Languages)) {
		if lang != Unknown && l.report.Languages[lang] > l.report.Languages[most] {
			most = lang
		}
	}
	for _, r := range l.languages {
		if r.language != most && r.language != Unknown {
			l.found(OtherWords, r.where, "", r.language+": "+r.text)
		}
	}
}
