package score

import (
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// Folder is the folder of an evaluation in that of its adapter.
const Folder = "eval"

// ResultsName is the file name of results in the folder of an evaluation.
const ResultsName = "results.json"

// maxResults bounds what ReadResults reads.
const maxResults = 1 << 30

// Results are what an evaluation found. Lists by column have an entry for each of Columns.
type Results struct {
	Version  string     `json:"version"` // of Lentil
	Command  []string   `json:"command,omitempty"`
	Made     time.Time  `json:"made"`
	Model    string     `json:"model"`
	Sets     []Set      `json:"question_sets"`
	Seed     uint64     `json:"seed"`
	Columns  []Column   `json:"columns"`
	Rows     []Row      `json:"rows"`
	Texts    []Text     `json:"texts,omitempty"`
	Judged   []Judged   `json:"judged,omitempty"`
	Seconds  float64    `json:"seconds"`
	Answered []Answered `json:"answered"`
}

// A Set is a file of questions.
type Set struct {
	Path   string `json:"path"`
	N      int    `json:"n"`
	SHA256 string `json:"sha256"`
}

// A Column is a model that was asked. The first is the base, which the others are compared with.
type Column struct {
	Name    string `json:"name"`              // "base", "tuned", "base + book"
	Adapter string `json:"adapter,omitempty"` // its folder
	SHA256  string `json:"sha256,omitempty"`  // of the adapter's weights
	Books   bool   `json:"books,omitempty"`   // with passages of the books in the prompt
	// Against is the column that this one is compared with: the same without the adapter or, of the base with
	// books, the base. -1 for none.
	Against int `json:"against"`
}

// Metrics of rows.
const (
	Right   = "right"   // share of right answers
	MadeUp  = "made_up" // share of answers with a figure that nothing tells
	Refused = "refused" // share of answers that say that they do not know
	F1      = "f1"      // of the words of answer and reference

	Violations = "violations" // share of answers that break a profile
	Allergens  = "allergens"  // share of answers that name what the person is allergic to
)

// A Row is one score of all columns.
type Row struct {
	Metric  string        `json:"metric"`
	Kind    Kind          `json:"kind"`              // "" for all questions
	Profile string        `json:"profile,omitempty"` // of Violations and Allergens
	N       int           `json:"n"`
	Scores  []Interval    `json:"scores"`
	Against []*Comparison `json:"against"` // of right answers; null where there is nothing to compare with
}

// A Text is how well a text that has nothing to do with the books is predicted.
type Text struct {
	Name       string     `json:"name"`
	Tokens     int64      `json:"tokens"`
	Loss       []float64  `json:"loss"`
	Perplexity []float64  `json:"perplexity"`
	Rise       []Interval `json:"rise"` // of the perplexity over the base's, as a share of it
}

// Judged is what a judge that saw the answers of two columns, in both orders, preferred.
type Judged struct {
	Column int      `json:"column"` // against its Against
	Judge  string   `json:"judge"`
	Won    int      `json:"won"`
	Tied   int      `json:"tied"`
	Lost   int      `json:"lost"`
	Rate   Interval `json:"rate"` // a win counts 1, a tie ½
	P      float64  `json:"p"`    // of the sign test
}

// Answered is a question with the replies of each column.
type Answered struct {
	Question
	Replies []Reply `json:"replies"`
}

// A Reply is what a column said to a question.
type Reply struct {
	Answer string `json:"answer"`
	// Likelihoods are the log-likelihoods of the choices.
	Likelihoods []float64 `json:"likelihoods,omitempty"`
	Mark        Mark      `json:"mark"`
}

// Choose marks a reply to a question of multiple choice by its log-likelihoods: the answer is the choice that is likeliest for
// its length in characters, as lm-eval's acc_norm has it.
func (q *Question) Choose(likelihoods []float64) Reply {
	best := 0
	each := func(i int) float64 { return likelihoods[i] / float64(max(utf8.RuneCountInString(q.Choices[i]), 1)) }
	for i := range likelihoods {
		if each(i) > each(best) {
			best = i
		}
	}
	r := Reply{Answer: q.Choices[best], Likelihoods: likelihoods, Mark: Mark{Right: best == q.Correct}}
	if !r.Mark.Right {
		r.Mark.Why = "expected: " + q.Choices[q.Correct]
	}
	return r
}

// Rows scores all columns on each kind of question that there is, and on all but the general ones together: those are
// about what is to stay, not about what is to come.
func Rows(columns []Column, answered []Answered, seed uint64) (rows []Row) {
	of := map[Kind][]Answered{}
	var about []Answered
	for _, a := range answered {
		of[a.Kind] = append(of[a.Kind], a)
		if a.Kind != General {
			about = append(about, a)
		}
	}
	right := func(k Kind, list []Answered) {
		rows = append(rows, rowOf(Right, k, columns, list, seed, func(m *Mark, _ *Question) (float64, bool) { return oneIf(m.Right), true }))
	}
	kinds := 0
	for _, k := range Kinds {
		if len(of[k]) > 0 {
			right(k, of[k])
			if k != General {
				kinds++
			}
		}
	}
	switch {
	case kinds > 1:
		right("", about)
	case kinds == 0:
		about = answered
	}
	for _, m := range []struct {
		metric string
		of     func(*Mark, *Question) (float64, bool)
	}{
		{MadeUp, func(m *Mark, q *Question) (float64, bool) { return oneIf(len(m.MadeUp) > 0), len(q.Choices) == 0 }},
		{Refused, func(m *Mark, q *Question) (float64, bool) {
			return oneIf(m.Refused), len(q.Choices) == 0 && q.Kind != Unanswerable
		}},
		{F1, func(m *Mark, q *Question) (float64, bool) { return m.F1, len(q.Choices) == 0 && q.Answer != "" }},
	} {
		if r := rowOf(m.metric, "", columns, about, seed, m.of); r.N > 0 {
			rows = append(rows, r)
		}
	}
	return append(rows, profileRows(columns, answered, seed)...)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// rowOf takes the mean of one score, which some questions do not have.
func rowOf(metric string, k Kind, columns []Column, answered []Answered, seed uint64, of func(*Mark, *Question) (float64, bool)) Row {
	row := Row{Metric: metric, Kind: k, Against: make([]*Comparison, len(columns))}
	for c := range columns {
		var scores []float64
		for i := range answered {
			if s, ok := of(&answered[i].Replies[c].Mark, &answered[i].Question); ok {
				scores = append(scores, s)
			}
		}
		row.N = len(scores)
		row.Scores = append(row.Scores, Mean(scores, seed))
		if a := columns[c].Against; a >= 0 && (metric == Right || metric == Violations) {
			compared := compare(answered, a, c)
			row.Against[c] = &compared
		}
	}
	return row
}

// compare tests column after against column before.
func compare(answered []Answered, before, after int) Comparison {
	b, a, same := make([]bool, len(answered)), make([]bool, len(answered)), true
	for i, x := range answered {
		b[i], a[i] = x.Replies[before].Mark.Right, x.Replies[after].Mark.Right
		same = same && x.Replies[before].Answer == x.Replies[after].Answer
	}
	return Compare(b, a, same)
}

// Tuned is the column that the results are about: that of the adapter, without books; else the base.
func (r *Results) Tuned() int {
	for i, c := range r.Columns {
		if c.Adapter != "" && !c.Books {
			return i
		}
	}
	return 0
}

// profileRows tells of each profile how often its answers break it.
func profileRows(columns []Column, answered []Answered, seed uint64) (rows []Row) {
	var ids []string
	for _, a := range answered {
		if a.Profile != "" && !slices.Contains(ids, a.Profile) {
			ids = append(ids, a.Profile)
		}
	}
	for _, id := range ids {
		var list []Answered
		for _, a := range answered {
			if a.Profile == id {
				list = append(list, a)
			}
		}
		broken := rowOf(Violations, Profile, columns, list, seed, func(m *Mark, _ *Question) (float64, bool) { return oneIf(len(m.Broken) > 0), true })
		allergens := rowOf(Allergens, Profile, columns, list, seed, func(m *Mark, _ *Question) (float64, bool) { return oneIf(m.Allergens), true })
		broken.Profile, allergens.Profile = id, id
		rows = append(rows, broken, allergens)
	}
	return rows
}

// Row finds the row of a metric and kind; nil for none. Where there are questions of one kind alone, its row is that of all.
func (r *Results) Row(metric string, k Kind) *Row {
	var first *Row
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Metric == metric && row.Kind == k {
			return row
		}
		if row.Metric == metric && first == nil {
			first = row
		}
	}
	if k == "" {
		return first
	}
	return nil
}

// Flips lists the questions that column c answers otherwise than the one that it is compared with: those that became
// right, and those that became wrong.
func (r *Results) Flips(c int) (won, lost []Answered) {
	against := r.Columns[c].Against
	if against < 0 {
		return nil, nil
	}
	for _, a := range r.Answered {
		switch before, after := a.Replies[against].Mark.Right, a.Replies[c].Mark.Right; {
		case after && !before:
			won = append(won, a)
		case before && !after:
			lost = append(lost, a)
		}
	}
	return won, lost
}

// Forgetting is the largest rise of the perplexity of a general text, as a share; NaN where none was measured.
func (r *Results) Forgetting() float64 {
	rise := math.NaN()
	for _, t := range r.Texts {
		if x := t.Rise[r.Tuned()].Mean; math.IsNaN(rise) || x > rise {
			rise = x
		}
	}
	return rise
}

// ReadResults reads the results in a folder.
func ReadResults(dir string) (*Results, error) {
	path := filepath.Join(dir, ResultsName)
	text, err := smallfile.Read(path, maxResults)
	if err != nil {
		return nil, err
	}
	var r Results
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, jsonpos.Error(path, text, err)
	}
	return &r, r.check(path)
}

// check refuses results whose lists are not by column, which whoever draws them relies on.
func (r *Results) check(path string) error {
	n := len(r.Columns)
	bad := func(what string, i int) error {
		return fault.Of("%s: %s %d is not of its %d columns", path, what, i+1, n).Try("Evaluate again.")
	}
	if n == 0 {
		return fault.Of("%s: it has no columns, so it holds no results", path).Try("Evaluate again.")
	}
	for i, c := range r.Columns {
		if c.Against < -1 || c.Against >= n {
			return bad("column", i)
		}
	}
	for i, row := range r.Rows {
		if len(row.Scores) != n || len(row.Against) != n {
			return bad("row", i)
		}
	}
	for i, t := range r.Texts {
		if len(t.Loss) != n || len(t.Perplexity) != n || len(t.Rise) != n {
			return bad("text", i)
		}
	}
	for i, a := range r.Answered {
		if len(a.Replies) != n {
			return bad("question", i)
		}
	}
	for i, j := range r.Judged {
		if j.Column < 0 || j.Column >= n {
			return bad("judgement", i)
		}
	}
	return nil
}

// Title is what a row shows, as it is told: "Trained facts, right".
func (r *Row) Title() string {
	switch r.Metric {
	case MadeUp:
		return "Answers with made-up figures"
	case Refused:
		return "Says that it does not know"
	case F1:
		return "Words of the reference (F1)"
	case Violations:
		return "Answers against " + r.Profile
	case Allergens:
		return "Allergens of " + r.Profile
	}
	switch r.Kind {
	case Trained:
		return "Trained facts, right"
	case Unseen:
		return "Facts never told, right"
	case Unanswerable:
		return "Unanswerable, says so"
	case Profile:
		return "Profile kept"
	case General:
		return "General knowledge, right"
	}
	return "All questions, right"
}

// Said is the verdict on column c with its figures. Of general knowledge nobody expects a gain: what is told is whether it stayed.
func (r *Row) Said(c int) string {
	got := r.Against[c]
	if r.Kind != General || got.Verdict != DidNotHelp {
		return got.Detail()
	}
	if got.Difference.Low > -worth {
		return got.detail("stayed as it was")
	}
	return got.detail("no gain, and a loss cannot be excluded")
}
